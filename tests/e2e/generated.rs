//! What is generated is committed, and this holds it against the code that it is made from.

mod metrics;
mod module;
mod prog;
mod program;
mod roff;
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use delivery::counters::Counters;
use e2e::bridge::{Bridge, plain_binary};
use e2e::child::Scene;
use fifo_bridge::metrics::{HISTOGRAM, LANE_METRICS, METRICS};

/// Rewrites everything here.
const REWRITE: &str = "UPDATE=1 cargo test -p e2e --test e2e generated";

#[test]
fn manual_of_the_program_is_current() {
    settle("packaging/man/fifo-bridge.8", &program::page());
}

#[test]
fn manual_of_the_settings_is_current() {
    settle("packaging/man/fifo-bridge.toml.5", &settings::page());
}

#[test]
fn page_of_the_settings_is_current() {
    settle("docs/SETTINGS.md", &settings::markdown());
}

#[test]
fn pages_and_file_of_omrust_prog_are_current() {
    settle("packaging/man/omrust-prog.8", &prog::page());
    settle("packaging/man/omrust.toml.5", &prog::settings_page());
    settle("docs/OMRUST-TOML.md", &prog::markdown());
    settle("packaging/omrust.toml", &prog::file());
}

#[test]
fn page_of_the_metrics_is_current() {
    settle("docs/METRICS.md", &metrics::markdown());
}

#[test]
fn page_of_the_module_is_current() {
    let page = fs::read_to_string(root().join("docs/MODULE.md")).expect("the page");
    settle("docs/MODULE.md", &module::page(&page));
}

#[test]
fn shipped_settings_are_current() {
    settle("packaging/fifo-bridge.toml", &settings::file());
}

#[test]
fn shipped_settings_are_good_as_they_are_and_with_every_line() {
    let scene = Scene::new();
    let shipped = settings::file();
    let whole: String = shipped
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => format!("{setting}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_eq!(
        whole.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count(),
        fifo_bridge::settings::table::KEYS.len(),
        "each key is in the file once, and nothing in it looks like one by accident"
    );
    for (name, text) in [("shipped.toml", &shipped), ("whole.toml", &whole)] {
        let file = scene.write(name, text);
        let output = bridge(&["check", "--no-connect", "--config", file.to_str().expect("a plain path")]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let effective = |name: &str| {
        let file = scene.file(name);
        String::from_utf8(bridge(&["config", "--config", file.to_str().expect("a plain path")]).stdout).expect("text")
    };
    assert_eq!(effective("shipped.toml"), effective("whole.toml"), "what is commented out is the default");
}

#[test]
fn names_of_metrics_in_the_docs_are_those_that_are_exported() {
    let exported = fifo_bridge::metrics::render(
        &Arc::new(Counters::default()),
        vec![("logs:0".to_owned(), vec![0; LANE_METRICS.len()])],
    );
    let exported: BTreeSet<&str> = exported
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split([' ', '{']).next())
        .collect();
    let mut told: BTreeSet<String> = METRICS.iter().map(metrics::name).collect();
    told.extend(metrics::lane_names());
    told.extend(["_bucket", "_sum", "_count"].map(|end| metrics::histogram() + end));
    assert_eq!(exported, told.iter().map(String::as_str).collect());
    let page = metrics::markdown();
    let in_alerts = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in in_alerts.filter(|word| word.starts_with("fifo_bridge_") && !word.ends_with("push_seconds")) {
        assert!(told.contains(name), "docs/METRICS.md speaks of {name}, which is not exported");
    }
}

#[test]
fn keys_of_the_status_are_documented() {
    let scene = Scene::new();
    let bridge = Bridge::config(&scene).server(&scene.socket("nobody.sock")).start();
    let status = bridge.status();
    let shown: BTreeSet<&str> = status.as_object().expect("an object").keys().map(String::as_str).collect();
    let words = METRICS.iter().map(|metric| metric.word);
    let told: BTreeSet<&str> = words.chain(metrics::STATUS.iter().map(|(key, _)| *key)).chain([HISTOGRAM.0]).collect();
    assert_eq!(shown, told);
}

#[test]
fn manuals_are_without_warnings() {
    let pages = ["fifo-bridge.8", "fifo-bridge.toml.5", "omrust-prog.8", "omrust.toml.5"];
    for page in pages.map(|page| format!("packaging/man/{page}")) {
        let path = root().join(&page);
        let shown = run(Command::new("man").args(["--warnings", "-E", "UTF-8", "-l"]).arg(&path).env("MANWIDTH", "80"));
        assert_eq!(complaints(&shown), "", "man {page}");
        assert!(shown.stdout.len() > 2000, "{page} is all there");
        // A date would change without the page changing; none is meant to be there.
        let linted = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&path));
        let said = String::from_utf8_lossy(&linted.stdout).into_owned();
        let said: Vec<&str> = said.lines().filter(|line| !line.contains("missing date")).collect();
        assert!(said.is_empty(), "mandoc {page}:\n{}", said.join("\n"));
    }
}

fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8").env("MAN_KEEP_FORMATTING", "");
    command.output().unwrap_or_else(|error| panic!("cannot run {program}: {error}. `make need` installs it."))
}

fn complaints(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { said } else { format!("{}: {said}", output.status) }
}

/// Runs fifo-bridge as people get it.
fn bridge(words: &[&str]) -> Output {
    let mut command = Command::new(plain_binary());
    for name in ["RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(name);
    }
    command.args(words).stdin(Stdio::null()).output().expect("cannot run fifo-bridge")
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Compares what is committed with what was made. With `UPDATE` in the environment it is written instead.
#[track_caller]
fn settle(path: &str, made: &str) {
    let file = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        if fs::read_to_string(&file).ok().as_deref() != Some(made) {
            fs::create_dir_all(file.parent().expect("a folder")).expect("cannot make the folder");
            fs::write(&file, made).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        }
        return;
    }
    let committed = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}; run: {REWRITE}"));
    assert!(committed == made, "{path} is not what the code says; run: {REWRITE}\n{}", difference(&committed, made));
}

/// The lines that differ, as diff(1) shows them.
fn difference(committed: &str, made: &str) -> String {
    let scene = Scene::new();
    let (old, new) = (scene.write("committed", committed), scene.write("made", made));
    let output = Command::new("diff").args(["-U", "1"]).args([old, new]).output();
    output.map_or_else(|error| format!("(no diff: {error})"), |o| String::from_utf8_lossy(&o.stdout).into_owned())
}
