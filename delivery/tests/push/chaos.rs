//! Pushes sixteen deep while Redis is killed, or while somebody turns its knobs.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use delivery::error::Disposition;
use delivery::link::Link;
use delivery::position::{Epoch, Position};
use delivery::push::{self, Answer, Mode, Names};

use crate::log::incremental;
use crate::server::{Server, cursor, list, names, pack, record};
use crate::stream::stream;

const DEPTH: usize = 16;

/// A position that stands before record `n`.
fn at(n: usize) -> String {
    Position { epoch: Epoch(7), offset: n as u64 }.to_string()
}

/// How many records the list has, by its cursor.
fn taken(link: &mut Link, names: &Names) -> usize {
    match cursor(link, names) {
        text if text.is_empty() => 0,
        text => Position::parse(text.as_bytes()).expect("a position").offset as usize,
    }
}

/// A producer that does what a bridge does: sixteen pushes under way, from the cursor on, until one of them is not taken.
struct Producer {
    mode: Mode,
    sizes: &'static [usize],
    padding: usize,
    sent: usize,
    tip: String,
    under_way: std::collections::VecDeque<usize>,
}

impl Producer {
    fn new(mode: &Mode, sizes: &'static [usize], padding: usize) -> Self {
        Self {
            mode: mode.clone(),
            sizes,
            padding,
            sent: 0,
            tip: String::new(),
            under_way: std::collections::VecDeque::new(),
        }
    }

    /// Begins again where Redis is.
    fn resume(&mut self, link: &mut Link, names: &Names) -> usize {
        self.tip = cursor(link, names);
        self.sent = taken(link, names);
        self.under_way.clear();
        self.sent
    }

    fn record(&self, n: usize) -> Vec<u8> {
        [record(n), vec![b'x'; self.padding]].concat()
    }

    /// Fills the pipeline. False if the connection broke.
    fn send(&mut self, link: &mut Link, names: &Names) -> bool {
        let mut out = Vec::new();
        while self.under_way.len() < DEPTH {
            let size = self.sizes[fastrand::usize(..self.sizes.len())];
            let to = at(self.sent + size);
            let batch: Vec<Vec<u8>> = (self.sent..self.sent + size).map(|n| self.record(n)).collect();
            pack(&mut out, names, self.mode.clone(), &self.tip, &to, &batch);
            self.under_way.push_back(size);
            self.sent += size;
            self.tip = to;
        }
        out.is_empty() || link.send(&out).is_ok()
    }

    /// The next answer, `None` if the connection broke.
    fn receive(&mut self, link: &mut Link) -> Option<Answer> {
        let size = self.under_way.pop_front()?;
        let replies: Option<Vec<_>> = (0..push::replies(&self.mode, size)).map(|_| link.receive().ok()).collect();
        Some(push::answer(&replies?))
    }
}

#[test]
fn a_killed_redis_with_a_synced_log_has_everything_once_and_in_order() {
    const SERVERS: usize = 6;
    const KILLS: usize = 20;
    let beyond: usize =
        [Mode::default(), stream()].iter().flat_map(|mode| (0..SERVERS).map(move |_| kill_one(mode, KILLS))).sum();
    assert!(beyond >= SERVERS * KILLS / 2, "only {beyond} kills fell between execution and answer");
}

/// Kills one server so often. Returns how many kills fell between execution and answer.
fn kill_one(mode: &Mode, kills: usize) -> usize {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let names = names();
    let mut producer = Producer::new(mode, &[1, 5, 11, 12, 25, 25, 25, 250], 20);
    let (mut confirmed, mut beyond) = (0, 0);
    for kill in 0..=kills {
        let mut link = server.link();
        let have = producer.resume(&mut link, &names);
        // What was confirmed is there; what has no answer may be.
        assert!(have >= confirmed, "{confirmed} were confirmed and {have} are there");
        beyond += usize::from(have > confirmed);
        confirmed = have;
        let wanted: Vec<Vec<u8>> = (0..have).map(|n| producer.record(n)).collect();
        assert!(list(&mut link, "list") == wanted, "the list is not what its cursor {have} says");
        if kill == kills {
            break;
        }
        // The kill comes after so many answers, with sixteen pushes on their way.
        for _ in 0..fastrand::usize(0..40) {
            assert!(producer.send(&mut link, &names));
            let size = producer.under_way[0];
            match producer.receive(&mut link).expect("an answer") {
                Answer::Taken(_) => confirmed += size,
                other => panic!("{other:?}"),
            }
        }
        let log = incremental(server.folder()).expect("the log");
        let log_bytes = || std::fs::metadata(&log).expect("the log").len();
        let before = log_bytes();
        assert!(producer.send(&mut link, &names));
        // Every other time some of it has been executed, surely.
        while kill % 2 == 0 && log_bytes() == before {
            std::hint::spin_loop();
        }
        for _ in 0..fastrand::u32(0..60_000) {
            std::hint::spin_loop();
        }
        server.restart();
    }
    beyond
}

