//! The programs and the module that tests start, built by cargo on the first call, in the profile of the running program.
//!
//! All three are built together: what they stand on is then built once, with the features of all of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use crate::cargo::cargo;
use crate::child::run;

/// A fresh build, on a machine that builds other things too.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// What is built together.
#[derive(Debug)]
pub struct Built {
    /// fifo-bridge.
    pub bridge: PathBuf,
    /// omrust-prog.
    pub program: PathBuf,
    /// A folder with `omrust.so` alone.
    pub module: PathBuf,
}

/// What people get, without fault points.
pub fn plain() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| build("plain", &[]))
}

/// The same with fault points.
pub fn faulty() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        build("faulty", &["--features", "fifo-bridge/fault-points,omrust-prog/fault-points,omrust/fault-points"])
    })
}

/// The folder of the profile (`target/debug`), found from the running program.
pub fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().expect("the running program has a path");
    let dir = program.parent().expect("it is in a folder");
    let dir = if dir.ends_with("deps") { dir.parent().expect("deps is in a folder") } else { dir };
    dir.to_path_buf()
}

/// What cargo calls the profile that is built in `dir`.
pub fn profile(dir: &Path) -> &str {
    match dir.file_name().and_then(|name| name.to_str()).expect("a profile has a name") {
        "debug" => "dev",
        other => other,
    }
}

fn build(name: &str, features: &[&str]) -> Built {
    let dir = profile_dir();
    // Both kinds are built to one path: nobody may build the other between this build and the copies of it.
    let lock = fs::File::create(dir.join("built.lock")).expect("cannot make a lock file");
    lock.lock().expect("cannot lock the building");
    let mut command = cargo();
    command.args(["build", "--quiet", "--locked", "--profile", profile(&dir)]);
    command.args(["--package", "fifo-bridge", "--package", "omrust-prog", "--package", "omrust"]).args(features);
    command.arg("--target-dir").arg(dir.parent().expect("a profile is in the target folder"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")).stdin(Stdio::null());
    run(command, BUILD_LIMIT).unwrap_or_else(|reason| panic!("the programs do not build: {reason}"));
    // Copies of their own: a plain `cargo build` beside the tests does not replace them.
    let folder = dir.join("built").join(name);
    let module = folder.join("module");
    fs::create_dir_all(&module).expect("cannot make a folder for what was built");
    Built {
        bridge: copy(&dir.join("fifo-bridge"), &folder.join("fifo-bridge")),
        program: copy(&dir.join("omrust-prog"), &folder.join("omrust-prog")),
        module: copy(&dir.join("libomrust.so"), &module.join("omrust.so")).parent().expect("its folder").to_owned(),
    }
}

/// A copy in one step: whoever runs the one before goes on running it.
pub fn copy(from: &Path, to: &Path) -> PathBuf {
    let fresh = to.with_extension(std::process::id().to_string());
    fs::copy(from, &fresh).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
    fs::rename(&fresh, to).unwrap_or_else(|error| panic!("cannot rename the copy {}: {error}", to.display()));
    to.to_owned()
}
