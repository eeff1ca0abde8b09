//! What the bridge tells systemd, the journal, Prometheus and whoever asks for its status.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::bridge::{Bridge, BridgeConfig};
use e2e::child::{PATIENCE, Scene, until};
use e2e::pipe::{PipeWriter, capacity};
use e2e::stage::{KEY, Stage};

/// The socket that systemd listens at.
struct Systemd {
    socket: UnixDatagram,
    seen: Vec<String>,
}

impl Systemd {
    fn listen(path: &Path) -> Self {
        Self { socket: UnixDatagram::bind(path).expect("it can listen"), seen: Vec::new() }
    }

    /// The next message, one assignment a line; `None` if none comes within `limit`.
    fn next(&mut self, limit: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(limit)).expect("a timeout can be set");
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).ok()?;
        let text = String::from_utf8(bytes[..count].to_vec()).expect("text");
        self.seen.push(text.clone());
        Some(text)
    }

    /// Waits for a message with this line; the others before it are skipped.
    #[track_caller]
    fn wait(&mut self, line: &str) -> String {
        let start = Instant::now();
        loop {
            let message = self.next(PATIENCE).unwrap_or_else(|| panic!("no {line} came, but {:?}", self.seen));
            if message.lines().any(|found| found.starts_with(line)) {
                return message;
            }
            assert!(start.elapsed() < PATIENCE, "no {line} came, but {:?}", self.seen);
        }
    }

    /// Nothing with this line has come so far, nor lies there unread.
    #[track_caller]
    fn assert_never(&mut self, line: &str) {
        while self.next(Duration::from_millis(1)).is_some() {}
        assert!(!self.seen.iter().any(|message| message.contains(line)), "{:?}", self.seen);
    }
}

fn notified(scene: &Scene, bridge: BridgeConfig) -> (BridgeConfig, Systemd) {
    let path = scene.socket("notify");
    (bridge.env("NOTIFY_SOCKET", path.to_str().expect("plain")), Systemd::listen(&path))
}

/// A bridge that tells a systemd of its own.
fn stage(change: impl FnOnce(BridgeConfig) -> BridgeConfig) -> (Stage, Systemd) {
    let mut systemd = None;
    let mut stage = Stage::prepare(|redis| redis, change);
    let scene = stage.scene.clone();
    stage.bridge.reconfigure(|bridge| {
        let (bridge, listening) = notified(&scene, bridge);
        systemd = Some(listening);
        bridge
    });
    (stage, systemd.expect("it listens"))
}

#[test]
fn ready_means_that_the_pipe_is_read() {
    let (mut stage, mut systemd) = stage(|bridge| bridge);
    let fifo = stage.bridge.fifo();
    stage.bridge.launch();
    let message = systemd.wait("READY=1");
    assert_eq!(message.trim_end(), "READY=1");
    // Whoever is started now can write, and has the room.
    assert!(fs::metadata(&fifo).expect("it is there").file_type().is_fifo());
    fs::File::options().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&fifo).expect("somebody reads the pipe");
    assert_eq!(capacity(&fifo), 1 << 20);
    assert!(UnixStream::connect(stage.bridge.status_socket()).is_ok());
    assert_eq!(
        systemd.wait("STATUS=").trim_end(),
        "STATUS=redis is away; 0 pushed, 0 bytes in the spool, 0 dead letters"
    );
    systemd.assert_never("WATCHDOG");
    systemd.assert_never("RELOADING");
    // It is renewed.
    stage.redis.start();
    PipeWriter::open(&fifo).write(&stage.records.record(0));
    stage.redis.wait_llen(KEY, 1, PATIENCE);
    stage.rest();
    let status = systemd.wait("STATUS=");
    assert_eq!(status.trim_end(), "STATUS=redis takes records; 1 pushed, 100 bytes in the spool, 0 dead letters");
    stage.bridge.child().signal(nix::sys::signal::Signal::SIGINT);
    assert!(stage.bridge.wait_exit(PATIENCE).success());
    systemd.wait("STOPPING=1");
}

