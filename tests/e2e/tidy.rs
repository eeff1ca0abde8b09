//! What people forget, a test remembers: the rules of CONTRIBUTING.md.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_path_buf()
}

/// All files below `folder` whose names end in one of `endings`, with their text.
fn files(folder: &str, endings: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut open = vec![root.join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name != "target" && !name.starts_with(".git") {
                open.extend(fs::read_dir(&path).expect("a folder").filter_map(Result::ok).map(|entry| entry.path()));
            }
        } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending))
            && let Ok(text) = fs::read_to_string(&path)
        {
            let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().into_owned();
            found.push((name, text));
        }
    }
    assert!(!found.is_empty(), "nothing below {folder} ends in {endings:?}");
    found
}

/// The lines of code of `text`: without comments, and without the tests at its end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[track_caller]
fn none(found: &[String]) {
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn unsafe_has_one_address() {
    let mut found = Vec::new();
    for (name, text) in ["delivery", "fifo-bridge", "omrust", "omrust-prog", "settings", "tests"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs"]))
    {
        if name.starts_with("omrust/src/abi/") {
            continue;
        }
        let lines = code(&text).filter(|(_, line)| line.contains("unsafe ") && !name.ends_with("tidy.rs"));
        found.extend(lines.map(|(number, _)| format!("{name}:{number}: unsafe lives in omrust/src/abi only")));
    }
    for crate_root in [
        "delivery/src/lib.rs",
        "fifo-bridge/src/lib.rs",
        "fifo-bridge/src/main.rs",
        "omrust-prog/src/lib.rs",
        "omrust-prog/src/main.rs",
        "settings/src/lib.rs",
    ] {
        let text = fs::read_to_string(root().join(crate_root)).expect("a crate");
        if !text.contains("#![forbid(unsafe_code)]") {
            found.push(format!("{crate_root}: says no forbid(unsafe_code)"));
        }
    }
    none(&found);
}

#[test]
fn one_file_names_the_redis_crate() {
    let mut found = Vec::new();
    for (name, text) in files("delivery/src", &[".rs"]) {
        let lines = code(&text).filter(|(_, line)| line.contains("redis::") || line.contains("use redis"));
        let lines = lines.filter(|_| name != "delivery/src/link/endpoint.rs");
        found.extend(lines.map(|(number, line)| format!("{name}:{number}: {}", line.trim())));
    }
    // The others cannot: modules of ours have that name too.
    for (name, text) in files(".", &["Cargo.toml"]) {
        let may = ["Cargo.toml", "delivery/Cargo.toml", "tests/Cargo.toml"].contains(&name.as_str());
        if !may && text.lines().any(|line| line.starts_with("redis")) {
            found.push(format!("{name}: depends on the redis crate"));
        }
    }
    none(&found);
}

#[test]
fn decisions_read_no_clock_and_open_nothing() {
    let decisions =
        ["delivery/src/lane.rs", "delivery/src/resume.rs", "delivery/src/retry.rs", "delivery/src/position.rs"];
    let mut found = Vec::new();
    for name in decisions.into_iter().chain(["fifo-bridge/src/frame.rs"]) {
        let text = fs::read_to_string(root().join(name)).expect("a decision");
        for word in ["Instant::now", "SystemTime", "std::fs", "std::net", "thread::", "std::io"] {
            let lines = code(&text).filter(|(_, line)| line.contains(word));
            found.extend(lines.map(|(number, _)| format!("{name}:{number}: a decision uses {word}")));
        }
    }
    none(&found);
}

#[test]
fn nothing_prints_but_the_program() {
    let mut found = Vec::new();
    for (name, text) in ["delivery/src", "fifo-bridge/src", "omrust/src", "omrust-prog/src", "settings/src"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs"]))
    {
        let lines =
            code(&text).filter(|(_, line)| ["println!", "eprintln!", "print!("].iter().any(|p| line.contains(p)));
        if !["fifo-bridge/src/main.rs", "omrust-prog/src/main.rs"].contains(&name.as_str()) {
            found.extend(lines.map(|(number, _)| format!("{name}:{number}: only main.rs prints")));
        }
    }
    none(&found);
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let mut found = Vec::new();
    for (name, text) in files(".", &[".md"]) {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let from = root().join(&name).parent().expect("a folder").to_path_buf();
            if !from.join(target).exists() {
                found.push(format!("{name}: {link} leads nowhere"));
            }
        }
    }
    none(&found);
}

#[test]
fn the_readme_says_the_commands_that_there_are() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the readme");
    let makefile = fs::read_to_string(root().join("Makefile")).expect("the makefile");
    for command in ["demo", "test", "install", "deb"] {
        assert!(readme.contains(&format!("make {command}")), "the readme does not tell of make {command}");
        assert!(makefile.contains(&format!("\n{command}:")), "there is no make {command}");
    }
    let decides = fs::read_to_string(root().join(".ci/run")).expect("the check that decides");
    assert!(decides.contains("make test"), ".ci/run does not call the readme's own command");
}

#[test]
fn one_version_everywhere() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("the changelog");
    let version = env!("CARGO_PKG_VERSION");
    assert!(changelog.contains(&format!("\n## {version}")), "the changelog has no part for {version}");
}
