//! The first line and the verdict.

use std::fmt::Write as _;
use std::time::Duration;

use e2e::child::Scene;
use e2e::ledger::Fault;

use crate::chain::Kills;
use crate::judge::Judgement;
use crate::rsyslog::Action;
use crate::screen::grouped;
use crate::sender::SENDERS;
use crate::show::Options;

/// What is set up.
pub fn opening(options: &Options, scene: &Scene) -> String {
    let pace = match options.rate {
        0 => "as fast as rsyslog takes them".to_owned(),
        rate => format!("{} a second", grouped(rate)),
    };
    format!(
        "{} messages, {pace}: {SENDERS} senders -> rsyslog -> RELP -> rsyslog -> pipe -> fifo-bridge -> Redis list -> PHP worker, in {}",
        grouped(options.messages),
        scene.path().display()
    )
}

/// Everything that is known in the end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What the records say.
    pub judgement: Judgement,
    /// What the remote and the central rsyslogd say.
    pub rsyslog: [Action; 2],
    /// Records that nobody took out of Redis.
    pub left_in_redis: u64,
    /// The limit, if it was reached: records may still be on their way then.
    pub gave_up: Option<Duration>,
    /// Messages that were sent, all of them unless it gave up.
    pub sent: u64,
    /// From the first message to the last record.
    pub took: Duration,
    /// Who was killed.
    pub kills: Kills,
}

impl Ending {
    /// Everything arrived, once and in order.
    pub fn is_good(&self) -> bool {
        self.gave_up.is_none() && self.left_in_redis == 0 && self.judgement.is_clean()
    }
}

/// The verdict.
pub fn verdict(options: &Options, ending: &Ending) -> String {
    let Ending { judgement, rsyslog: [remote, central], kills, .. } = ending;
    let (consumed, in_pipe) = (&judgement.consumed, &judgement.in_pipe);
    let mut text = String::from("\nverdict, from the records that the PHP worker wrote down\n");
    // Writing to a string cannot fail.
    let mut row = |name: &str, n: u64, more: &str| {
        let _ = writeln!(text, "  {}", format!("{name:<14}{:>11}  {more}", grouped(n)).trim_end());
    };
    let before = |in_pipe: &Fault| match in_pipe.count {
        0 => String::new(),
        n => format!("; {} of it before the pipe, by rsyslog", grouped(n)),
    };
    let found = |fault: &Fault, in_pipe: &Fault| match fault.count {
        0 => String::new(),
        _ => format!("{}{}", fault.first.join(", "), before(in_pipe)),
    };
    let lost = consumed.lost.count - (consumed.sent - ending.sent).min(consumed.lost.count);
    row("sent", ending.sent, "");
    row("in the pipe", in_pipe.found, "");
    row("received", consumed.found, "");
    match ending.gave_up {
        Some(_) => row("lost", lost, "or still on its way"),
        None => row("lost", lost, &found(&consumed.lost, &in_pipe.lost)),
    }
    row("doubled", consumed.doubled.count, &found(&consumed.doubled, &in_pipe.doubled));
    let own = if judgement.moved > 0 { "behind the pipe; rsyslog's own order: see below" } else { "" };
    row("out of order", judgement.out_of_order, own);
    row("foreign", consumed.foreign.count, &found(&consumed.foreign, &in_pipe.foreign));
    let seconds = ending.took.as_secs_f64();
    let rate = consumed.found * 1_000 / (ending.took.as_millis() as u64).max(1);
    let asked = if options.rate == 0 { "" } else { "; the senders set the pace" };
    row("rate", rate, &format!("records a second, over {seconds:.1} s{asked}"));
    let _ = writeln!(
        text,
        "  killed by -9: fifo-bridge {} times, redis-server {} times, the PHP worker {} times",
        kills.bridge, kills.redis, kills.worker
    );
    if judgement.repeats > 0 {
        let _ = writeln!(
            text,
            "  handed out twice: {} records that the killed worker had handled and not acknowledged (at least once is the worker's promise)",
            judgement.repeats
        );
    }
    text.push_str(&rsyslogs_own(judgement, *remote, *central));
    if ending.left_in_redis > 0 {
        let _ = writeln!(text, "  left in Redis: {} records that nobody took", grouped(ending.left_in_redis));
    }
    let end = match ending.gave_up {
        Some(limit) => format!("GAVE UP after {} s", limit.as_secs()),
        None if ending.is_good() && judgement.moved == 0 => {
            "CLEAN: every message arrived, once and in order".to_owned()
        }
        None if ending.is_good() => {
            "CLEAN: every message arrived, once and in the order in which rsyslog wrote it".to_owned()
        }
        None => "NOT CLEAN".to_owned(),
    };
    text + &end
}

/// What rsyslog did by itself, before the pipe.
fn rsyslogs_own(judgement: &Judgement, remote: Action, central: Action) -> String {
    let mut text = String::new();
    for (name, action) in [("remote", remote), ("central", central)] {
        if action.requeued > 0 {
            let _ = writeln!(
                text,
                "  the {name} rsyslog could not write {} messages at once and put each at the end of its queue",
                grouped(action.requeued)
            );
        }
        if action.spilled > 0 {
            let _ = writeln!(
                text,
                "  the {name} rsyslog wrote {} messages of its queue to disk: they are sent beside later ones",
                grouped(action.spilled)
            );
        }
    }
    if judgement.moved > 0 {
        let _ =
            writeln!(text, "  so rsyslog wrote {} messages behind later ones into the pipe", grouped(judgement.moved));
    }
    if text.is_empty() {
        text.push_str("  rsyslog never found the pipe full and moved no message\n");
    }
    text
}
