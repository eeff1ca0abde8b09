//! When what is killed: by how much of the stream is through rsyslog, so that it falls into the middle of it at any size.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// At least so long from one kill to the next.
const GAP: Duration = Duration::from_millis(200);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// The bridge is killed and started again at once, as systemd would.
    Bridge,
    /// Redis is killed and started again at once.
    Redis,
    /// Redis is killed and stays away for a while; meanwhile the bridge is killed, too.
    RedisThenBridge,
    /// The PHP worker is killed and started again under its name.
    Worker,
}

/// The kills that are still to come.
#[derive(Debug)]
pub struct Plan {
    kills: VecDeque<(u64, Kill)>,
    last: Option<Instant>,
}

impl Plan {
    /// The plan for a stream of so many messages.
    pub fn new(messages: u64) -> Self {
        let kills = [
            (8, Kill::Bridge),
            (16, Kill::Bridge),
            (24, Kill::Redis),
            (36, Kill::Bridge),
            (44, Kill::Worker),
            (60, Kill::RedisThenBridge),
            (76, Kill::Bridge),
            (84, Kill::Bridge),
        ];
        Self { kills: kills.iter().map(|&(percent, kill)| (messages * percent / 100, kill)).collect(), last: None }
    }

    /// The kill whose time has come. `ready`: everybody is there again after the last one.
    pub fn due(&mut self, through: u64, ready: bool, now: Instant) -> Option<Kill> {
        let early = self.last.is_some_and(|last| now.duration_since(last) < GAP);
        if early || !ready || self.kills.front().is_none_or(|&(from, _)| through < from) {
            return None;
        }
        self.last = Some(now);
        self.kills.pop_front().map(|(_, kill)| kill)
    }

    /// Whether it is over.
    pub fn is_done(&self) -> bool {
        self.kills.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_come_in_turn_when_everybody_is_ready() {
        let mut plan = Plan::new(1_000);
        let start = Instant::now();
        assert_eq!(plan.due(79, true, start), None);
        assert_eq!(plan.due(80, false, start), None);
        assert_eq!(plan.due(500, true, start), Some(Kill::Bridge));
        assert_eq!(plan.due(500, true, start), None, "too soon");
        let mut taken = 1;
        let mut now = start;
        while !plan.is_done() {
            now += GAP;
            taken += usize::from(plan.due(1_000, true, now).is_some());
        }
        assert_eq!(taken, 8);
    }
}
