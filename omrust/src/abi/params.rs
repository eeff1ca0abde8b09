//! The parameters of an action, read with rsyslog's own functions.

use std::ffi::{CString, c_char};
use std::ptr::null_mut;
use std::sync::OnceLock;

use super::host::host;
use super::sys::{
    OMOD_DESCR_VERSION, OMOD_NO_TEMPLATE_OPTIONS, OMOD_OK, OMOD_PARAM_ARRAY, OMOD_PARAM_STRING, OmodArray, OmodDescr,
    OmodDescrBlock, OmodEstr, OmodNvlst, OmodOmsr, OmodParamValue,
};
use crate::settings::table::PARAMETERS;
use crate::settings::{Given, Values};

/// The descriptors that rsyslogd is shown. They live for good: rsyslogd keeps pointers into them while it reads.
struct Block(OmodDescrBlock);

// SAFETY: read-only after it was made, and never freed.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

fn block() -> &'static OmodDescrBlock {
    static BLOCK: OnceLock<Block> = OnceLock::new();
    let made = BLOCK.get_or_init(|| {
        let descriptors: Vec<OmodDescr> = PARAMETERS
            .iter()
            .map(|parameter| OmodDescr {
                name: CString::new(parameter.name).expect("names have no NUL").into_raw().cast_const(),
                // Numbers, sizes and switches are read here, so that each error says what is allowed.
                type_: if parameter.several { OMOD_PARAM_ARRAY } else { OMOD_PARAM_STRING },
                flags: 0,
            })
            .collect();
        let descriptors: &'static [OmodDescr] = descriptors.leak();
        Block(OmodDescrBlock {
            version: OMOD_DESCR_VERSION as u16,
            nParams: descriptors.len() as u16,
            descr: descriptors.as_ptr(),
        })
    });
    &made.0
}

/// Reads what an action was given. `None`: rsyslogd has logged why not.
///
/// SAFETY: `list` is what rsyslogd gave `newActInst`.
pub unsafe fn read(list: *mut OmodNvlst) -> Option<Values> {
    let (host, block) = (host(), block());
    // SAFETY: the list is rsyslogd's own and the block lives for good. A null third argument asks for a new array, one entry per descriptor.
    let found = unsafe { (host.nvlst_get_params)(list, block, null_mut()) };
    if found.is_null() {
        return None;
    }
    // SAFETY: the array has as many entries as the block.
    let entries = unsafe { std::slice::from_raw_parts(found, usize::from(block.nParams)) };
    let mut values = Values::default();
    for (entry, parameter) in entries.iter().zip(PARAMETERS) {
        if entry.bUsed != 0 {
            // SAFETY: a used entry holds what its datatype says.
            values.put(parameter.name, unsafe { given(entry) });
        }
    }
    // SAFETY: the array came from nvlstGetParams with this block, and nothing points into it any more.
    unsafe { (host.cnfparamvals_destruct)(found, block) };
    Some(values)
}

/// SAFETY: a used entry of an array that nvlstGetParams made.
unsafe fn given(entry: &OmodParamValue) -> Given {
    // SAFETY: the datatype says which member of the union is there.
    unsafe {
        match entry.val.datatype as u8 {
            b'A' => strings(entry.val.d.array),
            b'N' => Given::Text(entry.val.d.number.to_string().into_bytes()),
            _ => Given::Text(string(entry.val.d.estr)),
        }
    }
}

/// SAFETY: null, or a string of libestr.
unsafe fn string(text: *const OmodEstr) -> Vec<u8> {
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: lenStr bytes follow the head.
    unsafe { std::slice::from_raw_parts(text.add(1).cast::<u8>(), (*text).lenStr as usize).to_vec() }
}

/// SAFETY: null, or an array of strings.
unsafe fn strings(array: *const OmodArray) -> Given {
    if array.is_null() {
        return Given::Texts(Vec::new());
    }
    // SAFETY: nmemb pointers to strings.
    unsafe {
        let members = usize::try_from((*array).nmemb).unwrap_or(0);
        if members == 0 {
            return Given::Texts(Vec::new());
        }
        let members = std::slice::from_raw_parts((*array).arr, members);
        Given::Texts(members.iter().map(|text| string(*text)).collect())
    }
}

/// Which templates an action asks rsyslogd to render, in their order.
pub struct Request(*mut OmodOmsr);

impl Request {
    /// Asks for these templates. `None` if there is no memory.
    pub fn new(templates: &[&str]) -> Option<Self> {
        let host = host();
        let mut request = Self(null_mut());
        // SAFETY: the functions are rsyslogd's own. OMSRsetEntry takes over the name and frees it with free(): so strdup made it.
        unsafe {
            if (host.omsr_construct)(&raw mut request.0, templates.len() as i32) != OMOD_OK {
                return None;
            }
            for (index, template) in templates.iter().enumerate() {
                let name = CString::new(*template).ok()?;
                let name: *mut c_char = libc::strdup(name.as_ptr());
                let options = OMOD_NO_TEMPLATE_OPTIONS;
                if (host.omsr_set_entry)(request.0, index as i32, name, options) != OMOD_OK {
                    return None;
                }
            }
        }
        Some(request)
    }

    /// Hands it over to rsyslogd.
    pub fn into_raw(self) -> *mut OmodOmsr {
        std::mem::ManuallyDrop::new(self).0
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by OMSRconstruct and not handed over.
            unsafe { (host().omsr_destruct)(self.0) };
        }
    }
}
