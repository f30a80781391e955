//! Logs and metrics. Logs never carry transcript text, audio or keys.

pub mod compatible;
pub mod metrics;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged where `HARK_LOG` says nothing, by how often more was asked for.
fn filter(verbose: u8) -> &'static str {
    match verbose {
        0 => "info,actix_server=warn,symphonia=error",
        1 => "info,hark=debug,symphonia=error",
        _ => "debug",
    }
}

/// Sends logs to standard error; `HARK_LOG` chooses what. `verbose`: how often more than the usual was asked for.
pub fn start_logging(verbose: u8) {
    let filter = EnvFilter::try_from_env("HARK_LOG").unwrap_or_else(|_| EnvFilter::new(filter(verbose)));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn more_is_logged_the_more_often_it_is_asked_for() {
        for (verbose, most) in [
            (0, LevelFilter::INFO),
            (1, LevelFilter::DEBUG),
            (2, LevelFilter::DEBUG),
            (255, LevelFilter::DEBUG),
        ] {
            let filter = EnvFilter::try_new(filter(verbose)).unwrap();
            assert_eq!(filter.max_level_hint(), Some(most), "{verbose}");
        }
        // Once: ours alone.
        assert!(filter(1).starts_with("info,hark=debug"));
    }
}
