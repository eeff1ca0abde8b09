//! The journal on real disks: kills, power cuts, full disks. What was acknowledged is there, what was refused is not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use delivery::journal::{AppendError, Journal, JournalConfig};
use delivery::spool::Sync;
use e2e::child::{Guarded, PATIENCE, Scene, until};
use e2e::disk::Disk;
use e2e::mount::Tmpfs;

use crate::kills::rounds;

/// A journal that is fed by a process, and the ledger of what that process was told.
struct Stand {
    scene: Scene,
    directory: PathBuf,
    life: u64,
    sync: &'static str,
}

/// What the ledger says.
#[derive(Debug, Default)]
struct Told {
    lives: usize,
    ok: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    full: BTreeSet<u64>,
    drained: BTreeSet<u64>,
}

impl Stand {
    fn new(scene: &Scene, directory: &Path, sync: &'static str) -> Self {
        Self { scene: scene.clone(), directory: directory.to_owned(), life: 0, sync }
    }

    fn start(&mut self, drain: bool) -> Guarded {
        self.life += 1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_journal-feeder"));
        let size = (2 << 20).to_string();
        command.arg(&self.directory).arg(self.scene.file("ledger"));
        command.args([&self.life.to_string(), "4", self.sync, &size]);
        if drain {
            command.arg("drain");
        }
        self.scene.spawn("feeder", command)
    }

    fn told(&self) -> Told {
        let text = std::fs::read_to_string(self.scene.file("ledger")).unwrap_or_default();
        let mut told = Told::default();
        for line in text.lines() {
            let (word, number) = line.split_once(' ').expect("two words");
            let number = number.parse().expect("a number");
            match word {
                "ok" => told.ok.insert(number),
                "error" => told.refused.insert(number),
                "full" => told.full.insert(number),
                "drained" => told.drained.insert(number),
                _ => {
                    told.lives += 1;
                    true
                }
            };
        }
        told
    }

    /// Holds what is in the journal against what its feeders were told.
    #[track_caller]
    fn judge(&self) -> Told {
        let told = self.told();
        let config = JournalConfig {
            directory: self.directory.clone(),
            bytes_max: 2 << 20,
            segment_bytes: 1 << 20,
            sync: Sync::Always,
        };
        let (journal, mut reader) = Journal::open(config, 1).expect("it opens");
        let mut held = BTreeSet::new();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        while let Some(frame) = reader.next().expect("read") {
            let number = u64::from_le_bytes(frame.payload[..8].try_into().expect("eight bytes"));
            assert_eq!(frame.payload.len(), 8 + (number as u16 as usize * 7919) % 3000);
            assert!(frame.payload[8..].iter().all(|byte| *byte == number as u8), "{number:x} is not what it was");
            let before = last.insert(number >> 40, number);
            assert!(before.is_none_or(|before| before < number), "{number:x} comes after {before:x?}");
            held.insert(number);
        }
        let missing: Vec<_> = told.ok.iter().filter(|n| !held.contains(n) && !told.drained.contains(n)).collect();
        assert!(missing.is_empty(), "acknowledged and lost: {} of {}: {missing:x?}", missing.len(), told.ok.len());
        let both = |kind: &BTreeSet<u64>| held.union(&told.drained).filter(|n| kind.contains(n)).copied().collect();
        let (refused, full): (Vec<u64>, Vec<u64>) = (both(&told.refused), both(&told.full));
        assert!(refused.is_empty() && full.is_empty(), "refused and delivered: {refused:x?} {full:x?}");
        assert_eq!(journal.damage().lost_frames.load(Relaxed), 0);
        assert_eq!(journal.damage().files.load(Relaxed), 0);
        told
    }
}

/// Waits for as many more acknowledgements as chance says.
fn wait_some(stand: &Stand, word: &str, most: usize) {
    let count = || std::fs::read_to_string(stand.scene.file("ledger")).unwrap_or_default().matches(word).count();
    let wanted = count() + 1 + fastrand::usize(0..most);
    until("the feeder to get on", PATIENCE, || (count() >= wanted).then_some(()));
}

#[test]
fn a_killed_process_loses_nothing() {
    let scene = Scene::new();
    let directory = scene.file("spool");
    let mut stand = Stand::new(&scene, &directory, "always");
    for round in 0..rounds(25) {
        stand.sync = fastrand::choice(["always", "interval", "none"]).expect("three");
        let mut feeder = stand.start(round % 3 != 2);
        if round % 5 == 0 {
            // Also in the middle of a start.
            std::thread::sleep(Duration::from_millis(fastrand::u64(0..20)));
        } else {
            wait_some(&stand, "\n", 3000);
        }
        feeder.kill9();
        stand.judge();
    }
    let told = stand.judge();
    assert!(told.ok.len() > 1000 && told.drained.len() > 100, "{} {}", told.ok.len(), told.drained.len());
}

