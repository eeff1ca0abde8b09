//! What happens while records flow, as data, and what has become of the records in the end.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::child::PATIENCE;
use crate::ledger::Verdict;
use crate::native::door::Door;
use crate::native::rig::{Plan, Queue, Rig};
use crate::proxy::Mode;

/// How long the control may stand still until it is left alone.
const CONTROL_PATIENCE: Duration = Duration::from_secs(4);

/// Everything has arrived by then.
const ARRIVAL: Duration = Duration::from_secs(60);

/// rsyslogd ends within this time, whatever Redis does. The module may take two seconds of it.
const STOP: Duration = Duration::from_secs(8);

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// Senders begin, one for each run, in place of those before.
    Send(&'static [&'static str]),
    /// So many more records are sent.
    Sent(u64),
    /// The senders end.
    Finish,
    /// rsyslogd has read all that was sent.
    Taken,
    /// So many more records arrive.
    Flow(u64),
    /// The fault goes on for so long.
    Last(Duration),
    /// SIGKILL for Redis.
    KillRedis,
    /// Redis starts on the data that it has.
    StartRedis,
    /// Redis stands still.
    StopRedis,
    /// Redis goes on.
    ContinueRedis,
    /// A command for Redis.
    Redis(&'static [&'static str]),
    /// The proxy keeps the replies of one connection back until the connection is cut, so long after the first one.
    Swallow(Duration),
    /// The proxy lets nobody in.
    Refuse,
    /// The proxy lets everything pass.
    Pass,
    /// SIGHUP for rsyslogd.
    Hup,
    /// A clean stop of rsyslogd.
    Term,
    /// SIGKILL for rsyslogd.
    Kill,
    /// rsyslogd starts.
    Start,
    /// The senders get no further for so long.
    Stalled(Duration),
    /// The disk loses what was not forced to it, and fails from then on.
    CutPower,
    /// rsyslogd stands still.
    Freeze,
    /// The disk is there again, with what it has.
    PowerUp,
    /// Anything else.
    Do(fn(&mut Rig)),
}

/// A fault, and how to provoke it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// For people.
    pub name: &'static str,
    /// What runs.
    pub plan: Plan,
    /// What happens. In the end the senders are stopped, and everything should arrive.
    pub steps: Vec<Step>,
}

/// What has become of the records.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of all that was sent: what rsyslogd has not answered for counts as lost too.
    pub verdict: Verdict,
    /// Records that rsyslogd has answered for, and that are nowhere.
    pub acked_lost: u64,
    /// Records that were not answered for.
    pub unanswered: u64,
    /// Records that the senders sent once more: so many may be there twice.
    pub again: u64,
    /// Whether the order is rsyslog's promise here: not with several workers.
    pub ordered: bool,
    /// How often nothing could be sent, or nothing arrived, where it should have.
    pub stalled: u32,
    /// How long rsyslogd took to end; `None` if it had to be killed.
    pub stopped: Option<Duration>,
    /// What rsyslogd said.
    pub messages: String,
}

impl Outcome {
    /// Nothing lost, nothing twice that was sent once, everything in order.
    pub fn is_clean(&self) -> bool {
        let v = &self.verdict;
        v.lost.count == 0
            && v.foreign.count == 0
            && v.doubled.count <= self.again
            && (!self.ordered || v.misordered.count == 0)
            && self.unanswered == 0
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verdict, acked_lost, unanswered, again, stopped, .. } = self;
        write!(f, "{verdict}; acknowledged and lost {acked_lost}, unanswered {unanswered}, sent again {again}, ")?;
        match stopped {
            Some(took) => write!(f, "stopped in {:.1} s", took.as_secs_f64()),
            None => write!(f, "had to be killed"),
        }
    }
}

impl Scenario {
    /// Runs it with `door`.
    pub fn run(&self, door: &Door) -> Outcome {
        let mut rig = Rig::start(&self.plan, door);
        let mut stalled = 0;
        for (index, step) in self.steps.iter().enumerate() {
            stalled += u32::from(!self.step(&mut rig, door, index, *step));
        }
        let mut outcome = end(rig, door);
        outcome.stalled = stalled;
        outcome
    }

    /// Everything must be right with `door`.
    #[track_caller]
    pub fn assert_clean(&self, door: &Door) {
        let outcome = self.run(door);
        assert!(outcome.is_clean(), "{} with {}: {outcome}", self.name, door.name);
        assert!(outcome.stopped.is_some(), "{} with {}: rsyslogd does not end", self.name, door.name);
    }

