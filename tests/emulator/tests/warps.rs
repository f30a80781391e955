//! Warps: lanes that see each other, branches, memory, and what must be refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod support;

use ptx_emulator::{FaultKind, Launch, Memory, Module, Options, Params, ParseErrorKind};
use support::ptx::{kernel, run_lanes};
use support::upload;

fn indexed() -> Vec<[u32; 3]> {
    (0..32).map(|lane| [lane, lane % 4, 100 + lane]).collect()
}

#[test]
fn lanes_see_each_other() {
    let run = |body: &str| {
        run_lanes(body, &indexed(), &[[0; 3]; 32])
            .unwrap_or_else(|e| panic!("{body}: {e}"))
            .0
    };
    let shuffle = |body: &str, wanted: &dyn Fn(u32) -> u32| {
        let got = run(body);
        for lane in 0..32 {
            assert_eq!(got[lane as usize], wanted(lane), "{body}, lane {lane}");
        }
    };
    shuffle("shfl.sync.bfly.b32 %r0, %r3, 5, 31, -1;", &|l| 100 + (l ^ 5));
    shuffle("shfl.sync.up.b32 %r0|%p1, %r3, 3, 0, -1;", &|l| {
        100 + if l >= 3 { l - 3 } else { l }
    });
    shuffle("shfl.sync.down.b32 %r0|%p1, %r3, 3, 31, -1; @!%p1 mov.u32 %r0, 1;", &|l| {
        if l + 3 < 32 { 103 + l } else { 1 }
    });
    shuffle("shfl.sync.idx.b32 %r0, %r3, 7, 31, -1;", &|_| 107);
    // width 8: segment mask 0x18, clamp 7
    shuffle("shfl.sync.idx.b32 %r0, %r3, 2, 0x181f, -1;", &|l| 100 + (l & !7) + 2);
    shuffle("shfl.sync.down.b32 %r0, %r3, 1, 0x181f, -1;", &|l| {
        100 + if l % 8 == 7 { l } else { l + 1 }
    });
    shuffle("shfl.sync.up.b32 %r0, %r3, 1, 0x1800, -1;", &|l| {
        100 + if l % 8 == 0 { l } else { l - 1 }
    });
    shuffle("setp.lt.u32 %p1, %r1, 5; vote.sync.ballot.b32 %r0, %p1, -1;", &|_| 31);
    shuffle(
        "setp.lt.u32 %p1, %r1, 5; vote.sync.any.pred %p2, %p1, -1; selp.u32 %r0, 1, 0, %p2;",
        &|_| 1,
    );
    shuffle(
        "setp.lt.u32 %p1, %r1, 5; vote.sync.all.pred %p2, !%p1, -1; selp.u32 %r0, 1, 0, %p2;",
        &|_| 0,
    );
    shuffle("redux.sync.add.s32 %r0, %r1, -1;", &|_| 496);
    shuffle("neg.s32 %r4, %r1; redux.sync.min.s32 %r0, %r4, -1;", &|_| -31_i32 as u32);
    shuffle("redux.sync.xor.b32 %r0, %r1, -1;", &|_| 0);
    shuffle("match.any.sync.b32 %r0, %r2, -1;", &|l| 0x1111_1111 << (l % 4));
    shuffle("match.all.sync.b32 %r0|%p1, %r2, -1; @!%p1 mov.u32 %r0, 5;", &|_| 5);
    shuffle("activemask.b32 %r0;", &|_| u32::MAX);
    shuffle("setp.lt.u32 %p1, %r1, 4; @%p1 activemask.b32 %r0;", &|l| if l < 4 { 15 } else { 0 });
    shuffle("mov.u32 %r0, %lanemask_lt;", &|l| (1 << l) - 1);
    shuffle("mov.u32 %r0, %lanemask_ge;", &|l| !((1_u32 << l) - 1));
    shuffle("mov.u32 %r0, %ntid.x;", &|_| 32);
}

#[test]
fn branches_part_and_join() {
    // an odd-even branch, then a loop with as many turns as the lane's number, then all together again
    let body = "and.b32 %r4, %r1, 1; setp.eq.u32 %p1, %r4, 0; @%p1 bra EVEN; add.u32 %r0, %r0, 1000; bra.uni JOIN;\n\
                EVEN: add.u32 %r0, %r0, 2000;\nJOIN: mov.u32 %r5, 0;\n\
                LOOP: setp.ge.u32 %p2, %r5, %r1; @%p2 bra DONE; add.u32 %r0, %r0, 1; add.u32 %r5, %r5, 1; bra LOOP;\n\
                DONE: vote.sync.ballot.b32 %r6, %p1, -1; popc.b32 %r7, %r6; mad.lo.u32 %r0, %r7, 10000, %r0;";
    let (got, _) = run_lanes(body, &indexed(), &[[0; 3]; 32]).unwrap();
    for lane in 0..32_u32 {
        assert_eq!(got[lane as usize], 160_000 + if lane % 2 == 0 { 2000 } else { 1000 } + lane);
    }
    let body = "TABLE: .branchtargets A, B, C, D;\nbrx.idx %r2, TABLE;\nA: mov.u32 %r0, 1; bra E;\nB: mov.u32 %r0, 2; bra E;\nC: mov.u32 %r0, 3; bra E;\nD: mov.u32 %r0, 4;\nE: bar.warp.sync -1;";
    let (got, _) = run_lanes(body, &indexed(), &[[0; 3]; 32]).unwrap();
    assert!(got.iter().zip(0..).all(|(v, lane)| *v == lane % 4 + 1));
}

