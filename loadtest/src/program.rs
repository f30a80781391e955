//! What a run sends: the files in the forms of the groups, and which line plays what.
//!
//! Made from a scenario once, before anything is sent; sends nothing itself. Called by `main`, used by `live`.

use anyhow::{Result, ensure};

use crate::audio::Recording;
use crate::plan::{Form, Scenario};
use crate::wav::Wav;

/// Most audio that is kept in memory, all recordings together.
const MAX_AUDIO_BYTES: u64 = 4 << 30;

/// One file of the scenario.
#[derive(Debug)]
pub(crate) struct Item {
    /// The recording.
    pub(crate) wav: Wav,
    /// What is said in it, where somebody wrote it down.
    pub(crate) transcript: Option<String>,
}

/// A kind of lines with everything settled.
#[derive(Debug)]
pub(crate) struct LineKind {
    /// For the tables.
    pub(crate) name: String,
    /// How the lines send.
    pub(crate) form: Form,
    /// Times real time.
    pub(crate) speed: f64,
    /// Share of calls that we reset.
    pub(crate) hang_up_share: f64,
    /// Whether the client never reads.
    pub(crate) never_reads: bool,
    /// What the lines play, as indices into [`Program::recordings`], one for each file.
    pub(crate) plays: Vec<usize>,
    /// How many lines are of this kind.
    pub(crate) share: Share,
}

/// How many lines are of a kind.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Share {
    /// Exactly so many.
    Count(u32),
    /// A part of the rest, against the weights of the others.
    Weight(f64),
}

/// A recording in the form of one group.
#[derive(Debug)]
pub(crate) struct Track {
    /// What is sent.
    pub(crate) recording: Recording,
    /// Audio in one message, as the reference run sends it.
    pub(crate) chunk_ms: u32,
}

/// Everything that is sent in a run. Groups of the same form share their recordings.
#[derive(Debug)]
pub(crate) struct Program {
    /// The files.
    pub(crate) items: Vec<Item>,
    /// What lines play.
    pub(crate) recordings: Vec<Track>,
    /// Kinds of lines, in the order of the scenario.
    pub(crate) kinds: Vec<LineKind>,
}

impl Program {
    /// Brings `items` into the forms of the groups of `scenario`.
    ///
    /// # Errors
    /// Files that cannot be converted, or too much of them.
    pub(crate) fn new(scenario: &Scenario, items: Vec<Item>) -> Result<Self> {
        let (mut recordings, mut kinds): (Vec<Track>, Vec<LineKind>) = (Vec::new(), Vec::new());
        let mut bytes = 0_u64;
        for mut kind in scenario.kinds() {
            if let Some(same) = kinds.iter().find(|other| other.form == kind.form) {
                kind.plays.clone_from(&same.plays);
            } else {
                for (index, item) in items.iter().enumerate() {
                    let beside = index.saturating_add(1) % items.len();
                    let second = items.get(beside).unwrap_or(item);
                    let recording = Recording::new(&kind.form, (index, &item.wav), (beside, &second.wav))?;
                    ensure!(recording.frames > 0, "{}: no audio", recording.name);
                    bytes = bytes.saturating_add(u64::try_from(recording.bytes().len())?);
                    ensure!(
                        bytes <= MAX_AUDIO_BYTES,
                        "the recordings take over {MAX_AUDIO_BYTES} bytes: set audio.max_files"
                    );
                    kind.plays.push(recordings.len());
                    recordings.push(Track {
                        recording,
                        chunk_ms: kind.form.chunk_ms,
                    });
                }
            }
            kinds.push(kind);
        }
        Ok(Self { items, recordings, kinds })
    }

    /// The kind of each of `streams` lines: first the groups with a count, then the others so that every beginning has their mix.
    pub(crate) fn kinds_of_lines(&self, streams: u32) -> Vec<usize> {
        let mut out: Vec<usize> = Vec::new();
        let mut weights: Vec<(usize, f64, f64)> = Vec::new();
        for (index, kind) in self.kinds.iter().enumerate() {
            match kind.share {
                Share::Count(count) => (0..count).for_each(|_| out.push(index)),
                Share::Weight(weight) => weights.push((index, weight, 0.0)),
            }
        }
        let total: f64 = weights.iter().map(|(_, weight, _)| weight).sum();
        let wanted = usize::try_from(streams).unwrap_or(usize::MAX);
        while out.len() < wanted {
            weights.iter_mut().for_each(|(_, weight, due)| *due += *weight / total);
            let Some(most) = weights.iter_mut().max_by(|a, b| a.2.total_cmp(&b.2).then(b.0.cmp(&a.0))) else {
                break;
            };
            most.2 -= 1.0;
            out.push(most.0);
        }
        out.truncate(wanted);
        out
    }
}
