//! Load tester for live speech-to-text streams.
//!
//! Speaks the public WebSocket protocol and shares no code with the server, so that it can disagree with it; only `simulate`, which measures
//! no server, runs the server's scheduler.
//! `run` puts a scenario of streams on a server and judges delays, refusals and words; `watch` streams one file and prints what comes.

mod audio;
mod built_in;
mod call;
mod capacity;
mod compare;
mod html;
mod items;
mod latency;
mod live;
mod metrics;
mod numbers;
mod pacing;
mod plan;
mod program;
mod report;
mod simulate;
mod soak;
mod stolen;
mod tally;
mod target;
mod upload;
mod view;
mod watch;
mod wav;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::capacity::Rule;
use crate::live::Stage;
use crate::metrics::Scrape;
use crate::plan::Scenario;
use crate::program::Program;
use crate::report::Report;
use crate::simulate::Simulate;
use crate::soak::Plan;
use crate::tally::Tally;
use crate::target::Target;
use crate::view::View;

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
        #[command(flatten)]
        files: Files,
    },
    /// Searches for the largest number of streams that holds the rule; exit code 0: one was found, 1: none, or fewer than asked for, 2: the
    /// search did not come about.
    Capacity {
        #[command(flatten)]
        server: Server,
        /// Where audio, groups, uploads and query come from; its load, storms and thresholds are left out. Without it three built-in
        /// calls are sent in 20 ms packets of 8 kHz mu-law.
        #[arg(long)]
        scenario: Option<PathBuf>,
        /// How long each trial is measured, such as 120s or 2m; its streams connect before, within a quarter of that.
        #[arg(long, default_value = "120s", value_parser = duration)]
        duration: Duration,
        /// Largest share of results that may be later than 400 ms.
        #[arg(long, default_value_t = 0.001)]
        late_share: f64,
        /// The search ends when the number that holds is known up to this share of it, or to one stream.
        #[arg(long, default_value_t = 0.05)]
        resolution: f64,
        /// Streams of the first trial.
        #[arg(long, default_value_t = 1)]
        first: u32,
        /// Streams that are never exceeded.
        #[arg(long, default_value_t = 20_000)]
        most: u32,
        /// Exit code 1 if fewer streams hold.
        #[arg(long)]
        at_least: Option<u32>,
        #[command(flatten)]
        files: Files,
    },
    /// Connects and leaves many times, then plays hours at high speed; exit code 0: nothing failed, 1: something did, 2: the soak did not
    /// come about.
    Soak {
        #[command(flatten)]
        server: Server,
        /// Where audio, groups and query come from; its load, storms, uploads and thresholds are left out. Without it the three built-in calls.
        #[arg(long)]
        scenario: Option<PathBuf>,
        /// Short connections of the first phase; every second one ends with a TCP reset.
        #[arg(long, default_value_t = 1000)]
        cycles: u32,
        /// Connections of the first phase at once.
        #[arg(long, default_value_t = 8)]
        parallel: u32,
        /// Hours of audio on each line of the second phase.
        #[arg(long, default_value_t = 1.0)]
        hours: f64,
        /// Lines of the second phase.
        #[arg(long, default_value_t = 4)]
        streams: u32,
        /// Times real time, in both phases.
        #[arg(long, default_value_t = 8.0)]
        speed: f64,
        /// Process of the server, on this machine: its resident memory is watched.
        #[arg(long)]
        pid: Option<u32>,
        /// Exit code 1 if the memory grows faster in the second phase.
        #[arg(long)]
        most_mib_per_hour: Option<f64>,
        #[command(flatten)]
        files: Files,
    },
    /// Simulates the scheduler over many devices in virtual time; exit code 0: the rule holds, or what was looked for was found, 1: not, 2: the
    /// simulation did not come about.
    Simulate {
        #[command(flatten)]
        simulate: Box<Simulate>,
        #[command(flatten)]
        files: Files,
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

/// Where figures go besides the terminal.
#[derive(Debug, clap::Args)]
struct Files {
    /// Writes all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Writes a page with plots to this file.
    #[arg(long)]
    html: Option<PathBuf>,
}

impl Files {
    fn write(&self, figures: &impl serde::Serialize, page: impl FnOnce() -> Result<String>) -> Result<()> {
        let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).with_context(|| path.display().to_string());
        if let Some(path) = &self.json {
            write(path, &serde_json::to_vec(figures)?)?;
        }
        if let Some(path) = &self.html {
            write(path, page()?.as_bytes())?;
        }
        Ok(())
    }
}