#[test]
fn memory_of_all_widths() {
    let shared = "mov.u32 %r4, buffer; shl.b32 %r5, %r1, 4; add.u32 %r6, %r4, %r5;";
    let body =
        format!("{shared} st.shared.v4.u32 [%r6], {{%r1, %r2, %r3, %r1}}; ld.shared.v2.u32 {{%r7, %r8}}, [%r6+8]; add.u32 %r0, %r7, %r8;");
    let (got, _) = run_lanes(&body, &indexed(), &[[0; 3]; 32]).unwrap();
    assert!(got.iter().zip(0..).all(|(v, lane)| *v == 100 + 2 * lane));
    let body = format!(
        "{shared} st.shared.u8 [%r6], %r1; st.shared.u8 [%r6+1], -1; ld.shared.s8 %r7, [%r6+1]; ld.shared.u16 %r8, [%r6]; add.u32 %r0, %r7, %r8;"
    );
    let (got, _) = run_lanes(&body, &indexed(), &[[0; 3]; 32]).unwrap();
    assert!(got.iter().zip(0..).all(|(v, lane)| *v == 0xff00 + lane - 1));
    // a generic address of shared memory
    let body = format!(
        "{shared} cvt.u64.u32 %rd4, %r6; cvta.shared.u64 %rd5, %rd4; st.u32 [%rd5+4], %r3; isspacep.shared %p1, %rd5; @%p1 ld.u32 %r0, [%rd5+4];"
    );
    let (got, _) = run_lanes(&body, &indexed(), &[[0; 3]; 32]).unwrap();
    assert!(got.iter().zip(0..).all(|(v, lane)| *v == 100 + lane));
    // atomics: all lanes on one word; the sum of what they saw tells that each came once
    let body = "mov.u32 %r4, buffer; setp.eq.u32 %p1, %r1, 0; @%p1 st.shared.u32 [%r4], 0; bar.sync 0; atom.shared.add.u32 %r0, [%r4], 2;";
    let (got, _) = run_lanes(body, &indexed(), &[[0; 3]; 32]).unwrap();
    let mut seen = got.clone();
    seen.sort_unstable();
    assert!(seen.iter().zip(0..).all(|(v, turn)| *v == 2 * turn));
    let body = "bar.sync 0; setp.lt.u32 %p1, %r1, 7; bar.red.popc.u32 %r0, 0, %p1;";
    assert_eq!(run_lanes(body, &indexed(), &[[0; 3]; 32]).unwrap().0, [7; 32]);
}

fn fault(body: &str) -> FaultKind {
    run_lanes(body, &indexed(), &[[0; 3]; 32]).expect_err(body).kind
}

#[test]
fn wrong_accesses_are_faults() {
    let shared = "mov.u32 %r4, buffer; shl.b32 %r5, %r1, 2; add.u32 %r6, %r4, %r5; ";
    let with = |body: &str| fault(&format!("{shared}{body}"));
    assert!(matches!(fault("ld.global.u32 %r0, [%a5+384];"), FaultKind::OutOfBounds { .. }));
    assert!(matches!(fault("ld.global.u32 %r0, [%a5-4];"), FaultKind::OutOfBounds { .. }));
    assert!(matches!(fault("ld.global.u32 %r0, [%a5+2];"), FaultKind::Misaligned { .. }));
    assert!(matches!(
        fault("mov.u64 %rd4, 64; ld.global.u32 %r0, [%rd4];"),
        FaultKind::OutOfBounds { .. }
    ));
    assert!(matches!(fault("ld.global.u32 %r0, [%a2];"), FaultKind::Uninitialised { .. }));
    assert!(matches!(with("ld.shared.u32 %r0, [%r6];"), FaultKind::Uninitialised { .. }));
    assert!(matches!(
        with("st.shared.u32 [%r6], 0; ld.shared.u32 %r0, [%r4];"),
        FaultKind::Race { .. }
    ));
    assert!(matches!(
        with("st.shared.u32 [%r6], 0; bar.sync 0; ld.shared.u32 %r0, [%r4]; st.shared.u32 [%r6], 1;"),
        FaultKind::Race { .. }
    ));
    assert!(matches!(with("st.shared.u32 [%r4], %r1;"), FaultKind::Race { .. }));
    assert!(matches!(with("st.shared.u32 [%r6+500], 0;"), FaultKind::OutOfBounds { .. }));
    assert!(matches!(fault("trap;"), FaultKind::Trap));
    assert!(matches!(fault("LOOP: bra LOOP;"), FaultKind::InstructionLimit { .. }));
    assert!(matches!(
        fault("setp.lt.u32 %p1, %r1, 4; @%p1 shfl.sync.idx.b32 %r0, %r1, 0, 31, -1;"),
        FaultKind::InactiveLane { .. }
    ));
    assert!(matches!(
        fault("setp.lt.u32 %p1, %r1, 4; @%p1 bar.warp.sync -1; @!%p1 bar.sync 0;"),
        FaultKind::Deadlock { .. }
    ));
    // what is in order: the same value from all lanes, a warp barrier in between, lanes apart
    for body in [
        "st.shared.u32 [%r4], 3;",
        "st.shared.u32 [%r6], 0; bar.warp.sync -1; ld.shared.u32 %r0, [%r4]; bar.warp.sync -1; st.shared.u32 [%r6], 1;",
        "st.shared.u32 [%r6], %r1; ld.shared.u32 %r0, [%r6]; st.shared.u32 [%r6], 5;",
    ] {
        run_lanes(&format!("{shared}{body}"), &indexed(), &[[0; 3]; 32]).unwrap_or_else(|e| panic!("{body}: {e}"));
    }
}

