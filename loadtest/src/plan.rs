//! The scenario file: what is sent, how much of it, and what must hold.
//!
//! Reads and checks; sends nothing. Called by `main`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::wav::Wav;

/// Most streams one scenario may ask for.
const MAX_STREAMS: u32 = 20_000;
/// Most files that are kept in memory.
const MAX_FILES: usize = 2000;
/// Longest run, in seconds.
const MAX_SECONDS: f64 = 7.0 * 24.0 * 3600.0;

/// A scenario, as written in TOML.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// Printed at the head of the report.
    pub(crate) name: String,
    /// What is streamed.
    pub(crate) audio: AudioPlan,
    /// How much of it.
    pub(crate) load: Load,
    /// Parameters added to the query, for example `model = "nova-3"`; `interim_results=true` is always sent.
    #[serde(default)]
    pub(crate) query: BTreeMap<String, String>,
    /// What must hold for exit code 0.
    #[serde(default)]
    pub(crate) thresholds: Thresholds,
}

/// What is streamed, and in which form.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AudioPlan {
    /// Folder with WAV files, relative to the scenario file.
    pub(crate) folder: PathBuf,
    /// Takes only the first so many files in the order of their names.
    pub(crate) max_files: Option<usize>,
    /// How the samples are sent.
    #[serde(default)]
    pub(crate) send: SendAs,
    /// Audio in one message.
    #[serde(default = "default_chunk_ms")]
    pub(crate) chunk_ms: u32,
    /// 1 is the pace of a phone; 4 sends four seconds of audio each second.
    #[serde(default = "one")]
    pub(crate) speed: f64,
    /// Speed of the reference run, in which every file is sent once, one at a time.
    #[serde(default = "one")]
    pub(crate) reference_speed: f64,
}

/// How the samples of a file are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SendAs {
    /// The bare samples, described by `encoding`, `sample_rate` and `channels` on the query.
    #[default]
    Raw,
    /// The bytes of the WAV file, header first.
    Wav,
}

/// How many streams, for how long.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    /// Lines that are busy at once. A line makes one call after the other; a call is one connection and one file.
    pub(crate) streams: u32,
    /// The lines begin spread evenly over this time.
    #[serde(default)]
    pub(crate) ramp_s: f64,
    /// No call begins after this time; those that have begun are finished.
    pub(crate) duration_s: f64,
    /// Results received earlier than this count for the words, not for the delays.
    #[serde(default)]
    pub(crate) warmup_s: f64,
}

/// Bounds on the figures; a bound on a figure without samples is broken.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Thresholds {
    /// Response time, median.
    pub(crate) p50_ms: Option<f64>,
    /// Response time, 95 in 100.
    pub(crate) p95_ms: Option<f64>,
    /// Response time, 99 in 100.
    pub(crate) p99_ms: Option<f64>,
    /// Response time, the largest.
    pub(crate) max_ms: Option<f64>,
    /// Least share of response times within 400 ms, 0 to 1.
    pub(crate) within_400_ms: Option<f64>,
    /// Time to the first interim, 99 in 100.
    pub(crate) first_interim_p99_ms: Option<f64>,
    /// From `CloseStream` to the last result, 99 in 100.
    pub(crate) close_p99_ms: Option<f64>,
    /// Our own lateness in sending, 99 in 100: above it the figures say little about the server.
    pub(crate) own_lateness_p99_ms: Option<f64>,
    /// Most connections refused with 429 or 503.
    pub(crate) refused: Option<u64>,
    /// Most calls that failed, before or after they were accepted.
    pub(crate) failed: Option<u64>,
    /// Most results that covered audio not yet sent.
    pub(crate) ahead: Option<u64>,
    /// Most words lost against the reference run.
    pub(crate) missing_words: Option<u64>,
    /// Most words said twice.
    pub(crate) doubled_words: Option<u64>,
    /// Most words that are others than in the reference run.
    pub(crate) differing_words: Option<u64>,
    /// Most words of another stream.
    pub(crate) crossed_words: Option<u64>,
    /// Most additional words of other kinds.
    pub(crate) extra_words: Option<u64>,
    /// Most words at other times than in the reference run.
    pub(crate) moved_words: Option<u64>,
    /// Word error rate against the transcripts, in percent.
    pub(crate) word_error_percent: Option<f64>,
}

fn default_chunk_ms() -> u32 {
    20
}

fn one() -> f64 {
    1.0
}

/// One file of the scenario.
#[derive(Debug)]
pub(crate) struct Item {
    /// The recording.
    pub(crate) wav: Wav,
    /// What is said in it, where somebody wrote it down.
    pub(crate) transcript: Option<String>,
}

