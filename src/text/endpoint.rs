//! When silence after speech is long enough to end a segment.
//!
//! What it does: turns the beginnings and ends of speech, in the order in which they are found, into endpoints. All rules
//! use audio positions only, and silence is judged only at the ends of chunks ([`Endpointer::reach`]), so that the outcome
//! does not depend on how the audio arrived. What it does not do: detect speech. Who calls it: a live lane.

use crate::units::Samples;

/// An endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the silence had lasted long enough.
    pub at: Samples,
    /// Where speech goes on in the same chunk; `None`: not within it.
    pub resumed: Option<Samples>,
}

/// What the beginning of speech means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The silence before was an endpoint that had not been reported.
    pub endpoint: Option<Endpoint>,
    /// A new segment of speech begins; false: the pause was too short, the old one goes on.
    pub fresh: bool,
}

/// How the audio ends that is made final for another reason than an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// In silence.
    pub in_silence: bool,
    /// In silence after speech, for which an endpoint would have come had it lasted.
    pub ends_speech: bool,
}

/// The endpoint rule of one lane.
#[derive(Debug)]
pub struct Endpointer {
    after: Option<Samples>,
    speaking: bool,
    pending: Option<Samples>,
}

impl Endpointer {
    /// An endpoint comes after this much silence; `None`: never.
    pub fn new(after: Option<Samples>) -> Self {
        Self {
            after,
            speaking: false,
            pending: None,
        }
    }

    /// Speech begins at `at`.
    pub fn speech_started(&mut self, at: Samples) -> Beginning {
        self.speaking = true;
        match self.pending.take() {
            Some(due) if due > at => Beginning {
                endpoint: None,
                fresh: false,
            },
            due => Beginning {
                endpoint: due.map(|due| Endpoint {
                    at: due,
                    resumed: Some(at),
                }),
                fresh: true,
            },
        }
    }

    /// Speech ended at `at`.
    pub fn speech_ended(&mut self, at: Samples) {
        self.speaking = false;
        self.pending = self.after.map(|after| at.plus(after));
    }

    /// A chunk ends at `position`: the endpoint that has been reached by then.
    pub fn reach(&mut self, position: Samples) -> Option<Endpoint> {
        let at = self.pending.take_if(|due| *due <= position)?;
        Some(Endpoint { at, resumed: None })
    }

    /// The audio so far is made final for another reason. Silence that it ends in gives no endpoint later.
    pub fn settle(&mut self) -> Settled {
        Settled {
            in_silence: !self.speaking,
            ends_speech: self.pending.take().is_some(),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use super::*;

    fn endpointer() -> Endpointer {
        Endpointer::new(Some(Samples(1_000)))
    }

    #[test]
    fn silence_after_speech_ends_it_once() {
        let mut endpointer = endpointer();
        assert_eq!(endpointer.reach(Samples(9_000)), None, "silence without speech");
        assert!(endpointer.speech_started(Samples(10_000)).fresh);
        assert_eq!(endpointer.reach(Samples(11_000)), None, "speech goes on");
        endpointer.speech_ended(Samples(12_000));
        assert_eq!(endpointer.reach(Samples(12_999)), None);
        assert_eq!(
            endpointer.reach(Samples(13_000)),
            Some(Endpoint {
                at: Samples(13_000),
                resumed: None
            })
        );
        assert_eq!(endpointer.reach(Samples(20_000)), None);
    }

    #[test]
    fn a_short_pause_is_bridged() {
        let mut endpointer = endpointer();
        endpointer.speech_started(Samples(0));
        endpointer.speech_ended(Samples(5_000));
        assert_eq!(
            endpointer.speech_started(Samples(5_999)),
            Beginning {
                endpoint: None,
                fresh: false
            }
        );
        assert_eq!(endpointer.reach(Samples(9_000)), None);
    }

    #[test]
    fn a_long_pause_inside_a_chunk_is_found_when_speech_resumes() {
        let mut endpointer = endpointer();
        endpointer.speech_started(Samples(0));
        endpointer.speech_ended(Samples(5_000));
        let endpoint = Endpoint {
            at: Samples(6_000),
            resumed: Some(Samples(6_000)),
        };
        assert_eq!(
            endpointer.speech_started(Samples(6_000)),
            Beginning {
                endpoint: Some(endpoint),
                fresh: true
            }
        );
    }

    #[test]
    fn settling_uses_the_silence_up() {
        let mut endpointer = endpointer();
        let settled = |in_silence, ends_speech| Settled { in_silence, ends_speech };
        assert_eq!(endpointer.settle(), settled(true, false), "there was no speech");
        endpointer.speech_started(Samples(0));
        assert_eq!(endpointer.settle(), settled(false, false));
        endpointer.speech_ended(Samples(5_000));
        assert_eq!(endpointer.settle(), settled(true, true));
        assert_eq!(endpointer.reach(Samples(9_000)), None);
        assert_eq!(endpointer.settle(), settled(true, false), "the speech was ended before");
    }

    #[test]
    fn switched_off_there_are_no_endpoints_but_still_beginnings() {
        let mut endpointer = Endpointer::new(None);
        assert!(endpointer.speech_started(Samples(0)).fresh);
        endpointer.speech_ended(Samples(100));
        assert_eq!(endpointer.reach(Samples(u64::MAX)), None);
        assert!(!endpointer.settle().ends_speech);
        assert_eq!(
            endpointer.speech_started(Samples(200)),
            Beginning {
                endpoint: None,
                fresh: true
            }
        );
    }
}
