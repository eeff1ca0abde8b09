//! The program `outlet-child`, which commits numbered records and is killed, and the verdict over what it left.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::built::{profile, profile_dir};
use crate::child::{Guarded, Scene};

/// The program with fault points, built on the first call.
pub fn binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let dir = profile_dir();
        let status = crate::cargo::cargo()
            .args(["build", "--quiet", "--locked", "--package", "e2e", "--bin", "outlet-child"])
            .args(["--features", "fault-points", "--profile"])
            .arg(profile(&dir))
            .arg("--target-dir")
            .arg(dir.parent().expect("a profile is in the target folder"))
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"))
            .status()
            .expect("cannot run cargo");
        assert!(status.success(), "outlet-child does not build: {status}");
        dir.join("outlet-child")
    })
}

/// The lives of one host.
#[derive(Debug)]
pub struct Host {
    scene: Scene,
    words: Vec<String>,
    /// Records go into so many lists; one if it is 0.
    lists: usize,
    workers: usize,
}

/// What became of everything.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Records that were acknowledged.
    pub acknowledged: usize,
    /// Of those, the ones that are nowhere.
    pub lost: Vec<String>,
    /// Records that are there more often than they were handed in.
    pub doubled: Vec<String>,
    /// Places where a list is not in the order of its worker.
    pub misordered: Vec<String>,
    /// Records that are there and were not acknowledged: a life that ended handed them in.
    pub unacknowledged: usize,
    /// Records among the dead letters.
    pub parked: usize,
}

impl Host {
    /// A host whose outlet finds Redis at `server`.
    pub fn new(scene: &Scene, server: &Path, workers: usize, batch: &str, lists: usize) -> Self {
        let ledger = scene.folder("ledger");
        let words = [
            ("--server", server.display().to_string()),
            ("--ledger", ledger.display().to_string()),
            ("--workers", workers.to_string()),
            ("--batch", batch.to_owned()),
            ("--lists", lists.to_string()),
        ];
        let words = words.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        Self { scene: scene.clone(), words, lists, workers }
    }

    /// More words for its command line.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.words.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// What Redis refuses for good waits, in place of becoming a dead letter.
    #[must_use]
    pub fn holding(mut self) -> Self {
        self.words.push("--hold".to_owned());
        self
    }

    /// With a spool.
    #[must_use]
    pub fn spooled(self) -> Self {
        let folder = self.scene.folder("spool").display().to_string();
        self.with("--spool", &folder)
    }

    /// Another life, which may die at a place.
    pub fn start(&self, fault: Option<(&str, u64)>, until: Option<u64>) -> Guarded {
        let mut command = Command::new(binary());
        command.args(&self.words);
        if let Some((place, count)) = fault {
            command.env("FIFO_BRIDGE_FAULT", format!("{place}:{count}"));
        }
        if let Some(until) = until {
            command.args(["--until", &until.to_string()]);
        }
        self.scene.spawn("host", command)
    }

    /// The furthest number that a worker was told is done.
    pub fn furthest(&self) -> u64 {
        (0..self.workers).flat_map(|worker| self.done(worker)).map(|(_, _, to)| to).max().unwrap_or(0)
    }

    fn done(&self, worker: usize) -> Vec<(u64, u64, u64)> {
        let text =
            std::fs::read_to_string(self.scene.file("ledger").join(format!("done-{worker}"))).unwrap_or_default();
        let number = |word: Option<&str>| word.and_then(|word| word.parse().ok()).expect("a number in the ledger");
        let line = |line: &str| {
            let mut words = line.split(' ');
            (number(words.next()), number(words.next()), number(words.next()))
        };
        text.lines().map(line).collect()
    }

    /// Judges what the lists hold.
    pub fn judge(&self, list: impl Fn(&str) -> Vec<Vec<u8>>) -> Verdict {
        let mut verdict = Verdict::default();
        // (worker, life, number) -> how often
        let mut found: HashMap<(usize, u64, u64), usize> = HashMap::new();
        let names: Vec<String> = match self.lists {
            0 => vec!["main".into()],
            count => (0..count).map(|list| format!("list{list}")).collect(),
        };
        for name in &names {
            let mut last: HashMap<usize, (u64, u64)> = HashMap::new();
            for element in list(name) {
                let (worker, life, number) = parse(&element);
                *found.entry((worker, life, number)).or_default() += 1;
                let here = (life, number);
                let before = last.insert(worker, here);
                if before.is_some_and(|before| before >= here) {
                    verdict.misordered.push(format!("{name}: {here:?} of worker {worker} behind {before:?}"));
                }
            }
        }
        for letter in self.letters() {
            verdict.parked += 1;
            *found.entry(letter).or_default() += 1;
        }
        for (record, times) in &found {
            if *times > 1 {
                verdict.doubled.push(format!("{record:?} {times} times"));
            }
        }
        for worker in 0..self.workers {
            for (life, from, to) in self.done(worker) {
                for number in from..to {
                    verdict.acknowledged += 1;
                    if found.remove(&(worker, life, number)).is_none() {
                        verdict.lost.push(format!("{number} of worker {worker} in life {life}"));
                    }
                }
            }
        }
        verdict.unacknowledged = found.len();
        verdict
    }

    fn letters(&self) -> Vec<(usize, u64, u64)> {
        let path = self.scene.file("ledger").join("letters/dead-letters.jsonl");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let record = |line: &str| {
            let letter: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(parse(letter["record"].as_str()?.as_bytes()))
        };
        text.lines().filter_map(record).collect()
    }
}

fn parse(element: &[u8]) -> (usize, u64, u64) {
    let text = std::str::from_utf8(element).expect("text");
    let mut words = text.split(' ').map(|word| word.parse::<u64>().ok());
    let mut next = || words.next().flatten().unwrap_or_else(|| panic!("a torn record: {text:?}"));
    (next() as usize, next(), next())
}

impl Verdict {
    /// Nothing lost, nothing doubled, nothing out of order, and enough to mean something.
    #[track_caller]
    pub fn assert_clean(&self, at_least: usize) {
        let few = |all: &[String]| format!("{} {:?}", all.len(), all.iter().take(5).collect::<Vec<_>>());
        assert!(
            self.lost.is_empty() && self.doubled.is_empty() && self.misordered.is_empty(),
            "of {} acknowledged: lost {}; doubled {}; misordered {}",
            self.acknowledged,
            few(&self.lost),
            few(&self.doubled),
            few(&self.misordered),
        );
        assert!(self.acknowledged >= at_least, "only {} records were acknowledged", self.acknowledged);
    }
}
