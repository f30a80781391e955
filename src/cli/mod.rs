//! The command line: what each command needs is put together here, the work is done elsewhere.

mod live;
pub mod models;
mod transcribe;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::config::{Config, GpuMode};
use crate::{app, engine, telemetry};

/// Self-hosted, real-time speech-to-text.
#[derive(Debug, Parser)]
#[command(name = "hark", version)]
pub struct Arguments {
    /// Log more; twice: much more. `HARK_LOG` goes before it.
    #[arg(short, action = ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the HTTP and WebSocket interface.
    Serve {
        /// Configuration file (ours, or the compatible api.toml / engine.toml); may be given again, and the later counts.
        #[arg(long, value_name = "FILE")]
        config: Vec<PathBuf>,
        /// The same, as the compatible product takes it.
        #[arg(value_name = "FILE", conflicts_with = "config")]
        files: Vec<PathBuf>,
        /// Address and port to listen on; port 0 picks a free one.
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<String>,
        /// Model to serve.
        #[arg(long, value_name = "NAME")]
        model: Option<String>,
    },
    /// Transcribe files.
    Transcribe(TranscribeArguments),
    /// Look at, import and examine models.
    Models {
        #[command(subcommand)]
        command: models::ModelsCommand,
    },
    /// Tell what GPU, driver and compiler there are, and why the GPU is used or not.
    Gpu {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Read a configuration and print what is in effect, with secrets hidden.
    CheckConfig {
        /// Configuration files, as for `serve`.
        #[arg(value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// What `hark transcribe` is told.
#[derive(Debug, clap::Args)]
struct TranscribeArguments {
    /// Files to transcribe.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Configuration file.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Model to use.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Feed the files through the live path, in chunks shaped like a phone's, as fast as they are accepted.
    #[arg(long)]
    live: bool,
    /// Context in encoder frames, one of the model's.
    #[arg(long, value_name = "LEFT,RIGHT", value_parser = models::parse_context)]
    context: Option<[i32; 2]>,
    /// Word or phrase to favour; may be given again.
    #[arg(long, value_name = "PHRASE")]
    keyterm: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Srt,
    Vtt,
}

/// Runs a command.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    telemetry::start_logging(arguments.verbose);
    match arguments.command {
        Command::Serve {
            mut config,
            files,
            listen,
            model,
        } => {
            config.extend(files);
            let mut config = load(&config, model)?;
            if let Some(address) = listen {
                let address: SocketAddr = address.parse().with_context(|| format!("--listen {address} is not ADDR:PORT"))?;
                config.server.host = address.ip().to_string();
                config.server.port = address.port();
                config.validate()?;
            }
            let opened = engine::open(&config.models.dir, &app::choice(&config, None))?;
            actix_web::rt::System::new().block_on(app::serve(config, opened, std::io::stdout()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Transcribe(arguments) => {
            let config = load(&arguments.config, arguments.model.clone())?;
            transcribe::run(&arguments, &config)
        }
        Command::Models { command } => {
            models::run(command, &mut std::io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Gpu { config } => gpu(&load(&config, None)?),
        Command::CheckConfig { files } => {
            print!("{}", load(&files, None)?.to_toml_redacted()?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Opens the GPU as the server would and prints what came of it; fails if a GPU is required and cannot be used.
#[cfg(feature = "cuda")]
fn gpu(config: &Config) -> anyhow::Result<ExitCode> {
    let unused = |why: &str| println!("The GPU is not used: {why}. The processor computes instead.");
    if config.gpu.mode == GpuMode::Never {
        unused("gpu.mode is \"never\"");
        return Ok(ExitCode::SUCCESS);
    }
    let mut used = false;
    for device in &config.gpu.devices {
        match crate::gpu::Gpu::open(&engine::settings(&config.gpu, *device)) {
            Ok(gpu) => {
                used = true;
                println!("{}\nThe GPU is used.", gpu.found());
            }
            Err(error) if config.gpu.mode == GpuMode::Require => return Err(error.into()),
            Err(error) if config.gpu.devices.len() > 1 => println!("GPU {device} is not used: {error}"),
            Err(error) => unused(&error.to_string()),
        }
    }
    if !used && config.gpu.devices.len() > 1 {
        unused("none of the devices can be");
    }
    Ok(ExitCode::SUCCESS)
}

/// Built without the GPU engine, there is nothing to look for.
#[cfg(not(feature = "cuda"))]
fn gpu(config: &Config) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(config.gpu.mode != GpuMode::Require, "built without the feature `cuda`");
    println!("The GPU is not used: built without the feature `cuda`. The processor computes instead.");
    Ok(ExitCode::SUCCESS)
}

fn load<'a>(files: impl IntoIterator<Item = &'a PathBuf>, model: Option<String>) -> anyhow::Result<Config> {
    let (mut config, warnings) = Config::load(files.into_iter().map(PathBuf::as_path), std::env::vars())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if let Some(model) = model {
        config.models.default = Some(model);
    }
    Ok(config)
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

    /// How loud, and which configuration files, the command line of `hark serve` says.
    fn served(line: &str) -> Option<(u8, Vec<String>)> {
        let arguments = Arguments::try_parse_from(line.split(' ')).ok()?;
        let Command::Serve { mut config, files, .. } = arguments.command else {
            return None;
        };
        config.extend(files);
        let files = config.iter().map(|file| file.to_str().unwrap().to_owned()).collect();
        Some((arguments.verbose, files))
    }

    #[test]
    fn the_command_lines_of_the_original_containers_are_understood() {
        for (line, verbose, files) in [
            ("hark -v serve /api.toml", 1, &["/api.toml"][..]),
            ("hark -v serve /engine.toml", 1, &["/engine.toml"]),
            ("hark -vv serve /api.toml /engine.toml", 2, &["/api.toml", "/engine.toml"]),
            ("hark serve", 0, &[]),
            (
                "hark serve --config a.toml --config b.toml --listen 127.0.0.1:0",
                0,
                &["a.toml", "b.toml"],
            ),
        ] {
            let files: Vec<String> = files.iter().map(|&file| file.to_owned()).collect();
            assert_eq!(served(line), Some((verbose, files)), "{line}");
        }
        assert_eq!(served("hark serve --config a.toml b.toml"), None, "either way, but one");
    }
}
