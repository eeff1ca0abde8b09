//! `include/omrust.h` is what cbindgen makes of `src/abi/c_api.rs`. It is committed, so that C programs need no Rust.
//! `UPDATE=1 cargo test -p omrust --test header` writes it anew.

use std::fs;
use std::path::Path;

const HEAD: &str = "\
/* omrust.h: records into redis lists, each one once and in order. For C programs; link with omrust.so.
 *
 *     omrust_handle handle;
 *     if (omrust_open_file(\"/etc/omrust/omrust.toml\", &handle) != OMRUST_RESULT_OK) ...
 *     omrust_begin(handle);
 *     omrust_message(handle, \"text\", 4);
 *     while (omrust_commit(handle, 1000) == OMRUST_RESULT_LATER) ...
 *     omrust_close(handle, 1000);
 *
 * No call panics, prints, exits, or changes how signals are handled. Threads of the library block all signals.
 * Made from omrust/src/abi/c_api.rs: UPDATE=1 cargo test -p omrust --test header */";

#[test]
fn the_committed_header_is_that_of_the_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config {
        language: cbindgen::Language::C,
        header: Some(HEAD.into()),
        include_guard: Some("OMRUST_H".into()),
        cpp_compat: true,
        usize_is_size_t: true,
        documentation_style: cbindgen::DocumentationStyle::C99,
        style: cbindgen::Style::Type,
        line_length: 120,
        enumeration: cbindgen::EnumConfig {
            prefix_with_name: true,
            rename_variants: cbindgen::RenameRule::ScreamingSnakeCase,
            ..cbindgen::EnumConfig::default()
        },
        export: cbindgen::ExportConfig {
            rename: [
                ("OmrustResult", "omrust_result"),
                ("OmrustHandle", "omrust_handle"),
                ("OmrustStatus", "omrust_status"),
            ]
            .map(|(from, to)| (from.to_owned(), to.to_owned()))
            .into(),
            ..cbindgen::ExportConfig::default()
        },
        ..cbindgen::Config::default()
    };
    let bindings = cbindgen::Builder::new()
        .with_src(root.join("src/abi/c_api.rs"))
        .with_config(config)
        .generate()
        .expect("cbindgen reads the file");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).expect("text");
    let file = root.join("../include/omrust.h");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &made).expect("writable");
        return;
    }
    let committed = fs::read_to_string(&file).unwrap_or_default();
    let run = "run: UPDATE=1 cargo test -p omrust --test header";
    assert!(committed == made, "include/omrust.h is not what the code says; {run}");
}
