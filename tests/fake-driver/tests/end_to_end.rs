//! An ordinary cudarc program on the fake driver.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "tests"
)]

mod support;

use cudarc::driver::sys::{CUdevice_attribute, CUfunction_attribute_enum, CUgraphInstantiate_flags, CUresult, CUstreamCaptureMode};
use cudarc::driver::{DriverError, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::Ptx;
use support::{clear_log, read_log, setup};

fn config(blocks: u32, threads: u32, shared: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: shared,
    }
}

#[test]
fn the_device_says_what_it_is() {
    let Some((context, _module, _guard)) = setup() else { return };
    assert_eq!(context.compute_capability().unwrap(), (8, 0));
    assert!(context.name().unwrap().contains("emulator"));
    assert_eq!(
        context
            .attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
            .unwrap(),
        166_912
    );
    assert!(!context.has_async_alloc());
    assert_eq!(context.total_mem().unwrap(), 8 << 30);
    let (before, total) = context.mem_get_info().unwrap();
    let stream = context.new_stream().unwrap();
    let held = stream.alloc_zeros::<u8>(1000).unwrap();
    assert_eq!(context.mem_get_info().unwrap(), (before - 1000, total));
    drop(held);
    assert_eq!(context.mem_get_info().unwrap(), (before, total));
    assert!(
        DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)
            .to_string()
            .contains("OUT_OF_MEMORY")
    );
}

#[test]
fn copies_launches_and_fills() {
    let Some((context, module, _guard)) = setup() else { return };
    let stream = context.new_stream().unwrap();
    let host: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let mut x = stream.clone_htod(&host).unwrap();
    let scale = module.load_function("scale").unwrap();
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        stream
            .launch_builder(&scale)
            .arg(&mut x)
            .arg(&1000_i32)
            .arg(&2.0_f32)
            .launch(config(8, 128, 0))
    }
    .unwrap();
    let table = module.load_function("scale_by_table").unwrap();
    // SAFETY: as above.
    unsafe { stream.launch_builder(&table).arg(&mut x).arg(&1000_i32).launch(config(8, 128, 0)) }.unwrap();
    let got = stream.clone_dtoh(&x).unwrap();
    assert!(got.iter().enumerate().all(|(i, v)| *v == i as f32 * 2.0 * (i % 4 + 1) as f32));
    let mut copy = stream.alloc_zeros::<f32>(1000).unwrap();
    stream.memcpy_dtod(&x, &mut copy).unwrap();
    stream.memset_zeros(&mut x).unwrap();
    assert!(stream.clone_dtoh(&x).unwrap().iter().all(|v| *v == 0.0));
    assert_eq!(stream.clone_dtoh(&copy).unwrap(), got);
    let start = context
        .new_event(Some(cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT))
        .unwrap();
    start.record(&stream).unwrap();
    let end = stream
        .record_event(Some(cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT))
        .unwrap();
    assert!(start.elapsed_ms(&end).unwrap() >= 0.0);
    stream.synchronize().unwrap();
    context.synchronize().unwrap();
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Job {
    out: u64,
    input: u64,
    n: i32,
    add: i16,
}
// SAFETY: the layout is that of the kernel's structure.
unsafe impl cudarc::driver::DeviceRepr for Job {}

#[test]
fn structures_as_parameters() {
    use cudarc::driver::{DevicePtr, DevicePtrMut};
    let Some((context, module, _guard)) = setup() else { return };
    let stream = context.new_stream().unwrap();
    let input = stream.clone_htod(&[1.0_f32; 64]).unwrap();
    let mut out = stream.alloc_zeros::<f32>(64).unwrap();
    let job = Job {
        out: out.device_ptr_mut(&stream).0,
        input: input.device_ptr(&stream).0,
        n: 64,
        add: -3,
    };
    let function = module.load_function("with_struct").unwrap();
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        stream
            .launch_builder(&function)
            .arg(&job)
            .arg(&7_u8)
            .arg(&0.5_f64)
            .launch(config(1, 64, 0))
    }
    .unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), [5.5_f32; 64]);
}

