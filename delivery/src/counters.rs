//! The counters that every door keeps. One set of words for Prometheus, `status` and the docs.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// What has happened since the process started. Each field is a record count unless its name says otherwise.
///
/// At rest: `received = pushed + duplicates_suppressed + dead_letters`; at any time the difference is held
/// in memory, and bytes not yet cut into records are held in the spool and the pipe.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records that a producer gave us, counted when they are told apart.
    pub received: AtomicU64,
    /// Records that are safe with us: in the spool or in Redis.
    pub accepted: AtomicU64,
    /// Records that Redis has confirmed.
    pub pushed: AtomicU64,
    /// Records whose push had no answer and that Redis turned out to have: not sent again.
    pub duplicates_suppressed: AtomicU64,
    /// Records that went through the spool.
    pub spooled: AtomicU64,
    /// Bytes of the spool on disk, acknowledged ones that are retained included.
    pub spool_bytes: AtomicU64,
    /// Records sent again because Redis went back to an earlier state.
    pub replayed: AtomicU64,
    /// Records set aside with a reason.
    pub dead_letters: AtomicU64,
    /// Lines that were torn before they reached us.
    pub torn: AtomicU64,
    /// Attempts to connect or push that failed.
    pub retries: AtomicU64,
    /// Records whose push lost its answer; Redis tells a repeat apart.
    pub unknown_outcome: AtomicU64,
    /// Connections made after the first.
    pub reconnects: AtomicU64,
    /// Length of the list after the last push, or when it was asked for.
    pub list_length: AtomicU64,
    /// Lists that are held back because they are too long; at least 1 while Redis is out of memory.
    pub held_back: AtomicU64,
    /// Bytes in the pipe when it was last looked at.
    pub pipe_bytes: AtomicU64,
    /// Age of the oldest byte that Redis has not confirmed, in milliseconds.
    pub oldest_unpushed_milliseconds: AtomicU64,
    /// 1 while Redis takes pushes, 0 otherwise.
    pub connected: AtomicI64,
    /// Time from sending a push to reading its answer.
    pub push_seconds: Histogram,
}

/// Adds `n`.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}

/// Sets a gauge.
pub fn set(gauge: &AtomicU64, value: u64) {
    gauge.store(value, Relaxed);
}

/// Reads a counter or gauge.
pub fn get(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// Upper bounds of the histogram's buckets, in seconds.
pub const BUCKETS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// A histogram of durations with fixed buckets.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Observations per bucket; the last holds what is above all bounds.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    sum_nanoseconds: AtomicU64,
}

impl Histogram {
    /// Adds one observation.
    pub fn observe(&self, took: std::time::Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_nanoseconds.fetch_add(took.as_nanos() as u64, Relaxed);
    }

    /// Sum in seconds, number of observations, and observations per bucket (not cumulative).
    pub fn read(&self) -> (f64, u64, Vec<u64>) {
        let buckets: Vec<u64> = self.buckets.iter().map(|b| b.load(Relaxed)).collect();
        let sum = self.sum_nanoseconds.load(Relaxed) as f64 / 1e9;
        (sum, buckets.iter().sum(), buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_observation_falls_into_its_bucket() {
        let histogram = Histogram::default();
        histogram.observe(Duration::from_micros(100));
        histogram.observe(Duration::from_millis(3));
        histogram.observe(Duration::from_secs(60));
        let (sum, count, buckets) = histogram.read();
        assert_eq!((count, buckets[0], buckets[5], buckets[BUCKETS.len()]), (3, 1, 1, 1));
        assert!((sum - 60.0031).abs() < 1e-6);
    }
}
