//! Programs and hosts that log to an rsyslogd: numbered records over plain TCP or RELP, in the background.
//!
//! Each run is a host and a program of that name, with a connection and an order of its own.

use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::ledger::Ledger;
use crate::load::Pace;
use crate::relp;
use crate::tcp;

/// How records travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// imptcp: a byte stream without an answer, a record a line.
    Lines,
    /// imptcp, each record behind its length.
    Octets,
    /// imrelp: each record is answered, at most so many are under way. Whatever was not answered is sent again.
    Relp(usize),
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Job {
    /// The port on 127.0.0.1.
    pub port: u16,
    /// How records travel.
    pub way: Way,
    /// The run's name, without spaces.
    pub run: String,
    /// Bytes of a whole syslog message.
    pub size: usize,
    /// How fast.
    pub pace: Pace,
    /// Which numbers. The sender may be stopped before the end.
    pub numbers: Range<u64>,
}

impl Job {
    /// Endless records of 120 bytes.
    pub fn new(port: u16, way: Way, run: &str) -> Self {
        Self { port, way, run: run.to_owned(), size: 120, pace: Pace::default(), numbers: 0..u64::MAX }
    }

    /// Appends message `n`: `<134>Nov 21 10:00:00 RUN RUN: RUN N xxx`.
    pub fn message(&self, n: u64, out: &mut Vec<u8>) {
        let start = out.len();
        let run = &self.run;
        write!(out, "<134>Nov 21 10:00:00 {run} {run}: {run} {n} ").expect("memory");
        let end = out.len().max(start + self.size);
        out.resize(end, b'x');
    }
}

/// What a sender and its owner tell each other.
#[derive(Debug, Default)]
pub struct Talk {
    /// It is time to end.
    pub stop: AtomicBool,
    /// Records given to the socket.
    pub sent: AtomicU64,
    /// Records that rsyslogd has answered for, without a gap.
    pub acked: AtomicU64,
    /// Records sent once more.
    pub again: AtomicU64,
}

impl Talk {
    /// Whether it is time to end.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Senders at work. They end with the value.
#[derive(Debug)]
pub struct Senders {
    way: Way,
    parts: Vec<(Job, Arc<Talk>, Option<JoinHandle<()>>)>,
}

impl Senders {
    /// Starts a sender for each run; otherwise they are like `job`.
    pub fn start(job: &Job, runs: &[&str]) -> Self {
        let start = |run: &&str| {
            let talk = Arc::<Talk>::default();
            let job = Job { run: (*run).to_owned(), ..job.clone() };
            let thread = thread::spawn({
                let (job, talk) = (job.clone(), Arc::clone(&talk));
                move || match job.way {
                    Way::Lines | Way::Octets => tcp::send(&job, &talk),
                    Way::Relp(window) => relp::send(&job, window, &talk),
                }
            });
            (job, talk, Some(thread))
        };
        Self { way: job.way, parts: runs.iter().map(start).collect() }
    }

    /// Records that are rsyslogd's business by now: sent, or, where it answers, answered.
    pub fn done(&self) -> u64 {
        let of = |talk: &Talk| match self.way {
            Way::Relp(_) => talk.acked.load(Ordering::Relaxed),
            _ => talk.sent.load(Ordering::Relaxed),
        };
        self.parts.iter().map(|(_, talk, _)| of(talk)).sum()
    }

    /// Waits until `more` records were sent (or answered) from now on. False if that is not so in time.
    #[track_caller]
    pub fn try_go_on(&self, more: u64, limit: Duration) -> bool {
        let (goal, start) = (self.done() + more, Instant::now());
        while self.done() < goal {
            for (job, _, thread) in &self.parts {
                assert!(thread.as_ref().is_some_and(|t| !t.is_finished()), "the sender {} ended", job.run);
            }
            if start.elapsed() >= limit {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Waits until all that they have to send is sent (and answered).
    pub fn finish(mut self) -> Sent {
        self.join();
        self.sent()
    }

    /// No new records; what is under way is sent, and answered.
    pub fn stop(mut self) -> Sent {
        for (_, talk, _) in &self.parts {
            talk.stop.store(true, Ordering::Relaxed);
        }
        self.join();
        self.sent()
    }

    fn join(&mut self) {
        for (job, _, thread) in &mut self.parts {
            if let Some(thread) = thread.take() {
                thread.join().unwrap_or_else(|_| panic!("the sender {} panicked", job.run));
            }
        }
    }

    fn sent(&self) -> Sent {
        let count = |talk: &Talk| (talk.sent.load(Ordering::Relaxed), talk.again.load(Ordering::Relaxed));
        let runs = self.parts.iter().map(|(job, talk, _)| {
            let (sent, again) = count(talk);
            let acked = if matches!(job.way, Way::Relp(_)) { talk.acked.load(Ordering::Relaxed) } else { sent };
            let (start, run) = (job.numbers.start, job.run.clone());
            RunSent { run, numbers: start..start + sent, acked: start..start + acked, again }
        });
        Sent { runs: runs.collect() }
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        for (_, talk, _) in &self.parts {
            talk.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// What one sender has sent.
#[derive(Clone, Debug)]
pub struct RunSent {
    /// The run.
    pub run: String,
    /// The records.
    pub numbers: Range<u64>,
    /// Those that rsyslogd has answered for; all of them where it gives no answers.
    pub acked: Range<u64>,
    /// How many of them it sent once more, because nobody had answered for them.
    pub again: u64,
}

/// What all senders have sent.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// By run.
    pub runs: Vec<RunSent>,
}

impl Sent {
    /// Records in all.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|run| run.numbers.end - run.numbers.start).sum()
    }

    /// Records that were sent more than once.
    pub fn again(&self) -> u64 {
        self.runs.iter().map(|run| run.again).sum()
    }

    /// What came after all other senders had ended.
    pub fn add(&mut self, more: Self) {
        self.runs.extend(more.runs);
    }

    /// Records that rsyslogd has not answered for.
    pub fn unanswered(&self) -> u64 {
        self.runs.iter().map(|run| run.numbers.end - run.acked.end).sum()
    }

    /// A ledger that expects what rsyslogd has answered for. The others may be there or not: they are foreign to it.
    pub fn acked_ledger(&self) -> Ledger {
        self.runs.iter().fold(Ledger::new(), |ledger, run| ledger.sent_numbers(&run.run, run.acked.clone()))
    }

    /// A ledger that expects all of them, each run in its order.
    pub fn ledger(&self) -> Ledger {
        self.runs.iter().fold(Ledger::new(), |ledger, run| ledger.sent_numbers(&run.run, run.numbers.clone()))
    }
}
