//! RELP over TLS with the files as they are shipped, and certificates of the script beside them: who is let in, who is not, and that
//! what waits for a refused sender arrives once.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::bridge::Bridge;
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::ledger::{Fault, Ledger, Verdict};
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, WORK};

/// The files that this file starts.
pub const FILES: [&str; 2] = ["remote-relp-tls.conf", "central-relp-tls.conf"];

const CENTRAL: &str = "central.example.com";
const PERMITTED: &str = "web1.example.com";
const NOT_PERMITTED: &str = "web1.elsewhere.org";

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("rsyslog-conf").join(name)
}

/// Two CAs that know nothing of each other, with the same names.
struct Certificates {
    ours: PathBuf,
    strangers: PathBuf,
}

impl Certificates {
    fn make(scene: &Scene) -> Self {
        let make = |name: &str| {
            let folder = scene.folder(name);
            let mut script = Command::new("sh");
            script.arg(shipped("make-test-certificates.sh")).arg(&folder).args([CENTRAL, PERMITTED, NOT_PERMITTED]);
            let output = script.output().expect("cannot run sh");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            folder
        };
        Self { ours: make("our-ca"), strangers: make("another-ca") }
    }

    /// Puts certificate and key of `name` where a host has them.
    fn install(host: &Path, from: &Path, name: &str) {
        for (kind, to) in [("cert", "host-cert.pem"), ("key", "host-key.pem")] {
            fs::copy(from.join(format!("{name}-{kind}.pem")), host.join(to)).expect("a certificate");
        }
    }
}

/// remote rsyslogd -> RELP over TLS -> central rsyslogd -> pipe -> fifo-bridge -> Redis.
struct Chain {
    certificates: Certificates,
    /// Where the sender has its certificate.
    host: PathBuf,
    redis: Redis,
    bridge: Bridge,
    central: Rsyslogd,
    remote: Rsyslogd,
    port: u16,
    /// What the sender's rules are through with, a line each.
    seen: PathBuf,
    /// The first messages after each start while nobody let the sender in.
    firsts: Vec<u64>,
}

impl Chain {
    /// With `library` in place of the one that librelp takes unless told otherwise.
    fn start(scene: &Scene, library: Option<&str>) -> Self {
        let certificates = Certificates::make(scene);
        let redis = Redis::setup(scene).start();
        let bridge = Bridge::config(scene).redis(&redis).start();
        let (relp, port) = (free_port(), free_port());
        let seen = scene.file("seen");
        let setup = |name: &str, file: &str, owner: &str| {
            let host = scene.folder(&format!("{name}-tls"));
            fs::copy(certificates.ours.join("ca.pem"), host.join("ca.pem")).expect("the CA");
            Certificates::install(&host, &certificates.ours, owner);
            let setup = Rsyslogd::setup(scene, name)
                .text("global(workDirectory=\"@WORK@\")")
                .file(&shipped(file))
                .replace("/etc/rsyslog-tls", host.to_str().expect("a plain path"))
                .replace("queue.spoolDirectory=\"/var/spool/rsyslog\"", &format!("queue.spoolDirectory=\"{WORK}\""));
            let setup = match library {
                Some(library) => setup.replace("relp\")", &format!("relp\" tls.tlslib=\"{library}\")")),
                None => setup,
            };
            (setup, host)
        };
        let (central, _) = setup("central", FILES[1], CENTRAL);
        let central = central
            .replace("/run/fifo-bridge/pipe", bridge.fifo().to_str().expect("a plain path"))
            .replace("port=\"20514\"", &format!("address=\"127.0.0.1\" port=\"{relp}\""))
            .listens(relp)
            .start();
        let (remote, host) = setup("remote", FILES[0], PERMITTED);
        let remote = remote
            .replace("target=\"central.example.com\"", "target=\"127.0.0.1\"")
            .replace("port=\"20514\"", &format!("port=\"{relp}\""))
            .replace("action.resumeInterval=\"5\"", "action.resumeInterval=\"1\"")
            .text("module(load=\"imptcp\")")
            .text(&format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")"))
            .text(&format!("local3.* action(type=\"omfile\" file=\"{}\")", seen.display()))
            .listens(port)
            .start();
        Self { certificates, host, redis, bridge, central, remote, port, seen, firsts: Vec::new() }
    }

    /// The sender gets these messages, and its rules are through with them.
    fn send(&self, numbers: std::ops::Range<u64>) {
        let mut text = Vec::new();
        for n in numbers.clone() {
            let message = format!("<158>Nov 21 10:00:00 e2e test: tls {n:012} and more");
            write!(text, "{} {message}", message.len()).expect("memory");
        }
        TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|mut stream| stream.write_all(&text))
            .expect("the sender takes them");
        until("the sender to have queued them", PATIENCE, || (self.sent() >= numbers.end).then_some(()));
    }

    fn arrived(&self) -> usize {
        self.redis.llen("rsyslog")
    }

    /// All of them arrive, in order, and once, but for the first message of a sender that was started while nobody let it in: that one
    /// rsyslog sends twice (remote-relp.conf).
    #[track_caller]
    fn judge(&self, count: u64) {
        self.judge_but(count, 0);
    }

    /// So many may be out of order.
    #[track_caller]
    fn judge_but(&self, count: u64, misordered: u64) {
        self.redis.wait_llen("rsyslog", count as usize, PATIENCE);
        // What comes a second time comes before this.
        self.send(count..count + 1);
        let number = format!("{count:012}").into_bytes();
        let list = until("the last message", PATIENCE, || {
            let list: Vec<Vec<u8>> = self.redis.list("rsyslog").iter().map(|record| number_of(record)).collect();
            list.contains(&number).then_some(list)
        });
        let sent = (0..=count).map(|n| format!("{n:012}").into_bytes());
        let verdict = Ledger::new().sent_exactly(sent).judge(list);
        let first = |shown: &String| self.firsts.iter().any(|first| shown.contains(&format!("{first:012}")));
        let only_firsts = verdict.doubled.first.iter().all(first) && verdict.doubled.count <= self.firsts.len() as u64;
        assert!(only_firsts && verdict.misordered.count <= misordered, "{verdict}");
        let rest = Verdict { doubled: Fault::default(), misordered: Fault::default(), ..verdict };
        rest.assert_clean();
    }

    /// The sender is started with another certificate and is refused.
    fn refused(&mut self, from: fn(&Certificates) -> &Path, name: &str) {
        let arrived = self.arrived();
        let next = self.sent();
        self.remote.term();
        Certificates::install(&self.host, from(&self.certificates), name);
        let said = self.refusals();
        self.remote.start();
        self.firsts.push(next);
        self.send(next..next + 100);
        until("the sender to be refused twice", PATIENCE, || (self.refusals() >= said + 2).then_some(()));
        assert_eq!(self.arrived(), arrived, "something of a stranger's has arrived");
    }

    /// How many messages the sender was given.
    fn sent(&self) -> u64 {
        fs::read_to_string(&self.seen).unwrap_or_default().lines().count() as u64
    }

    /// How often the central server has refused a sender.
    fn refusals(&self) -> usize {
        self.central
            .log()
            .lines()
            .filter(|line| line.contains("imrelp") && line.contains("authentication error"))
            .count()
    }

    /// It gets the right one, and is not restarted.
    fn trusted(&mut self) {
        Certificates::install(&self.host, &self.certificates.ours, PERMITTED);
        self.judge(self.sent());
    }

    fn stop(mut self) {
        self.remote.term();
        self.central.term();
        self.bridge.term();
    }
}

