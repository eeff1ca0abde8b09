//! The C interface of `include/omrust.h`, which cbindgen makes from this file. Whatever a caller does wrong, it gets a number.
//!
//! Nothing here panics through, prints, exits or touches signals. Handles are numbers, so that one that was closed is an error and no
//! crash. The comments below are the documentation in the header.

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use super::guard::{guard, silence_panics};
use crate::conversation::{self, Fault};

/// The version of this interface. A number grows when something is added; nothing is ever taken away or given another meaning.
pub const OMRUST_VERSION: u32 = 1;

/// What a call has come to. Numbers are never reused.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OmrustResult {
    /// Done.
    Ok = 0,
    /// Not now. Nothing is lost and nothing has to be handed in again: call omrust_commit() again.
    Later = 1,
    /// An argument: a null pointer, or a text that is not UTF-8.
    Argument = -1,
    /// No such handle, or it was closed.
    Handle = -2,
    /// The settings; omrust_last_error() names the key.
    Settings = -3,
    /// Not now: begin, message and commit follow each other.
    Order = -4,
    /// The message is longer than prog.record-max. It was not accepted.
    TooLarge = -5,
    /// Another thread is in a call with this handle.
    Busy = -6,
    /// The process was forked since the handle was opened.
    Forked = -7,
    /// The system refused something.
    System = -8,
    /// An error of the library's own. The handle is of no more use.
    Internal = -9,
}

/// A conversation. The caller owns it from omrust_open() to omrust_close(); copies are the same one. {0} is none.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OmrustHandle {
    /// Not for callers.
    pub id: u64,
}

/// Numbers of one moment.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct OmrustStatus {
    /// Set by the caller to sizeof(omrust_status). Later versions have more behind what is here.
    pub size: u32,
    /// 1 while redis takes messages.
    pub connected: u32,
    /// Messages that were accepted and are not known to be safe.
    pub held: u64,
    /// Messages, those told apart included.
    pub received: u64,
    /// Messages that redis has confirmed.
    pub pushed: u64,
    /// Messages that came again and were told apart.
    pub duplicates_suppressed: u64,
    /// Messages that were set aside.
    pub dead_letters: u64,
    /// Messages that went through the spool.
    pub spooled: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
}

impl From<Fault> for OmrustResult {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Later => Self::Later,
            Fault::Argument => Self::Argument,
            Fault::Handle => Self::Handle,
            Fault::Settings => Self::Settings,
            Fault::Order => Self::Order,
            Fault::TooLarge => Self::TooLarge,
            Fault::Busy => Self::Busy,
            Fault::Forked => Self::Forked,
            Fault::System => Self::System,
        }
    }
}

fn call(entry: &'static str, body: impl FnOnce() -> Result<(), Fault>) -> OmrustResult {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(silence_panics);
    match guard(entry, body) {
        Some(Ok(())) => OmrustResult::Ok,
        Some(Err(fault)) => fault.into(),
        None => OmrustResult::Internal,
    }
}

/// The bytes at `pointer`.
///
/// # Safety
/// `pointer` is null, or has `length` bytes that nobody changes meanwhile.
unsafe fn bytes<'a>(pointer: *const c_void, length: usize) -> Result<&'a [u8], Fault> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return conversation::fail(Fault::Argument, "a null pointer");
    }
    if isize::try_from(length).is_err() {
        return conversation::fail(Fault::TooLarge, "no message is so long");
    }
    // SAFETY: the caller says so, and the two things that can be seen were looked at.
    Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), length) })
}

/// The version of the library that is loaded: compare it with OMRUST_VERSION.
#[unsafe(no_mangle)]
pub extern "C" fn omrust_version() -> u32 {
    OMRUST_VERSION
}

/// Opens a conversation with settings as in omrust.toml(5), in `length` bytes of text. Does not wait for redis.
///
/// What an earlier conversation with the same prog.state-directory has left is brought away with the first commit. The handle may be used by any
/// thread, by one at a time; several handles may be used at the same time. A handle does not go over a fork.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omrust_open(toml: *const c_char, length: usize, handle: *mut OmrustHandle) -> OmrustResult {
    call("omrust_open", || {
        // SAFETY: of a caller that keeps to the header.
        let text = unsafe { bytes(toml.cast(), length) }?;
        let Ok(text) = std::str::from_utf8(text) else {
            return conversation::fail(Fault::Argument, "the settings are not UTF-8");
        };
        // SAFETY: as above.
        unsafe { give(handle, || conversation::open_text(text)) }
    })
}

