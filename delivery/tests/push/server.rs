//! A private redis-server, and the few questions that the tests ask it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use delivery::link::{Address, Endpoint, Link, Topology};
use delivery::push::{self, Answer, Mode, Names, Reply};
use rustix::process::{Pid, Signal, kill_process};

use crate::log;

/// Long enough for anything that works, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Polls `look` until it finds something.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A redis-server on a unix socket, killed and reaped when it goes out of scope.
pub struct Server {
    folder: tempfile::TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts one with more options of redis.conf, for example `["--appendonly", "yes"]`.
    pub fn start(options: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("push-").tempdir_in("/tmp").expect("a folder");
        let options = options.iter().map(|&option| option.to_owned()).collect();
        let mut server = Self { folder, options, child: None };
        server.restart();
        server
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// Starts it again on its data and waits until it has loaded them.
    pub fn restart(&mut self) {
        self.kill();
        log::mend(self.folder.path());
        self.restart_as_is();
    }

    /// The same with the log as it is.
    pub fn restart_as_is(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(self.socket());
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        // Another server can be tried: REDIS_SERVER=/path/of/redis-server
        let program = std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(program);
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(self.socket());
        command.arg("--dir").arg(self.folder.path()).args(&self.options);
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(log.expect("a log"));
        let child = command.spawn();
        self.child = Some(child.expect("redis-server cannot be started. These tests need it; they are never skipped"));
        until("redis-server to answer", || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("its state"));
            assert!(ended.is_none(), "redis-server ended: {}", self.log());
            Link::connect(&self.endpoint()).ok()
        });
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It stands still, but its socket accepts.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).expect("a signal");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn endpoint(&self) -> Endpoint {
        let servers = [self.socket().display().to_string()];
        let address = Address { servers: &servers, port: 0, db: 0, topology: Topology::Direct };
        Endpoint::parse(address, Duration::from_secs(10), Duration::from_secs(10)).expect("an address")
    }

    pub fn link(&self) -> Link {
        Link::connect(&self.endpoint()).expect("a connection")
    }

    /// A connection as an ACL user with exactly `rules`.
    pub fn link_as(&self, user: &str, rules: &str) -> Link {
        self.acl(user, &format!("reset on >secret {rules}"));
        Link::connect(&self.endpoint().with_login(user, "secret")).expect("a connection as a user")
    }

    /// Changes a user's rules.
    pub fn acl(&self, user: &str, rules: &str) {
        let words: Vec<&str> = ["ACL", "SETUSER", user].into_iter().chain(rules.split_ascii_whitespace()).collect();
        self.link().ask(&words).expect("ACL SETUSER");
    }

    pub fn config(&self, name: &str, value: &str) {
        self.link().ask(&["CONFIG", "SET", name, value]).expect("CONFIG SET");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One command with arguments of any bytes.
pub fn command(link: &mut Link, words: &[&[u8]]) -> Reply {
    let mut packed = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        packed.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        packed.extend_from_slice(word);
        packed.extend_from_slice(b"\r\n");
    }
    link.send(&packed).expect("send");
    link.receive().expect("receive")
}

/// The whole list, or the records of the whole stream.
pub fn list(link: &mut Link, key: &str) -> Vec<Vec<u8>> {
    let element = |one| match one {
        Reply::Bytes(bytes) => bytes,
        // An ID, and a field with its value.
        Reply::Many(mut entry) => match entry.pop() {
            Some(Reply::Many(mut fields)) if fields.len() == 2 => match fields.pop() {
                Some(Reply::Bytes(bytes)) => bytes,
                other => panic!("a value {other:?}"),
            },
            other => panic!("fields {other:?}"),
        },
        other => panic!("an element {other:?}"),
    };
    let whole = match command(link, &[b"XRANGE", key.as_bytes(), b"-", b"+"]) {
        Reply::Many(entries) if !entries.is_empty() => return entries.into_iter().map(element).collect(),
        _ => [b"LRANGE".as_slice(), key.as_bytes(), b"0", b"-1"],
    };
    match command(link, &whole) {
        Reply::Many(many) => many.into_iter().map(element).collect(),
        other => panic!("LRANGE: {other:?}"),
    }
}

/// List and cursor, dumped: equal dumps mean that nothing at all has changed.
pub fn snapshot(link: &mut Link, names: &Names) -> (Reply, String) {
    (command(link, &[b"DUMP", names.list.as_bytes()]), cursor(link, names))
}

pub fn cursor(link: &mut Link, names: &Names) -> String {
    String::from_utf8(link.cursor(&names.cursor).expect("a cursor")).expect("text")
}

/// The names that nearly all tests use.
pub fn names() -> Names {
    Names::new("list", "p").expect("names")
}

/// A record that tells where it belongs.
pub fn record(n: usize) -> Vec<u8> {
    format!("~record|{n:08}").into_bytes()
}

pub fn records(range: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    range.map(record).collect()
}

/// Packs one push.
pub fn pack(out: &mut Vec<u8>, names: &Names, mode: impl Into<Mode>, from: &str, to: &str, records: &[Vec<u8>]) {
    push::push(out, names, &mode.into(), (from, to), records.iter().map(Vec::as_slice), records.len());
}

/// Reads the answer to a push of `count` records into a list.
pub fn answer(link: &mut Link, count: usize) -> Answer {
    let replies: Vec<Reply> =
        (0..push::replies(&Mode::default(), count)).map(|_| link.receive().expect("a reply")).collect();
    push::answer(&replies)
}

/// One push and its answer.
pub fn push(
    link: &mut Link,
    names: &Names,
    mode: impl Into<Mode>,
    from: &str,
    to: &str,
    records: &[Vec<u8>],
) -> Answer {
    let (mut out, mode) = (Vec::new(), mode.into());
    let count = push::replies(&mode, records.len());
    pack(&mut out, names, mode, from, to, records);
    link.send(&out).expect("send");
    let replies: Vec<Reply> = (0..count).map(|_| link.receive().expect("a reply")).collect();
    push::answer(&replies)
}
