//! The exported functions.

pub(crate) mod device;
pub(crate) mod event;
pub(crate) mod graph;
pub(crate) mod memory;
pub(crate) mod module;
pub(crate) mod stream;

use std::ffi::{CStr, c_char};

use crate::codes::{Code, Outcome};

/// Defines exported functions; each writes its own line of the log.
macro_rules! api {
    ($($(#[$attribute:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        #[doc = concat!("`", stringify!($name), "` of the driver API.")]
        $(#[$attribute])*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> std::ffi::c_int {
            let call = move || -> crate::codes::Outcome {
                // SAFETY: the caller keeps the rules of the driver API, which say what the pointers must be.
                #[allow(unused_unsafe, reason = "some bodies need none")]
                unsafe { $body }
            };
            match call() {
                Ok(()) => 0,
                Err(code) => code.0,
            }
        }
    )*};
}
pub(crate) use api;

/// Writes a result, or refuses a null pointer.
///
/// # Safety
/// `to` must be null or writable.
pub(crate) unsafe fn put<T>(to: *mut T, value: T) -> Outcome {
    if to.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: promised by the caller.
    unsafe { to.write(value) };
    Ok(())
}

/// Writes a result where one is wanted.
///
/// # Safety
/// `to` must be null or writable.
pub(crate) unsafe fn put_optional<T>(to: *mut T, value: T) {
    if !to.is_null() {
        // SAFETY: promised by the caller.
        unsafe { to.write(value) };
    }
}

/// A C text.
///
/// # Safety
/// `text` must be null or end in a zero byte.
pub(crate) unsafe fn text(text: *const c_char) -> Outcome<String> {
    if text.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: promised by the caller.
    Ok(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