#[test]
fn freed_memory_is_told_from_memory_that_never_was() {
    let module = Module::parse(&kernel("")).unwrap();
    let memory = Memory::new();
    let words = upload(&memory, &[0_u32; 96]);
    let longs = upload(&memory, &[0_u64; 96]);
    let (out, out_long) = (memory.alloc(128).unwrap(), memory.alloc(256).unwrap());
    memory.free(words).unwrap();
    let params = Params::new().u64(words).u64(longs).u64(out).u64(out_long);
    let launch = Launch {
        grid: [1, 1, 1],
        block: [32, 1, 1],
        dynamic_shared: 0,
        params: params.bytes(),
    };
    let fault = module.launch(&memory, "k", &launch, &Options::default()).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::UseAfterFree { .. }), "{fault}");
    assert_eq!(memory.live_bytes(), 96 * 8 + 128 + 256);
}

#[test]
fn what_is_not_known_is_refused_with_its_line() {
    for (body, kind) in [
        (
            "frobnicate.b32 %r0, %r1;",
            ParseErrorKind::UnsupportedInstruction("frobnicate.b32".to_owned()),
        ),
        (
            "add.s32.odd %r0, %r1, %r2;",
            ParseErrorKind::UnsupportedInstruction("add.s32.odd".to_owned()),
        ),
        (
            "add.cc.u32 %r0, %r1, %r2;",
            ParseErrorKind::UnsupportedInstruction("add.cc.u32".to_owned()),
        ),
        ("add.s32 %r0, %q1, %r2;", ParseErrorKind::UnknownName("%q1".to_owned())),
        ("bra NOWHERE;", ParseErrorKind::UnknownName("NOWHERE".to_owned())),
    ] {
        let error = Module::parse(&kernel(body)).err().unwrap();
        assert_eq!(error.kind, kind);
        assert_eq!(error.line, 13, "{error}");
    }
    for text in [
        "",
        "garbage",
        ".entry k",
        ".entry k() {",
        ".entry k() { add.u32 ; }",
        ".entry k() { .reg .b32 %r<9999999>; }",
        ".shared .b8 x[;",
        "\"",
        ".entry k() { mov.u32 {%r1",
    ] {
        assert!(Module::parse(text).is_err() || text.is_empty(), "{text}");
    }
}

const MARKS: &[u8] = b"{}[]();,.%:@!|+-0x\"\n ";

#[test]
fn damaged_text_is_an_error_and_no_panic() {
    let whole =
        kernel("LOOP: shfl.sync.idx.b32 %r0|%p1, %r3, 7, 31, -1; @%p1 bra LOOP; st.shared.v4.u32 [buffer+16], {%r1, %r2, %r3, %r1};");
    let mut random = support::Random::new(8);
    for _ in 0..3000 {
        let mut text = whole.clone().into_bytes();
        for _ in 0..1 + random.bits() % 3 {
            let at = random.bits() as usize % text.len();
            match random.bits() % 4 {
                0 => text.truncate(at.max(1)),
                1 => text[at] = MARKS[random.bits() as usize % MARKS.len()],
                2 => drop(text.remove(at)),
                _ => text.insert(at, b' ' + (random.bits() % 90) as u8),
            }
        }
        // what still parses must run, or fail, in order too
        let Ok(module) = Module::parse(&String::from_utf8(text).unwrap()) else {
            continue;
        };
        let memory = Memory::new();
        let words = upload(&memory, &[0_u32; 96]);
        let params = Params::new().u64(words).u64(words).u64(words).u64(words);
        let launch = Launch {
            grid: [1, 1, 1],
            block: [32, 1, 1],
            dynamic_shared: 0,
            params: params.bytes(),
        };
        let options = Options {
            instruction_limit: 10_000,
            ..Options::default()
        };
        drop(module.launch(&memory, "k", &launch, &options));
    }
}
