//! `src/abi/sys.rs` is what bindgen makes of `include/rsyslog_omod.h`. It is committed, so that building needs no libclang;
//! this test does. `UPDATE=1 cargo test -p omrust --test bindings` writes it anew.

use std::fs;
use std::path::Path;

fn generated() -> String {
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/rsyslog_omod.h");
    let bindings = bindgen::Builder::default()
        .header(header.to_str().expect("a plain path"))
        .allowlist_type("Omod.*")
        .allowlist_var("OMOD_.*")
        .prepend_enum_name(false)
        .generate_comments(false)
        .derive_debug(false)
        .layout_tests(true)
        .use_core()
        .merge_extern_blocks(true)
        .rust_target("1.89".parse().expect("a version of Rust"))
        .rust_edition(bindgen::RustEdition::Edition2024)
        .formatter(bindgen::Formatter::Prettyplease)
        .raw_line("//! Made from include/rsyslog_omod.h: UPDATE=1 cargo test -p omrust --test bindings")
        .raw_line(
            "#![allow(non_camel_case_types, non_snake_case, dead_code, missing_docs, clippy::all, clippy::pedantic)]",
        )
        .disable_header_comment()
        .generate()
        .expect("bindgen and libclang make bindings; `make need` installs libclang-dev");
    bindings.to_string()
}

#[test]
fn the_committed_bindings_are_those_of_the_header() {
    let made = generated();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/abi/sys.rs");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &made).expect("writable");
        return;
    }
    let committed = fs::read_to_string(&file).expect("src/abi/sys.rs");
    assert!(
        committed == made,
        "src/abi/sys.rs is not what the header says; run: UPDATE=1 cargo test -p omrust --test bindings"
    );
}
