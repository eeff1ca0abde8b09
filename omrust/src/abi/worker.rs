//! Workers as rsyslogd holds them: one for each of its threads and action. Calls for one worker never overlap, but for a HUP.

use std::ffi::{CStr, c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use delivery::outlet::{FanWorker, Outcome};
use delivery::wire;

use super::guard::guard;
use super::host::host;
use super::instance::{self, Instance};
use super::sys::{OMOD_DATAFAIL, OMOD_ERROR, OMOD_OK, OMOD_SUSPENDED, OmodParam};
use crate::ending::Ending;
use crate::messages::{Messages, Texts};
use crate::settings::Key;

/// What rsyslogd's worker pointer points at.
pub struct Worker {
    // Its place on the outlet goes before the action may.
    outlet: Mutex<FanWorker>,
    instance: Arc<Instance>,
    templates: usize,
    ending: Mutex<Ending>,
}

/// `createWrkrInstance`: never fails because Redis is away; it connects when there is something to do.
///
/// SAFETY: `instance` is a live instance pointer.
pub unsafe fn create(instance: *mut c_void) -> *mut c_void {
    // SAFETY: the caller's promise.
    let instance = unsafe { instance::share(instance) };
    instance::start(&instance);
    let templates = instance.action.settings().templates().len();
    let outlet = Mutex::new(instance.action.worker());
    Box::into_raw(Box::new(Worker { outlet, instance, templates, ending: Mutex::default() })).cast()
}

/// `freeWrkrInstance`.
///
/// SAFETY: a live worker pointer, which rsyslogd does not use any more.
pub unsafe fn free(worker: *mut c_void) {
    // SAFETY: it came from Box::into_raw.
    drop(unsafe { Box::from_raw(worker.cast::<Worker>()) });
}

/// The worker behind rsyslogd's pointer.
///
/// SAFETY: a live worker pointer; only shared references are ever made of it.
pub unsafe fn from_raw<'a>(worker: *mut c_void) -> &'a Worker {
    // SAFETY: the caller's promise.
    unsafe { &*worker.cast_const().cast::<Worker>() }
}

/// The messages of a batch, where rsyslogd has them.
struct Rendered<'a> {
    params: &'a [OmodParam],
    templates: usize,
}

impl Texts for Rendered<'_> {
    fn messages(&self) -> usize {
        self.params.len() / self.templates
    }

    fn text(&self, message: usize, template: usize) -> &[u8] {
        let param = &self.params[message * self.templates + template];
        if param.param.is_null() {
            return &[];
        }
        if param.lenStr == 0 {
            // Templates of type "subtree" have no length before 8.2508.
            // SAFETY: rsyslogd ends each text with NUL and keeps it through the call.
            return unsafe { CStr::from_ptr(param.param.cast_const().cast()) }.to_bytes();
        }
        // SAFETY: lenStr bytes are there and stay through the call.
        unsafe { std::slice::from_raw_parts(param.param, param.lenStr as usize) }
    }
}

impl Worker {
    /// `beginTransaction`.
    ///
    /// Versions up to 8.2604 lose the batch that commit turned away if they are then stopped: they have marked its messages as done.
    /// They have not if begin turns it away; the price is that its first message comes twice.
    pub fn begin(&self) -> c_int {
        if !host().forgets_batches {
            return OMOD_OK;
        }
        let Some(mut outlet) = unless_in_use(&self.outlet) else { return OMOD_OK };
        self.ending().handed_in();
        let place = outlet.has_place(&self.interruption());
        if !place {
            self.ending().denied(Instant::now(), false);
        }
        if place { OMOD_OK } else { OMOD_SUSPENDED }
    }

