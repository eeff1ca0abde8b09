//! The actions that bring records from rsyslogd into Redis.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::bridge::profile_dir;
use crate::child::run;

/// The list, where records do not choose it themselves.
pub const KEY: &str = "rsyslog";
/// What a list's name begins with where records choose it.
pub const PREFIX: &str = "k-";
/// The name of the action.
pub const ACTION: &str = "out";

/// A fresh build of the module, on a machine that builds other things too.
const BUILD_LIMIT: Duration = Duration::from_secs(1800);

/// What an action is told.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Redis, or a proxy before it, on 127.0.0.1.
    pub port: u16,
    /// The password.
    pub password: Option<&'a str>,
    /// The template `key` names the list of each record; else all go into [`KEY`].
    pub dynamic: bool,
    /// The spool's folder.
    pub spool: Option<&'a Path>,
    /// A folder of the action's own.
    pub folder: &'a Path,
    /// More parameters, for the project's own doors.
    pub more: &'a str,
    /// Seconds until rsyslogd tries a suspended action again.
    pub resume: u32,
}

/// An action, and what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// For people.
    pub name: &'static str,
    /// Stands before the action.
    pub load: &'static str,
    /// Where its module is, if it is not rsyslog's own.
    pub modules: fn() -> Vec<PathBuf>,
    /// The action.
    pub action: fn(&Place) -> String,
    /// Whether it is the control: a stock way that may lose records.
    pub control: bool,
}

/// The project's native module.
pub const OMRUST: Door = Door {
    name: "omrust",
    load: "module(load=\"omrust\")",
    modules: || vec![module_folder().to_path_buf()],
    action: |place| {
        let mut text = head("omrust", place);
        if place.dynamic {
            write!(text, " key.prefix=\"{PREFIX}\"").expect("memory");
        }
        if let Some(spool) = place.spool {
            write!(text, " spool.directory=\"{}\" spool.delay=\"200\"", spool.display()).expect("memory");
        }
        write!(text, " {})", place.more).expect("memory");
        text
    },
    control: false,
};

/// rsyslog's own module for Redis.
pub const OMHIREDIS: Door = Door {
    name: "omhiredis",
    load: "module(load=\"omhiredis\")",
    modules: Vec::new,
    action: |place| head("omhiredis", place) + " mode=\"queue\" userpush=\"on\")",
    control: true,
};

/// What both modules understand.
fn head(kind: &str, place: &Place) -> String {
    let mut text = format!(
        "action(name=\"{ACTION}\" type=\"{kind}\" server=\"127.0.0.1\" serverport=\"{}\" template=\"record\" \
         action.resumeRetryCount=\"-1\" action.resumeInterval=\"{}\"",
        place.port, place.resume
    );
    let key = if place.dynamic { " dynakey=\"on\" key=\"key\"".to_owned() } else { format!(" key=\"{KEY}\"") };
    text.push_str(&key);
    if let Some(password) = place.password {
        write!(text, " serverpassword=\"{password}\"").expect("memory");
    }
    text
}

/// A folder with `omrust.so` alone, built if it is not fresh.
pub fn module_folder() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    // The environment may name a module that was built for other machines too.
    BUILT.get_or_init(|| folder("omrust-module", std::env::var_os("OMRUST_SO").map(PathBuf::from), &[]))
}

/// The same with fault points: `OMRUST_PANIC_ON` works.
pub fn faulty_module_folder() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| folder("omrust-module-with-faults", None, &["--features", "fault-points"]))
}

fn folder(name: &str, built: Option<PathBuf>, features: &[&str]) -> PathBuf {
    let dir = profile_dir();
    // Both kinds are built to one path: nobody may build the other between this build and the copy of it.
    let lock = fs::File::create(dir.join("omrust-copy.lock")).expect("cannot make a lock file");
    lock.lock().expect("cannot lock the building of omrust");
    let built = built.unwrap_or_else(|| build(&dir, features));
    let folder = dir.join(name);
    fs::create_dir_all(&folder).expect("cannot make a folder for the module");
    let fresh = folder.join(format!("omrust.so.{}", std::process::id()));
    fs::copy(&built, &fresh).unwrap_or_else(|e| panic!("cannot copy {}: {e}", built.display()));
    fs::rename(&fresh, folder.join("omrust.so")).expect("cannot rename the copy of the module");
    folder
}

fn build(dir: &Path, features: &[&str]) -> PathBuf {
    let profile = match dir.file_name().and_then(|name| name.to_str()).expect("a profile has a name") {
        "debug" => "dev",
        other => other,
    };
    let mut command = crate::cargo::cargo();
    command.args(["build", "--quiet", "--locked", "--package", "omrust", "--lib", "--profile", profile]).args(features);
    command.arg("--target-dir").arg(dir.parent().expect("a profile is in the target folder"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"));
    run(command, BUILD_LIMIT).unwrap_or_else(|reason| panic!("omrust does not build: {reason}"));
    dir.join("libomrust.so")
}
