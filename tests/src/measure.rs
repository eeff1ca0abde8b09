//! What a process cost, and medians.

use std::fs;

/// CPU time of all threads of a process so far, in nanoseconds, from `/proc/PID/task/*/schedstat`.
pub fn cpu_nanoseconds(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.filter_map(Result::ok).filter_map(of).sum()
}

/// Processor time that the calling thread has used, in nanoseconds.
pub fn thread_cpu_nanoseconds() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A line of `/proc/PID/status` in KiB, `VmHWM` for example.
pub fn status_kib(pid: u32, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found =
        text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.split_whitespace().next()?.parse().ok());
    found.unwrap_or(0)
}

/// Smallest, median and largest of some figures.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    /// The smallest.
    pub low: f64,
    /// The median.
    pub median: f64,
    /// The largest.
    pub high: f64,
}

impl Spread {
    /// Of `figures`, at least one.
    pub fn of(figures: &[f64]) -> Self {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self { low: sorted[0], median: sorted[sorted.len() / 2], high: sorted[sorted.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = usize::from(self.median < 10.0) * 2;
        write!(f, "{:.digits$} [{:.digits$}-{:.digits$}]", self.median, self.low, self.high)
    }
}

/// The value below which `share` of `sorted` lies.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}
