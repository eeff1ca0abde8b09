//! What rsyslogd offers a module, found by name when the module is loaded. A missing function refuses the load with a line that names
//! it; nothing is linked, so tests run without an rsyslogd.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::{size_of, transmute_copy};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};
use std::time::Instant;

use super::sys::{
    OMOD_NO_CODE, OMOD_SEVERITY_ERROR, OMOD_SEVERITY_INFO, OMOD_SEVERITY_NOTICE, OMOD_SEVERITY_WARNING,
    OmodCnfparamvalsDestruct, OmodDbgprintf, OmodLogMsg, OmodNvlstGetParams, OmodObjGetObjInterface, OmodObjIf,
    OmodOmsrConstruct, OmodOmsrDestruct, OmodOmsrSetEntry, OmodParserErrmsg,
};
use crate::log::Severity;

/// What every rsyslogd that this module can live in exports.
pub const REQUIRED_SYMBOLS: [&str; 7] = [
    "LogMsg",
    "nvlstGetParams",
    "cnfparamvalsDestruct",
    "OMSRconstruct",
    "OMSRsetEntry",
    "OMSRdestruct",
    "objGetObjInterface",
];

/// What some export: the module does without.
pub const OPTIONAL_SYMBOLS: [&str; 4] = ["parser_errmsg", "r_dbgprintf", "Debug", "bFinished"];

/// A message to rsyslog's log is cut there anyway (2048 bytes with what it adds).
const LOG_BYTES_MAX: usize = 1800;

/// The functions and variables of the rsyslogd that loaded us.
pub struct Host {
    log_msg: Function<OmodLogMsg>,
    parser_errmsg: OmodParserErrmsg,
    dbgprintf: OmodDbgprintf,
    pub nvlst_get_params: Function<OmodNvlstGetParams>,
    pub cnfparamvals_destruct: Function<OmodCnfparamvalsDestruct>,
    pub omsr_construct: Function<OmodOmsrConstruct>,
    pub omsr_set_entry: Function<OmodOmsrSetEntry>,
    pub omsr_destruct: Function<OmodOmsrDestruct>,
    obj_get_obj_interface: Function<OmodObjGetObjInterface>,
    /// `int Debug`: not 0 when rsyslogd writes a debug log.
    debug: Option<&'static AtomicI32>,
    /// `int bFinished`: not 0 once rsyslogd was told to end. Gone in 8.2608.
    finished: Option<&'static AtomicI32>,
    /// True up to 8.2604: a batch that is turned away by commit is lost if rsyslogd then stops, unless begin turns it away.
    pub forgets_batches: bool,
}

/// bindgen's function pointers may be null; these were found.
type Function<F> = <F as Pointer>::Found;

/// Helps to name the inside of an `Option<fn>`.
pub trait Pointer {
    /// The function pointer itself.
    type Found;
}

impl<F> Pointer for Option<F> {
    type Found = F;
}

static HOST: OnceLock<Host> = OnceLock::new();

/// The host. Only called below an entry point that `modInit` made known.
pub fn host() -> &'static Host {
    HOST.get().expect("modInit has succeeded")
}

/// Looks everything up. The error names what is missing.
pub fn resolve() -> Result<&'static Host, Vec<&'static str>> {
    let missing: Vec<&str> = REQUIRED_SYMBOLS.into_iter().filter(|name| symbol(name).is_null()).collect();
    if !missing.is_empty() {
        return Err(missing);
    }
    let every = "it was just found";
    // SAFETY: each symbol has the type that include/rsyslog_omod.h gives it, in every version that exports it.
    let mut host = unsafe {
        Host {
            log_msg: function::<OmodLogMsg>("LogMsg").expect(every),
            parser_errmsg: function("parser_errmsg"),
            dbgprintf: function("r_dbgprintf"),
            nvlst_get_params: function::<OmodNvlstGetParams>("nvlstGetParams").expect(every),
            cnfparamvals_destruct: function::<OmodCnfparamvalsDestruct>("cnfparamvalsDestruct").expect(every),
            omsr_construct: function::<OmodOmsrConstruct>("OMSRconstruct").expect(every),
            omsr_set_entry: function::<OmodOmsrSetEntry>("OMSRsetEntry").expect(every),
            omsr_destruct: function::<OmodOmsrDestruct>("OMSRdestruct").expect(every),
            obj_get_obj_interface: function::<OmodObjGetObjInterface>("objGetObjInterface").expect(every),
            debug: variable("Debug"),
            finished: variable("bFinished"),
            forgets_batches: false,
        }
    };
    host.forgets_batches = host.is_older_than_2606();
    Ok(HOST.get_or_init(|| host))
}

/// Says that the module refuses to be loaded, if there is anything to say it with.
pub fn refuse(code: c_int, text: &str) {
    // SAFETY: as in `resolve`.
    if let Some(log_msg) = unsafe { function::<OmodLogMsg>("LogMsg") } {
        let text = c_text(text);
        // SAFETY: LogMsg copies what it is given; "%s" takes one string that ends with NUL.
        unsafe { log_msg(0, code, OMOD_SEVERITY_ERROR, c"%s".as_ptr(), text.as_ptr()) };
    }
}

