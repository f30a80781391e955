//! Logs and metrics. Logs never carry transcript text, audio or keys.

pub mod compatible;
pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sends logs to standard error; `HARK_LOG` chooses what, default `info`.
pub fn start_logging() {
    let filter = EnvFilter::try_from_env("HARK_LOG").unwrap_or_else(|_| EnvFilter::new("info,actix_server=warn,symphonia=error"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}
