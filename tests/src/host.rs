//! An rsyslogd to run: the installed one, or one from a folder, started through that folder's own loader.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::child::run;

/// The stock daemon.
pub const RSYSLOGD: &str = "/usr/sbin/rsyslogd";

/// How long a program may take that only says who it is.
const SAY_LIMIT: Duration = Duration::from_secs(10);

/// Where an rsyslogd and its modules are.
#[derive(Clone, Debug)]
pub struct Host {
    /// The Debian release that it is from.
    pub suite: String,
    /// What stands before rsyslogd's own options: a loader with its options, and the program.
    words: Vec<OsString>,
    /// Its modules.
    modules: PathBuf,
    /// `8.2302.0`.
    version: String,
}

impl Host {
    /// The one that is installed.
    pub fn installed() -> Self {
        let modules = library_folders(Path::new("/")).into_iter().map(|dir| dir.join("rsyslog"));
        let modules = modules
            .into_iter()
            .find(|dir| dir.is_dir())
            .unwrap_or_else(|| panic!("no folder of rsyslog's modules. This test needs rsyslog; it is never skipped."));
        Self::with(release_name(), vec![RSYSLOGD.into()], modules)
            .unwrap_or_else(|reason| panic!("{reason}. This test needs rsyslog; it is never skipped."))
    }

    /// The one whose packages were unpacked in `tree`.
    pub fn unpacked(suite: &str, tree: &Path) -> Result<Self, String> {
        let folders = library_folders(tree);
        let loader = folders.iter().find_map(|dir| loader_in(dir)).ok_or("its packages have no loader")?;
        let modules = folders.iter().map(|dir| dir.join("rsyslog")).find(|dir| dir.is_dir());
        let modules = modules.ok_or("its packages have no folder of rsyslog's modules")?;
        let program =
            ["usr/sbin/rsyslogd", "sbin/rsyslogd"].map(|name| tree.join(name)).into_iter().find(|p| p.exists());
        let program = program.ok_or("its packages have no rsyslogd")?;
        let path = folders.iter().map(|dir| dir.as_os_str()).collect::<Vec<_>>().join(":".as_ref());
        Self::with(suite.to_owned(), vec![loader.into(), "--library-path".into(), path, program.into()], modules)
    }

    fn with(suite: String, words: Vec<OsString>, modules: PathBuf) -> Result<Self, String> {
        let mut host = Self { suite, words, modules, version: String::new() };
        let mut command = host.command();
        command.arg("-v").stdin(Stdio::null());
        let said = run(command, SAY_LIMIT)?;
        let version = said.split_ascii_whitespace().find(|word| word.starts_with("8."));
        version
            .ok_or_else(|| format!("rsyslogd -v said {said:?}"))?
            .trim_end_matches(',')
            .clone_into(&mut host.version);
        Ok(host)
    }

    /// Runs rsyslogd; its options come next.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// `8.2302.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Year and month of its version, 2302 for 8.2302.0.
    pub fn release(&self) -> u32 {
        self.version.split('.').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The folder of the modules that came with it.
    pub fn modules(&self) -> &Path {
        &self.modules
    }

    /// The C library that it brings along, if it does not use the machine's.
    pub fn libc(&self) -> Option<PathBuf> {
        let folder = Path::new(self.words.first()?).parent().filter(|_| self.words.len() > 1)?;
        Some(folder.join("libc.so.6")).filter(|path| path.exists())
    }

    /// Whether it has this module.
    pub fn has(&self, module: &str) -> bool {
        self.modules.join(format!("{module}.so")).exists()
    }

    /// What `-M` is given: its own modules, and those of these folders.
    pub fn module_path(&self, more: &[PathBuf]) -> OsString {
        let own = std::iter::once(self.modules.as_os_str());
        own.chain(more.iter().map(|dir| dir.as_os_str())).collect::<Vec<_>>().join(":".as_ref())
    }
}

/// The folders with the libraries of a root folder: `lib/x86_64-linux-gnu`, `usr/lib/x86_64-linux-gnu`.
pub fn library_folders(root: &Path) -> Vec<PathBuf> {
    let above = ["lib", "usr/lib"].map(|name| root.join(name));
    let entries = above.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with("-linux-gnu")).collect();
    found.sort();
    found
}

/// The dynamic loader in a folder. What links to it may be an absolute link and lead out of the folder.
pub fn loader_in(dir: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let is_loader = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with("ld-") && name.contains(".so") && path.metadata().is_ok_and(|meta| meta.is_file())
    };
    names.filter(is_loader).min()
}

/// The name of this machine's Debian release, `bookworm`.
pub fn release_name() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.unwrap_or("installed").trim_matches('"').to_owned()
}
