# The one door for people and for CI. `just --list` shows what there is.

# Serve the sample call and stream it through a real WebSocket client.
demo:
    scripts/demo

# Every test.
test:
    scripts/test

# Everything that CI checks.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    scripts/test

# Every parser with bytes that libFuzzer makes up, a minute each; fuzz/README.md.
fuzz target="all" seconds="60":
    scripts/fuzz {{target}} {{seconds}}

# Benchmarks of the CPU backend; benches/README.md says how to compare with PyTorch.
bench:
    cargo bench

# Every kernel compiled for every supported card and run in the emulator; prints the registers. No GPU needed.
kernels:
    HARK_GPU__NVRTC="$(scripts/nvrtc)" cargo test --test kernels -- --nocapture

# With a card: parity, times, streams held; results under benches/results/.
gpu-suite:
    scripts/gpu-suite --prepare
    scripts/gpu-suite