    /// `commitTransaction`.
    ///
    /// A panic lets rsyslog hand the messages in one by one. One that panics alone is tried once more and then parked.
    ///
    /// SAFETY: `params` has an entry for each template of each of `messages` messages, valid through the call.
    pub unsafe fn commit(&self, params: *const OmodParam, messages: u32) -> c_int {
        if messages == 0 || params.is_null() {
            return OMOD_OK;
        }
        // SAFETY: the caller's promise.
        let params = unsafe { std::slice::from_raw_parts(params, messages as usize * self.templates) };
        let texts = Rendered { params, templates: self.templates };
        let mut outcome = guard("commitTransaction", || self.hand_in(&texts));
        if outcome.is_none() && messages == 1 {
            outcome = guard("commitTransaction", || self.hand_in(&texts));
            if outcome.is_none() {
                outcome = guard("commitTransaction", || self.park(&texts));
            }
        }
        match outcome {
            Some(Outcome::Done) => OMOD_OK,
            Some(Outcome::Later) => OMOD_SUSPENDED,
            Some(Outcome::Refused) => OMOD_DATAFAIL,
            None => OMOD_ERROR,
        }
    }

    fn hand_in(&self, texts: &Rendered<'_>) -> Outcome {
        let Some(mut outlet) = unless_in_use(&self.outlet) else { return Outcome::Later };
        self.ending().handed_in();
        let outcome = outlet.commit(&Messages::new(texts, self.instance.action.route()), &self.interruption());
        if outcome == Outcome::Later {
            self.ending().denied(Instant::now(), false);
        }
        outcome
    }

    /// Parks the one message of a batch, which nobody can handle. Without a folder for it rsyslog is told that it failed.
    fn park(&self, texts: &Rendered<'_>) -> Outcome {
        let action = &self.instance.action;
        let list = match (&action.settings().key, texts.text(0, texts.templates - 1)) {
            (Key::List(list), _) => list.clone(),
            (Key::Template { .. }, name) => String::from_utf8_lossy(name).into_owned(),
        };
        let outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner);
        outlet.set_aside(&list, "handling it failed twice", texts.text(0, 0))
    }

    /// `tryResume`: 0 if the next batch has somewhere to go.
    pub fn resume(&self) -> c_int {
        let mut outlet = self.outlet.lock().unwrap_or_else(PoisonError::into_inner);
        if !host().tells_its_end() {
            self.ending().asked(Instant::now());
        }
        let (interruption, vain) = (self.interruption(), self.is_vain());
        // What begin would turn away is not resumed.
        let chance =
            !vain && outlet.probe(&interruption) && (!host().forgets_batches || outlet.has_place(&interruption));
        if !chance && !vain {
            self.ending().denied(Instant::now(), true);
        }
        if chance { OMOD_OK } else { OMOD_SUSPENDED }
    }

    /// True when nothing may wait for Redis any more, as of now on. While rsyslogd ends it still brings its queue away: each call may
    /// wait for a moment then, so that a Redis that answers gets what is left.
    fn interruption(&self) -> impl Fn() -> bool {
        let (since, signals, vain) = (Instant::now(), wire::signals(), self.is_vain());
        move || {
            if vain || self.instance.action.is_stopping() {
                return true;
            }
            let mut ending = self.ending();
            if !host().tells_its_end() && wire::signals() != signals {
                ending.signalled(Instant::now());
            }
            ending.is_over(since, Instant::now())
        }
    }

    /// True if rsyslogd ends, and Redis was asked in vain since.
    fn is_vain(&self) -> bool {
        self.ending().is_vain(Instant::now())
    }

    /// What is known of rsyslogd's end, by now.
    fn ending(&self) -> MutexGuard<'_, Ending> {
        let mut ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = host().ends_since() {
            ending.told(since);
        }
        ending
    }
}

/// What `mutex` holds, also after a panic: what panicked was the outlet's, which expects it.
fn unless_in_use<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_leaves_a_worker_that_can_be_asked() {
        let mutex = Mutex::new(1);
        assert!(guard("panics", || mutex.lock().map(|_held| panic!("expected by a test"))).is_none());
        assert_eq!(unless_in_use(&mutex).as_deref(), Some(&1));
        let held = unless_in_use(&mutex);
        assert!(unless_in_use(&mutex).is_none());
        drop(held);
    }
}