#[test]
fn what_cannot_start_is_never_ready() {
    let scene = Scene::new();
    let (config, mut systemd) = notified(&scene, Bridge::config(&scene));
    let mut bridge = config.prepare();
    fs::write(bridge.fifo(), "a file").expect("a file");
    bridge.launch();
    assert_eq!(bridge.wait_exit(PATIENCE).code(), Some(78));
    systemd.assert_never("READY");
}

#[test]
fn the_watchdog_is_fed_whatever_redis_does() {
    let limit = Duration::from_secs(3);
    let (mut stage, mut systemd) = stage(|bridge| bridge.env("WATCHDOG_USEC", "3000000").set("redis.timeout-ms", 700));
    stage.bridge.start();
    let mut fed = |times: usize| {
        for _ in 0..times {
            let start = Instant::now();
            systemd.wait("WATCHDOG=1");
            assert!(start.elapsed() < limit, "{:?} without a sign of life", start.elapsed());
        }
    };
    // Away, there, silent.
    fed(2);
    stage.redis.start();
    PipeWriter::open(&stage.bridge.fifo()).write(&stage.records.record(0));
    stage.redis.wait_llen(KEY, 1, PATIENCE);
    fed(3);
    stage.redis.sigstop();
    PipeWriter::open(&stage.bridge.fifo()).write(&stage.records.record(1));
    stage.bridge.wait_said("takes nothing", 2);
    fed(2);
    stage.redis.sigcont();
    stage.redis.wait_llen(KEY, 2, PATIENCE);
    stage.bridge.term();
}

#[test]
fn a_reload_is_told_whether_it_works_or_not() {
    let (mut stage, mut systemd) = stage(|bridge| bridge);
    stage.redis.start();
    stage.bridge.start();
    systemd.wait("READY=1");
    let good = fs::read_to_string(stage.bridge.file()).expect("text");
    for (round, text) in [good.clone(), "[queue]\nin-flight = 0\n".into(), good].into_iter().enumerate() {
        fs::write(stage.bridge.file(), text).expect("it can be written");
        stage.bridge.hup();
        let reloading = systemd.wait("RELOADING=1");
        let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let since: u64 = since.unwrap_or_else(|| panic!("{reloading}")).parse().expect("a number");
        assert!(since > 0);
        assert_eq!(systemd.wait("READY=1").trim_end(), "READY=1");
        let refused = stage.bridge.said("nothing was reloaded").len();
        assert_eq!(refused, usize::from(round > 0), "{}", stage.bridge.stderr());
    }
    stage.bridge.term();
    systemd.wait("STOPPING=1");
}

#[test]
fn the_journal_gets_levels_and_nobody_else_does() {
    let scene = Scene::new();
    let log = scene.write("bridge.log", "");
    let meta = fs::metadata(&log).expect("it is there");
    let stream = format!("{}:{}", meta.dev(), meta.ino());
    let mut bridge = Bridge::config(&scene).env("JOURNAL_STREAM", &stream).set("metrics.listen", "").prepare();
    fs::write(bridge.fifo(), "a file").expect("a file");
    bridge.launch();
    bridge.wait_exit(PATIENCE);
    fs::remove_file(bridge.fifo()).expect("it can be removed");
    bridge.start();
    bridge.wait_said("takes nothing", 1);
    bridge.term();
    let levels: Vec<String> = bridge.stderr().lines().map(|line| line.chars().take(15).collect()).collect();
    // The complaint, the pipe, the settings, Redis, the signal, the end.
    let expected = [
        "<3>fifo-bridge:",
        "<6>fifo-bridge:",
        "<6>fifo-bridge:",
        "<4>fifo-bridge:",
        "<6>fifo-bridge:",
        "<6>fifo-bridge:",
    ];
    assert_eq!(levels, expected, "{}", bridge.stderr());
    // The variable is inherited by children whose output goes elsewhere.
    let mut other = Bridge::config(&scene).name("other").env("JOURNAL_STREAM", &stream).start();
    other.term();
    assert!(other.stderr().lines().all(|line| line.starts_with("fifo-bridge: ")), "{}", other.stderr());
}