/// The same with the settings in a file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omrust_open_file(path: *const c_char, handle: *mut OmrustHandle) -> OmrustResult {
    call("omrust_open_file", || {
        if path.is_null() {
            return conversation::fail(Fault::Argument, "a null pointer");
        }
        // SAFETY: it is not null; of a caller that keeps to the header it ends with NUL.
        let path = unsafe { CStr::from_ptr(path) };
        let Ok(path) = path.to_str() else {
            return conversation::fail(Fault::Argument, "the path is not UTF-8");
        };
        // SAFETY: as above.
        unsafe { give(handle, || conversation::open_file(Path::new(path))) }
    })
}

/// Puts what was opened where the caller wants it.
///
/// # Safety
/// `handle` is null or may be written.
unsafe fn give(handle: *mut OmrustHandle, open: impl FnOnce() -> Result<u64, Fault>) -> Result<(), Fault> {
    if handle.is_null() {
        return conversation::fail(Fault::Argument, "a null pointer");
    }
    // SAFETY: it is not null and may be written.
    unsafe { handle.write(OmrustHandle { id: 0 }) };
    let id = open()?;
    // SAFETY: as above.
    unsafe { handle.write(OmrustHandle { id }) };
    Ok(())
}

/// Begins a transaction.
#[unsafe(no_mangle)]
pub extern "C" fn omrust_begin(handle: OmrustHandle) -> OmrustResult {
    call("omrust_begin", || conversation::begin(handle.id))
}

/// A message of the open transaction: any bytes, also none. OMRUST_RESULT_OK: it is kept, and survives a kill of the process, but is not in redis yet.
/// There is no rollback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omrust_message(handle: OmrustHandle, message: *const c_void, length: usize) -> OmrustResult {
    call("omrust_message", || {
        // SAFETY: of a caller that keeps to the header.
        let message = unsafe { bytes(message, length) }?;
        conversation::message(handle.id, message)
    })
}

/// Commits the open transaction, waiting `wait_ms` milliseconds at most. OMRUST_RESULT_OK: all of it is in redis, or synced in the spool, each message
/// once. OMRUST_RESULT_LATER: call it again; nothing else may be called for this handle but omrust_get_status() and omrust_close().
///
/// A process that was killed hands its last transaction in again after omrust_open(), whole or message by message, if it does
/// not know of an OMRUST_RESULT_OK: what is there already is told apart.
#[unsafe(no_mangle)]
pub extern "C" fn omrust_commit(handle: OmrustHandle, wait_ms: u32) -> OmrustResult {
    call("omrust_commit", || conversation::commit(handle.id, Duration::from_millis(wait_ms.into())))
}

/// Numbers of now. The caller sets status->size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omrust_get_status(handle: OmrustHandle, status: *mut OmrustStatus) -> OmrustResult {
    call("omrust_get_status", || {
        // SAFETY: null was looked for; a caller that keeps to the header has set the size.
        if status.is_null() || (unsafe { (*status).size } as usize) < size_of::<OmrustStatus>() {
            return conversation::fail(Fault::Argument, "status is null, or its size is not set");
        }
        let now = conversation::status(handle.id)?;
        let told = OmrustStatus {
            size: size_of::<OmrustStatus>() as u32,
            connected: now.connected.into(),
            held: now.held,
            received: now.received,
            pushed: now.pushed,
            duplicates_suppressed: now.duplicates_suppressed,
            dead_letters: now.dead_letters,
            spooled: now.spooled,
            spool_bytes: now.spool_bytes,
        };
        // SAFETY: it is as large as its owner says.
        unsafe { status.write(told) };
        Ok(())
    })
}

/// Why the last call of this thread that failed did so. Writes at most `size` bytes, NUL included, and returns the length of the whole
/// text without NUL. `text` may be null if `size` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omrust_last_error(text: *mut c_char, size: usize) -> usize {
    let last = guard("omrust_last_error", conversation::last_error).unwrap_or_default();
    if !text.is_null() && size > 0 {
        let length = last.len().min(size - 1);
        // SAFETY: `length + 1` bytes are at most `size`, which a caller that keeps to the header has at `text`.
        unsafe {
            std::ptr::copy_nonoverlapping(last.as_ptr(), text.cast(), length);
            text.add(length).write(0);
        }
    }
    last.len()
}

/// Ends the conversation and gives up the handle. What is held is brought away within `wait_ms` milliseconds. OMRUST_RESULT_LATER: something is left
/// for the next conversation with the same prog.state-directory; the handle is closed all the same.
#[unsafe(no_mangle)]
pub extern "C" fn omrust_close(handle: OmrustHandle, wait_ms: u32) -> OmrustResult {
    call("omrust_close", || conversation::close(handle.id, Duration::from_millis(wait_ms.into())))
}
