//! The PHP worker of the project at work, and what it writes down.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::child::{Guarded, PATIENCE, Scene};

/// The list, as the bridge names it by default.
pub const KEY: &str = "rsyslog";
/// What the worker has taken and not acknowledged, as the worker's manual names it.
pub const IN_HAND: &str = "{rsyslog}:processing:demo";
/// What a handler rejected.
pub const FAILED: &str = "{rsyslog}:failed";

/// `reliable.php` with its own output file. It ends with the value.
#[derive(Debug)]
pub struct Worker {
    child: Guarded,
    out: Tail,
}

impl Worker {
    /// The script.
    pub fn script() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../workers/php/reliable.php")
    }

    /// Starts the `start`th process under the worker's name.
    pub fn start(scene: &Scene, redis: &Path, start: u64) -> Self {
        let out = scene.write(&format!("worker-{start}.out"), "");
        let mut command = Command::new("php");
        command.arg(Self::script()).arg("--server").arg(redis).args(["--key", KEY, "--worker", "demo", "--ttl", "2"]);
        command.arg("--out").arg(&out);
        Self { out: Tail::open(&out), child: scene.spawn("worker", command) }
    }

    /// Its process.
    pub fn child(&mut self) -> &mut Guarded {
        &mut self.child
    }

    /// Every record that it wrote down since the last call.
    pub fn records(&mut self, record: impl FnMut(&[u8])) {
        self.out.lines(record);
    }

    /// SIGTERM: it finishes the record in hand.
    pub fn term(&mut self) {
        self.child.term(PATIENCE);
    }
}

/// The lines of a file that grows. A line that is cut short by its writer's death is never seen.
#[derive(Debug)]
struct Tail {
    file: File,
    rest: Vec<u8>,
    block: Vec<u8>,
}

impl Tail {
    fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
        Self { file, rest: Vec::new(), block: vec![0; 256 * 1024] }
    }

    fn lines(&mut self, mut line: impl FnMut(&[u8])) {
        loop {
            let taken = self.file.read(&mut self.block).expect("cannot read what the worker wrote");
            if taken == 0 {
                return;
            }
            self.rest.extend_from_slice(&self.block[..taken]);
            let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
            for text in self.rest[..whole].split_inclusive(|&byte| byte == b'\n') {
                line(&text[..text.len() - 1]);
            }
            self.rest.drain(..whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn lines_are_seen_once_they_are_whole() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let mut tail = Tail::open(file.path());
        let mut seen = Vec::new();
        for part in ["one\n", "", "tw", "o\n\nthree\nfo"] {
            file.write_all(part.as_bytes()).expect("it is written");
            tail.lines(|line| seen.push(String::from_utf8_lossy(line).into_owned()));
        }
        assert_eq!(seen, ["one", "two", "", "three"]);
    }
}
