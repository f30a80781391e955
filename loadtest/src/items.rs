//! The files that are sent, and what is said in them. Called by `main` and `built_in`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::plan::AudioPlan;
use crate::program::Item;
use crate::wav::Wav;

/// Most files that are kept in memory.
const MAX_FILES: usize = 2000;

/// Reads the files of the folder, in the order of their names, with their transcripts.
///
/// A transcript comes from `manifest.tsv` in the folder (columns `file` and `transcript`; `-` means unknown), else from a `.txt`
/// beside the file.
///
/// # Errors
/// No WAV files, or one that cannot be sent.
pub(crate) fn read(audio: &AudioPlan) -> Result<Vec<Item>> {
    let folder = &audio.folder;
    let named = || format!("audio.folder {}", folder.display());
    let listed: Vec<PathBuf> = std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .with_context(named)?;
    let is_wav = |path: &PathBuf| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("wav"));
    let mut paths: Vec<PathBuf> = listed.into_iter().filter(is_wav).collect();
    paths.sort();
    paths.truncate(audio.max_files.unwrap_or(MAX_FILES));
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
