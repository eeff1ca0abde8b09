//! cargo, run from within a test as a person would run it.

use std::process::Command;

/// What cargo tells a test about the package that it belongs to.
const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];

/// cargo, outside of this test's package.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    outside(&mut command);
    command
}

/// Takes away from `command` what cargo told this test: build scripts that look at it would run again, and everything that stands on
/// them would be built anew, each time inside and each time outside.
pub fn outside(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if OURS.iter().any(|ours| name.to_string_lossy().starts_with(ours)) {
            command.env_remove(name);
        }
    }
}