#[test]
fn a_power_cut_loses_nothing_that_was_synced() {
    let scene = Scene::new();
    let disk = Disk::make(&scene, "disk", 32 << 20);
    let mut stand = Stand::new(&scene, &disk.path().join("spool"), "always");
    for round in 0..rounds(6) {
        let mut feeder = stand.start(round % 2 == 1);
        wait_some(&stand, "ok ", 300);
        feeder.stop();
        disk.cut_power();
        feeder.kill9();
        disk.power_up();
        stand.judge();
    }
    let told = stand.judge();
    assert!(told.ok.len() > 6, "{told:?}");
}

#[test]
fn a_disk_that_fails_under_a_running_process_takes_nothing_that_it_loses() {
    let scene = Scene::new();
    let disk = Disk::make(&scene, "disk", 32 << 20);
    let mut stand = Stand::new(&scene, &disk.path().join("spool"), "always");
    for round in 0..rounds(4) {
        let mut feeder = stand.start(round % 2 == 1);
        wait_some(&stand, "ok ", 300);
        disk.cut_power();
        // It goes on and gets errors, some of them from a journal that has given up for a while.
        wait_some(&stand, "error ", 50);
        feeder.kill9();
        disk.power_up();
        stand.judge();
    }
    assert!(stand.told().refused.len() > 4);
}

#[test]
fn without_a_sync_a_power_cut_loses_what_was_not_on_disk_and_says_so() {
    let scene = Scene::new();
    let disk = Disk::make(&scene, "disk", 32 << 20);
    let mut stand = Stand::new(&scene, &disk.path().join("spool"), "none");
    let mut feeder = stand.start(false);
    wait_some(&stand, "ok ", 100);
    feeder.stop();
    disk.cut_power();
    feeder.kill9();
    disk.power_up();
    let told = stand.told();
    assert!(!told.ok.is_empty());
    // It starts, and goes on with a journal that may be empty.
    stand.sync = "always";
    std::fs::remove_file(scene.file("ledger")).expect("a ledger");
    let mut feeder = stand.start(false);
    wait_some(&stand, "ok ", 50);
    feeder.kill9();
    let now = stand.told();
    assert_eq!(now.lives, 1);
    assert!(!now.ok.is_empty());
}

/// Fills a journal in `directory` until it has no room, drains it, and fills it again.
fn fill(directory: &Path, bytes_max: u64) {
    let config =
        JournalConfig { directory: directory.to_owned(), bytes_max, segment_bytes: 16 << 20, sync: Sync::Always };
    let (journal, mut reader) = Journal::open(config, 1).expect("it opens");
    for round in 0..3_u32 {
        let mut taken = 0_u32;
        let error = loop {
            let payload = [round.to_le_bytes(), taken.to_le_bytes()].concat().repeat(250);
            match journal.append(&payload, 1) {
                Ok(_) => taken += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(error, AppendError::Full(_)), "{error}");
        assert!(!journal.is_failed());
        assert!(taken > 100, "round {round}: {taken}");
        for number in 0..taken {
            let frame = reader.next().expect("read").expect("it is there");
            assert_eq!(frame.payload, [round.to_le_bytes(), number.to_le_bytes()].concat().repeat(250));
            let lsn = frame.lsn;
            journal.release(lsn).expect("release");
        }
        assert!(reader.next().expect("read").is_none());
    }
    assert!(journal.is_empty());
}

#[test]
fn a_full_disk_is_an_answer_and_nothing_else() {
    let scene = Scene::new();
    let memory = Tmpfs::mount(&scene, "memory", 1 << 20);
    fill(&memory.path().join("spool"), 1 << 30);
    let disk = Disk::make(&scene, "disk", 8 << 20);
    // All but a little more than a megabyte is somebody else's.
    let free = nix::sys::statvfs::statvfs(disk.path()).expect("statvfs");
    let ballast = free.blocks_available() as u64 * free.fragment_size() as u64 - (1200 << 10);
    std::fs::write(disk.path().join("ballast"), vec![1; ballast as usize]).expect("there is room");
    fill(&disk.path().join("spool"), 1 << 30);
}
