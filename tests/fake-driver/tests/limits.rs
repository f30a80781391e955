//! A small device, and what is left after a kernel's fault. A file of its own: a fault is for good.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod support;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{LaunchConfig, PushKernelArg};
use support::setup;

#[test]
fn memory_ends_and_faults_stick() {
    // SAFETY: the only test of this file, so no other thread reads the environment now.
    unsafe { std::env::set_var("FAKE_CUDA_MEMORY_MIB", "1") };
    let Some((context, module, _guard)) = setup() else { return };
    let stream = context.new_stream().unwrap();
    assert_eq!(context.mem_get_info().unwrap().1, 1 << 20);
    let half = stream.alloc_zeros::<u8>(1 << 19).unwrap();
    assert_eq!(
        stream.alloc_zeros::<u8>((1 << 19) + 1).unwrap_err().0,
        CUresult::CUDA_ERROR_OUT_OF_MEMORY
    );
    drop(half);
    let mut x = stream.alloc_zeros::<f32>(64).unwrap();
    let function = module.load_function("past_the_end").unwrap();
    let config = LaunchConfig {
        grid_dim: (1, 1, 1),
        block_dim: (32, 1, 1),
        shared_mem_bytes: 0,
    };
    // SAFETY: what the kernel does wrong is what is tested.
    let outcome = unsafe { stream.launch_builder(&function).arg(&mut x).arg(&64_i32).launch(config) };
    assert_eq!(outcome.err().unwrap().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(stream.synchronize().unwrap_err().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(stream.clone_dtoh(&x).err().unwrap().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
}