impl Host {
    /// Writes a line to rsyslog's log. Any thread may. rsyslogd hands it to its main thread: it does not come back to us from here.
    pub fn log(&self, severity: Severity, text: &str) {
        let severity = match severity {
            Severity::Error => OMOD_SEVERITY_ERROR,
            Severity::Warning => OMOD_SEVERITY_WARNING,
            Severity::Notice => OMOD_SEVERITY_NOTICE,
            Severity::Info => OMOD_SEVERITY_INFO,
            Severity::Debug => return self.debug(text),
        };
        let text = c_text(text);
        // SAFETY: LogMsg copies what it is given; "%s" takes one string that ends with NUL. -1 leaves the link to a web page away.
        unsafe { (self.log_msg)(0, OMOD_NO_CODE, severity, c"%s".as_ptr(), text.as_ptr()) };
    }

    /// Says what is wrong with a parameter, with file and line; `rsyslogd -N1` shows it and fails. Only while the configuration is read.
    pub fn complain(&self, text: &str) {
        match self.parser_errmsg {
            Some(parser_errmsg) => {
                let text = c_text(text);
                // SAFETY: as for LogMsg.
                unsafe { parser_errmsg(c"%s".as_ptr(), text.as_ptr()) };
            }
            None => self.log(Severity::Error, text),
        }
    }

    fn debug(&self, text: &str) {
        let (Some(dbgprintf), Some(debug)) = (self.dbgprintf, self.debug) else { return };
        if debug.load(Relaxed) != 0 {
            let text = c_text(text);
            // SAFETY: as for LogMsg; both strings end with NUL.
            unsafe { dbgprintf(c"omrust".as_ptr(), c"%s\n".as_ptr(), text.as_ptr()) };
        }
    }

    /// False from 8.2608 on.
    pub fn tells_its_end(&self) -> bool {
        self.finished.is_some()
    }

    /// Since when rsyslogd is known to end. Versions from 8.2608 on do not tell.
    pub fn ends_since(&self) -> Option<Instant> {
        static SEEN: OnceLock<Instant> = OnceLock::new();
        let told = self.finished.is_some_and(|finished| finished.load(Relaxed) != 0);
        told.then(|| *SEEN.get_or_init(Instant::now))
    }

    /// rsyslog's registry of interfaces.
    pub fn objects(&self) -> Option<OmodObjIf> {
        let mut objects = OmodObjIf {
            ifVersion: 2,
            ifIsLoaded: 0,
            UseObj: None,
            ReleaseObj: None,
            others: [std::ptr::null_mut(); 13],
        };
        // SAFETY: rsyslogd fills a structure of this size if it has interface 2, and nothing otherwise.
        let code = unsafe { (self.obj_get_obj_interface)(&raw mut objects) };
        (code == 0 && objects.UseObj.is_some()).then_some(objects)
    }

    /// There is no version to ask for. The interface "glbl" was 9 up to 8.2112 and 10 up to 8.2604. It is asked for, never called:
    /// its layout changed without its number.
    fn is_older_than_2606(&self) -> bool {
        let Some(OmodObjIf { UseObj: Some(use_obj), .. }) = self.objects() else { return false };
        [9, 10].into_iter().any(|version| {
            // 512 bytes in the largest version that is known.
            let mut interface = Box::new([0u64; 1024]);
            interface[0] = u64::from(version as u32); // ifVersion and ifIsLoaded
            // SAFETY: rsyslogd writes an interface with this number, which fits, or nothing. A null file means: part of the core.
            unsafe {
                use_obj(c"omrust".as_ptr(), c"glbl".as_ptr(), std::ptr::null(), interface.as_mut_ptr().cast::<c_void>())
                    == 0
            }
        })
    }
}

/// `text` for C: without NUL, and no longer than rsyslog's buffer.
fn c_text(text: &str) -> CString {
    let mut end = text.len().min(LOG_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let bytes: Vec<u8> = text[..end].bytes().map(|byte| if byte == 0 { b' ' } else { byte }).collect();
    CString::new(bytes).unwrap_or_default()
}

fn symbol(name: &str) -> *mut c_void {
    let name = CString::new(name).expect("names have no NUL");
    // SAFETY: a name that ends with NUL; the default search order begins with the running program.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }
}

/// SAFETY: `F` is `Option<fn>` with the type that the symbol has.
unsafe fn function<F: Pointer>(name: &str) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    let found = symbol(name);
    // SAFETY: an Option of a function pointer has the size of a pointer, and null is None. The type is the caller's promise.
    unsafe { transmute_copy::<*mut c_void, F>(&found) }
}

/// SAFETY: the symbol is an `int` of the running program, which lives as long as we do.
unsafe fn variable(name: &str) -> Option<&'static AtomicI32> {
    let found = symbol(name).cast::<i32>();
    // SAFETY: aligned as an int is; rsyslogd's other threads and signal handlers write it as a whole.
    (!found.is_null()).then(|| unsafe { AtomicI32::from_ptr(found) })
}

/// Reads a C string that rsyslogd gave.
///
/// SAFETY: `text` is null or ends with NUL, and lives through the call.
pub unsafe fn c_string<'a>(text: *const c_char) -> &'a CStr {
    if text.is_null() {
        return c"";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_rsyslogd_everything_is_missing() {
        assert_eq!(resolve().err(), Some(REQUIRED_SYMBOLS.to_vec()));
    }

    #[test]
    fn what_goes_to_the_log_is_cut_between_characters() {
        assert_eq!(c_text("a\0b").as_bytes(), b"a b");
        let long = c_text(&"\u{20ac}".repeat(1000));
        assert!(long.to_str().is_ok_and(|text| text.len() <= LOG_BYTES_MAX && text.len() > LOG_BYTES_MAX - 4));
    }
}
