//! Gives the library the name that CUDA host code asks the loader for: once a test has opened it by its path, a later
//! `dlopen("libcuda.so")` finds it by this name. The file itself must not be called so: NVRTC would pick up such a file.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    println!("cargo:rerun-if-changed=build.rs");
}