fn parameter(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("no = in it")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// `90`, `90s`, `2m` or `1.5h`.
fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60.0),
        Some(number) if text.ends_with('h') => (number, 3600.0),
        Some(number) => (number, 1.0),
        None => (text, 1.0),
    };
    let seconds: f64 = number.parse().map_err(|_| "neither 90s nor 2m nor 1h".to_owned())?;
    Duration::try_from_secs_f64(seconds * unit).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run { scenario, server, files } => run(&scenario, &server, &files).await,
        Command::Capacity {
            server,
            scenario,
            duration,
            late_share,
            resolution,
            first,
            most,
            at_least,
            files,
        } => {
            let rule = Rule {
                duration_s: duration.as_secs_f64(),
                late_share,
                resolution,
                first,
                most,
                at_least,
            };
            capacity(&server, scenario.as_deref(), rule, &files).await
        }
        Command::Soak {
            server,
            scenario,
            cycles,
            parallel,
            hours,
            streams,
            speed,
            pid,
            most_mib_per_hour,
            files,
        } => {
            let plan = Plan {
                cycles,
                parallel,
                hours,
                streams,
                speed,
                pid,
                most_mib_per_hour,
            };
            soak(&server, scenario.as_deref(), plan, &files).await
        }
        Command::Simulate { simulate, files } => simulation(&simulate, &files).await,
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
async fn run(path: &Path, server: &Server, files: &Files) -> Result<bool> {
    let scenario = Arc::new(Scenario::read(path)?);
    let target = Target::new(&server.url, server.key.as_deref(), &scenario.query)?;
    let stage = Arc::new(Stage::new(target, Program::new(&scenario, items::read(&scenario.audio)?)?)?);
    let reference = live::reference(&scenario, &stage).await?;
    let before = Scrape::read(&stage.target).await;
    let view = Arc::new(View::new()?);
    let mut tally = Tally::new(&scenario, &stage.program, &reference, files.json.is_some())?;
    live::run(&scenario, &stage, &view, &mut tally, |_| false).await?;
    let figures = metrics::between(before, &stage.target).await;
    let report = Report::new(&scenario, &server.url, &stage.program, &tally, view.most_open(), figures);
    print!("{report}");
    files.write(&report, || html::of_run(&report))?;
    Ok(report.broken.is_empty())
}

/// Searches for the capacity and tells whether it is as large as asked for.
async fn capacity(server: &Server, scenario: Option<&Path>, rule: Rule, files: &Files) -> Result<bool> {
    rule.check()?;
    let (scenario, items) = built_in::read(scenario)?;
    let program = Program::new(&scenario, items)?;
    let target = Target::new(&server.url, server.key.as_deref(), &scenario.query)?;
    let stage = Arc::new(Stage::new(target, program)?);
    let found = capacity::search(&scenario, &server.url, &stage, &rule).await?;
    print!("{found}");
    files.write(&found, || html::of_capacity(&found))?;
    found.holds()
}

/// Soaks and tells whether nothing broke.
async fn soak(server: &Server, scenario: Option<&Path>, plan: Plan, files: &Files) -> Result<bool> {
    plan.check()?;
    let (mut scenario, items) = built_in::read(scenario)?;
    // Every line at the plan's speed, whatever its group says.
    scenario.audio.speed = plan.speed;
    scenario.groups.iter_mut().for_each(|group| group.speed = None);
    scenario.uploads = None;
    let program = Program::new(&scenario, items)?;
    let target = Target::new(&server.url, server.key.as_deref(), &scenario.query)?;
    let stage = Arc::new(Stage::new(target, program)?);
    let soak = soak::soak(&scenario, &server.url, &stage, &plan).await?;
    print!("{soak}");
    files.write(&soak, || html::of_soak(&soak))?;
    Ok(soak.broken.is_empty())
}

/// Simulates and tells whether the rule holds.
async fn simulation(asked: &Simulate, files: &Files) -> Result<bool> {
    let Some(simulation) = simulate::run(asked).await? else {
        return Ok(true);
    };
    print!("{simulation}");
    files.write(&simulation, || html::of_simulation(&simulation))?;
    Ok(simulation.holds())
}

async fn watch(file: &Path, server: Server, speed: f64, interim: bool, parameters: Vec<(String, String)>) -> Result<()> {
    let query: BTreeMap<String, String> = parameters.into_iter().collect();
    let target = Target::new(&server.url, server.key.as_deref(), &query)?;
    watch::watch(file, &target, speed, interim).await
}
