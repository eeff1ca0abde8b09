//! Other servers that speak Redis: Debian's packages of Valkey and of other versions of Redis, unpacked in a private folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::apt::unpacked;
use crate::child::run;
use crate::host::{library_folders, loader_in};

/// How long a server may take to say who it is.
const SAY_LIMIT: Duration = Duration::from_secs(10);

/// A server that is tried, and where it is from.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// `valkey` or `redis`.
    pub name: &'static str,
    /// The Debian release.
    pub suite: &'static str,
}

/// All of them. The installed redis-server is what every other test runs against.
pub const KINDS: [Kind; 3] = [
    Kind { name: "valkey", suite: "trixie" },
    Kind { name: "redis", suite: "trixie" },
    Kind { name: "redis", suite: "sid" },
];

/// A server that is there.
#[derive(Debug, Clone)]
pub struct Server {
    /// What to run in place of redis-server.
    pub program: PathBuf,
    /// What it says of itself, `8.1.1`.
    pub version: String,
}

impl Kind {
    /// The server, fetched if need be. The error says why it cannot be had.
    pub fn get(self) -> Result<Server, String> {
        let (server, tools) = (format!("{}-server", self.name), format!("{}-tools", self.name));
        let look = |tree: &Path| found(tree, &server);
        unpacked(&format!("{}-{}", self.name, self.suite), self.suite, &[&server, &tools], look)
    }
}

/// What was unpacked in `tree`, behind a script that starts it with its own loader and libraries.
fn found(tree: &Path, server: &str) -> Result<Server, String> {
    let folders = library_folders(tree);
    let loader = folders.iter().find_map(|dir| loader_in(dir)).ok_or("its packages have no loader")?;
    let binary = tree.join("usr/bin").join(server);
    // Debian's server is a link to a tool that looks at the name by which it was called.
    binary.metadata().map_err(|e| format!("its packages have no {server}: {e}"))?;
    let path: Vec<String> = folders.iter().map(|dir| dir.display().to_string()).collect();
    let program = tree.join(format!("run-{server}"));
    let script = format!(
        "#!/bin/sh\nexec '{}' --library-path '{}' '{}' \"$@\"\n",
        loader.display(),
        path.join(":"),
        binary.display()
    );
    let fresh = tree.join(format!("run-{server}.{}", std::process::id()));
    fs::write(&fresh, script)
        .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)))
        .and_then(|()| fs::rename(&fresh, &program))
        .map_err(|e| format!("cannot write {}: {e}", program.display()))?;
    let mut command = Command::new(&program);
    command.arg("--version").stdin(Stdio::null());
    let said = run(command, SAY_LIMIT)?;
    let version = said.split_ascii_whitespace().find_map(|word| word.strip_prefix("v="));
    let version = version.ok_or_else(|| format!("{server} --version said {said:?}"))?.to_owned();
    Ok(Server { program, version })
}
