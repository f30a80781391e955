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
    ("terms", &[]),
    ("error", &["wire"]),
    ("config", &["units", "error"]),
    ("telemetry", &["units", "error"]),
    ("wire", &["units", "error"]),
    ("audio", &["units", "error", "config", "telemetry", "wire"]),
    ("text", &["units", "error", "config", "telemetry", "wire"]),
    ("gpu", &["units", "error"]),
    ("ops", &["gpu", "units", "error"]),
    (
        "model",
        &["ops", "gpu", "units", "terms", "error", "config", "telemetry", "engine::batch"],
    ),
    (
        "engine",
        &["model", "ops", "gpu", "wire", "units", "terms", "error", "config", "telemetry"],
    ),
    (
        "scheduler",
        &[
            "engine::batch",
            "engine::cost",
            "engine::worker",
            "units",
            "terms",
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
            "terms",
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
            "terms",
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
            "terms",
            "error",
            "config",
            "telemetry",
        ],
    ),
];

fn sources() -> BTreeMap<PathBuf, String> {
    sources_in("src")
}

/// Rust files of a folder by path, with their text.
fn sources_in(folder: &str) -> BTreeMap<PathBuf, String> {
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
    walk(&root().join(folder), &mut found);
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
        "scheduler/core/next.rs",
        "scheduler/policy.rs",
        "scheduler/admission.rs",
        "scheduler/arrivals.rs",
        "scheduler/fair.rs",
        "scheduler/forecast.rs",
        "scheduler/placement.rs",
        "stream/session.rs",
        "stream/session/work.rs",
        "prerecorded/callback/schedule.rs",
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

/// Which tests there are: module path of each file, as `wire::query::tests` or `tests/live.rs::results`, and its text.
fn test_modules() -> Vec<(String, String)> {
    let named = |folder: &str| {
        let files = sources_in(folder).into_iter();
        let files = files.map(|(path, text)| (path.strip_prefix(root().join(folder)).unwrap().with_extension(""), text));
        files
            .map(|(path, text)| {
                let parts = path.iter().filter(|part| *part != "mod");
                let parts: Vec<String> = parts.map(|part| part.to_string_lossy().replace("_tests", "::tests")).collect();
                (parts.join("::"), text)
            })
            .collect::<Vec<_>>()
    };
    let over_sockets = named("tests").into_iter().map(|(module, text)| {
        let (file, rest) = module.split_once("::").map_or((module.as_str(), ""), |(file, rest)| (file, rest));
        (format!("tests/{file}.rs::{rest}").trim_end_matches("::").to_owned(), text)
    });
    named("src").into_iter().chain(over_sockets).collect()
}

/// True if a file on the way to that path has a test function of its name.
fn is_test(reference: &str, modules: &[(String, String)]) -> bool {
    let Some((place, name)) = reference.rsplit_once("::") else {
        return false;
    };
    modules.iter().any(|(module, text)| {
        let on_the_way = place
            .strip_prefix(module.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        on_the_way
            && text.split_once(&format!("fn {name}(")).is_some_and(|(before, _)| {
                let attributes = before.rsplit("\n\n").next().unwrap_or_default();
                attributes.contains("#[test]") || attributes.contains("#[tokio::test")
            })
    })
}

/// What stands between backticks in a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

#[test]
fn every_row_of_the_compatibility_page_names_a_test_that_exists() {
    let page = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let modules = test_modules();
    let short: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("Short forms"))
        .flat_map(quoted)
        .collect();
    let whole = |reference: &str| {
        let form = short
            .chunks_exact(2)
            .find_map(|form| Some(format!("{}::{}", form[1], reference.strip_prefix(form[0])?.strip_prefix("::")?)));
        form.unwrap_or_else(|| reference.to_owned())
    };
    let mut broken = Vec::new();
    let mut rows = 0;
    // Whether the row above has a test, which is what "same" means.
    let mut above = false;
    let lines: Vec<&str> = page.lines().collect();
    for (n, line) in lines.iter().enumerate() {
        if line.starts_with("Short forms") || line.starts_with("**Tests**") {
            continue;
        }
        let references: Vec<&str> = quoted(line).filter(|text| text.contains("::")).collect();
        for reference in &references {
            if !is_test(&whole(reference), &modules) {
                broken.push(format!("line {}: there is no test {reference}", n + 1));
            }
        }
        if !line.starts_with('|') || line.starts_with("|---") {
            above &= line.starts_with('|');
            continue;
        }
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default().trim();
        if lines.get(n + 1).is_some_and(|next| next.starts_with("|---")) {
            if last != "Test" {
                broken.push(format!("line {}: the table has no column of tests", n + 1));
            }
            above = false;
            continue;
        }
        rows += 1;
        above = quoted(last).any(|text| text.contains("::")) || (above && last.starts_with("same"));
        if !above {
            broken.push(format!("line {}: no test: {line}", n + 1));
        }
    }
    assert!(rows > 80, "only {rows} rows were found");
    assert!(broken.is_empty(), "docs/compatibility.md:\n{}", broken.join("\n"));
}

#[test]
fn every_metric_has_a_row_of_the_compatibility_page() {
    let page = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let families = hark::telemetry::compatible::Compatible::default().render(1, Some(1));
    let families = families.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let ours = hark::telemetry::metrics::TABLE.iter().map(|(name, _, _)| *name);
    for name in families.chain(ours) {
        assert!(page.contains(&format!("\n| `{name}` | ")), "no row for {name}");
    }
}

#[test]
fn every_key_of_the_compatible_files_has_a_row_of_the_compatibility_page() {
    let page = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let section = page
        .split_once("\n## Configuration files\n")
        .unwrap()
        .1
        .split("\n## ")
        .next()
        .unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: Vec<&str> = rows.collect();
    assert_eq!(rows, hark::config::compat::keys().collect::<Vec<_>>());
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
