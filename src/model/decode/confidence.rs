//! How certain the model was of one frame, from its log-probabilities.
//!
//! Source: NeMo `confidence_cfg` (`max_prob` with alpha 1; `entropy`, `tsallis`, `exp` with alpha 0.33, NeMo's default).
//! Who calls it: the searches of this folder. Joining frames to tokens (least of a run) is theirs.

/// Tsallis exponent of NeMo's default.
const ALPHA: f32 = 0.33;

/// A way to turn the distribution of one frame into a number from 0 (uniform) to 1 (certain).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confidence {
    /// Tsallis entropy with exponent 0.33, mapped exponentially: low as soon as several tokens compete.
    #[default]
    Entropy,
    /// The greatest probability, scaled so that a uniform distribution gives 0.
    MaxProb,
}

impl Confidence {
    /// The confidence of a frame with the ln probabilities `log_probs` over all tokens and blank (`[V + 1]`).
    pub fn of(self, log_probs: &[f32]) -> f32 {
        let size: f32 = log_probs.iter().map(|_| 1.0).sum();
        if size < 2.0 {
            return 1.0;
        }
        let value = match self {
            Confidence::Entropy => {
                let sum: f32 = log_probs.iter().map(|log_prob| (ALPHA * log_prob).exp()).sum();
                let least = ((1.0 - size.powf(1.0 - ALPHA)) / (1.0 - ALPHA)).exp();
                (((1.0 - sum) / (1.0 - ALPHA)).exp() - least) / (1.0 - least)
            }
            Confidence::MaxProb => {
                let most = log_probs.iter().copied().fold(f32::NEG_INFINITY, f32::max).exp();
                return scaled(most, size);
            }
        };
        value.clamp(0.0, 1.0)
    }
}

/// [`Confidence::MaxProb`] of a frame whose greatest probability is `most` among `size` tokens and blank.
pub(super) fn scaled(most: f32, size: f32) -> f32 {
    ((size * most - 1.0) / (size - 1.0)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_is_zero_and_certain_is_one() {
        for method in [Confidence::Entropy, Confidence::MaxProb] {
            let uniform = [(1.0_f32 / 50.0).ln(); 50];
            assert!(method.of(&uniform) < 1e-4, "{method:?}");
            let mut certain = [f32::NEG_INFINITY; 50];
            certain[3] = 0.0;
            assert!(method.of(&certain) > 0.9999, "{method:?}");
        }
    }

    #[test]
    fn a_rival_lowers_entropy_more_than_the_maximum() {
        let probabilities = [0.6_f32, 0.39, 0.005, 0.005];
        let rows = probabilities.map(f32::ln);
        assert!(Confidence::Entropy.of(&rows) < Confidence::MaxProb.of(&rows));
    }
}
