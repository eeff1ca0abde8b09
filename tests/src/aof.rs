//! The append-only file of a redis-server that was killed. The push tests of `delivery/` share this file, so it needs nothing but std.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Takes the torn transaction at the end of the log in `folder` away, as docs/OPERATIONS.md advises: redis-server itself leaves its
/// beginning in the file, and executes it at the start after the next. With `LOG_AS_IS=1` in the environment the log stays as it is, which
/// shows what that costs.
pub fn mend(folder: &Path) {
    let Some(path) = incremental(folder) else { return };
    if std::env::var_os("LOG_AS_IS").is_some() {
        return;
    }
    let mut check = Command::new("redis-check-aof");
    check.arg("--fix").arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut check = check.spawn().expect("redis-check-aof comes with redis-server");
    // It asks whether it may cut.
    let _ = check.stdin.take().expect("its input").write_all(b"y\n");
    assert!(check.wait().expect("its end").success(), "redis-check-aof could not mend {}", path.display());
}

/// The part of the log that grows: since Redis 7 in a folder of its own.
pub fn incremental(folder: &Path) -> Option<PathBuf> {
    let parts = std::fs::read_dir(folder.join("appendonlydir")).into_iter().flatten();
    let parts = parts.map(|entry| entry.expect("an entry").path());
    let newest = parts.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max();
    newest.or_else(|| Some(folder.join("appendonly.aof")).filter(|path| path.exists()))
}
