//! Which device a new stream goes to. Pure.

/// What placement knows of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Live streams in service.
    pub live: usize,
    /// Live streams that it is predicted to hold.
    pub capacity: usize,
    /// File streams in service.
    pub files: usize,
}

impl Seat {
    /// Part of the capacity that is free; less than 0 beyond it.
    fn head_room(self) -> f64 {
        1.0 - float(self.live) / float(self.capacity.max(1))
    }
}

/// Devices in the order in which a live stream tries them: the most head-room first, by share of the capacity, so that unlike devices fill
/// up together.
pub fn for_live(seats: &[Seat]) -> Vec<usize> {
    sorted(seats, |seat| -seat.head_room())
}

/// Devices in the order in which a file tries them: those whose time is shared by the fewest files, then by the fewest streams.
pub fn for_file(seats: &[Seat]) -> Vec<usize> {
    sorted(seats, |seat| float(seat.files + 1) / seat.head_room().max(0.05))
}

fn sorted(seats: &[Seat], key: impl Fn(Seat) -> f64) -> Vec<usize> {
    let mut order: Vec<(usize, f64)> = seats.iter().map(|seat| key(*seat)).enumerate().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    order.into_iter().map(|(index, _)| index).collect()
}

#[expect(clippy::as_conversions, reason = "stream counts are far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(live: usize, capacity: usize, files: usize) -> Seat {
        Seat { live, capacity, files }
    }

    #[test]
    fn live_streams_go_where_the_largest_part_is_free() {
        assert_eq!(for_live(&[seat(50, 100, 0), seat(60, 200, 9), seat(0, 0, 0)]), [2, 1, 0]);
        assert_eq!(for_live(&[seat(1, 10, 0), seat(1, 10, 0)]), [0, 1], "the first of equals");
    }

    #[test]
    fn files_go_where_the_most_time_is_left_for_them() {
        assert_eq!(for_file(&[seat(0, 100, 3), seat(50, 100, 0), seat(90, 100, 0)]), [1, 0, 2]);
    }
}
