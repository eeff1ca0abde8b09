//! Actions as rsyslogd holds them: made while the configuration is read, started after the fork, freed once.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::fds;
use super::host::host;
use super::params::{self, Request};
use super::stats::Stats;
use super::sys::{OMOD_CONF_PARSE_ERROR, OMOD_MISSING_CNFPARAMS, OMOD_OK, OMOD_OUT_OF_MEMORY, OmodNvlst, OmodOmsr};
use crate::action::Action;
use crate::log::Severity;
use crate::settings::Settings;

/// What rsyslogd's instance pointer points at. Workers share it: some versions free the instance first.
pub struct Instance {
    pub action: Action,
    stats: Mutex<Option<Stats>>,
}

/// How long a batch may wait for Redis where rsyslogd does not tell that it ends: a stop may take two seconds.
const SILENT: Duration = Duration::from_millis(1_500);

/// All that are alive: those to start after the fork, and to compare new ones with.
static INSTANCES: Mutex<Vec<Weak<Instance>>> = Mutex::new(Vec::new());

fn alive() -> Vec<Arc<Instance>> {
    INSTANCES.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}

/// `newActInst`: 0, or why there is no action. What was made is freed here in that case: rsyslogd does not ask for it.
///
/// SAFETY: `list` is what rsyslogd gave.
pub unsafe fn create(list: *mut OmodNvlst) -> Result<(*mut c_void, *mut OmodOmsr), i32> {
    // SAFETY: the caller's promise.
    let values = unsafe { params::read(list) }.ok_or(OMOD_MISSING_CNFPARAMS)?;
    let complain = |errors: Vec<String>| {
        for error in errors {
            host().complain(&format!("omrust: {error}"));
        }
        OMOD_CONF_PARSE_ERROR
    };
    let settings = Settings::read(&values, &host_name()).map_err(complain)?;
    let clashes: Vec<String> = alive().iter().filter_map(|other| other.action.clash(&settings)).collect();
    if !clashes.is_empty() {
        return Err(complain(clashes));
    }
    for remark in &settings.remarks {
        host().log(Severity::Warning, &format!("omrust: {}: {remark}", settings.name));
    }
    let request = Request::new(&settings.templates()).ok_or(OMOD_OUT_OF_MEMORY)?;
    let patience = if host().tells_its_end() { Duration::MAX } else { SILENT };
    let action = Action::new(settings, patience, fds::keep_low_ones_taken).map_err(|error| complain(vec![error]))?;
    let stats = Stats::new(&action.settings().name, action.counters());
    let instance = Arc::new(Instance { action, stats: Mutex::new(stats) });
    let mut instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    instances.retain(|instance| instance.strong_count() > 0);
    instances.push(Arc::downgrade(&instance));
    Ok((Arc::into_raw(instance).cast_mut().cast(), request.into_raw()))
}

/// Another owner of the instance behind rsyslogd's pointer.
///
/// SAFETY: `instance` is what [`create`] gave, not freed yet.
pub unsafe fn share(instance: *mut c_void) -> Arc<Instance> {
    let instance = instance.cast_const().cast::<Instance>();
    // SAFETY: the pointer came from Arc::into_raw, and rsyslogd's own count keeps it alive.
    unsafe {
        Arc::increment_strong_count(instance);
        Arc::from_raw(instance)
    }
}

/// `freeInstance`: the end of the action. Workers may still be freed after it.
///
/// SAFETY: as for [`share`]; rsyslogd does not use the pointer any more.
pub unsafe fn free(instance: *mut c_void) {
    // SAFETY: rsyslogd's own count, given back once.
    let instance = unsafe { Arc::from_raw(instance.cast_const().cast::<Instance>()) };
    // Before the counters can go.
    drop(instance.stats.lock().unwrap_or_else(PoisonError::into_inner).take());
    instance.action.stop();
}

/// `activateCnf`: rsyslogd has forked and dropped its privileges.
pub fn start_all() -> i32 {
    for instance in alive() {
        start(&instance);
    }
    OMOD_OK
}

/// Starts what an action needs, once.
pub fn start(instance: &Instance) {
    fds::keep_low_ones_taken();
    let _unsignalled = Unsignalled::new();
    instance.action.start();
}

/// All signals are blocked in this thread while it lives, and so in the threads that it makes: they are rsyslogd's.
struct Unsignalled(libc::sigset_t);

impl Unsignalled {
    fn new() -> Self {
        // SAFETY: a signal set is plain bytes; sigfillset makes it whole, pthread_sigmask fills in the old one.
        unsafe {
            let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut old);
            Self(old)
        }
    }
}

impl Drop for Unsignalled {
    fn drop(&mut self) {
        // SAFETY: the set is the one that this thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, null_mut()) };
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
