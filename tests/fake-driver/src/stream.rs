//! Rules of stream capture.

use crate::codes::{Code, Outcome};
use crate::state::{CaptureMode, State, capture_mode};

impl State {
    /// Refuses a call that must not happen while a capture is under way (it allocates or synchronises), and makes the captures it
    /// disturbs invalid, as the driver does.
    pub(crate) fn outside_capture(&mut self) -> Outcome {
        let thread = std::thread::current().id();
        let mode = capture_mode();
        let mut disturbed = false;
        for capture in self.captures.values_mut() {
            let own = capture.thread == thread;
            let minds = match (mode, capture.mode) {
                (CaptureMode::Relaxed, _) | (_, CaptureMode::Relaxed) => false,
                (CaptureMode::Global, CaptureMode::Global) => true,
                _ => own,
            };
            if minds {
                capture.valid = false;
                disturbed = true;
            }
        }
        if disturbed { Err(Code::CAPTURE_UNSUPPORTED) } else { Ok(()) }
    }

    /// Refuses a call that waits for a stream that is capturing.
    pub(crate) fn not_capturing(&mut self, stream: usize) -> Outcome {
        let Some(id) = self.stream(stream)?.capture else { return Ok(()) };
        if let Some(capture) = self.captures.get_mut(&id) {
            capture.valid = false;
        }
        Err(Code::CAPTURE_UNSUPPORTED)
    }

    /// Refuses a call that waits for everything while any stream is capturing.
    pub(crate) fn no_capture(&mut self) -> Outcome {
        if self.captures.is_empty() {
            return Ok(());
        }
        self.captures.values_mut().for_each(|capture| capture.valid = false);
        Err(Code::CAPTURE_UNSUPPORTED)
    }
}
