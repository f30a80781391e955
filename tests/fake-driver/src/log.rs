//! The list of calls that were made, for tests to look at.

use std::collections::VecDeque;
use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

/// Lines kept; older ones are dropped.
const LINES: usize = 1 << 16;

static LOG: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// Adds a line.
pub(crate) fn log(line: impl Into<String>) {
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    if log.len() == LINES {
        log.pop_front();
    }
    log.push_back(line.into());
}

/// Forgets all calls made so far.
#[unsafe(no_mangle)]
pub extern "C" fn fake_cuda_log_clear() {
    LOG.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// Copies the log, one call a line, into `buffer` of `length` bytes, cut to fit and closed with a zero byte. Returns the bytes that the
/// whole log has without that zero, so that a call with no buffer tells how long it must be.
///
/// # Safety
/// `buffer` must be null or have room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_cuda_log_read(buffer: *mut c_char, length: usize) -> usize {
    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    let text = log.iter().fold(String::new(), |text, line| text + line + "\n");
    if !buffer.is_null() && length > 0 {
        let count = text.len().min(length - 1);
        // SAFETY: `count` and the zero fit into `length`, which the caller vouches for.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast::<u8>(), count);
            buffer.add(count).write(0);
        }
    }
    text.len()
}
