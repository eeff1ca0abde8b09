//! Benchmarks of omrust.so, side by side with rsyslog's own ways in one run: `make bench-omrust`.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
mod durable;
mod servers;
mod setup;
mod throughput;

use clap::Parser;
use e2e::measure::Spread;

/// What is measured, and for how long.
#[derive(Debug, Parser)]
#[command(about = "Measures omrust.so beside rsyslog's own ways to Redis and to the disk. Prints Markdown.")]
struct Options {
    /// Messages of one run of the first table
    #[arg(long, default_value_t = 4_000_000)]
    messages: u64,
    /// Bytes of a message as it is sent
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Runs of each, in turn
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Seconds of one run of the durable tables
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Only the tables whose name has this word: rate, durable, servers
    #[arg(long, default_value = "")]
    only: String,
    /// Only the rows whose name has one of these words
    #[arg(long)]
    row: Vec<String>,
    /// Do not look at each record in Redis, only at their number
    #[arg(long)]
    no_check: bool,
    /// For itself: the bare disk, batches of so many
    #[arg(long, hide = true)]
    bare: Option<usize>,
}

impl Options {
    fn row(&self, name: &str) -> bool {
        self.row.is_empty() || self.row.iter().any(|word| name.contains(word.as_str()))
    }
}

fn main() {
    let options = Options::parse();
    if let Some(batch) = options.bare {
        println!("{}", bare::rate(batch, options.size, options.seconds));
        return;
    }
    println!("{} runs in turn; median [low-high]; load average {}\n", options.runs, load_average());
    if "rate".contains(&options.only) {
        throughput::table(&options);
    }
    if "durable".contains(&options.only) {
        durable::tables(&options);
    }
    if "servers".contains(&options.only) {
        servers::table(&options);
    }
    println!("load average in the end {}", load_average());
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The figures of several runs.
fn spread<R>(runs: &[R], figure: impl Fn(&R) -> f64) -> Spread {
    Spread::of(&runs.iter().map(figure).collect::<Vec<_>>())
}