impl Scenario {
    /// Reads and checks `path`.
    ///
    /// # Errors
    /// The file cannot be read or parsed, has unknown keys, or asks for something out of range.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut scenario: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        scenario.check().with_context(|| path.display().to_string())?;
        scenario.audio.folder = path.parent().unwrap_or(Path::new(".")).join(&scenario.audio.folder);
        Ok(scenario)
    }

    fn check(&self) -> Result<()> {
        let load = &self.load;
        ensure!(
            (1..=MAX_STREAMS).contains(&load.streams),
            "load.streams must lie between 1 and {MAX_STREAMS}"
        );
        ensure!(
            (10..=10_000).contains(&self.audio.chunk_ms),
            "audio.chunk_ms must lie between 10 and 10000"
        );
        for (name, seconds) in [
            ("duration_s", load.duration_s),
            ("ramp_s", load.ramp_s),
            ("warmup_s", load.warmup_s),
        ] {
            ensure!(
                (0.0..=MAX_SECONDS).contains(&seconds),
                "load.{name} must lie between 0 and {MAX_SECONDS}"
            );
        }
        ensure!(load.ramp_s <= load.duration_s, "load.ramp_s is longer than load.duration_s");
        for (name, speed) in [("speed", self.audio.speed), ("reference_speed", self.audio.reference_speed)] {
            ensure!((0.1..=1000.0).contains(&speed), "audio.{name} must lie between 0.1 and 1000");
        }
        for key in ["encoding", "sample_rate", "channels", "interim_results"] {
            ensure!(!self.query.contains_key(key), "query.{key} is set by the tool");
        }
        if self.query.get("multichannel").is_some_and(|value| value != "false") {
            bail!("query.multichannel is not supported: results of several channels cannot be told apart in the comparison");
        }
        Ok(())
    }

    /// Reads the files of the folder, in the order of their names, with their transcripts.
    ///
    /// A transcript comes from `manifest.tsv` in the folder (columns `file` and `transcript`; `-` means unknown), else from a `.txt`
    /// beside the file.
    ///
    /// # Errors
    /// No WAV files, or one that cannot be sent.
    pub(crate) fn items(&self) -> Result<Vec<Item>> {
        let folder = &self.audio.folder;
        let named = || format!("audio.folder {}", folder.display());
        let listed: Vec<PathBuf> = std::fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
            .with_context(named)?;
        let is_wav = |path: &PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("wav"));
        let mut paths: Vec<PathBuf> = listed.into_iter().filter(is_wav).collect();
        paths.sort();
        paths.truncate(self.audio.max_files.unwrap_or(MAX_FILES));
        ensure!(!paths.is_empty(), "{}: no WAV files", named());
        ensure!(paths.len() <= MAX_FILES, "{}: over {MAX_FILES} files, set audio.max_files", named());
        let manifest = manifest(&folder.join("manifest.tsv"))?;
        paths
            .iter()
            .map(|path| {
                let wav = Wav::read(path)?;
                let written = std::fs::read_to_string(path.with_extension("txt")).ok();
                let transcript = manifest.get(&wav.name()).cloned().or(written).filter(|text| text.trim() != "-");
                Ok(Item { wav, transcript })
            })
            .collect()
    }

    /// When line `line` makes its first call, after the start of the run.
    pub(crate) fn line_start(&self, line: u32) -> Duration {
        Duration::from_secs_f64(self.load.ramp_s * f64::from(line) / f64::from(self.load.streams.max(1)))
    }
}

/// Transcripts by file name (without folders), from a tab-separated table with a header line; empty if there is no such file.
fn manifest(path: &Path) -> Result<HashMap<String, String>> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Ok(HashMap::new());
    };
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let header = lines.next().unwrap_or_default();
    let column = |name: &str| {
        let found = header.iter().position(|field| *field == name);
        found.with_context(|| format!("{}: no column {name}", path.display()))
    };
    let (file, transcript) = (column("file")?, column("transcript")?);
    Ok(lines
        .filter_map(|row| {
            let name = Path::new(row.get(file)?).file_name()?.to_string_lossy().into_owned();
            Some((name, (*row.get(transcript)?).to_owned()))
        })
        .collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = "name = \"x\"\n[audio]\nfolder = \"f\"\n[load]\nstreams = 4\nramp_s = 2.0\nduration_s = 10.0\n";

    fn parse(text: &str) -> Result<Scenario> {
        let scenario: Scenario = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    #[test]
    fn lines_begin_spread_over_the_ramp() {
        let scenario = parse(GOOD).unwrap();
        let starts: Vec<u128> = (0..4).map(|line| scenario.line_start(line).as_millis()).collect();
        assert_eq!(starts, [0, 500, 1000, 1500]);
        assert_eq!(scenario.audio.send, SendAs::Raw);
    }

    #[test]
    fn mistakes_are_refused() {
        for (from, to) in [
            ("streams = 4", "streams = 0"),
            ("streams = 4", "streams = 4\nstrams = 5"),
            ("ramp_s = 2.0", "ramp_s = 20.0"),
            ("ramp_s = 2.0", "ramp_s = -1.0"),
            ("folder = \"f\"", "folder = \"f\"\nchunk_ms = 0"),
            ("folder = \"f\"", "folder = \"f\"\nspeed = 0.0"),
            ("folder = \"f\"", "folder = \"f\"\nspeed = nan"),
            ("[load]", "[query]\nencoding = \"opus\"\n[load]"),
            ("[load]", "[query]\nmultichannel = \"true\"\n[load]"),
            ("[load]", "[thresholds]\np98_ms = 3.0\n[load]"),
        ] {
            assert!(parse(&GOOD.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn the_scenarios_in_the_repository_are_valid() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let scenario = Scenario::read(&entry.unwrap().path()).unwrap();
            assert!(!scenario.items().unwrap().is_empty());
            seen += 1;
        }
        assert!(seen >= 2);
    }

    #[test]
    fn transcripts_come_from_the_manifest_or_from_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.tsv");
        std::fs::write(&path, "file\tseconds\ttranscript\nsub/a.wav\t1\thello there\nb.wav\t2\t-\n").unwrap();
        let found = manifest(&path).unwrap();
        assert_eq!(found.get("a.wav").map(String::as_str), Some("hello there"));
        std::fs::write(&path, "name\ttranscript\n").unwrap();
        assert!(manifest(&path).is_err());
        assert!(manifest(&folder.path().join("none.tsv")).unwrap().is_empty());
    }
}
