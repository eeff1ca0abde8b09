//! How long to wait before the next attempt: jittered exponential backoff.

use std::time::Duration;

/// The wait before the second attempt, before jitter.
pub const FIRST: Duration = Duration::from_millis(50);
/// No wait is longer than this.
pub const LONGEST: Duration = Duration::from_secs(2);

/// Counts failed attempts in a row and says how long to wait for the next one.
///
/// Half of each wait is fixed and half is chance, so that many producers do not come back in step
/// (the "equal jitter" of the AWS architecture blog's note on backoff).
#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// An attempt failed: wait this long. `chance` is in 0.0..1.0.
    pub fn failed(&mut self, chance: f64) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(10)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        whole / 2 + (whole / 2).mul_f64(chance.clamp(0.0, 1.0))
    }

    /// An attempt succeeded; returns how many had failed before it.
    pub fn succeeded(&mut self) -> u32 {
        std::mem::take(&mut self.failures)
    }

    /// Failed attempts since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_are_bounded_and_never_zero() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..40).map(|_| backoff.failed(0.5)).collect();
        assert!(waits.windows(2).all(|w| w[0] <= w[1]));
        assert!(waits[0] >= FIRST / 2);
        assert!(waits[39] <= LONGEST);
        assert_eq!(backoff.succeeded(), 40);
        assert!(backoff.failed(1.0) <= FIRST);
    }
}