/// Head and body of the answer to a GET.
fn get(mut stream: impl std::io::Read + std::io::Write, path: &str) -> (String, String) {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("it can be asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("HTTP");
    (head.to_owned(), body.to_owned())
}

fn is_answered(connect: &dyn Fn() -> Box<dyn ReadWrite>) {
    let (head, body) = get(connect(), "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    let content = "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.lines().any(|line| line == content), "{head}");
    assert!(body.contains("\nfifo_bridge_received_total 0\n") && body.ends_with("# EOF\n"), "{body}");
    let (head, body) = get(connect(), "/");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert_eq!(body, "fifo-bridge: see /metrics\n");
    for path in ["/nothing", "/metrics/", "/../etc/passwd", "/status"] {
        let (head, body) = get(connect(), path);
        assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
        assert_eq!(body, "not here; see /metrics\n");
    }
}

trait ReadWrite: std::io::Read + std::io::Write {}
impl<T: std::io::Read + std::io::Write> ReadWrite for T {}

#[test]
fn metrics_are_at_any_port_or_at_a_socket() {
    let scene = Scene::new();
    let mut bridge = Bridge::config(&scene).set("metrics.listen", "127.0.0.1:0").start();
    let line = bridge.said("metrics at 127.0.0.1:").pop().expect("the log tells the port");
    let address = line.rsplit(' ').next().expect("an address").to_owned();
    is_answered(&|| Box::new(TcpStream::connect(&address).expect("it listens")));
    // Another bridge cannot have it.
    let mut second = Bridge::config(&scene).name("second").set("metrics.listen", address.as_str()).prepare();
    second.launch();
    assert_eq!(second.wait_exit(PATIENCE).code(), Some(1));
    let expected =
        format!("fifo-bridge: metrics.listen: \"{address}\" cannot be used: Address already in use (os error 98)\n");
    assert!(second.stderr().ends_with(&expected), "{}", second.stderr());
    bridge.term();

    let mut bridge = Bridge::config(&scene).name("unix").start();
    let socket = scene.file("unix/metrics.sock");
    is_answered(&|| Box::new(UnixStream::connect(&socket).expect("it listens")));
    bridge.kill9();
    // What a kill leaves behind does not keep the next one from starting.
    bridge.start();
    is_answered(&|| Box::new(UnixStream::connect(&socket).expect("it listens")));
    bridge.term();

    let mut bridge = Bridge::config(&scene).name("none").set("metrics.listen", "").start();
    assert!(bridge.said("metrics at").is_empty());
    bridge.term();
}

#[test]
fn what_is_no_socket_of_ours_is_not_replaced() {
    let scene = Scene::new();
    for key in ["metrics.listen", "metrics.status-socket"] {
        let file = scene.write("file", "somebody's");
        let mut bridge = Bridge::config(&scene).set(key, file.to_str().expect("plain")).prepare();
        bridge.launch();
        assert_eq!(bridge.wait_exit(PATIENCE).code(), Some(1));
        assert!(bridge.stderr().ends_with("Address already in use (os error 98)\n"), "{}", bridge.stderr());
        assert_eq!(fs::read(&file).expect("it is there"), b"somebody's");
        let living = scene.file("living");
        let listener = UnixListener::bind(&living).expect("a socket");
        bridge.reconfigure(|bridge| bridge.set(key, living.to_str().expect("plain")));
        bridge.launch();
        assert_eq!(bridge.wait_exit(PATIENCE).code(), Some(1));
        assert!(UnixStream::connect(&living).is_ok(), "it was taken away");
        drop(listener);
        fs::remove_file(&living).expect("it is there");
    }
}

#[test]
fn the_status_has_the_words_of_the_manual() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    PipeWriter::open(&stage.bridge.fifo()).write_all([&stage.records.record(0)[..], b"torn\n"]);
    stage.redis.wait_llen(KEY, 1, PATIENCE);
    stage.bridge.wait_letters(1, PATIENCE);
    stage.rest();
    let status = stage.bridge.status();
    let manual = include_str!("../../docs/METRICS.md");
    let words = |text: &str, column: usize| -> BTreeSet<String> {
        // Those of single lanes stand in the array `lanes`.
        let rows = text.lines().filter(|line| line.starts_with("| `") && !line.contains("{list="));
        let cells = rows.filter_map(|line| Some(line.split('|').nth(column)?.trim().trim_matches('`').to_owned()));
        cells.filter(|word| !word.is_empty()).collect()
    };
    let (metrics, more) = manual.split_once("## What else the status shows").expect("both tables");
    let mut documented = words(metrics, 2);
    documented.extend(words(more, 1));
    let shown: BTreeSet<String> = status.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(shown, documented);

    for (key, expected) in [
        ("fifo", stage.bridge.fifo().to_str().expect("plain").into()),
        ("redis", stage.redis.socket().to_str().expect("plain").into()),
        ("spool", stage.bridge.spool().to_str().expect("plain").into()),
        ("key", KEY.into()),
        ("cursor_key", "{rsyslog}:cursor:p".into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("connected", true.into()),
        ("stopped", false.into()),
        ("last_error", "".into()),
        ("received", 2.into()),
        ("pushed", 1.into()),
        ("dead_letters", 1.into()),
        ("torn", 1.into()),
        ("held", 0.into()),
        ("spool_bytes", 105.into()),
        ("unpushed_bytes", 0.into()),
        ("list_length", 1.into()),
    ] {
        let expected: serde_json::Value = expected;
        assert_eq!(status[key], expected, "{key}");
    }
    assert_eq!(status["acked"], status["end"]);
    assert!(status["end"].as_str().is_some_and(|end| end.ends_with(":105")), "{status}");

    let text = stage.bridge.run(&["status"]);
    assert!(text.status.success());
    let text = String::from_utf8(text.stdout).expect("text");
    let starts: Vec<&str> = text.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(starts, ["pipe", "redis", "rates", "records", "spool", "list", "pushes"], "{text}");
    assert!(
        text.contains("records      2 received = 1 pushed + 0 already there + 1 dead letters + 0 held\n"),
        "{text}"
    );
    assert!(text.contains(&format!("redis        {} list \"rsyslog\": connected\n", stage.redis.socket().display())));
}

#[test]
fn the_status_tells_trouble() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    stage.bridge.start();
    PipeWriter::open(&stage.bridge.fifo()).write(&stage.records.record(0));
    let status = until("the trouble to be told", PATIENCE, || {
        let status = stage.bridge.status();
        (status["last_error"] != "" && status["spool_bytes"] == 100).then_some(status)
    });
    assert_eq!(status["connected"], false);
    assert!(status["last_error_time"].as_u64().is_some_and(|time| time > 1_700_000_000), "{status}");
    let text = String::from_utf8(stage.bridge.run(&["status"]).stdout).expect("text");
    assert!(text.contains(": AWAY, records wait in the spool\n"), "{text}");
    assert!(text.contains("100 bytes, 100 not yet pushed"), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.starts_with("last error   ")), "{text}");
}

#[test]
fn without_a_bridge_the_status_says_so() {
    let scene = Scene::new();
    let mut bridge = Bridge::config(&scene).prepare();
    let socket = bridge.status_socket();
    let nobody =
        |why: &str| format!("fifo-bridge: no bridge answers at {} ({why}); is it running?\n", socket.display());
    for words in [vec!["status"], vec!["status", "--json"]] {
        let output = bridge.run(&words);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(String::from_utf8_lossy(&output.stderr), nobody("No such file or directory (os error 2)"));
        assert!(output.stdout.is_empty());
    }
    bridge.start();
    bridge.kill9();
    // The socket is still there.
    assert!(socket.exists());
    let output = bridge.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr), nobody("Connection refused (os error 111)"));
}
