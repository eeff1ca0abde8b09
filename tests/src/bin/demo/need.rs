//! What the demo needs on the machine, and which Debian package brings it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use e2e::rsyslog::RSYSLOGD;

/// The Debian packages that are missing, in the order in which they are best named.
pub fn missing() -> Vec<&'static str> {
    let php = on_path("php");
    let found = [
        ("rsyslog", Path::new(RSYSLOGD).exists()),
        ("rsyslog-relp", rsyslog_module("omrelp.so") && rsyslog_module("imrelp.so")),
        ("redis-server", on_path("redis-server")),
        ("php-cli", php),
        ("php-redis", php && php_has_redis()),
    ];
    found.iter().filter(|(_, there)| !there).map(|(package, _)| *package).collect()
}

/// What to type to get `packages`.
pub fn advice(packages: &[&str]) -> String {
    let names = packages.join(" ");
    format!(
        "missing: {names}\ninstall it as root, by \"make need-demo\" or by \"apt-get install {names}\", and start the demo again"
    )
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn rsyslog_module(name: &str) -> bool {
    // Debian: /usr/lib/x86_64-linux-gnu/rsyslog
    let per_machine = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let folders = per_machine.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")]);
    folders.map(|folder| folder.join("rsyslog").join(name)).any(|module| module.is_file())
}

fn php_has_redis() -> bool {
    let mut command = Command::new("php");
    command.args([OsStr::new("-r"), OsStr::new("exit(extension_loaded('redis') ? 0 : 1);")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_can_be_typed() {
        let advice = advice(&["rsyslog-relp", "php-redis"]);
        assert!(advice.contains("apt-get install rsyslog-relp php-redis\""), "{advice}");
    }

    #[test]
    fn a_program_that_is_not_there_is_missed() {
        assert!(on_path("sh"));
        assert!(!on_path("no-such-program"));
        assert!(!rsyslog_module("no-such-module.so"));
    }
}
