//! The `hark` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match hark::cli::run(hark::cli::Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hark: {error:#}");
            ExitCode::FAILURE
        }
    }
}