#[test]
fn dynamic_shared_memory_has_its_limits() {
    let Some((context, module, _guard)) = setup() else { return };
    let stream = context.new_stream().unwrap();
    let mut x = stream.clone_htod(&(0..512).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    let reverse = module.load_function("reverse").unwrap();
    let mut launch = |shared| {
        // SAFETY: the argument is that of the kernel.
        unsafe { stream.launch_builder(&reverse).arg(&mut x).launch(config(2, 256, shared)) }.map(|_| ())
    };
    launch(1024).unwrap();
    launch(48 << 10).unwrap();
    assert_eq!(launch((48 << 10) + 4).unwrap_err().0, CUresult::CUDA_ERROR_INVALID_VALUE);
    let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    reverse.set_attribute(attribute, 163 << 10).unwrap();
    launch(163 << 10).unwrap();
    assert_eq!(
        reverse.set_attribute(attribute, (163 << 10) + 1).unwrap_err().0,
        CUresult::CUDA_ERROR_INVALID_VALUE
    );
    assert!(
        reverse
            .occupancy_max_active_blocks_per_multiprocessor(256, 100 << 10, None)
            .unwrap()
            == 1
    );
    launch(1024).unwrap();
    let got = stream.clone_dtoh(&x).unwrap();
    assert_eq!(got[..2], [0.0, 1.0]); // reversed four times
}

#[test]
fn graphs_record_and_replay() {
    let Some((context, module, _guard)) = setup() else { return };
    // SAFETY: everything here is on one stream; events recorded outside would not be allowed in the capture.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let scale = module.load_function("scale").unwrap();
    // SAFETY: written below before it is read.
    let mut input = unsafe { context.alloc_pinned::<f32>(256) }.unwrap();
    let mut output = unsafe { context.alloc_pinned::<f32>(256) }.unwrap();
    let mut x = stream.alloc_zeros::<f32>(256).unwrap();
    let mut scratch = stream.alloc_zeros::<f32>(256).unwrap();
    input.as_mut_slice().unwrap().fill(1.0);
    stream
        .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
        .unwrap();
    let mut factor = 3.0_f32;
    stream.memcpy_htod(&input, &mut x).unwrap();
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        stream
            .launch_builder(&scale)
            .arg(&mut x)
            .arg(&256_i32)
            .arg(&factor)
            .launch(config(2, 128, 0))
    }
    .unwrap();
    stream.memset_zeros(&mut scratch).unwrap();
    stream.memcpy_dtod(&x, &mut scratch).unwrap();
    stream.memcpy_dtoh(&scratch, &mut output).unwrap();
    let graph = stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap();
    graph.upload().unwrap();
    // nothing ran so far; parameters were copied, host memory was not
    assert_eq!(stream.clone_dtoh(&x).unwrap(), [0.0; 256]);
    factor += 1.0;
    assert_eq!(factor, 4.0);
    for value in [1.0_f32, 5.0] {
        input.as_mut_slice().unwrap().fill(value);
        clear_log();
        graph.launch().unwrap();
        stream.synchronize().unwrap();
        assert!(output.as_slice().unwrap().iter().all(|v| *v == value * 3.0));
        let log = read_log();
        assert_eq!(log[0], "cuGraphLaunch nodes=5", "{log:?}");
        assert_eq!(log[1], "cuMemcpyHtoDAsync_v2 bytes=1024 pinned=1 graph=1");
        assert_eq!(log[2], "cuLaunchKernel name=scale grid=2x1x1 block=128x1x1 shared=0 graph=1");
        assert_eq!(log[5], "cuMemcpyDtoHAsync_v2 bytes=1024 pinned=1 graph=1");
        assert!(log[6..].iter().any(|line| line == "cuStreamSynchronize"));
    }
    clear_log();
    stream.clone_htod(&[0_u8; 10]).unwrap();
    assert!(read_log().iter().any(|line| line == "cuMemcpyHtoDAsync_v2 bytes=10 pinned=0"));
}

#[test]
fn captures_refuse_what_a_device_refuses() {
    let Some((context, module, _guard)) = setup() else { return };
    // SAFETY: everything here is on one stream.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream().unwrap();
    let refused = CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    let begin = || {
        stream
            .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .unwrap()
    };
    let invalid = || {
        assert_eq!(
            stream.end_capture(CUgraphInstantiate_flags(0)).err().unwrap().0,
            CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
        );
    };
    begin();
    assert_eq!(stream.synchronize().unwrap_err().0, refused);
    invalid();
    begin();
    assert_eq!(stream.alloc_zeros::<f32>(4).unwrap_err().0, refused);
    invalid();
    begin();
    assert_eq!(context.synchronize().unwrap_err().0, refused);
    invalid();
    // once invalid, a capture takes no more work
    let mut x = stream.alloc_zeros::<f32>(4).unwrap();
    begin();
    stream.synchronize().unwrap_err();
    assert_eq!(
        stream.memset_zeros(&mut x).unwrap_err().0,
        CUresult::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    );
    invalid();
    // another thread may allocate while this one captures for itself alone
    begin();
    let other = context.clone();
    std::thread::spawn(move || drop(other.new_stream().unwrap().alloc_zeros::<f32>(4).unwrap()))
        .join()
        .unwrap();
    let scale = module.load_function("scale").unwrap();
    // SAFETY: the arguments are those of the kernel.
    unsafe {
        stream
            .launch_builder(&scale)
            .arg(&mut x)
            .arg(&4_i32)
            .arg(&2.0_f32)
            .launch(config(1, 32, 0))
    }
    .unwrap();
    stream.end_capture(CUgraphInstantiate_flags(0)).unwrap().unwrap().launch().unwrap();
}

#[test]
fn modules_that_do_not_fit_are_refused() {
    let Some((context, module, _guard)) = setup() else { return };
    let newer = ".version 9.0\n.target sm_90\n.address_size 64\n";
    assert_eq!(
        context.load_module(Ptx::from_src(newer)).err().unwrap().0,
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
    );
    let wrong = ".version 9.0\n.target sm_80\n.address_size 64\n.entry k() { frobnicate.u32 %r1; }";
    assert_eq!(
        context.load_module(Ptx::from_src(wrong)).err().unwrap().0,
        CUresult::CUDA_ERROR_INVALID_PTX
    );
    assert_eq!(module.load_function("nothing").err().unwrap().0, CUresult::CUDA_ERROR_NOT_FOUND);
}
