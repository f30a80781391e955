//! Kernels written by hand around a few instructions.

use ptx_emulator::{Fault, Launch, Memory, Module, Options, Params};

use super::{download, upload};

/// A kernel that gives every lane its three words in `%r1..%r3` and longs in `%rd1..%rd3`, runs `body`, and stores `%r0` and `%rd0`.
pub fn kernel(body: &str) -> String {
    format!(
        ".version 9.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 words, .param .u64 longs, .param .u64 out, .param .u64 out_long)\n{{\n\
         .reg .b32 %r<20>; .reg .b64 %rd<20>; .reg .f32 %f<20>; .reg .f64 %fd<20>; .reg .b16 %rs<20>; .reg .pred %p<20>;\n\
         .reg .b32 %t<4>; .reg .b64 %a<20>; .shared .align 16 .b8 buffer[512];\n\
         ld.param.u64 %a0, [words]; ld.param.u64 %a1, [longs]; ld.param.u64 %a2, [out]; ld.param.u64 %a3, [out_long];\n\
         mov.u32 %t0, %laneid; mul.wide.u32 %a4, %t0, 12; add.s64 %a5, %a0, %a4; mul.wide.u32 %a6, %t0, 24; add.s64 %a7, %a1, %a6;\n\
         ld.global.u32 %r1, [%a5]; ld.global.u32 %r2, [%a5+4]; ld.global.u32 %r3, [%a5+8];\n\
         ld.global.u64 %rd1, [%a7]; ld.global.u64 %rd2, [%a7+8]; ld.global.u64 %rd3, [%a7+16];\n\
         mov.u32 %r0, 0; mov.u64 %rd0, 0;\n{body}\n\
         mul.wide.u32 %a8, %t0, 4; add.s64 %a9, %a2, %a8; st.global.u32 [%a9], %r0;\n\
         mul.wide.u32 %a10, %t0, 8; add.s64 %a11, %a3, %a10; st.global.u64 [%a11], %rd0; ret;\n}}\n"
    )
}

/// Runs such a kernel with a word and a long triple per lane.
pub fn run_lanes(body: &str, words: &[[u32; 3]], longs: &[[u64; 3]]) -> Result<(Vec<u32>, Vec<u64>), Fault> {
    let module = Module::parse(&kernel(body)).unwrap_or_else(|e| panic!("{body}: {e}"));
    let memory = Memory::new();
    let words = upload(&memory, words.as_flattened());
    let longs = upload(&memory, longs.as_flattened());
    let (out, out_long) = (memory.alloc(128).unwrap(), memory.alloc(256).unwrap());
    let params = Params::new().u64(words).u64(longs).u64(out).u64(out_long);
    let launch = Launch {
        grid: [1, 1, 1],
        block: [32, 1, 1],
        dynamic_shared: 0,
        params: params.bytes(),
    };
    module.launch(
        &memory,
        "k",
        &launch,
        &Options {
            instruction_limit: 100_000,
            ..Options::default()
        },
    )?;
    Ok((download(&memory, out, 32), download(&memory, out_long, 32)))
}
