//! How well a language model expects a text.
//!
//! What it does: perplexity, and how many words are unknown. Who calls it: `hark models lm`.

use std::io::BufRead;

use super::text::{Lines, words};
use super::{LmError, NgramModel, build};

/// What a model makes of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fit {
    /// Sum of ln P over all that was scored.
    ln: f64,
    /// Known words and ends of sentences.
    scored: u32,
    /// Words.
    pub words: u32,
    /// Those of them that the model does not know.
    pub unknown: u32,
}

impl Fit {
    /// Reads a text of one sentence a line.
    ///
    /// # Errors
    /// A line above its limit, or reading fails.
    pub fn read(model: &NgramModel, reader: impl BufRead) -> Result<Self, LmError> {
        let mut fit = Fit::default();
        let mut lines = Lines::new(reader, build::MAX_LINE);
        while lines.next()? {
            fit.add(model, &words(&lines.text).collect::<Vec<_>>());
        }
        Ok(fit)
    }

    /// Takes a sentence into account; one without words says nothing.
    pub fn add(&mut self, model: &NgramModel, words: &[String]) {
        if words.is_empty() {
            return;
        }
        let mut state = model.start();
        for word in words {
            self.words = self.words.saturating_add(1);
            state = match model.word_id(word) {
                Some(id) => {
                    let (probability, next) = model.score(&state, id);
                    self.score(probability);
                    next
                }
                None => {
                    self.unknown = self.unknown.saturating_add(1);
                    model.score_unknown(&state).1
                }
            };
        }
        self.score(model.end(&state));
    }

    fn score(&mut self, probability: f32) {
        self.ln += f64::from(probability);
        self.scored = self.scored.saturating_add(1);
    }

    /// The number of equally probable words among which the model would be as uncertain, on average over known words and ends of
    /// sentences; unknown words are left out, as SRILM does. Not a number for an empty text.
    pub fn perplexity(&self) -> f64 {
        (-self.ln / f64::from(self.scored)).exp()
    }
}
