//! Every kernel compiles for every card that is supported, within what a multiprocessor has: no spills, no stack, registers and
//! shared memory within a block's limits. `cargo test --test kernels limits -- --nocapture` prints the table.

use std::collections::BTreeMap;

use hark::gpu::kernels::SOURCES;

use crate::support::compiler;

/// Supported cards, and the shared memory in bytes that a block has there without asking.
const ARCHITECTURES: [&str; 5] = ["sm_75", "sm_80", "sm_86", "sm_89", "sm_90"];
const SHARED: usize = 48 << 10;
const REGISTERS: usize = 65_536;

/// What the compiler said of one kernel.
#[derive(Debug, Default)]
struct Used {
    registers: usize,
    stack: usize,
    spilled: usize,
    shared: usize,
}

/// The number before `unit` in a line such as `Used 40 registers, used 1 barriers, 4096 bytes smem`.
fn before(line: &str, unit: &str) -> usize {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = line.find(unit).map(|at| line[..at].split_whitespace().count());
    at.and_then(|at| words.get(at.checked_sub(1)?))
        .map_or(0, |word| word.parse().unwrap())
}

fn parse(log: &str) -> BTreeMap<String, Used> {
    let (mut kernels, mut name) = (BTreeMap::<String, Used>::new(), String::new());
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            name = rest.split('\'').next().unwrap().to_owned();
        }
        if line.contains("bytes stack frame") {
            let used = kernels.entry(name.clone()).or_default();
            used.stack = before(line, "bytes stack frame");
            used.spilled = before(line, "bytes spill stores") + before(line, "bytes spill loads");
        }
        if line.contains("Used ") && line.contains("registers") {
            let used = kernels.entry(name.clone()).or_default();
            used.registers = before(line, "registers");
            used.shared = before(line, "bytes smem");
        }
    }
    kernels
}

/// Threads of a block that each kernel was bounded to.
fn threads(ptx: &str) -> BTreeMap<String, usize> {
    let (mut threads, mut name) = (BTreeMap::new(), String::new());
    for line in ptx.lines() {
        if let Some(rest) = line.split(".entry ").nth(1) {
            name = rest.trim().trim_end_matches('(').to_owned();
        }
        if let Some(rest) = line.trim().strip_prefix(".maxntid ") {
            threads.insert(name.clone(), rest.split(',').map(|n| n.trim().parse::<usize>().unwrap()).product());
        }
    }
    threads
}

#[test]
fn every_kernel_fits_every_card() {
    let Some(compiler) = compiler() else { return };
    let mut table: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for arch in ARCHITECTURES {
        for (file, source) in SOURCES {
            let compiled = compiler.compile(file, source, arch).unwrap();
            assert!(
                !compiled.log.contains("spilled"),
                "{file} for {arch} spills registers:\n{}",
                compiled.log
            );
            let (used, threads) = (parse(&compiled.log), threads(&compiled.ptx));
            assert_eq!(
                used.keys().collect::<Vec<_>>(),
                threads.keys().collect::<Vec<_>>(),
                "{file}: a kernel without a bound on its threads"
            );
            assert!(!used.is_empty(), "{file} for {arch} has no kernel");
            for (name, used) in used {
                assert_eq!((used.stack, used.spilled), (0, 0), "{name} for {arch}: {used:?}");
                assert!(
                    used.registers > 0 && used.registers * threads[&name] <= REGISTERS,
                    "{name} for {arch}: {used:?}"
                );
                assert!(used.shared <= SHARED, "{name} for {arch}: {used:?}");
                table.entry(format!("{file} {name}")).or_default().push(used.registers);
            }
        }
    }
    let page = include_str!("../../docs/kernels.md");
    for (name, registers) in &table {
        let name = name.split(' ').nth(1).unwrap();
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/kernels.md has no row for {name}"));
        // Other compilers choose other registers; the page tells those of the pinned one.
        if compiler.version() == (13, 0) {
            let listed = registers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            assert!(row.contains(&format!("| {listed} |")), "docs/kernels.md: {name} has {listed}");
        }
    }
    println!(
        "{} kernels compiled for each of {} architectures, none spills; registers of a thread for {}",
        table.len(),
        ARCHITECTURES.len(),
        ARCHITECTURES.join(", ")
    );
    for (name, registers) in table {
        println!("{name}: {}", registers.iter().map(usize::to_string).collect::<Vec<_>>().join(", "));
    }
}
