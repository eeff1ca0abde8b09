//! The rsyslogds that are measured.

use std::path::Path;
use std::time::{Duration, Instant};

use e2e::child::Scene;
use e2e::host::Host;
use e2e::measure::cpu_nanoseconds;
use e2e::native::door::{ACTION, Door, OMHIREDIS, OMRUST, Place};
use e2e::rsyslog::{Rsyslogd, RsyslogdSetup, WORK};

/// What stands where the action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Nothing: the most that rsyslogd can take in.
    Discard,
    /// omfile to `/dev/null`: the template is rendered.
    Null,
    /// The stock module for Redis.
    OmHiredis,
    /// The project's module.
    OmRust,
    /// The project's module with a spool in stand-by, or in use while Redis is away.
    OmRustSpool,
}

impl Output {
    /// The action, and what stands before it.
    pub fn text(self, place: &Place) -> (String, Option<Door>) {
        let door = match self {
            Self::Discard => return ("stop".to_owned(), None),
            Self::Null => {
                let text = format!("action(name=\"{ACTION}\" type=\"omfile\" file=\"/dev/null\" template=\"record\")");
                return (text, None);
            }
            Self::OmHiredis => OMHIREDIS,
            Self::OmRust | Self::OmRustSpool => OMRUST,
        };
        ((door.action)(place), Some(door))
    }

    /// Whether records end in Redis.
    pub fn pushes(self) -> bool {
        !matches!(self, Self::Discard | Self::Null)
    }
}

/// An rsyslogd to measure: `queue` is how its rules are called, `input` how it is fed.
pub fn rsyslogd(scene: &Scene, host: &Host, queue: &str, input: &str, output: Output, place: &Place) -> RsyslogdSetup {
    let (action, door) = output.text(place);
    let load = door.map_or("", |door| door.load);
    let statistics = e2e::native::statistics::Statistics::new(&scene.file("statistics.json")).module();
    let messages = scene.file("messages");
    // A record is as long as the message that was sent.
    let text = format!(
        "global(workDirectory=\"{WORK}\" processInternalMessages=\"on\")\n{statistics}\n{load}\n\
         template(name=\"record\" type=\"string\" string=\"~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg%\")\n\
         {queue}\n\
         syslog.* action(type=\"omfile\" file=\"{}\")\n\
         ruleset(name=\"in\"@RULES@) {{\n  {action}\n}}\n{input}",
        messages.display()
    );
    let mut setup = Rsyslogd::setup(scene, "rsyslogd").host(host).text(&text);
    for folder in door.map(|door| (door.modules)()).unwrap_or_default() {
        setup = setup.modules(&folder);
    }
    scene.watch_log(messages);
    setup
}

/// The input for messages in a byte stream, its rules behind a queue in memory.
pub fn imptcp(port: u16) -> String {
    format!(
        "module(load=\"imptcp\" threads=\"1\")\ninput(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"in\")"
    )
}

/// The input that answers for each message.
pub fn imrelp(port: u16) -> String {
    format!("module(load=\"imrelp\" ruleset=\"in\")\ninput(type=\"imrelp\" address=\"127.0.0.1\" port=\"{port}\")")
}

/// A place for an action, the spool in `scene`.
pub fn place<'a>(port: u16, spool: Option<&'a Path>, folder: &'a Path) -> Place<'a> {
    let more = if spool.is_some() { "spool.maxsize=\"8g\"" } else { "" };
    Place { port, password: None, dynamic: false, spool, folder, more, resume: 1 }
}

/// Waits until the process uses no processor for a while; when that began.
pub fn idle_since(pid: u32) -> Instant {
    let (mut last, mut since) = (cpu_nanoseconds(pid), Instant::now());
    loop {
        std::thread::sleep(Duration::from_millis(5));
        let now = cpu_nanoseconds(pid);
        // A thread that only looks around takes some microseconds.
        if now.saturating_sub(last) > 300_000 {
            (last, since) = (now, Instant::now());
        }
        if since.elapsed() > Duration::from_millis(400) {
            return since;
        }
    }
}
