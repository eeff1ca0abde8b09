//! Debian's packages of any release, fetched by apt into a private folder and unpacked there. Nothing is installed.
//!
//! The mirror is the one that this machine's apt uses, with another suite. What was fetched stays below the target folder until `make clean`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::built::profile_dir;
use crate::child::run;
use crate::host::release_name;

/// So long one fetch may take: 30 MB, mostly the list of all packages.
const FETCH_LIMIT: Duration = Duration::from_secs(180);

/// A file in the folder of a fetch that is there when all of it is.
const COMPLETE: &str = "complete";

/// The packages of `suite` with all that they need, unpacked in a folder that is called `name`, fetched if need be. The first package
/// must be there, the others are left out where they do not exist. `look` says whether what came is of use.
///
/// The error says why they cannot be had.
pub fn unpacked<T>(
    name: &str,
    suite: &str,
    packages: &[&str],
    look: impl Fn(&Path) -> Result<T, String>,
) -> Result<T, String> {
    let profile = profile_dir();
    let folder = profile.parent().expect("a profile is in the target folder").join("matrix").join(name);
    fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
    let lock = File::create(folder.join("lock")).map_err(|e| format!("cannot lock {}: {e}", folder.display()))?;
    lock.lock().map_err(|e| format!("cannot lock {}: {e}", folder.display()))?;
    let tree = folder.join("tree");
    if !folder.join(COMPLETE).exists() {
        if std::env::var_os("MATRIX_OFFLINE").is_some() {
            return Err("it was not fetched before, and MATRIX_OFFLINE is set".to_owned());
        }
        let _ = fs::remove_dir_all(&tree);
        Fetch::new(suite, &folder)?.run(&tree, packages)?;
        look(&tree)?;
        fs::write(folder.join(COMPLETE), "").map_err(|e| format!("cannot write into {}: {e}", folder.display()))?;
    }
    look(&tree)
}

/// A private configuration of apt.
struct Fetch {
    folder: PathBuf,
    deadline: Instant,
}

impl Fetch {
    fn new(suite: &str, folder: &Path) -> Result<Self, String> {
        let Source { uri, signed_by } = source()?;
        let options = signed_by.map(|keys| format!(" [signed-by={keys}]")).unwrap_or_default();
        let put = |name: &str, text: &str| {
            fs::write(folder.join(name), text).map_err(|e| format!("cannot write {name}: {e}"))
        };
        put("sources.list", &format!("deb{options} {uri} {suite} main\n"))?;
        // As if nothing were installed: whatever is needed is fetched.
        put("status", "")?;
        for name in ["lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(folder.join(name)).map_err(|e| format!("cannot make {name}: {e}"))?;
        }
        Ok(Self { folder: folder.to_path_buf(), deadline: Instant::now() + FETCH_LIMIT })
    }

    /// Fetches the packages and unpacks them in `tree`.
    fn run(&self, tree: &Path, packages: &[&str]) -> Result<(), String> {
        self.apt(&["update"])?;
        let mut wanted = Vec::new();
        for package in packages {
            match self.needs(package, packages) {
                Ok(names) => wanted.extend(names),
                Err(reason) if *package == packages[0] => return Err(reason),
                Err(_) => {}
            }
        }
        wanted.sort();
        wanted.dedup();
        let words: Vec<&str> = std::iter::once("download").chain(wanted.iter().map(String::as_str)).collect();
        self.apt(&words)?;
        fs::create_dir_all(tree).map_err(|e| format!("cannot make {}: {e}", tree.display()))?;
        let debs = fs::read_dir(self.folder.join("debs")).map_err(|e| e.to_string())?;
        for deb in debs.flatten().map(|entry| entry.path()) {
            let mut unpack = Command::new("dpkg");
            unpack.arg("-x").arg(&deb).arg(tree);
            self.limited(unpack)?;
        }
        for name in ["lists", "cache", "debs"] {
            let _ = fs::remove_dir_all(self.folder.join(name));
        }
        Ok(())
    }

