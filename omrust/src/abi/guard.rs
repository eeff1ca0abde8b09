//! What stands around every entry point: no cancellation, and no panic that leaves.

use std::cell::RefCell;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

const PTHREAD_CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    // The libc crate has it for other systems only.
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

thread_local! {
    /// Where and why the last panic of this thread happened.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Keeps panics from writing to descriptor 2, which may be anything. Each library has a hook of its own: rsyslogd's other modules do
/// not notice.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        let _ = PANIC.try_with(|panic| {
            if let Ok(mut panic) = panic.try_borrow_mut() {
                *panic = text.replace('\n', " ");
            }
        });
    }));
}

/// Forbids cancellation of this thread while it lives. Nested ones are fine: each restores what it found.
struct Uncancelled(c_int);

impl Uncancelled {
    fn new() -> Self {
        let mut old = 0;
        // SAFETY: both arguments are valid; the call changes nothing but this thread's own cancel state.
        unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut old) };
        Self(old)
    }
}

impl Drop for Uncancelled {
    fn drop(&mut self) {
        // Enabling is no cancellation point: a cancellation that is pending waits for the next one, which is in rsyslogd's code.
        let mut old = 0;
        // SAFETY: as above; the state is the one that this thread had.
        unsafe { pthread_setcancelstate(self.0, &raw mut old) };
    }
}

/// Runs `body` so that neither a cancellation nor a panic can leave it. A panic is logged with the name of the entry point and gives
/// `None`.
pub fn guard<T>(entry: &'static str, body: impl FnOnce() -> T) -> Option<T> {
    let _uncancelled = Uncancelled::new();
    // State behind the boundary is shared through locks and atomics, and its owners expect calls that end early.
    let result = catch_unwind(AssertUnwindSafe(body));
    result.ok().or_else(|| {
        let text = PANIC.try_with(|panic| std::mem::take(&mut *panic.borrow_mut())).unwrap_or_default();
        // A panic of the logger would have the last word.
        let _ = catch_unwind(|| log::error!("internal error in {entry}: {text}"));
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancel_state() -> c_int {
        let (mut old, mut ignored) = (0, 0);
        // SAFETY: reads the state by changing it and back.
        unsafe {
            pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut old);
            pthread_setcancelstate(old, &raw mut ignored);
        }
        old
    }

    #[test]
    fn cancellation_is_off_inside_and_as_before_outside() {
        assert_eq!(cancel_state(), 0, "threads begin with cancellation enabled");
        let inside = guard("outer", || {
            let nested = guard("inner", cancel_state);
            (cancel_state(), nested)
        });
        assert_eq!(inside, Some((PTHREAD_CANCEL_DISABLE, Some(PTHREAD_CANCEL_DISABLE))));
        assert_eq!(guard("panics", || panic!("expected by a test")), None::<()>);
        assert_eq!(cancel_state(), 0);
    }
}
