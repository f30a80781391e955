//! Tests that cannot run say so, and are counted: `scripts/test` prints what they wrote.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

/// Says that the running test was skipped, and why.
pub(crate) fn skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("{}: {reason}", thread.name().unwrap_or("a test"));
    eprintln!("skipped: {line}");
    // Only tests have a place for it.
    let Some(target) = option_env!("CARGO_TARGET_TMPDIR").and_then(|tmp| Path::new(tmp).parent()) else {
        return;
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(target.join("skipped.txt"))
        .unwrap();
    writeln!(file, "{line}").unwrap();
}
