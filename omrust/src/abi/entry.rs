//! The entry points: what rsyslogd calls, each inside [`guard`].

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;

use super::guard::{guard, silence_panics};
use super::host::{self, c_string};
use super::sys::{
    OMOD_CONFLINE_UNPROCESSED, OMOD_ENTRY_POINT_NOT_FOUND, OMOD_ERROR, OMOD_FEATURE_REPEATED_MSG, OMOD_INCOMPATIBLE,
    OMOD_INTERFACE, OMOD_KEEP, OMOD_MISSING_INTERFACE, OMOD_OK, OMOD_OUT_OF_MEMORY, OMOD_TYPE_OUTPUT, OmodHostQuery,
    OmodNvlst, OmodOmsr, OmodParam, OmodQueryEntry,
};
use super::{instance, stats, worker};

/// What `action(type=...)` calls it.
const NAME: &CStr = c"omrust";

/// The one symbol that rsyslogd looks for in the library.
///
/// SAFETY: rsyslogd calls it once, with places for the answers.
#[allow(non_snake_case, missing_docs)]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn modInit(
    requested: c_int,
    provided: *mut c_int,
    query: *mut OmodQueryEntry,
    _host_query: OmodHostQuery,
    _module: *mut c_void,
) -> c_int {
    silence_panics();
    let loaded = guard("modInit", || {
        if requested != OMOD_INTERFACE {
            let text = format!(
                "omrust: rsyslogd wants module interface {requested}, this module has {OMOD_INTERFACE}: not loaded"
            );
            host::refuse(OMOD_MISSING_INTERFACE, &text);
            return OMOD_MISSING_INTERFACE;
        }
        let host = match host::resolve() {
            Ok(host) => host,
            Err(missing) => {
                let text = format!("omrust: this rsyslogd does not have {}: not loaded", missing.join(", "));
                host::refuse(OMOD_MISSING_INTERFACE, &text);
                return OMOD_MISSING_INTERFACE;
            }
        };
        crate::log::install(|severity, text| {
            // The host is there: lines come from what it calls.
            host::host().log(severity, text);
        });
        stats::find(host);
        OMOD_OK
    });
    let code = loaded.unwrap_or(OMOD_ERROR);
    if code == OMOD_OK {
        // SAFETY: rsyslogd gave places for both.
        unsafe {
            *provided = OMOD_INTERFACE;
            *query = Some(query_entry_point);
        }
    }
    code
}

/// Tells where an entry point is. Newer rsyslogds ask for more than there is, and -1004 is the only answer that does not harm.
unsafe extern "C" fn query_entry_point(name: *const c_char, entry: *mut *mut c_void) -> c_int {
    // SAFETY: rsyslogd gives a name that ends with NUL.
    let name = unsafe { c_string(name) }.to_bytes();
    let found: *const () = match name {
        b"modExit" => mod_exit as *const (),
        b"modGetID" => mod_get_id as *const (),
        b"getType" => get_type as *const (),
        b"getKeepType" => get_keep_type as *const (),
        b"getModCnfName" => get_mod_cnf_name as *const (),
        b"isCompatibleWithFeature" => is_compatible_with_feature as *const (),
        b"beginCnfLoad" => begin_cnf_load as *const (),
        b"endCnfLoad" | b"checkCnf" | b"freeCnf" => no_cnf as *const (),
        b"activateCnf" => activate_cnf as *const (),
        b"newActInst" => new_act_inst as *const (),
        b"parseSelectorAct" => parse_selector_act as *const (),
        b"freeInstance" => free_instance as *const (),
        b"dbgPrintInstInfo" => dbg_print_inst_info as *const (),
        b"createWrkrInstance" => create_wrkr_instance as *const (),
        b"freeWrkrInstance" => free_wrkr_instance as *const (),
        b"beginTransaction" => begin_transaction as *const (),
        b"commitTransaction" => commit_transaction as *const (),
        b"endTransaction" => end_transaction as *const (),
        b"tryResume" => try_resume as *const (),
        b"doHUP" => do_hup as *const (),
        _ => std::ptr::null(),
    };
    // SAFETY: rsyslogd gives a place for the answer.
    unsafe { *entry = found.cast_mut().cast() };
    if found.is_null() { OMOD_ENTRY_POINT_NOT_FOUND } else { OMOD_OK }
}

unsafe extern "C" fn mod_exit() -> c_int {
    OMOD_OK
}

unsafe extern "C" fn mod_get_id(id: *mut *mut c_void) -> c_int {
    // SAFETY: rsyslogd gives a place. Any address of ours will do, as long as nobody else has it.
    unsafe { *id = (mod_exit as *const ()).cast_mut().cast() };
    OMOD_OK
}

unsafe extern "C" fn get_type(kind: *mut c_int) -> c_int {
    // SAFETY: rsyslogd gives a place.
    unsafe { *kind = OMOD_TYPE_OUTPUT };
    OMOD_OK
}

