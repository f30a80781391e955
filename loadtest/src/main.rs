//! Load tester for live speech-to-text streams.
//!
//! Speaks the public WebSocket protocol and shares no code with the server, so that it can disagree with it.
//! `run` puts a scenario of streams on a server and judges delays, refusals and words; `watch` streams one file and prints what comes.

mod call;
mod compare;
mod latency;
mod live;
mod pacing;
mod plan;
mod report;
mod watch;
mod wav;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::call::Target;
use crate::plan::{Scenario, SendAs};
use crate::report::Report;

/// Load tester for live speech-to-text streams.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario; exit code 0: all its thresholds hold, 1: one is broken, 2: the run did not come about.
    Run {
        /// The scenario file.
        scenario: PathBuf,
        #[command(flatten)]
        server: Server,
        /// Writes all figures and every result to this file.
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Streams one WAV file and prints the results as they come.
    Watch {
        /// 16-bit linear, mu-law or A-law.
        file: PathBuf,
        #[command(flatten)]
        server: Server,
        /// Times real time.
        #[arg(long, default_value_t = 1.0)]
        speed: f64,
        /// Prints interim results too.
        #[arg(long)]
        interim: bool,
        /// Adds a parameter to the query, as NAME=VALUE.
        #[arg(long = "param", value_parser = parameter)]
        parameters: Vec<(String, String)>,
    },
}

#[derive(Debug, clap::Args)]
struct Server {
    /// Address of the server, such as http://127.0.0.1:8080.
    #[arg(long)]
    url: String,
    /// API key.
    #[arg(long, env = "HARK_LOADTEST_KEY", hide_env_values = true)]
    key: Option<String>,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("no = in it")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { scenario, server, json } => run(&scenario, &server, json.as_deref()).await,
        Command::Watch {
            file,
            server,
            speed,
            interim,
            parameters,
        } => watch(&file, server, speed, interim, parameters).await.map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("hark-loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs a scenario and tells whether its thresholds hold.
async fn run(path: &Path, server: &Server, json: Option<&Path>) -> Result<bool> {
    let scenario = Arc::new(Scenario::read(path)?);
    let items = Arc::new(scenario.items()?);
    let audio = &scenario.audio;
    let target = Target::new(&server.url, server.key.clone(), &scenario.query, audio.send, audio.chunk_ms)?;
    let reference = live::reference(&scenario, &target, &items).await?;
    let placed = live::run(&scenario, &Arc::new(target), &items).await?;
    let report = Report::new(&scenario, &server.url, &items, &reference, &placed)?;
    print!("{report}");
    if let Some(path) = json {
        let text = serde_json::to_vec(&report)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(report.broken.is_empty())
}

async fn watch(file: &Path, server: Server, speed: f64, interim: bool, parameters: Vec<(String, String)>) -> Result<()> {
    let query: BTreeMap<String, String> = parameters.into_iter().collect();
    let target = Target::new(&server.url, server.key, &query, SendAs::Raw, 20)?;
    watch::watch(file, &target, speed, interim).await
}
