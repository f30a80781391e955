//! Rules of the repository that a program can check: who imports whom, where `unsafe` may stand, what documents must name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that each top-level module may name, besides itself.
const IMPORTS: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("error", &["wire"]),
    ("config", &["units", "error"]),
    ("telemetry", &["units", "error"]),
    ("wire", &["units", "error"]),
    ("audio", &["units", "error", "config", "telemetry", "wire"]),
    ("text", &["units", "error", "config", "telemetry", "wire"]),
    ("gpu", &["units", "error"]),
    ("ops", &["gpu", "units", "error"]),
    ("model", &["ops", "gpu", "units", "error", "config", "telemetry", "engine::batch"]),
    ("engine", &["model", "ops", "gpu", "wire", "units", "error", "config", "telemetry"]),
    (
        "scheduler",
        &[
            "engine::batch",
            "engine::cost",
            "engine::worker",
            "units",
            "error",
            "config",
            "telemetry",
        ],
    ),
    (
        "stream",
        &[
            "scheduler",
            "engine::batch",
            "audio",
            "text",
            "wire",
            "units",
            "error",
            "config",
            "telemetry",
        ],
    ),
    (
        "prerecorded",
        &[
            "scheduler",
            "engine::batch",
            "audio",
            "text",
            "wire",
            "units",
            "error",
            "config",
            "telemetry",
        ],
    ),
    (
        "api",
        &[
            "stream",
            "prerecorded",
            "scheduler",
            "engine::served",
            "engine::batch",
            "audio",
            "text",
            "wire",
            "units",
            "error",
            "config",
            "telemetry",
        ],
    ),
];

fn sources() -> BTreeMap<PathBuf, String> {
    fn walk(folder: &Path, found: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&root().join("src"), &mut found);
    assert!(found.len() > 40, "the sources were not found");
    found
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The source without comments, and without what follows the beginning of a test module.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end]
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root().join("src")).unwrap().to_string_lossy().replace('\\', "/")
}

fn is_test_file(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

/// Every `crate::a::b` in the code; grouped imports are taken apart at the first level.
fn named_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for part in code.split("crate::").skip(1) {
        if let Some(group) = part.strip_prefix('{') {
            let group = group.split("};").next().unwrap_or_default();
            paths.extend(group.split(',').map(|item| item.trim().to_owned()));
        } else {
            let end = part
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(part.len());
            paths.push(part[..end].trim_end_matches(':').to_owned());
        }
    }
    paths
}

#[test]
fn modules_import_only_what_their_layer_may() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let name = relative(&path);
        let module = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let Some((_, allowed)) = IMPORTS.iter().find(|(known, _)| *known == module) else {
            continue;
        };
        if is_test_file(&name) {
            continue;
        }
        for used in named_paths(&code(&text)) {
            let fits = |allowed: &str| used == allowed || used.starts_with(&format!("{allowed}::"));
            if !fits(&module) && !allowed.iter().any(|allowed| fits(allowed)) {
                broken.push(format!("{name} uses crate::{used}"));
            }
        }
    }
    assert!(broken.is_empty(), "arrows that point up:\n{}", broken.join("\n"));
}

#[test]
fn actors_and_sockets_stay_in_their_shells() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let (name, code) = (relative(&path), code(&text));
        let shell = name.ends_with("/actor.rs")
            || name.starts_with("api/")
            || ["app.rs", "scheduler/messages.rs", "scheduler/mod.rs"].contains(&name.as_str())
            || name.starts_with("cli");
        let crates = ["actix::", "actix_web::", "actix_http::", "actix_tls::", "actix_rt::"];
        if crates.iter().any(|name| code.contains(name)) && !shell {
            broken.push(format!("{name} names actix"));
        }
        if code.contains("cudarc::") && !name.starts_with("gpu/") {
            broken.push(format!("{name} names cudarc"));
        }
        if code.contains("actix_web_actors") && name != "api/socket.rs" {
            broken.push(format!("{name} names the WebSocket crate"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn pure_cores_read_no_clock() {
    for name in [
        "scheduler/core.rs",
        "scheduler/policy.rs",
        "scheduler/admission.rs",
        "scheduler/arrivals.rs",
        "scheduler/fair.rs",
        "scheduler/forecast.rs",
        "scheduler/placement.rs",
        "stream/session.rs",
        "engine/cost.rs",
    ] {
        let text = fs::read_to_string(root().join("src").join(name)).unwrap();
        let code = code(&text);
        assert!(
            !code.contains("Instant::now") && !code.contains("SystemTime::now"),
            "{name} reads the clock"
        );
    }
}

#[test]
fn unsafe_is_confined_and_explained() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let name = relative(&path);
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if !code.contains("unsafe ") && !code.contains("unsafe{") {
                continue;
            }
            if !["ops/", "gpu/", "model/lm/"].iter().any(|place| name.starts_with(place)) {
                broken.push(format!("{name}:{} has unsafe code", n + 1));
            }
            let explained = lines[n.saturating_sub(8)..=n]
                .iter()
                .any(|line| line.contains("SAFETY") || line.contains("# Safety"));
            if !explained {
                broken.push(format!("{name}:{} has unsafe code without a SAFETY comment", n + 1));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_metric_is_documented() {
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for (name, kind, meaning) in hark::telemetry::metrics::TABLE {
        let row = format!("| `{name}` | {kind} | {meaning} |");
        assert!(operations.contains(&row), "docs/operations.md lacks the row\n{row}");
    }
}

#[test]
fn the_load_tester_does_not_know_the_server() {
    let manifest = fs::read_to_string(root().join("loadtest/Cargo.toml")).unwrap();
    assert!(
        !manifest
            .lines()
            .any(|line| line.trim_start().starts_with("hark ") || line.trim_start().starts_with("hark=")),
        "{manifest}"
    );
}
