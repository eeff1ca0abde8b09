//! An rsyslogd with actions in the words of a test, fed over TCP.

use std::fs;
use std::path::{Path, PathBuf};

use crate::child::{PATIENCE, Scene, free_port, until};
use crate::ledger::Ledger;
use crate::native::door::module_folder;
use crate::native::statistics::Statistics;
use crate::pipe::Numbered;
use crate::redis::Redis;
use crate::rsyslog::{Rsyslogd, RsyslogdSetup, WORK, send_tcp};

/// What every action here is told: where Redis is, what a record is, and never to give up.
pub fn usual(redis: &Redis) -> String {
    format!(
        "server=\"{}\" template=\"record\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\"",
        redis.socket().display()
    )
}

/// What stands before the ruleset in front of the actions.
pub const QUEUE: &str = "queue.type=\"LinkedList\" queue.size=\"200000\" queue.dequeueBatchSize=\"1024\" queue.workerThreads=\"1\" \
                         queue.timeoutEnqueue=\"60000\"";

/// An rsyslogd to be.
pub struct Plain {
    /// What it is started with. More can be added.
    pub setup: RsyslogdSetup,
    /// Where it listens.
    pub port: u16,
    /// What it counts.
    pub statistics: Statistics,
    /// What it says.
    messages: PathBuf,
}

impl Plain {
    /// `rules` stand in a ruleset with a queue; `before` stands before it.
    pub fn new(scene: &Scene, before: &str, rules: &str) -> Self {
        Self::with_modules(scene, module_folder(), QUEUE, before, rules)
    }

    /// The same with another build of the module and another queue.
    pub fn with_modules(scene: &Scene, modules: &Path, queue: &str, before: &str, rules: &str) -> Self {
        let port = free_port();
        let statistics = Statistics::new(&scene.file("stats"));
        let messages = scene.file("messages");
        scene.watch_log(messages.clone());
        let setup = Rsyslogd::setup(scene, "rsyslogd")
            .host(&crate::host::Host::installed())
            .modules(modules)
            .text(&format!("global(workDirectory=\"{WORK}\" processInternalMessages=\"on\")"))
            .text(&statistics.module())
            .text("module(load=\"imptcp\" threads=\"1\")")
            .text("module(load=\"omrust\")")
            .text(
                "template(name=\"record\" type=\"string\" string=\"~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg%\")",
            )
            .text(before)
            .text(&format!("action(type=\"omfile\" file=\"{}\")", messages.display()))
            .text(&format!("ruleset(name=\"in\" {queue}) {{\n{rules}\n}}"))
            .text(&format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"in\")"))
            .listens(port);
        Self { setup, port, statistics, messages }
    }

    /// Starts it.
    pub fn start(&self) -> Rsyslogd {
        self.setup.clone().start()
    }

    /// Sends numbered records.
    pub fn send(&self, records: &Numbered, numbers: std::ops::Range<u64>) {
        send_tcp(self.port, numbers.map(|n| records.syslog(n)));
    }

    /// What rsyslogd has said, all starts together.
    pub fn messages(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.messages).unwrap_or_default()).into_owned()
    }

    /// The lines of it that hold `text`.
    pub fn said(&self, text: &str) -> Vec<String> {
        self.messages().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// Waits until rsyslogd has said this.
    #[track_caller]
    pub fn wait_said(&self, text: &str) {
        until(&format!("rsyslogd to say {text:?}"), PATIENCE, || (!self.said(text).is_empty()).then_some(()));
    }

    /// Waits until an action's counter is at least so high, and gives all of that action's counters.
    #[track_caller]
    pub fn counters(&self, action: &str, counter: &str, least: u64) -> serde_json::Value {
        until(&format!("{counter} of {action} to be {least}"), PATIENCE, || {
            let counters = self.statistics.last(0, action, "omrust")?;
            (counters[counter].as_u64()? >= least).then_some(counters)
        })
    }
}

/// The list has these records of the run, each once and in order, and nothing else.
#[track_caller]
pub fn assert_has(redis: &Redis, list: &str, run: &str, numbers: std::ops::Range<u64>) {
    redis.wait_llen(list, usize::try_from(numbers.end - numbers.start).expect("a length"), PATIENCE);
    Ledger::new().sent_numbers(run, numbers).judge(redis.list(list)).assert_clean();
}
