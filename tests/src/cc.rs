//! Small helpers in C, compiled when a test needs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::built::profile_dir;
use crate::child::run;

const LIMIT: Duration = Duration::from_secs(60);

/// The library that makes syncs slower by `SLOW_SYNC_US` microseconds.
pub fn slow_sync() -> PathBuf {
    compile("slow-sync", "so", &["-shared", "-fPIC"])
}

/// Compiles `tests/c/NAME.c` into the folder of the profile.
pub fn compile(name: &str, extension: &str, flags: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c").join(format!("{name}.c"));
    let target = profile_dir().join(name).with_extension(extension);
    let fresh = profile_dir().join(format!("{name}.{}.{extension}", fastrand::u64(..)));
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wall", "-Wextra", "-Werror"]).args(flags).arg("-o").arg(&fresh).arg(&source);
    run(cc, LIMIT).unwrap_or_else(|reason| panic!("{name} does not compile: {reason}"));
    fs::rename(&fresh, &target).expect("it can be renamed");
    target
}
