//! omrust-prog behind omprog beside the smallest program that omprog can talk to: what remains of the transport when every record is kept.
#![expect(clippy::print_stdout, reason = "a benchmark prints figures")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use e2e::cc;
use e2e::child::Scene;
use e2e::measure::Spread;
use e2e::redis::Redis;

mod round;

use round::{Round, round};

/// Measures records a second through rsyslogd's omprog, with transactions and answers.
#[derive(Debug, Parser)]
#[command(name = "bench-prog")]
struct Arguments {
    /// The program
    #[arg(long)]
    program: PathBuf,
    /// One more build of it, to be measured in turn with the first
    #[arg(long, value_name = "PROGRAM")]
    beside: Option<PathBuf>,
    /// Records of one round
    #[arg(long, default_value_t = 200_000)]
    records: usize,
    /// Rounds of each
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Bytes of a record's text
    #[arg(long, default_value_t = 120)]
    bytes: usize,
    /// Records of a transaction, at most
    #[arg(long, default_value_t = 1024)]
    batch: u32,
    /// Seconds that a round may take
    #[arg(long, default_value_t = 120)]
    limit: u64,
}

/// The command that rsyslogd starts.
type Program = Box<dyn Fn(&Scene, &Redis) -> String>;

/// What is measured, and the command that rsyslogd starts for it.
struct Subject {
    name: String,
    binary: Program,
}

fn main() {
    let arguments = Arguments::parse();
    let subjects = subjects(&arguments);
    let mut rounds: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
    for number in 1..=arguments.rounds {
        // In turn, so that whatever else the machine does hits all of them.
        for (subject, rounds) in subjects.iter().zip(&mut rounds) {
            rounds.push(round(&arguments, &subject.binary));
        }
        let figures: Vec<String> = rounds.iter().map(|rounds| format!("{:.0}", rounds[number - 1].rate)).collect();
        println!("round {number}: {} records/s", figures.join(", "));
    }
    let of =
        |rounds: &[Round], figure: &dyn Fn(&Round) -> f64| Spread::of(&rounds.iter().map(figure).collect::<Vec<_>>());
    println!(
        "\n| | records/s | % of the first | its CPU ns/record | redis CPU | rsyslogd CPU |\n|---|---|---|---|---|---|"
    );
    for (subject, own) in subjects.iter().zip(&rounds) {
        let pairs = own.iter().zip(&rounds[0]).map(|(own, top)| 100.0 * own.rate / top.rate).collect::<Vec<_>>();
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            subject.name,
            of(own, &|round| round.rate),
            Spread::of(&pairs),
            of(own, &|round| round.program),
            of(own, &|round| round.redis),
            of(own, &|round| round.rsyslogd),
        );
    }
}

fn subjects(arguments: &Arguments) -> Vec<Subject> {
    let (sink, records) = (cc::compile("omprog-sink", "bin", &[]), arguments.records);
    let mut subjects = vec![Subject {
        name: "a program in C that answers and throws away".to_owned(),
        binary: Box::new(move |scene, _| format!("{} {records} {}", sink.display(), scene.file("done").display())),
    }];
    for (program, which) in [(Some(&arguments.program), ""), (arguments.beside.as_ref(), ", the other build")] {
        let Some(program) = program else { continue };
        // rsyslogd starts it, and has another working directory.
        let program = program.canonicalize().unwrap_or_else(|e| panic!("there is no {}: {e}", program.display()));
        for (section, key, way) in [("prog", "state-directory", "into Redis"), ("spool", "directory", "with a spool")] {
            let program = program.clone();
            subjects.push(Subject {
                name: format!("omrust-prog, {way}{which}"),
                binary: Box::new(move |scene, redis| command(&program, scene, redis, section, key)),
            });
        }
    }
    subjects
}

fn command(program: &Path, scene: &Scene, redis: &Redis, section: &str, key: &str) -> String {
    let state = scene.file("state").display().to_string();
    let toml = format!("[redis]\nserver = \"{}\"\n[{section}]\n{key} = \"{state}\"\n", redis.socket().display());
    format!("{} --config {}", program.display(), scene.write("omrust.toml", toml).display())
}

impl Arguments {
    fn limit(&self) -> Duration {
        Duration::from_secs(self.limit)
    }
}
