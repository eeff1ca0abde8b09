//! What the header says must be what rsyslogd has: sizes and offsets as found in the headers of 8.2102, 8.2302, 8.2504 and 8.2608.

use std::mem::{offset_of, size_of};

use super::sys::{
    OmodArray, OmodDescr, OmodDescrBlock, OmodEstr, OmodObjIf, OmodParam, OmodParamValue, OmodStatsIf, OmodValue,
};

const _: () = {
    assert!(size_of::<OmodParam>() == 16);
    assert!(offset_of!(OmodParam, lenBuf) == 8 && offset_of!(OmodParam, lenStr) == 12);
    assert!(size_of::<OmodDescr>() == 16);
    assert!(offset_of!(OmodDescr, type_) == 8 && offset_of!(OmodDescr, flags) == 12);
    assert!(size_of::<OmodDescrBlock>() == 16);
    assert!(offset_of!(OmodDescrBlock, nParams) == 2 && offset_of!(OmodDescrBlock, descr) == 8);
    assert!(size_of::<OmodValue>() == 16 && offset_of!(OmodValue, datatype) == 8);
    assert!(size_of::<OmodParamValue>() == 24 && offset_of!(OmodParamValue, bUsed) == 16);
    assert!(size_of::<OmodArray>() == 16 && offset_of!(OmodArray, nmemb) == 4 && offset_of!(OmodArray, arr) == 8);
    assert!(size_of::<OmodEstr>() == 8);
    assert!(size_of::<OmodObjIf>() == 128 && offset_of!(OmodObjIf, UseObj) == 8);
    assert!(offset_of!(OmodStatsIf, Construct) == 8 + 8);
    assert!(offset_of!(OmodStatsIf, moving) == 8 + 8 * 10);
};
