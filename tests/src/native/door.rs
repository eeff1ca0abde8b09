//! The actions that bring records from rsyslogd into Redis.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::built;

/// The list, where records do not choose it themselves.
pub const KEY: &str = "rsyslog";
/// What a list's name begins with where records choose it.
pub const PREFIX: &str = "k-";
/// The name of the action.
pub const ACTION: &str = "out";

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

/// A folder with `omrust.so` alone.
pub fn module_folder() -> &'static Path {
    static GIVEN: OnceLock<Option<PathBuf>> = OnceLock::new();
    // The environment may name a module that was built for other machines too.
    let given = GIVEN.get_or_init(|| std::env::var_os("OMRUST_SO").map(|given| folder_of(Path::new(&given))));
    given.as_ref().unwrap_or_else(|| &built::plain().module)
}

/// The same with fault points: `OMRUST_PANIC_ON` works.
pub fn faulty_module_folder() -> &'static Path {
    &built::faulty().module
}

/// A folder in which a copy of `module` is called as rsyslogd wants it.
fn folder_of(module: &Path) -> PathBuf {
    let folder = built::profile_dir().join("built/given");
    fs::create_dir_all(&folder).expect("cannot make a folder for the module");
    built::copy(module, &folder.join("omrust.so"));
    folder
}