    /// False if records stood still, which only the control may let them do.
    fn step(&self, rig: &mut Rig, door: &Door, index: usize, step: Step) -> bool {
        let (name, who) = (self.name, door.name);
        match step {
            Step::Send(runs) => rig.send(runs),
            Step::Sent(more) => {
                let senders = rig.senders.as_ref().expect("somebody sends");
                let limit = if door.control { CONTROL_PATIENCE } else { PATIENCE };
                let goes_on = senders.try_go_on(more, limit);
                assert!(
                    goes_on || door.control,
                    "{name} with {who}: nobody can send at step {index}\n{}",
                    rig.messages()
                );
                return goes_on;
            }
            Step::Finish => rig.finish(),
            Step::Taken => rig.taken(),
            Step::Flow(more) => {
                let limit = if door.control { CONTROL_PATIENCE } else { PATIENCE };
                let flows = rig.flow(more, limit);
                assert!(
                    flows || door.control,
                    "{name} with {who}: nothing arrives at step {index}\n{}",
                    rig.messages()
                );
                return flows;
            }
            Step::Last(time) => std::thread::sleep(time),
            Step::KillRedis => rig.redis.kill9(),
            Step::StartRedis => rig.redis.start(),
            Step::StopRedis => rig.redis.sigstop(),
            Step::ContinueRedis => rig.redis.sigcont(),
            Step::Redis(words) => _ = rig.redis.cmd(words),
            Step::Swallow(after) => rig.proxy.as_ref().expect("a proxy").once(Mode::SwallowReplies(after)),
            Step::Refuse => rig.proxy.as_ref().expect("a proxy").set(Mode::Refuse),
            Step::Pass => rig.proxy.as_ref().expect("a proxy").set(Mode::Pass),
            Step::Hup => rig.rsyslogd.hup(),
            Step::Term => _ = stop(rig, door),
            Step::Kill => rig.rsyslogd.kill9(),
            Step::Start => rig.start_rsyslogd(),
            Step::Stalled(time) => stalled(rig, time),
            Step::CutPower => rig.disk.as_ref().expect("a disk").cut_power(),
            Step::Freeze => rig.rsyslogd.signal(Signal::SIGSTOP),
            Step::PowerUp => rig.disk.as_ref().expect("a disk").power_up(),
            Step::Do(what) => what(rig),
        }
        true
    }
}

/// The senders end, and everything should arrive; then rsyslogd ends, and the records are judged.
pub fn end(mut rig: Rig, door: &Door) -> Outcome {
    rig.finish();
    let limit = if door.control { CONTROL_PATIENCE } else { ARRIVAL };
    let (mut last, mut since) = (0, Instant::now());
    let (letters, sent) = (rig.dead_letters().len() as u64, rig.sent.count());
    while last + letters.min(rig.dead_letters().len() as u64) < sent && since.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(20));
        let now = rig.arrived().unwrap_or(last);
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
    let stopped = stop(&mut rig, door);
    // A list that took nothing for a while has its later records behind the dead letters.
    let mut elements = rig.dead_letters();
    elements.extend(rig.elements());
    let verdict = rig.sent.ledger().judge(&elements);
    let acked_lost = rig.sent.acked_ledger().judge(&elements).lost.count;
    let ordered = !matches!(rig.plan.queue, Queue::Memory { workers: 2.., .. });
    let (unanswered, again) = (rig.sent.unanswered(), rig.sent.again());
    Outcome { verdict, acked_lost, unanswered, again, ordered, stalled: 0, stopped, messages: rig.messages() }
}

/// Waits until the senders get no further.
#[track_caller]
fn stalled(rig: &Rig, time: Duration) {
    let senders = rig.senders.as_ref().expect("somebody sends");
    let (mut last, mut since, start) = (senders.done(), Instant::now(), Instant::now());
    while since.elapsed() < time {
        assert!(start.elapsed() < ARRIVAL, "the senders go on and on");
        std::thread::sleep(Duration::from_millis(20));
        let now = senders.done();
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// A clean stop, if it comes to that.
fn stop(rig: &mut Rig, door: &Door) -> Option<Duration> {
    let start = Instant::now();
    if rig.rsyslogd.try_term(STOP) {
        return Some(start.elapsed());
    }
    assert!(door.control, "rsyslogd with {} does not end within {STOP:?}", door.name);
    rig.rsyslogd.kill9();
    None
}