unsafe extern "C" fn get_keep_type(kind: *mut c_int) -> c_int {
    // A Rust library must not be unloaded: it has thread-local values, and perhaps threads.
    // SAFETY: rsyslogd gives a place.
    unsafe { *kind = OMOD_KEEP };
    OMOD_OK
}

unsafe extern "C" fn get_mod_cnf_name(name: *mut *const c_char) -> c_int {
    // SAFETY: rsyslogd gives a place and copies the name.
    unsafe { *name = NAME.as_ptr() };
    OMOD_OK
}

unsafe extern "C" fn is_compatible_with_feature(feature: c_int) -> c_int {
    if feature == OMOD_FEATURE_REPEATED_MSG { OMOD_OK } else { OMOD_INCOMPATIBLE }
}

unsafe extern "C" fn begin_cnf_load(cnf: *mut *mut c_void, _rsconf: *mut c_void) -> c_int {
    // There are no parameters of the module; the address only has to be one.
    // SAFETY: rsyslogd gives a place.
    unsafe { *cnf = NAME.as_ptr().cast_mut().cast() };
    OMOD_OK
}

unsafe extern "C" fn no_cnf(_cnf: *mut c_void) -> c_int {
    OMOD_OK
}

unsafe extern "C" fn activate_cnf(_cnf: *mut c_void) -> c_int {
    guard("activateCnf", instance::start_all).unwrap_or(OMOD_OK)
}

unsafe extern "C" fn new_act_inst(
    _module: *mut u8,
    list: *mut OmodNvlst,
    instance: *mut *mut c_void,
    request: *mut *mut OmodOmsr,
) -> c_int {
    // SAFETY: rsyslogd gives places for both; on an error they must be null.
    unsafe {
        *instance = null_mut();
        *request = null_mut();
    }
    // SAFETY: the list is rsyslogd's.
    match guard("newActInst", || unsafe { instance::create(list) }) {
        Some(Ok((made, templates))) => {
            // SAFETY: as above.
            unsafe {
                *instance = made;
                *request = templates;
            }
            OMOD_OK
        }
        Some(Err(code)) => code,
        None => OMOD_ERROR,
    }
}

/// Legacy lines are offered to every module until one takes them. Anything but this answer would end the search.
unsafe extern "C" fn parse_selector_act(
    _line: *mut *mut u8,
    _instance: *mut *mut c_void,
    _request: *mut *mut OmodOmsr,
) -> c_int {
    OMOD_CONFLINE_UNPROCESSED
}

unsafe extern "C" fn free_instance(instance: *mut c_void) -> c_int {
    // SAFETY: rsyslogd frees an instance once.
    let _ = guard("freeInstance", || unsafe { instance::free(instance) });
    OMOD_OK
}

unsafe extern "C" fn dbg_print_inst_info(_instance: *mut c_void) -> c_int {
    OMOD_OK
}

unsafe extern "C" fn create_wrkr_instance(place: *mut *mut c_void, instance: *mut c_void) -> c_int {
    // SAFETY: the instance is alive.
    let made = guard("createWrkrInstance", || unsafe { worker::create(instance) });
    // SAFETY: rsyslogd gives a place.
    unsafe { *place = made.unwrap_or(null_mut()) };
    if made.is_some() { OMOD_OK } else { OMOD_OUT_OF_MEMORY }
}

unsafe extern "C" fn free_wrkr_instance(worker: *mut c_void) -> c_int {
    // SAFETY: rsyslogd frees a worker once.
    let _ = guard("freeWrkrInstance", || unsafe { worker::free(worker) });
    OMOD_OK
}

unsafe extern "C" fn begin_transaction(worker: *mut c_void) -> c_int {
    // SAFETY: the worker is alive.
    guard("beginTransaction", || unsafe { worker::from_raw(worker) }.begin()).unwrap_or(OMOD_OK)
}

unsafe extern "C" fn commit_transaction(worker: *mut c_void, params: *mut OmodParam, messages: u32) -> c_int {
    // SAFETY: the worker is alive, and rsyslogd keeps the texts through the call.
    guard("commitTransaction", || unsafe { worker::from_raw(worker).commit(params, messages) }).unwrap_or(OMOD_ERROR)
}

/// Only asked for after a commit that did not end the transaction, and none of ours does that.
unsafe extern "C" fn end_transaction(_worker: *mut c_void) -> c_int {
    OMOD_OK
}

unsafe extern "C" fn try_resume(worker: *mut c_void) -> c_int {
    // SAFETY: the worker is alive.
    guard("tryResume", || unsafe { worker::from_raw(worker) }.resume()).unwrap_or(super::sys::OMOD_SUSPENDED)
}

/// On rsyslogd's main thread, while workers are at work.
unsafe extern "C" fn do_hup(instance: *mut c_void) -> c_int {
    // SAFETY: the instance is alive.
    let _ = guard("doHUP", || unsafe { instance::share(instance) }.action.hup());
    OMOD_OK
}