/// The number in `~19|6|Nov 21 10:00:00| tls NUMBER and more`.
fn number_of(record: &[u8]) -> Vec<u8> {
    record.split(|byte| *byte == b' ').rev().nth(2).unwrap_or_default().to_vec()
}

fn only_who_is_permitted_is_let_in(library: Option<&str>) {
    let scene = Scene::new();
    let mut chain = Chain::start(&scene, library);
    chain.send(0..100);
    chain.judge(100);
    chain.refused(|certificates| &certificates.ours, NOT_PERMITTED);
    chain.trusted();
    chain.refused(|certificates| &certificates.strangers, PERMITTED);
    chain.trusted();
    chain.stop();
}

#[test]
fn only_who_is_permitted_is_let_in_and_what_waited_arrives_once() {
    only_who_is_permitted_is_let_in(None);
}

#[test]
fn with_openssl_it_is_the_same() {
    only_who_is_permitted_is_let_in(Some("openssl"));
}

#[test]
fn a_sender_that_does_not_know_the_server_sends_nothing_until_it_is_restarted() {
    let scene = Scene::new();
    let mut chain = Chain::start(&scene, None);
    chain.remote.term();
    let server = scene.folder("central-tls");
    Certificates::install(&server, &chain.certificates.strangers, CENTRAL);
    chain.central.restart();
    chain.remote.start();
    chain.firsts.push(0);
    chain.send(0..100);
    until("the sender to refuse the server", PATIENCE, || {
        chain.remote.log().contains("DISABLING action").then_some(())
    });
    Certificates::install(&server, &chain.certificates.ours, CENTRAL);
    chain.central.restart();
    assert_eq!(chain.arrived(), 0, "the server was a stranger");
    // It has the messages in its queue and takes them along; the batch that it was at goes to the end (docs/RSYSLOG.md, "Order").
    chain.remote.restart();
    chain.judge_but(100, 32);
    chain.stop();
}

/// Who speaks no TLS is not understood.
#[test]
fn without_tls_nothing_is_taken() {
    let scene = Scene::new();
    let chain = Chain::start(&scene, None);
    let relp = fs::read_to_string(chain.remote.config()).expect("its configuration");
    let port = relp.split("target=\"127.0.0.1\"").nth(1).and_then(|rest| rest.split("port=\"").nth(1));
    let port: u16 = port.and_then(|rest| rest.split('"').next()?.parse().ok()).expect("the port");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.write_all(b"1 open 30 relp_version=0\ncommands=syslog\n").expect("sent");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut answer = Vec::new();
    // It ends the connection, without a RELP answer.
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(!answer.windows(3).any(|words| words == b"rsp"), "{}", answer.escape_ascii());
    chain.send(0..10);
    chain.judge(10);
    chain.stop();
}
