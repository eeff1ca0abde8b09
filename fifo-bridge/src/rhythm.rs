//! For how long the threads sleep. Plain values: they are told the time.

use std::time::{Duration, Instant};

/// The pause while much arrives: long enough to save two thirds of the CPU, short enough for 1 MiB at full speed.
const BUSY: Duration = Duration::from_millis(1);

/// The first nap once records follow each other. Each further one is twice as long: a burst out of silence is looked at soon again.
const FIRST: Duration = Duration::from_micros(500);

/// How long answers may lie unread while nothing new comes. Reading them with the next batch saves a wake-up for each.
pub const COLLECT: Duration = Duration::from_millis(20);

/// How long to nap after a take. Naps save system calls while records follow each other; a record that comes alone must not make
/// the next one wait.
#[derive(Debug, Default)]
pub struct Rhythm {
    /// The last nap, zero if the pipe had been empty.
    nap: Duration,
    last: Option<Instant>,
}

impl Rhythm {
    /// `bytes` were taken at `now` from a pipe of `capacity`.
    pub fn took(&mut self, now: Instant, bytes: usize, capacity: usize, linger: Duration) -> Duration {
        let gap = self.last.replace(now).map(|last| now.duration_since(last));
        let much = bytes >= capacity / 64;
        let flowing = !self.nap.is_zero() || much || gap.is_some_and(|gap| gap < linger / 4);
        if flowing {
            // Much is how a burst begins: a long nap could find the pipe full.
            self.nap = (2 * self.nap).max(FIRST).min(if much { BUSY } else { linger }).min(linger);
        }
        self.nap
    }

    /// The pipe was empty.
    pub fn nothing(&mut self) {
        self.nap = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: usize = 1 << 20;
    const LINGER: Duration = Duration::from_millis(5);

    #[test]
    fn a_record_that_comes_alone_makes_nobody_wait() {
        let (mut rhythm, start) = (Rhythm::default(), Instant::now());
        for n in 0..100 {
            assert_eq!(rhythm.took(start + 2 * LINGER * n, 100, PIPE, LINGER), Duration::ZERO);
            rhythm.nothing();
        }
    }

    #[test]
    fn a_steady_flow_is_taken_in_gulps_until_it_ends() {
        let (mut rhythm, start) = (Rhythm::default(), Instant::now());
        rhythm.took(start, 100, PIPE, LINGER);
        rhythm.nothing();
        let mut now = start + LINGER / 8;
        for nap in [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST, LINGER, LINGER] {
            assert_eq!(rhythm.took(now, 100, PIPE, LINGER), nap);
            now += nap;
        }
        assert_eq!(rhythm.took(now, PIPE / 64, PIPE, LINGER), BUSY);
        assert_eq!(rhythm.took(now + BUSY, PIPE / 64, PIPE, LINGER), BUSY);
        assert_eq!(rhythm.took(now + BUSY, PIPE, PIPE, Duration::ZERO), Duration::ZERO);
        rhythm.nothing();
        assert_eq!(rhythm.took(start + 9 * LINGER, 100, PIPE, LINGER), Duration::ZERO);
    }
}
