//! Made from include/rsyslog_omod.h: UPDATE=1 cargo test -p omrust --test bindings
#![allow(non_camel_case_types, non_snake_case, dead_code, missing_docs, clippy::all, clippy::pedantic)]

#[repr(C)]
#[derive(Debug)]
pub struct OmodNvlst {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct OmodOmsr {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Debug)]
pub struct OmodStats {
    _unused: [u8; 0],
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodParam {
    pub param: *mut u8,
    pub lenBuf: u32,
    pub lenStr: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodParam"][::core::mem::size_of::<OmodParam>() - 16usize];
    ["Alignment of OmodParam"][::core::mem::align_of::<OmodParam>() - 8usize];
    [
        "Offset of field: OmodParam::param",
    ][::core::mem::offset_of!(OmodParam, param) - 0usize];
    [
        "Offset of field: OmodParam::lenBuf",
    ][::core::mem::offset_of!(OmodParam, lenBuf) - 8usize];
    [
        "Offset of field: OmodParam::lenStr",
    ][::core::mem::offset_of!(OmodParam, lenStr) - 12usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodDescr {
    pub name: *const ::core::ffi::c_char,
    pub type_: i32,
    pub flags: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodDescr"][::core::mem::size_of::<OmodDescr>() - 16usize];
    ["Alignment of OmodDescr"][::core::mem::align_of::<OmodDescr>() - 8usize];
    [
        "Offset of field: OmodDescr::name",
    ][::core::mem::offset_of!(OmodDescr, name) - 0usize];
    [
        "Offset of field: OmodDescr::type_",
    ][::core::mem::offset_of!(OmodDescr, type_) - 8usize];
    [
        "Offset of field: OmodDescr::flags",
    ][::core::mem::offset_of!(OmodDescr, flags) - 12usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodDescrBlock {
    pub version: u16,
    pub nParams: u16,
    pub descr: *const OmodDescr,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodDescrBlock"][::core::mem::size_of::<OmodDescrBlock>() - 16usize];
    ["Alignment of OmodDescrBlock"][::core::mem::align_of::<OmodDescrBlock>() - 8usize];
    [
        "Offset of field: OmodDescrBlock::version",
    ][::core::mem::offset_of!(OmodDescrBlock, version) - 0usize];
    [
        "Offset of field: OmodDescrBlock::nParams",
    ][::core::mem::offset_of!(OmodDescrBlock, nParams) - 2usize];
    [
        "Offset of field: OmodDescrBlock::descr",
    ][::core::mem::offset_of!(OmodDescrBlock, descr) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodEstr {
    pub lenStr: u32,
    pub lenBuf: u32,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodEstr"][::core::mem::size_of::<OmodEstr>() - 8usize];
    ["Alignment of OmodEstr"][::core::mem::align_of::<OmodEstr>() - 4usize];
    [
        "Offset of field: OmodEstr::lenStr",
    ][::core::mem::offset_of!(OmodEstr, lenStr) - 0usize];
    [
        "Offset of field: OmodEstr::lenBuf",
    ][::core::mem::offset_of!(OmodEstr, lenBuf) - 4usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodArray {
    pub nodetype: u32,
    pub nmemb: i32,
    pub arr: *mut *mut OmodEstr,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodArray"][::core::mem::size_of::<OmodArray>() - 16usize];
    ["Alignment of OmodArray"][::core::mem::align_of::<OmodArray>() - 8usize];
    [
        "Offset of field: OmodArray::nodetype",
    ][::core::mem::offset_of!(OmodArray, nodetype) - 0usize];
    [
        "Offset of field: OmodArray::nmemb",
    ][::core::mem::offset_of!(OmodArray, nmemb) - 4usize];
    [
        "Offset of field: OmodArray::arr",
    ][::core::mem::offset_of!(OmodArray, arr) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub union OmodValueData {
    pub estr: *mut OmodEstr,
    pub array: *mut OmodArray,
    pub number: i64,
    pub other: *mut ::core::ffi::c_void,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodValueData"][::core::mem::size_of::<OmodValueData>() - 8usize];
    ["Alignment of OmodValueData"][::core::mem::align_of::<OmodValueData>() - 8usize];
    [
        "Offset of field: OmodValueData::estr",
    ][::core::mem::offset_of!(OmodValueData, estr) - 0usize];
    [
        "Offset of field: OmodValueData::array",
    ][::core::mem::offset_of!(OmodValueData, array) - 0usize];
    [
        "Offset of field: OmodValueData::number",
    ][::core::mem::offset_of!(OmodValueData, number) - 0usize];
    [
        "Offset of field: OmodValueData::other",
    ][::core::mem::offset_of!(OmodValueData, other) - 0usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodValue {
    pub d: OmodValueData,
    pub datatype: ::core::ffi::c_char,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodValue"][::core::mem::size_of::<OmodValue>() - 16usize];
    ["Alignment of OmodValue"][::core::mem::align_of::<OmodValue>() - 8usize];
    ["Offset of field: OmodValue::d"][::core::mem::offset_of!(OmodValue, d) - 0usize];
    [
        "Offset of field: OmodValue::datatype",
    ][::core::mem::offset_of!(OmodValue, datatype) - 8usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodParamValue {
    pub val: OmodValue,
    pub bUsed: u8,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodParamValue"][::core::mem::size_of::<OmodParamValue>() - 24usize];
    ["Alignment of OmodParamValue"][::core::mem::align_of::<OmodParamValue>() - 8usize];
    [
        "Offset of field: OmodParamValue::val",
    ][::core::mem::offset_of!(OmodParamValue, val) - 0usize];
    [
        "Offset of field: OmodParamValue::bUsed",
    ][::core::mem::offset_of!(OmodParamValue, bUsed) - 16usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodObjIf {
    pub ifVersion: i32,
    pub ifIsLoaded: i32,
    pub UseObj: ::core::option::Option<
        unsafe extern "C" fn(
            srcFile: *const ::core::ffi::c_char,
            objName: *const ::core::ffi::c_char,
            objFile: *const ::core::ffi::c_char,
            interface: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub ReleaseObj: ::core::option::Option<
        unsafe extern "C" fn(
            srcFile: *const ::core::ffi::c_char,
            objName: *const ::core::ffi::c_char,
            objFile: *const ::core::ffi::c_char,
            interface: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int,
    >,
    pub others: [*mut ::core::ffi::c_void; 13usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodObjIf"][::core::mem::size_of::<OmodObjIf>() - 128usize];
    ["Alignment of OmodObjIf"][::core::mem::align_of::<OmodObjIf>() - 8usize];
    [
        "Offset of field: OmodObjIf::ifVersion",
    ][::core::mem::offset_of!(OmodObjIf, ifVersion) - 0usize];
    [
        "Offset of field: OmodObjIf::ifIsLoaded",
    ][::core::mem::offset_of!(OmodObjIf, ifIsLoaded) - 4usize];
    [
        "Offset of field: OmodObjIf::UseObj",
    ][::core::mem::offset_of!(OmodObjIf, UseObj) - 8usize];
    [
        "Offset of field: OmodObjIf::ReleaseObj",
    ][::core::mem::offset_of!(OmodObjIf, ReleaseObj) - 16usize];
    [
        "Offset of field: OmodObjIf::others",
    ][::core::mem::offset_of!(OmodObjIf, others) - 24usize];
};
#[repr(C)]
#[derive(Copy, Clone)]
pub struct OmodStatsIf {
    pub ifVersion: i32,
    pub ifIsLoaded: i32,
    pub DebugPrint: *mut ::core::ffi::c_void,
    pub Construct: ::core::option::Option<
        unsafe extern "C" fn(object: *mut *mut OmodStats) -> ::core::ffi::c_int,
    >,
    pub ConstructFinalize: ::core::option::Option<
        unsafe extern "C" fn(object: *mut OmodStats) -> ::core::ffi::c_int,
    >,
    pub Destruct: ::core::option::Option<
        unsafe extern "C" fn(object: *mut *mut OmodStats) -> ::core::ffi::c_int,
    >,
    pub SetName: ::core::option::Option<
        unsafe extern "C" fn(
            object: *mut OmodStats,
            name: *const u8,
        ) -> ::core::ffi::c_int,
    >,
    pub SetOrigin: ::core::option::Option<
        unsafe extern "C" fn(
            object: *mut OmodStats,
            origin: *const u8,
        ) -> ::core::ffi::c_int,
    >,
    pub SetReadNotifier: *mut ::core::ffi::c_void,
    pub SetReportingNamespace: *mut ::core::ffi::c_void,
    pub SetStatsObjFlags: *mut ::core::ffi::c_void,
    pub GetAllStatsLines: *mut ::core::ffi::c_void,
    pub moving: [*mut ::core::ffi::c_void; 54usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
const _: () = {
    ["Size of OmodStatsIf"][::core::mem::size_of::<OmodStatsIf>() - 520usize];
    ["Alignment of OmodStatsIf"][::core::mem::align_of::<OmodStatsIf>() - 8usize];
    [
        "Offset of field: OmodStatsIf::ifVersion",
    ][::core::mem::offset_of!(OmodStatsIf, ifVersion) - 0usize];
    [
        "Offset of field: OmodStatsIf::ifIsLoaded",
    ][::core::mem::offset_of!(OmodStatsIf, ifIsLoaded) - 4usize];
    [
        "Offset of field: OmodStatsIf::DebugPrint",
    ][::core::mem::offset_of!(OmodStatsIf, DebugPrint) - 8usize];
    [
        "Offset of field: OmodStatsIf::Construct",
    ][::core::mem::offset_of!(OmodStatsIf, Construct) - 16usize];
    [
        "Offset of field: OmodStatsIf::ConstructFinalize",
    ][::core::mem::offset_of!(OmodStatsIf, ConstructFinalize) - 24usize];
    [
        "Offset of field: OmodStatsIf::Destruct",
    ][::core::mem::offset_of!(OmodStatsIf, Destruct) - 32usize];
    [
        "Offset of field: OmodStatsIf::SetName",
    ][::core::mem::offset_of!(OmodStatsIf, SetName) - 40usize];
    [
        "Offset of field: OmodStatsIf::SetOrigin",
    ][::core::mem::offset_of!(OmodStatsIf, SetOrigin) - 48usize];
    [
        "Offset of field: OmodStatsIf::SetReadNotifier",
    ][::core::mem::offset_of!(OmodStatsIf, SetReadNotifier) - 56usize];
    [
        "Offset of field: OmodStatsIf::SetReportingNamespace",
    ][::core::mem::offset_of!(OmodStatsIf, SetReportingNamespace) - 64usize];
    [
        "Offset of field: OmodStatsIf::SetStatsObjFlags",
    ][::core::mem::offset_of!(OmodStatsIf, SetStatsObjFlags) - 72usize];
    [
        "Offset of field: OmodStatsIf::GetAllStatsLines",
    ][::core::mem::offset_of!(OmodStatsIf, GetAllStatsLines) - 80usize];
    [
        "Offset of field: OmodStatsIf::moving",
    ][::core::mem::offset_of!(OmodStatsIf, moving) - 88usize];
};
pub type OmodAddCounter = ::core::option::Option<
    unsafe extern "C" fn(
        object: *mut OmodStats,
        name: *const u8,
        type_: ::core::ffi::c_int,
        flags: i8,
        counter: *mut ::core::ffi::c_void,
    ) -> ::core::ffi::c_int,
>;
pub type OmodQueryEntry = ::core::option::Option<
    unsafe extern "C" fn(
        name: *const ::core::ffi::c_char,
        entry: *mut *mut ::core::ffi::c_void,
    ) -> ::core::ffi::c_int,
>;
pub type OmodHostQuery = ::core::option::Option<
    unsafe extern "C" fn(
        name: *const ::core::ffi::c_char,
        entry: *mut *mut ::core::ffi::c_void,
    ) -> ::core::ffi::c_int,
>;
pub type OmodLogMsg = ::core::option::Option<
    unsafe extern "C" fn(
        error_number: ::core::ffi::c_int,
        code: ::core::ffi::c_int,
        severity: ::core::ffi::c_int,
        format: *const ::core::ffi::c_char,
        ...
    ),
>;
pub type OmodParserErrmsg = ::core::option::Option<
    unsafe extern "C" fn(format: *const ::core::ffi::c_char, ...),
>;
pub type OmodDbgprintf = ::core::option::Option<
    unsafe extern "C" fn(
        source: *const ::core::ffi::c_char,
        format: *const ::core::ffi::c_char,
        ...
    ),
>;
pub type OmodNvlstGetParams = ::core::option::Option<
    unsafe extern "C" fn(
        list: *mut OmodNvlst,
        block: *const OmodDescrBlock,
        reuse: *mut OmodParamValue,
    ) -> *mut OmodParamValue,
>;
pub type OmodCnfparamvalsDestruct = ::core::option::Option<
    unsafe extern "C" fn(values: *const OmodParamValue, block: *const OmodDescrBlock),
>;
pub type OmodOmsrConstruct = ::core::option::Option<
    unsafe extern "C" fn(
        request: *mut *mut OmodOmsr,
        templates: ::core::ffi::c_int,
    ) -> ::core::ffi::c_int,
>;
pub type OmodOmsrSetEntry = ::core::option::Option<
    unsafe extern "C" fn(
        request: *mut OmodOmsr,
        index: ::core::ffi::c_int,
        template_name: *mut ::core::ffi::c_char,
        options: ::core::ffi::c_int,
    ) -> ::core::ffi::c_int,
>;
pub type OmodOmsrDestruct = ::core::option::Option<
    unsafe extern "C" fn(request: *mut OmodOmsr) -> ::core::ffi::c_int,
>;
pub type OmodObjGetObjInterface = ::core::option::Option<
    unsafe extern "C" fn(interface: *mut OmodObjIf) -> ::core::ffi::c_int,
>;
pub const OMOD_INTERFACE: _bindgen_ty_1 = 6;
pub const OMOD_OBJ_INTERFACE: _bindgen_ty_1 = 2;
pub const OMOD_DESCR_VERSION: _bindgen_ty_1 = 1;
pub const OMOD_TYPE_OUTPUT: _bindgen_ty_1 = 1;
pub const OMOD_KEEP: _bindgen_ty_1 = 1;
pub const OMOD_FEATURE_REPEATED_MSG: _bindgen_ty_1 = 1;
pub const OMOD_PARAM_STRING: _bindgen_ty_1 = 14;
pub const OMOD_PARAM_ARRAY: _bindgen_ty_1 = 15;
pub const OMOD_NO_TEMPLATE_OPTIONS: _bindgen_ty_1 = 0;
pub const OMOD_TEMPLATES_MAX: _bindgen_ty_1 = 5;
pub const OMOD_COUNTER_U64: _bindgen_ty_1 = 0;
pub const OMOD_COUNTER_RESETTABLE: _bindgen_ty_1 = 1;
pub const OMOD_SEVERITY_ERROR: _bindgen_ty_1 = 3;
pub const OMOD_SEVERITY_WARNING: _bindgen_ty_1 = 4;
pub const OMOD_SEVERITY_NOTICE: _bindgen_ty_1 = 5;
pub const OMOD_SEVERITY_INFO: _bindgen_ty_1 = 6;
pub const OMOD_OK: _bindgen_ty_1 = 0;
pub const OMOD_OUT_OF_MEMORY: _bindgen_ty_1 = -6;
pub const OMOD_MISSING_INTERFACE: _bindgen_ty_1 = -1001;
pub const OMOD_ENTRY_POINT_NOT_FOUND: _bindgen_ty_1 = -1004;
pub const OMOD_CONFLINE_UNPROCESSED: _bindgen_ty_1 = -2001;
pub const OMOD_INCOMPATIBLE: _bindgen_ty_1 = -2003;
pub const OMOD_SUSPENDED: _bindgen_ty_1 = -2007;
pub const OMOD_CONF_PARSE_ERROR: _bindgen_ty_1 = -2207;
pub const OMOD_MISSING_CNFPARAMS: _bindgen_ty_1 = -2211;
pub const OMOD_DATAFAIL: _bindgen_ty_1 = -2218;
pub const OMOD_NO_CODE: _bindgen_ty_1 = -1;
pub const OMOD_ERROR: _bindgen_ty_1 = -3000;
pub type _bindgen_ty_1 = ::core::ffi::c_int;
