//! Streams one file and prints its results as they come.
//!
//! For eyes, not for scripts: `run` measures. Called by `main`.

use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::audio::Recording;
use crate::call::{Manner, Outcome, call};
use crate::latency::{Measure, Timed};
use crate::plan::SendAs;
use crate::target::Target;
use crate::view::View;
use crate::wav::Wav;

/// Audio in one message.
const CHUNK_MS: u32 = 20;

/// Widest line that an interim may take on a terminal: a wrapped line cannot be overwritten.
const WIDTH: usize = 78;

/// Streams `file` and prints finals, with `interim` also interims: overwritten on a terminal, one a line otherwise.
///
/// # Errors
/// A file that cannot be sent, or a call that does not complete.
pub(crate) async fn watch(file: &Path, target: &Target, speed: f64, interim: bool) -> Result<()> {
    let wav = Wav::read(file)?;
    let recording = Recording::of_file(SendAs::Raw, 0, &wav);
    let overwrite = std::io::stdout().is_terminal();
    let mut response = Measure::new()?;
    let mut broken_pipe = None;
    println!(
        "{}: {:.1} s of {} at {} Hz",
        wav.name(),
        recording.seconds(),
        wav.encoding.name(),
        wav.sample_rate
    );
    let manner = Manner::whole(speed, CHUNK_MS);
    let seen = call(target, &recording, &manner, &View::new()?, |timed, transcript| {
        if timed.covers_new
            && let Some(ms) = timed.response_ms
        {
            response.add_ms(ms);
        }
        if (timed.is_final || interim) && !transcript.is_empty() {
            broken_pipe = broken_pipe.take().or(show(timed, transcript, overwrite).err());
        }
    })
    .await?;
    if let Some(error) = broken_pipe {
        return Err(error).context("printing");
    }
    if overwrite {
        print!("\r\x1b[K");
    }
    match seen.outcome {
        Outcome::Completed => {}
        Outcome::Refused(refusal) => bail!("the server has no room for the stream: it answered {}", refusal.status),
        Outcome::Failed(reason) => bail!("the call failed: {reason}"),
        outcome => bail!("the call ended in an odd way: {outcome:?}"),
    }
    match response.summary() {
        Some(s) => println!(
            "response time: p50 {:.0} ms, p99 {:.0} ms, largest {:.0} ms over {} results",
            s.p50_ms, s.p99_ms, s.max_ms, s.count
        ),
        None => println!("no results"),
    }
    Ok(())
}

fn show(timed: &Timed, transcript: &str, overwrite: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let delay = timed.response_ms.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.0}"));
    let kind = if timed.is_final { "final  " } else { "interim" };
    let line = format!("{kind} {:7.2} s {delay:>5} ms  {transcript}", timed.start_s + timed.duration_s);
    if !overwrite {
        return writeln!(out, "{line}");
    }
    if timed.is_final {
        return writeln!(out, "\r\x1b[K{line}");
    }
    // The newest words matter: cut a long line in the middle, behind the figures.
    let text: Vec<char> = line.chars().collect();
    let shown: String = if text.len() > WIDTH {
        let (head, tail) = (
            text.get(..27).unwrap_or_default(),
            text.get(text.len().saturating_sub(WIDTH - 28)..).unwrap_or_default(),
        );
        head.iter().chain(&['…']).chain(tail).collect()
    } else {
        line
    };
    write!(out, "\r\x1b[K{shown}")?;
    out.flush()
}