/// Lets the other thread end, also when this one panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Somebody else fills the same list, and what makes Redis refuse comes and goes at any moment, also between the parts
/// of a transaction. Whatever happens, own records are there once and in order, and nobody's record is missing.
fn knobs_are_turned(server: &Server, mode: &Mode, knobs: &[[&[&str]; 2]], user: &str) {
    const ROUNDS: usize = 400;
    let names = names();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let turner = scope.spawn(|| {
            let (mut admin, mut strangers) = (server.link(), 0);
            while !stop.load(Relaxed) {
                let [on, off] = knobs[fastrand::usize(..knobs.len())];
                admin.ask(on).expect("a knob");
                admin.ask(off).expect("a knob");
                let stranger = format!("stranger {strangers}");
                let words: &[&str] = match mode {
                    Mode::Queue(_) => &["RPUSH", "list", &stranger],
                    Mode::Stream(_) => &["XADD", "list", "*", "msg", &stranger],
                };
                admin.ask(words).expect("a push");
                strangers += 1;
            }
            strangers
        });
        let stopper = Stop(&stop);
        let mut producer = Producer::new(mode, &[3, 11, 25, 250], 300);
        let (mut refusals, mut got) = (0, 0);
        let mut admin = server.link();
        for _ in 0..ROUNDS {
            let mut link = Link::connect(&server.endpoint().with_login(user, "secret")).expect("a connection");
            while link.rehearse(&names, mode).is_err() {}
            producer.resume(&mut admin, &names);
            let mut broken = false;
            for _ in 0..20 {
                if !broken {
                    assert!(producer.send(&mut link, &names));
                }
                let Some(answer) = producer.receive(&mut link) else { break };
                match answer {
                    Answer::Taken(_) => assert!(!broken, "taken behind a refused one"),
                    Answer::Refused(_) => assert!(broken, "refused, and nothing was before it"),
                    Answer::Failed(trouble) => {
                        assert_ne!(trouble.disposition(), Disposition::StopLane, "{trouble:?}");
                        broken = true;
                        refusals += 1;
                    }
                }
            }
            while let Some(answer) = producer.receive(&mut link) {
                assert!(!broken || !matches!(answer, Answer::Taken(_)), "taken behind a refused one");
                broken |= !matches!(answer, Answer::Taken(_));
            }
            got = producer.resume(&mut admin, &names);
        }
        drop(stopper);
        let strangers = turner.join().expect("the turner");
        let list = list(&mut server.link(), "list");
        let (foreign, own): (Vec<_>, Vec<_>) = list.into_iter().partition(|record| record.starts_with(b"stranger"));
        let wanted: Vec<Vec<u8>> = (0..got).map(|n| producer.record(n)).collect();
        assert!(own == wanted, "own records: {} in the list, {got} by the cursor", own.len());
        let wanted: Vec<Vec<u8>> = (0..strangers).map(|n| format!("stranger {n}").into_bytes()).collect();
        assert!(foreign == wanted, "{} of {strangers} foreign records are left", foreign.len());
        assert!(refusals > ROUNDS / 20, "only {refusals} refusals");
    });
}

#[test]
fn memory_and_replicas_that_come_and_go() {
    for mode in [Mode::default(), stream()] {
        memory_and_replicas(&mode);
    }
}

fn memory_and_replicas(mode: &Mode) {
    let server = Server::start(&[]);
    server.acl("bridge", "reset on >secret ~* +@all");
    let knobs: [[&[&str]; 2]; 3] = [
        [&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]],
        [&["CONFIG", "SET", "min-replicas-to-write", "1"], &["CONFIG", "SET", "min-replicas-to-write", "0"]],
        [&["SCRIPT", "FLUSH"], &["SCRIPT", "FLUSH"]],
    ];
    knobs_are_turned(&server, mode, &knobs, "bridge");
}

#[test]
fn permissions_that_come_and_go() {
    permissions(&Mode::default(), [&["ACL", "SETUSER", "bridge", "-rpush"], &["ACL", "SETUSER", "bridge", "+rpush"]]);
    permissions(&stream(), [&["ACL", "SETUSER", "bridge", "-xadd"], &["ACL", "SETUSER", "bridge", "+xadd"]]);
    permissions(&stream(), [&["ACL", "SETUSER", "bridge", "-xlen"], &["ACL", "SETUSER", "bridge", "+xlen"]]);
}

fn permissions(mode: &Mode, own: [&[&str]; 2]) {
    let server = Server::start(&[]);
    server.acl("bridge", "reset on >secret ~* +@all");
    let knobs: [[&[&str]; 2]; 4] = [
        own,
        [&["ACL", "SETUSER", "bridge", "-getset"], &["ACL", "SETUSER", "bridge", "+getset"]],
        [&["ACL", "SETUSER", "bridge", "-set"], &["ACL", "SETUSER", "bridge", "+set"]],
        [&["ACL", "SETUSER", "bridge", "resetkeys", "~other"], &["ACL", "SETUSER", "bridge", "resetkeys", "~*"]],
    ];
    knobs_are_turned(&server, mode, &knobs, "bridge");
}
