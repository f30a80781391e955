//! Which streams take part in which step, and where in its batch.

/// The seats of one step's batch: a stream and the number of its piece, or padding.
pub(crate) type Seats = Vec<Option<(usize, usize)>>;

/// Every stream begins at its step and takes one piece a step; it sits elsewhere in each step, and a batch has a seat more than
/// there are streams.
pub(crate) fn seats(streams: &[(usize, usize)]) -> Vec<Seats> {
    let steps = streams.iter().map(|(begin, pieces)| begin + pieces).max().unwrap_or(0);
    let step = |step: usize| {
        let mut seats = vec![None; streams.len() + 1];
        for (stream, (begin, pieces)) in streams.iter().enumerate() {
            if (*begin..begin + pieces).contains(&step) {
                seats[(stream + step) % (streams.len() + 1)] = Some((stream, step - begin));
            }
        }
        seats
    };
    (0..steps).map(step).collect()
}
