//! The scenario that is used where none is given: the three sample calls of the repository, which are part of the program.
//!
//! Called by `main` for `capacity` and `soak`.

use std::path::Path;

use anyhow::Result;

use crate::items;
use crate::plan::Scenario;
use crate::program::Item;
use crate::wav::Wav;

const SCENARIO: &str = r#"
name = "built-in calls"
[audio]
folder = "built in"
reference_speed = 4
[load]
streams = 1
duration_s = 1
"#;

const FILES: [(&str, &[u8], &str); 3] = [
    (
        "call-2.wav",
        include_bytes!("../../samples/call-2.wav"),
        include_str!("../../samples/call-2.txt"),
    ),
    (
        "call-3.wav",
        include_bytes!("../../samples/call-3.wav"),
        include_str!("../../samples/call-3.txt"),
    ),
    (
        "call.wav",
        include_bytes!("../../samples/call.wav"),
        include_str!("../../samples/call.txt"),
    ),
];

/// The scenario at `path` and its files, else the built-in ones.
///
/// # Errors
/// A scenario that cannot be read, or files that cannot be sent.
pub(crate) fn read(path: Option<&Path>) -> Result<(Scenario, Vec<Item>)> {
    if let Some(path) = path {
        let scenario = Scenario::read(path)?;
        let items = items::read(&scenario.audio)?;
        return Ok((scenario, items));
    }
    let item = |(name, bytes, text): (&str, &[u8], &str)| -> Result<Item> {
        Ok(Item {
            wav: Wav::parse(Path::new(name), bytes.to_vec())?,
            transcript: Some(text.to_owned()),
        })
    };
    let items = FILES.into_iter().map(item).collect::<Result<Vec<_>>>()?;
    Ok((Scenario::parse(SCENARIO)?, items))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::program::Program;

    #[test]
    fn the_built_in_calls_are_those_of_the_repository() {
        let (scenario, items) = read(None).unwrap();
        let program = Program::new(&scenario, items).unwrap();
        let seconds: f64 = program.recordings.iter().map(|track| track.recording.seconds()).sum();
        assert!((40.0..60.0).contains(&seconds), "{seconds} s");
        assert!(program.items.iter().all(|item| item.transcript.is_some()));
    }
}
