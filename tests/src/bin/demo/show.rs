//! The course of the demo: the whole chain in a private folder, killed in the middle, and the verdict from the records themselves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::bridge::plain_binary;
use e2e::child::Scene;

use crate::chain::Chain;
use crate::judge::{Judge, Stream};
use crate::plan::{Kill, Plan};
use crate::report::{self, Ending};
use crate::screen::Screen;
use crate::sender::Senders;

/// How often the records are read and the plan is looked at.
const ROUND: Duration = Duration::from_millis(20);
/// How often Redis, the pipe and the bridge are asked.
const LOOK: Duration = Duration::from_millis(100);
/// How long statistics, and the end of everybody, may take.
const CLOSING: Duration = Duration::from_secs(10);

/// What the demo is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Messages to send.
    pub messages: u64,
    /// It gives up after so long.
    pub limit: Duration,
    /// Messages a second, 0 for as many as rsyslog takes.
    pub rate: u64,
}

/// A rate at which the stream is long enough for all kills, and a million takes less than a minute.
pub fn usual_rate(messages: u64) -> u64 {
    (messages / 6).clamp(1, 12_500).max((messages / 40).min(20_000))
}

/// Why there is no verdict.
#[derive(Debug)]
pub enum Failure {
    /// Somebody pressed Ctrl-C.
    Interrupted,
    /// Something does not work.
    Broken(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Runs the whole demo and returns whether the verdict is good. Whatever happens, nothing is left behind.
pub fn run(options: Options, stop: &AtomicBool) -> Result<bool, Failure> {
    // Nothing to do where it was built before, and no part of the show where it was not.
    plain_binary();
    // Declared first and so dropped last: the folder goes when everybody in it is gone.
    let scene = Scene::new();
    let mut screen = Screen::new();
    screen.say(&report::opening(&options, &scene));
    let mut show = Show {
        chain: Chain::start(&scene),
        judge: Judge::new(options.messages),
        plan: Plan::new(options.messages),
        screen,
        options,
    };
    let (sent, took) = show.stream(stop)?;
    show.close(sent, took)
}

struct Show {
    chain: Chain,
    judge: Judge,
    plan: Plan,
    screen: Screen,
    options: Options,
}

impl Show {
    /// From the first message to the last record, or until it gives up. Returns how many were sent and how long it took.
    fn stream(&mut self, stop: &AtomicBool) -> Result<(u64, Duration), Failure> {
        let mut senders = Senders::start(self.chain.port(), self.options.messages, self.options.rate)?;
        let begin = Instant::now();
        self.screen.begin();
        let (mut came, mut looked) = (begin, None::<Instant>);
        loop {
            let now = Instant::now();
            if stop.load(Ordering::Relaxed) {
                return Err(Failure::Interrupted);
            }
            senders.check()?;
            let written = self.chain.written();
            if self.options.rate > 0 {
                senders.hold_back(written);
            }
            for text in self.chain.tick(now).map_err(Failure::Broken)? {
                self.screen.event(&text);
            }
            let before = self.judge.count();
            self.read();
            if self.judge.count() > before {
                came = now;
            }
            let over = self.is_done() || self.screen.elapsed() >= self.options.limit;
            if over || looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
                looked = Some(now);
                let progress = self.chain.look(senders.sent(), self.judge.count());
                if over || self.screen.is_due() {
                    self.screen.progress(&progress);
                }
            }
            if over {
                return Ok((senders.sent(), came.duration_since(begin)));
            }
            if let Some(kill) = self.plan.due(senders.through(written), self.chain.is_whole(), now) {
                self.kill(kill);
            }
            std::thread::sleep(ROUND);
        }
    }

    fn is_done(&self) -> bool {
        self.judge.count() >= self.options.messages && self.plan.is_done() && self.chain.is_whole()
    }

    fn read(&mut self) {
        let judge = &mut self.judge;
        self.chain.records(|record| judge.consumed(record));
    }

    fn kill(&mut self, whom: Kill) {
        let text = self.chain.kill(whom);
        self.screen.event(&text);
        if whom == Kill::Worker {
            // What it wrote down to its last moment comes before what its successor writes.
            self.read();
            self.judge.worker_died(self.chain.succeed_worker());
        }
    }

    /// Stops everybody, judges, and says so.
    fn close(mut self, sent: u64, took: Duration) -> Result<bool, Failure> {
        let gave_up = !self.is_done();
        let rsyslog = self.chain.statistics(CLOSING);
        self.chain.stop(if gave_up { Duration::ZERO } else { CLOSING });
        self.read();
        let pipe = Stream::read(&self.chain.spool(), self.options.messages)?;
        let ending = Ending {
            judgement: self.judge.judgement(&pipe, rsyslog),
            rsyslog,
            left_in_redis: self.chain.leftovers().len() as u64,
            gave_up: gave_up.then_some(self.options.limit),
            sent,
            took,
            kills: self.chain.kills(),
        };
        self.screen.finish();
        self.screen.say(&report::verdict(&self.options, &ending));
        Ok(ending.is_good())
    }
}
