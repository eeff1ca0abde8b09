//! The two rsyslogds: the project's own configuration files with private paths and ports, and what rsyslog says of itself.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::child::Scene;
use e2e::rsyslog::{Rsyslogd, RsyslogdSetup, WORK};

/// The private queue folder takes the place of this one.
const SPOOL: &str = "/var/spool/rsyslog";

/// A configuration file of the project.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rsyslog-conf").join(name)
}

/// The sender's rsyslogd: `remote-relp.conf`, with a TCP input for the demo's senders.
pub fn remote(scene: &Scene, relp_port: u16, port: u16) -> RsyslogdSetup {
    Rsyslogd::setup(scene, "remote")
        .text(&host(scene, "remote"))
        // One thread: several would not be sure to keep the order within a connection.
        .text(&format!(
            "module(load=\"imptcp\" threads=\"1\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")"
        ))
        .file(&shipped("remote-relp.conf"))
        .replace(SPOOL, WORK)
        .replace("central.example.com", "127.0.0.1")
        .replace("port=\"20514\"", &format!("port=\"{relp_port}\""))
        // Over loopback the file's 128 means some 3000 messages a second, as it says itself.
        .replace("windowSize=\"128\"", "windowSize=\"1000\"")
        .listens(port)
}

/// The receiver's rsyslogd: `central-relp-pipe.conf`.
pub fn central(scene: &Scene, pipe: &Path, relp_port: u16) -> RsyslogdSetup {
    Rsyslogd::setup(scene, "central")
        .text(&host(scene, "central"))
        .file(&shipped("central-relp-pipe.conf"))
        .replace(SPOOL, WORK)
        .replace("/run/fifo-bridge/pipe", pipe.to_str().expect("a plain path"))
        .replace("port=\"20514\"", &format!("address=\"127.0.0.1\" port=\"{relp_port}\""))
        .listens(relp_port)
}

/// What a host's own configuration says before the project's file: the work folder, and that rsyslog's statistics go to
/// a file of their own, once a second.
fn host(scene: &Scene, name: &str) -> String {
    let file = statistics_file(scene, name);
    let file = file.display();
    format!(
        "global(workDirectory=\"{WORK}\")\nmodule(load=\"impstats\" interval=\"1\" format=\"json\" log.syslog=\"off\" log.file=\"{file}\")"
    )
}

fn statistics_file(scene: &Scene, name: &str) -> PathBuf {
    scene.file(&format!("{name}-statistics.json"))
}

/// What one rsyslogd says of one of its actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Messages that could not be written at once, and went back into the action's queue, to its end.
    pub requeued: u64,
    /// Messages that the queue wrote to disk. They come in blocks, beside those in memory.
    pub spilled: u64,
}

/// Both rsyslogds' statistics, as files that grow.
#[derive(Debug)]
pub struct Statistics {
    files: [(PathBuf, &'static str, usize); 2],
}

impl Statistics {
    /// Only what is written from now on counts as news.
    pub fn new(scene: &Scene) -> Self {
        let file = |name: &str, action| {
            let path = statistics_file(scene, name);
            let length = fs::read(&path).map_or(0, |text| text.len());
            (path, action, length)
        };
        Self { files: [file("remote", "to_central"), file("central", "to_pipe")] }
    }

    /// What the remote and the central one say of their action, once both have written two more rounds.
    pub fn news(&self) -> Option<[Action; 2]> {
        let [remote, central] = &self.files;
        let read = |(path, action, from): &(PathBuf, &str, usize)| {
            let text = fs::read(path).ok()?;
            last_word(&String::from_utf8_lossy(text.get(*from..)?), action)
        };
        Some([read(remote)?, read(central)?])
    }
}

/// The last word on the action, once its numbers and those of its queue came twice: the first round may be older.
///
/// For an action with a queue, rsyslog 8.2302 counts neither `failed` nor `suspended`. But a message that goes back into the
/// queue is counted there once more.
fn last_word(text: &str, action: &str) -> Option<Action> {
    let names = [action.to_owned(), format!("{action} queue"), format!("{action} queue[DA]")];
    let mut rounds = [0; 3];
    let mut last = [0; 3];
    for line in text.lines() {
        let json = line.find('{').map_or("", |at| &line[at..]);
        let Ok(counters) = serde_json::from_str::<serde_json::Value>(json) else { continue };
        let Some(index) = names.iter().position(|name| counters["name"] == name.as_str()) else { continue };
        let counter = if index == 0 { "processed" } else { "enqueued" };
        last[index] = counters[counter].as_u64().unwrap_or(0);
        rounds[index] += 1;
    }
    let [processed, enqueued, spilled] = last;
    let action = Action { requeued: enqueued.saturating_sub(processed), spilled };
    rounds.iter().all(|&rounds| rounds >= 2).then_some(action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_round_counts() {
        let round = |again: u64, spilled: u64| {
            let line = |rest: &str| format!("Fri Nov 21 22:43:21 2025: {{ \"name\": \"to_pipe{rest} }}\n");
            [
                line("\", \"origin\": \"core.action\", \"processed\": 300, \"failed\": 0, \"suspended\": 0"),
                line(&format!(" queue[DA]\", \"origin\": \"core.queue\", \"enqueued\": {spilled}")),
                line(&format!(" queue\", \"origin\": \"core.queue\", \"enqueued\": {}", 300 + again)),
            ]
            .concat()
        };
        assert_eq!(last_word(&round(1, 0), "to_pipe"), None);
        let text = round(1, 0) + "nonsense\n" + &round(3, 5);
        assert_eq!(last_word(&text, "to_pipe"), Some(Action { requeued: 3, spilled: 5 }));
        assert_eq!(last_word(&text, "to_central"), None);
    }
}
