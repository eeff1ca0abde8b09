//! impstats counters: one object per action, read in place by rsyslogd.
//!
//! This is the one table of rsyslog's that differs between versions. Its functions moved at 8.2602 and 8.2608. An interface that is not
//! known means no counters and one line in the log, nothing worse.

use std::ffi::{CString, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use delivery::counters::Counters;

use super::host::Host;
use super::sys::{
    OMOD_COUNTER_RESETTABLE, OMOD_COUNTER_U64, OMOD_OK, OmodAddCounter, OmodObjIf, OmodStats, OmodStatsIf,
};
use crate::log::Severity;

/// Interface versions, and where `AddCounter` is: counted from the tenth function, where the versions part.
const VERSIONS: [(c_int, usize); 4] = [(13, 0), (14, 1), (15, 1), (16, 2)];

/// What an action counts, under the names that all doors use. Gauges are not set to 0 by impstats' `resetCounters`.
type Read = fn(&Counters) -> &AtomicU64;

/// Name, whether it is a counter, and what it means.
pub const COUNTERS: [(&str, bool, Read, &str); 13] = [
    (
        "received",
        true,
        |c| &c.received,
        "messages that rsyslog handed in, each counted once however often it is handed in again",
    ),
    ("accepted", true, |c| &c.accepted, "messages for which rsyslog was told: done"),
    ("pushed", true, |c| &c.pushed, "records that Redis has confirmed"),
    (
        "duplicates_suppressed",
        true,
        |c| &c.duplicates_suppressed,
        "records that Redis turned out to have: not sent again",
    ),
    ("dead_letters", true, |c| &c.dead_letters, "records parked with a reason"),
    ("spooled", true, |c| &c.spooled, "records that went through the spool"),
    ("spool_bytes", false, |c| &c.spool_bytes, "bytes of the spool on disk"),
    ("replayed", true, |c| &c.replayed, "records sent again because Redis went back to an earlier state"),
    ("retries", true, |c| &c.retries, "attempts to connect or push that failed"),
    ("unknown_outcome", true, |c| &c.unknown_outcome, "records whose push lost its answer; Redis tells a repeat apart"),
    ("reconnects", true, |c| &c.reconnects, "connections made after the first"),
    ("list_length", false, |c| &c.list_length, "length of the list after the last push, or when it was asked for"),
    (
        "held_back",
        false,
        |c| &c.held_back,
        "lists that are held back because they are longer than `maxlength`; at least 1 while Redis is out of memory",
    ),
];

/// The interface, if this rsyslogd has one that is known.
struct Interface {
    functions: OmodStatsIf,
    add_counter: OmodAddCounter,
}

// SAFETY: function pointers into rsyslogd, which stay as they are while the process lives.
unsafe impl Send for Interface {}
// SAFETY: as above.
unsafe impl Sync for Interface {}

static INTERFACE: OnceLock<Option<Interface>> = OnceLock::new();

/// Looks for an interface; says once if there is none. Called by `modInit`.
pub fn find(host: &Host) {
    INTERFACE.get_or_init(|| {
        let found = host.objects().and_then(|objects| VERSIONS.iter().find_map(|version| ask(&objects, *version)));
        if found.is_none() {
            host.log(
                Severity::Warning,
                "omrust: this rsyslogd's impstats interface is not known: there are no counters, all else works",
            );
        }
        found
    });
}

fn ask(objects: &OmodObjIf, (version, slot): (c_int, usize)) -> Option<Interface> {
    // Fresh for each attempt: a refused one leaves its mark in it.
    let mut functions = OmodStatsIf {
        ifVersion: version,
        ifIsLoaded: 0,
        DebugPrint: null_mut(),
        Construct: None,
        ConstructFinalize: None,
        Destruct: None,
        SetName: None,
        SetOrigin: None,
        SetReadNotifier: null_mut(),
        SetReportingNamespace: null_mut(),
        SetStatsObjFlags: null_mut(),
        GetAllStatsLines: null_mut(),
        moving: [null_mut(); 54],
    };
    // SAFETY: rsyslogd writes a table of this version, which is smaller than ours, or refuses. A null file means: part of the core.
    let code = unsafe {
        objects.UseObj?(
            c"omrust".as_ptr(),
            c"statsobj".as_ptr(),
            std::ptr::null(),
            (&raw mut functions).cast::<c_void>(),
        )
    };
    if code != OMOD_OK {
        return None;
    }
    // SAFETY: in this version the slot holds AddCounter, whose type did not change; null becomes None.
    let add_counter = unsafe { std::mem::transmute::<*mut c_void, OmodAddCounter>(functions.moving[slot]) };
    add_counter?;
    Some(Interface { functions, add_counter })
}

/// The counters of one action, as impstats sees them. Made while the configuration is read and taken back when the action is freed: old
/// versions walk their list of objects without a lock.
pub struct Stats {
    object: *mut OmodStats,
    /// rsyslogd reads these where they are.
    counters: Arc<Counters>,
}

// SAFETY: the object is only handed back to rsyslogd, which locks its own list; the counters are atomics.
unsafe impl Send for Stats {}

impl Stats {
    /// Shows `counters` as `name`. `None` if this rsyslogd cannot.
    pub fn new(name: &str, counters: &Arc<Counters>) -> Option<Self> {
        let interface = INTERFACE.get()?.as_ref()?;
        let functions = &interface.functions;
        let name = CString::new(name).ok()?;
        let mut stats = Self { object: null_mut(), counters: Arc::clone(counters) };
        // SAFETY: the functions are those of this rsyslogd, called in the order that its own modules use: construct, describe, finalize. Names
        // are copied. Each counter is an aligned u64 inside the Arc that `stats` holds; `Drop` takes the object back before it lets go.
        unsafe {
            if functions.Construct?(&raw mut stats.object) != OMOD_OK || stats.object.is_null() {
                return None;
            }
            functions.SetName?(stats.object, name.as_ptr().cast());
            functions.SetOrigin?(stats.object, c"omrust".as_ptr().cast());
            for (name, resettable, counter, _) in COUNTERS {
                let name = CString::new(name).ok()?;
                let counter = counter(&stats.counters).as_ptr().cast::<c_void>();
                let flags = if resettable { OMOD_COUNTER_RESETTABLE as i8 } else { 0 };
                interface.add_counter?(stats.object, name.as_ptr().cast(), OMOD_COUNTER_U64, flags, counter);
            }
            functions.ConstructFinalize?(stats.object);
        }
        Some(stats)
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        let destruct = INTERFACE.get().and_then(|interface| interface.as_ref()?.functions.Destruct);
        if let (Some(destruct), false) = (destruct, self.object.is_null()) {
            // SAFETY: the object was made by Construct and is destructed once.
            unsafe { destruct(&raw mut self.object) };
        }
        // The counters go after the object that points at them.
    }
}
