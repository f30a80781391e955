//! Both heads of a checkpoint read greedily and without state, for comparison with other implementations.
//!
//! Who calls it: `hark models dump`, tests.

use super::ctc::Greedy;
use super::transducer::{Lane, TransducerState};
use super::{DecodeError, Decoder, transduce};
use crate::engine::batch::Token;
use crate::units::Frames;

/// The plain outputs of both heads over one piece of audio.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlainOutputs {
    /// ln probabilities `[T', V + 1]`, if there is a CTC head.
    pub ctc_log_probs: Vec<f32>,
    /// Greedy CTC tokens.
    pub ctc_ids: Vec<u32>,
    /// First frame of each CTC token's run.
    pub ctc_frames: Vec<u32>,
    /// Greedy transducer tokens, end-of-utterance tokens included.
    pub rnnt_ids: Vec<u32>,
    /// Frame at which each was emitted.
    pub rnnt_frames: Vec<u32>,
    /// TDT durations as predicted; empty for RNN-T.
    pub tdt_durations: Vec<u32>,
    /// For each transducer token, and for what follows the last, the least lead of a best score over the next in the joint steps
    /// since the token before: how much another implementation may differ before it decides otherwise.
    pub rnnt_margins: Vec<f32>,
}

impl Decoder {
    /// Runs every head of the checkpoint greedily over the rows `[T', D]` of one piece of audio.
    ///
    /// # Errors
    /// The checkpoint's prompt does not know the locale.
    pub fn plain(&self, rows: &[f32], locale: Option<&str>) -> Result<PlainOutputs, DecodeError> {
        let mut rows = rows.to_vec();
        let count = rows.len() / self.width;
        if let Some(prompt) = &self.prompt {
            prompt.apply(&mut rows, &vec![self.slot(locale)?; count]);
        }
        let mut out = PlainOutputs::default();
        if let Some(head) = &self.ctc {
            out.ctc_log_probs = head.log_probs(&rows);
            let mut greedy = Greedy::default();
            let frames = (0..).map(Frames).zip(out.ctc_log_probs.chunks_exact(head.outputs()));
            let mut tokens: Vec<Token> = frames
                .filter_map(|(frame, row)| greedy.push(row, frame, self.confidence, None))
                .collect();
            tokens.extend(greedy.open);
            out.ctc_ids = tokens.iter().map(|token| token.id).collect();
            out.ctc_frames = tokens.iter().map(|token| token.start.0).collect();
        }
        if let Some(transducer) = &self.transducer {
            let projected = transducer.project(&rows);
            let mut lane = [Lane {
                state: &mut TransducerState::default(),
                projected: &projected,
                emitted: Vec::new(),
                margins: Some(Vec::new()),
            }];
            transducer.decode(&mut lane, self.confidence);
            out.rnnt_margins = lane.iter_mut().filter_map(|lane| lane.margins.take()).flatten().collect();
            let emitted = lane.iter().flat_map(|lane| &lane.emitted);
            for (emission, token) in emitted.map(|emission| (emission, transduce::token(emission, 0))) {
                out.rnnt_ids.push(token.id);
                out.rnnt_frames.push(token.start.0);
                out.tdt_durations.extend(emission.duration);
            }
        }
        Ok(out)
    }
}
