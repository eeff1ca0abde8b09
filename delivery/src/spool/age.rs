//! How long bytes have been waiting, in bounded memory.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::position::Position;

/// Samples that are kept, at most. Beyond it every other one is dropped, and samples come half as often.
const SAMPLES_MAX: usize = 512;
const FIRST_STEP: Duration = Duration::from_millis(50);

/// When the stream had reached which length. Exact to a step that grows with the length of an outage.
#[derive(Debug)]
pub(super) struct Ages {
    samples: VecDeque<(Position, Instant)>,
    step: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self { samples: VecDeque::new(), step: FIRST_STEP }
    }
}

impl Ages {
    /// The stream reached `end` at `now`.
    pub fn grew(&mut self, end: Position, now: Instant) {
        if let Some((last, at)) = self.samples.back_mut()
            && now.duration_since(*at) < self.step
        {
            // Counted as a little older than they are, but never forgotten.
            *last = end;
            return;
        }
        self.samples.push_back((end, now));
        if self.samples.len() > SAMPLES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.step *= 2;
        }
    }

    /// Age of the first byte after `position`; zero if nothing is known to lie behind it.
    pub fn after(&self, position: Position, now: Instant) -> Duration {
        let first = self.samples.iter().find(|(end, _)| *end > position);
        first.map_or(Duration::ZERO, |(_, at)| now.duration_since(*at))
    }

    /// Nobody will ask for what lies before `position` any more.
    pub fn forget_before(&mut self, position: Position) {
        while self.samples.front().is_some_and(|(end, _)| *end <= position) {
            self.samples.pop_front();
        }
        if self.samples.is_empty() {
            self.step = FIRST_STEP;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    #[test]
    fn memory_is_bounded_and_the_oldest_is_remembered() {
        let start = Instant::now();
        let at = |offset| Position { epoch: Epoch(1), offset };
        let mut ages = Ages::default();
        for n in 1..=100_000u64 {
            ages.grew(at(n), start + Duration::from_millis(60 * n));
        }
        assert!(ages.samples.len() <= SAMPLES_MAX);
        let now = start + Duration::from_secs(6_000);
        assert!(ages.after(at(0), now) > Duration::from_secs(5_990));
        assert_eq!(ages.after(at(100_000), now), Duration::ZERO);
        ages.forget_before(at(100_000));
        assert_eq!(ages.step, FIRST_STEP);
    }
}