    /// The package and the libraries that it needs.
    fn needs(&self, package: &str, packages: &[&str]) -> Result<Vec<String>, String> {
        let said = self.apt(&["install", "--simulate", "--no-install-recommends", package])?;
        let names = said.lines().filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
        let is_library = |name: &str| ["lib", "zlib", "lua-"].iter().any(|start| name.starts_with(start));
        let wanted = |name: &&str| packages.contains(name) || is_library(name);
        Ok(names.filter(wanted).map(str::to_owned).collect())
    }

    fn apt(&self, words: &[&str]) -> Result<String, String> {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let mut apt = Command::new("apt-get");
        apt.current_dir(self.folder.join("debs")).env("LC_ALL", "C").arg("-q");
        for option in [
            format!("Dir::Etc::SourceList={}", at("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::State::Status={}", at("status")),
            format!("Dir::Cache={}", at("cache")),
            "Debug::NoLocking=1".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::http::Timeout=20".to_owned(),
        ] {
            apt.arg("-o").arg(option);
        }
        apt.args(words);
        self.limited(apt)
    }

    fn limited(&self, mut command: Command) -> Result<String, String> {
        command.stdin(Stdio::null());
        run(command, self.deadline.saturating_duration_since(Instant::now()))
    }
}

/// Where this machine has Debian's packages from.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    signed_by: Option<String>,
}

fn source() -> Result<Source, String> {
    let release = release_name();
    let more = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = std::iter::once(PathBuf::from("/etc/apt/sources.list")).chain(more).collect();
    files.sort();
    let found = files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => paragraphs(&text, &release),
            _ => one_line(&text, &release),
        }
    });
    found.ok_or_else(|| format!("apt's own configuration names no source of Debian {release}"))
}

/// `deb [signed-by=KEYS] URI SUITE main`
fn one_line(text: &str, release: &str) -> Option<Source> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_ascii_whitespace();
        let (uri, suite) = (words.next()?, words.next()?);
        let signed_by = options.split_ascii_whitespace().find_map(|word| word.strip_prefix("signed-by="));
        let fits = suite == release && words.any(|word| word == "main");
        fits.then(|| Source { uri: uri.to_owned(), signed_by: signed_by.map(str::to_owned) })
    })
}

/// `Types: deb`, `URIs: ...`, `Suites: ...`: the newer form.
fn paragraphs(text: &str, release: &str) -> Option<Source> {
    text.split("\n\n").find_map(|paragraph| {
        let field = |name: &str| {
            let lines = paragraph.lines().filter_map(|line| line.split_once(':'));
            let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim());
            values.next().map(str::to_owned)
        };
        let has =
            |name: &str, word: &str| field(name).is_some_and(|value| value.split_ascii_whitespace().any(|w| w == word));
        let fits = has("Types", "deb") && has("Suites", release) && has("Components", "main");
        let uri = field("URIs")?.split_ascii_whitespace().next()?.to_owned();
        fits.then(|| Source { uri, signed_by: field("Signed-By").filter(|keys| keys.starts_with('/')) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_source_are_understood() {
        let expected = |keys: Option<&str>| {
            Some(Source { uri: "http://mirror/debian".to_owned(), signed_by: keys.map(str::to_owned) })
        };
        let other = "deb http://other/apt cloud main\n# deb http://mirror/debian trixie main\n";
        assert_eq!(one_line(other, "trixie"), None);
        let text = format!("{other}deb [arch=amd64 signed-by=/k.gpg] http://mirror/debian trixie contrib main\n");
        assert_eq!(one_line(&text, "trixie"), expected(Some("/k.gpg")));
        assert_eq!(one_line("deb http://mirror/debian trixie main", "trixie"), expected(None));
        let text = "Types: deb\nURIs: http://sec/\nSuites: trixie-security\nComponents: main\n\n\
                    Types: deb deb-src\n# URIs: x\nURIs: http://mirror/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /k.gpg\n";
        assert_eq!(paragraphs(text, "trixie"), expected(Some("/k.gpg")));
        assert_eq!(paragraphs(text, "sid"), None);
    }
}
