//! The spool's folder: missing, closed, read-only, full, damaged. What is good is delivered, what is not is kept aside and told.

use std::fs;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::bridge::Bridge;
use e2e::child::{PATIENCE, Scene, until};
use e2e::ledger::Ledger;
use e2e::mount::Tmpfs;
use e2e::pipe::{Numbered, PipeWriter, parse, peek};
use e2e::redis::Redis;
use e2e::stage::{CURSOR, KEY, Stage};

/// A start that must fail: how it ended and what it said last.
fn refused(bridge: &mut Bridge) -> (Option<i32>, String) {
    bridge.launch();
    let status = bridge.wait_exit(PATIENCE);
    (status.code(), bridge.stderr().lines().last().unwrap_or_default().to_owned())
}

fn said(what: &str, path: &Path, why: &str) -> String {
    format!("fifo-bridge: the spool {what} {}: {why}", path.display())
}

const DENIED: &str = "Permission denied (os error 13)";

#[test]
fn a_missing_folder_is_made() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let deep = scene.file("a/b/spool");
    let config = Bridge::config(&scene).redis(&redis).set("spool.directory", deep.to_str().expect("plain"));
    let mut bridge = config.start();
    PipeWriter::open(&bridge.fifo()).write(&Numbered::new("x", 60).record(0));
    redis.wait_llen(KEY, 1, PATIENCE);
    assert!(deep.is_dir());
    bridge.term();
}

#[test]
fn a_folder_that_cannot_be_used_is_told() {
    let scene = Scene::new();
    let mut bridge = Bridge::config(&scene).unprivileged().prepare();
    let spool = bridge.spool();
    fs::create_dir(&spool).expect("a folder");
    fs::set_permissions(&spool, fs::Permissions::from_mode(0o700)).expect("root may");
    if nix::unistd::geteuid().is_root() {
        assert_eq!(refused(&mut bridge), (Some(1), said("cannot open its folder", &spool, DENIED)));
        fs::set_permissions(&spool, fs::Permissions::from_mode(0o755)).expect("root may");
        assert_eq!(refused(&mut bridge), (Some(1), said("cannot keep its mark in", &spool.join("acked"), DENIED)));
    }
    fs::remove_dir(&spool).expect("it is empty");
    fs::write(&spool, "a file").expect("a file");
    assert_eq!(refused(&mut bridge), (Some(1), said("cannot create its folder", &spool, "File exists (os error 17)")));
    let inside = spool.join("spool");
    bridge.reconfigure(|bridge| bridge.set("spool.directory", inside.to_str().expect("plain")));
    let expected = said("cannot create its folder", &inside, "Not a directory (os error 20)");
    assert_eq!(refused(&mut bridge), (Some(1), expected));
    assert_eq!(fs::read(&spool).expect("it is there"), b"a file");
}

#[test]
fn a_folder_that_is_read_only_is_told() {
    let scene = Scene::new();
    let disk = Tmpfs::mount(&scene, "disk", 1 << 20);
    let spool = disk.path().join("spool");
    let mut bridge = Bridge::config(&scene).set("spool.directory", spool.to_str().expect("plain")).prepare();
    disk.read_only();
    let why = "Read-only file system (os error 30)";
    assert_eq!(refused(&mut bridge), (Some(1), said("cannot create its folder", &spool, why)));
    disk.writable();
    bridge.start();
    bridge.kill9();
    disk.read_only();
    assert_eq!(refused(&mut bridge), (Some(1), said("cannot keep its mark in", &spool.join("acked"), why)));
    disk.writable();
    bridge.start();
    bridge.term();
}

#[test]
fn a_full_disk_holds_back_and_loses_nothing() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    let disk = Tmpfs::mount(&stage.scene, "disk", 1 << 20);
    let spool = disk.path().to_str().expect("plain").to_owned();
    stage.bridge.reconfigure(|bridge| bridge.set("spool.directory", spool));
    stage.bridge.start();
    let fifo = stage.bridge.fifo();
    let mut writer = PipeWriter::open(&fifo);
    let mut written = 0;
    let mut fill = |bridge: &Bridge, times: usize| {
        until("a full disk and a full pipe", PATIENCE, || {
            while writer.try_write(&stage.records.record(written)).is_some() {
                written += 1;
            }
            let full =
                bridge.said("nothing is taken from the pipe, rsyslog has to keep what comes: the spool cannot grow");
            (full.len() == times && full.iter().all(|line| line.ends_with("No space left on device (os error 28)")))
                .then_some(())
        });
        written
    };
    fill(&stage.bridge, 1);
    let held = peek(&fifo).len();
    assert!(held > 500_000, "only {held} bytes are in the pipe");
    // A start on a full disk.
    stage.bridge.kill9();
    stage.bridge.start();
    let written = fill(&stage.bridge, 2);
    stage.redis.start();
    stage.redis.wait_llen(KEY, usize::try_from(written).expect("few"), PATIENCE);
    stage.rest();
    Ledger::new().sent(&stage.records, 0..written).judge(stage.redis.list(KEY)).assert_clean();
    stage.bridge.wait_said("there is room in the spool again", 1);
    assert!(stage.bridge.stderr().lines().count() < 30, "{}", stage.bridge.stderr());
    stage.bridge.term();
    stage.bridge.start();
    stage.rest();
    stage.bridge.term();
}

#[test]
fn dead_letters_that_cannot_be_written_hold_everything_back() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    let disk = Tmpfs::mount(&stage.scene, "letters", 64 << 10);
    let folder = disk.path().to_str().expect("plain").to_owned();
    stage.bridge.reconfigure(|bridge| bridge.set("dead-letter.directory", folder));
    stage.redis.start();
    stage.bridge.start();
    // All but what one or two letters need.
    fs::write(disk.path().join("ballast"), vec![0; 60 << 10]).expect("there is room");
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    let mut torn: Vec<Vec<u8>> = Vec::new();
    let mut good = 0;
    until("letters that cannot be written", PATIENCE, || {
        torn.push([format!("torn {good} ").into_bytes(), vec![b'x'; 3000]].concat());
        writer.write(&stage.records.record(good));
        writer.write(&[torn.last().expect("one"), &b"\n"[..]].concat());
        good += 1;
        (!stage.bridge.said("nothing is pushed, nothing is lost: the dead letters ").is_empty()).then_some(())
    });
    let line = stage.bridge.said("nothing is pushed, nothing is lost: the dead letters ").pop().expect("one");
    assert!(line.ends_with("dead-letters.jsonl cannot be used: No space left on device (os error 28)"), "{line}");
    // It tries again and again, and says so once.
    let tries = stage.bridge.status()["reconnects"].as_u64().expect("a number");
    until("some more attempts", PATIENCE, || {
        let status = stage.bridge.status();
        assert_eq!(status["connected"], false, "{status}");
        (status["reconnects"].as_u64() >= Some(tries + 4)).then_some(())
    });
    assert_eq!(stage.bridge.said("nothing is pushed, nothing is lost").len(), 1, "{}", stage.bridge.stderr());
    assert!(stage.bridge.said("is back").is_empty(), "{}", stage.bridge.stderr());
    fs::remove_file(disk.path().join("ballast")).expect("it can be removed");
    stage.redis.wait_llen(KEY, usize::try_from(good).expect("few"), PATIENCE);
    stage.bridge.wait_said("records are pushed again", 1);
    stage.rest();
    Ledger::new().sent(&stage.records, 0..good).judge(stage.redis.list(KEY)).assert_clean();
    let text = fs::read_to_string(disk.path().join("dead-letters.jsonl")).expect("text");
    let letters = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let kept: Vec<Vec<u8>> = letters.map(|letter| letter["record"].as_str().expect("text").into()).collect();
    Ledger::new().sent_exactly(torn).judge(kept).assert_clean();
}

#[test]
fn a_second_bridge_on_one_folder_is_refused() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge);
    let spool = stage.bridge.spool();
    let config = Bridge::config(&stage.scene).name("second").redis(&stage.redis);
    let mut second = config.set("spool.directory", spool.to_str().expect("plain")).prepare();
    let expected = format!("fifo-bridge: the spool {} is in use by another process", spool.display());
    assert_eq!(refused(&mut second), (Some(1), expected));
    PipeWriter::open(&stage.bridge.fifo()).write(&stage.records.record(0));
    stage.redis.wait_llen(KEY, 1, PATIENCE);
    stage.bridge.kill9();
    second.start();
    second.term();
}

/// Bytes of a record with its LF, and of a file of the spool.
const RECORD: u64 = 100;
const SEGMENT: u64 = 64 << 10;
/// What a damaged byte takes with it: the block that has one checksum.
const BLOCK: u64 = 4096;
/// Records that Redis had before everything stopped, and all that were written.
const PUSHED: u64 = 1_000;
const WRITTEN: u64 = 3_000;

/// A bridge that was killed with records in its spool that waited long enough to have checksums; some had been pushed.
struct Damage {
    stage: Stage,
    writer: PipeWriter,
    epoch: String,
}

impl Damage {
    fn prepare() -> Self {
        let mut stage = Stage::prepare(e2e::redis::RedisSetup::aof, |bridge| bridge.set("spool.segment-size", "64k"));
        stage.redis.start();
        stage.bridge.start();
        let mut writer = PipeWriter::open(&stage.bridge.fifo());
        writer.write_all((0..PUSHED).map(|n| stage.records.record(n)));
        stage.redis.wait_llen(KEY, usize::try_from(PUSHED).expect("few"), PATIENCE);
        stage.rest();
        stage.redis.kill9();
        writer.write_all((PUSHED..WRITTEN).map(|n| stage.records.record(n)));
        let folder = stage.bridge.spool();
        until("all records in the spool, with checksums", PATIENCE, || {
            (stage.bridge.spool_files() == WRITTEN * RECORD && is_covered(&folder, PUSHED * RECORD, WRITTEN * RECORD))
                .then_some(())
        });
        stage.bridge.kill9();
        let name = fs::read_dir(&folder).expect("a folder").flatten().map(|entry| entry.file_name());
        let name = name
            .map(|name| name.into_string().expect("text"))
            .find(|name| Path::new(name).extension().is_some_and(|ending| ending == "seg"))
            .expect("one");
        Self { stage, writer, epoch: name[..16].to_owned() }
    }

    /// The file that begins at `start`.
    fn segment(&self, start: u64) -> PathBuf {
        self.stage.bridge.spool().join(format!("{}-{start:020}.seg", self.epoch))
    }

    /// The file with the byte `at` of the stream, and where it is in there.
    fn place(&self, at: u64) -> (PathBuf, u64) {
        (self.segment(at / SEGMENT * SEGMENT), at % SEGMENT)
    }

    /// Makes the byte `at` of the stream another one.
    fn change(&self, at: u64, how: impl Fn(u8) -> u8) {
        let (path, offset) = self.place(at);
        let file = fs::File::options().read(true).write(true).open(path).expect("it is there");
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).expect("it is there");
        file.write_all_at(&[how(byte[0])], offset).expect("it can be written");
    }

    /// The stream loses what is behind `at` in its file.
    fn cut(&self, at: u64) {
        let (path, offset) = self.place(at);
        fs::File::options().write(true).open(path).and_then(|file| file.set_len(offset)).expect("it can be cut");
    }

    fn forget_sums(&self) {
        for entry in fs::read_dir(self.stage.bridge.spool()).expect("a folder").flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "sum") {
                fs::remove_file(entry.path()).expect("it can be removed");
            }
        }
    }

    /// Starts everything again and lets new records come. Gives back what is in the list.
    #[track_caller]
    fn start(&mut self) -> Vec<Vec<u8>> {
        let after = Numbered::new("after", 100);
        self.stage.redis.start();
        self.stage.bridge.start();
        self.writer.write_all((0..200).map(|n| after.record(n)));
        let redis = &self.stage.redis;
        until("the records that came afterwards", PATIENCE, || {
            let list = redis.list(KEY);
            let last = list.last().and_then(|element| parse(element)).is_some_and(|last| last == ("after", 199));
            last.then_some(())
        });
        self.stage.rest();
        self.stage.redis.list(KEY)
    }

    /// Starts everything again: all records are delivered but those that touch a byte of `lost`, and what is left of those is
    /// in the dead letters. Gives back these.
    #[track_caller]
    fn judge(&mut self, lost: Range<u64>) -> Vec<(String, Vec<u8>)> {
        let list = self.start();
        let first = lost.start / RECORD;
        let behind = lost.end.div_ceil(RECORD);
        let (mut expected, mut after): (Vec<_>, Vec<_>) =
            ((0..WRITTEN).map(|n| self.stage.records.element(n)).collect(), Vec::new());
        if !lost.is_empty() {
            after = expected.split_off(usize::try_from(behind).expect("few"));
            expected.truncate(usize::try_from(first).expect("few"));
        }
        expected.append(&mut after);
        let new = Numbered::new("after", 100);
        expected.extend((0..200).map(|n| new.element(n)));
        Ledger::new().sent_exactly(expected).judge(list).assert_clean();
        self.letters()
    }

    fn letters(&self) -> Vec<(String, Vec<u8>)> {
        let letters = self.stage.bridge.dead_letters();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let kept = letters.iter().map(|letter| {
            let encoded = || STANDARD.decode(text(&letter["record_base64"]).expect("a record")).expect("base64");
            let record = text(&letter["record"]).map_or_else(encoded, String::into_bytes);
            (text(&letter["reason"]).expect("a reason"), record)
        });
        kept.collect()
    }
}

/// Whether the checksums reach from `from` to `to` of the stream.
fn is_covered(folder: &Path, from: u64, to: u64) -> bool {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut covered = 0;
    for path in entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "sum")) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("text").to_owned();
        let start: u64 = name[17..].parse().expect("an offset");
        let blocks = fs::read(&path).expect("it is there");
        for (block, entry) in blocks.chunks_exact(8).enumerate() {
            let length = u32::from_le_bytes(entry[..4].try_into().expect("four bytes"));
            let begin = start + block as u64 * BLOCK;
            covered += (begin + u64::from(length)).min(to).saturating_sub(begin.max(from));
        }
    }
    covered == to - from
}

/// The block around `at` that has one checksum.
fn block(at: u64) -> Range<u64> {
    let begin = at / BLOCK * BLOCK;
    begin..begin + BLOCK
}

/// The records of `bytes` that are whole or not, as they were.
fn pieces(damage: &Damage, bytes: Range<u64>) -> Vec<u8> {
    let whole: Vec<u8> = (0..WRITTEN).flat_map(|n| damage.stage.records.record(n)).collect();
    whole[usize::try_from(bytes.start).expect("few")..usize::try_from(bytes.end).expect("few")].to_vec()
}

#[test]
fn nothing_is_lost_without_damage() {
    let mut damage = Damage::prepare();
    assert_eq!(damage.judge(0..0), []);
}

#[test]
fn a_last_file_that_was_cut() {
    let mut damage = Damage::prepare();
    let at = WRITTEN * RECORD - 12_345;
    damage.cut(at);
    let letters = damage.judge(at / RECORD * RECORD..WRITTEN * RECORD);
    assert_eq!(letters, [("torn".to_owned(), pieces(&damage, at / RECORD * RECORD..at))]);
    let told = format!("-{:020}.seg was cut, nobody knows by how much: what is missing is lost", 4 * SEGMENT);
    assert_eq!(damage.stage.bridge.said(&told).len(), 1, "{}", damage.stage.bridge.stderr());
}

#[test]
fn a_last_file_that_was_cut_below_what_redis_has() {
    let mut damage = Damage::prepare();
    for start in [2, 3, 4].map(|n| n * SEGMENT) {
        fs::remove_file(damage.segment(start)).expect("it is there");
    }
    damage.cut(90_000);
    damage.forget_sums();
    let list = damage.start();
    let after = Numbered::new("after", 100);
    let ledger = Ledger::new().sent(&damage.stage.records, 0..PUSHED).sent(&after, 0..200);
    ledger.judge(list).assert_clean();
    assert_eq!(damage.letters(), []);
}

#[test]
fn a_file_in_the_middle_that_was_cut() {
    let mut damage = Damage::prepare();
    let at = 2 * SEGMENT + 30_001;
    damage.cut(at);
    let letters = damage.judge(at / RECORD * RECORD..3 * SEGMENT);
    let short = format!("-{:020}.seg is {} bytes too short", 2 * SEGMENT, SEGMENT - 30_001);
    assert_eq!(damage.stage.bridge.said(&short).len(), 1, "{}", damage.stage.bridge.stderr());
    let end = (3 * SEGMENT).div_ceil(RECORD) * RECORD;
    let torn = |bytes| ("torn".to_owned(), pieces(&damage, bytes));
    assert_eq!(letters, [torn(at / RECORD * RECORD..at), torn(3 * SEGMENT..end - 1)]);
}

#[test]
fn a_file_in_the_middle_that_is_missing() {
    let mut damage = Damage::prepare();
    fs::remove_file(damage.segment(3 * SEGMENT)).expect("it is there");
    let letters = damage.judge(3 * SEGMENT..4 * SEGMENT);
    let short = format!("-{:020}.seg is {SEGMENT} bytes too short", 2 * SEGMENT);
    assert_eq!(damage.stage.bridge.said(&short).len(), 1, "{}", damage.stage.bridge.stderr());
    let (begin, end) = (3 * SEGMENT / RECORD * RECORD, (4 * SEGMENT).div_ceil(RECORD) * RECORD);
    let torn = |bytes| ("torn".to_owned(), pieces(&damage, bytes));
    assert_eq!(letters, [torn(begin..3 * SEGMENT), torn(4 * SEGMENT..end - 1)]);
}

/// Any line is a record then, also half of one: so what stands next to a gap is none.
#[test]
fn a_gap_makes_no_records_where_every_line_is_one() {
    let mut damage = Damage::prepare();
    damage.stage.bridge.reconfigure(|bridge| bridge.set("frame.format", "line"));
    fs::remove_file(damage.segment(3 * SEGMENT)).expect("it is there");
    let letters = damage.judge(3 * SEGMENT..4 * SEGMENT);
    assert_eq!(letters.len(), 2, "{letters:?}");
    let mut damage = Damage::prepare();
    damage.stage.bridge.reconfigure(|bridge| bridge.set("frame.format", "line"));
    for start in [0, SEGMENT] {
        fs::remove_file(damage.segment(start)).expect("it is there");
    }
    let letters = damage.judge(PUSHED * RECORD..2 * SEGMENT);
    assert_eq!(letters.len(), 1, "{letters:?}");
}

#[test]
fn the_first_file_with_something_to_deliver_is_missing() {
    let mut damage = Damage::prepare();
    for start in [0, SEGMENT] {
        fs::remove_file(damage.segment(start)).expect("it is there");
    }
    // What Redis has is in the first file and a part of the second.
    damage.judge(PUSHED * RECORD..2 * SEGMENT);
    assert_eq!(damage.stage.bridge.said("redis went back further than the spool reaches").len(), 1);
}

#[test]
fn files_that_redis_has_already_are_not_missed() {
    let mut damage = Damage::prepare();
    fs::remove_file(damage.segment(0)).expect("it is there");
    assert_eq!(damage.judge(0..0), []);
}

#[test]
fn files_without_bytes_in_the_middle_and_at_the_end() {
    let mut damage = Damage::prepare();
    damage.cut(3 * SEGMENT);
    damage.judge(3 * SEGMENT..4 * SEGMENT);
    let mut damage = Damage::prepare();
    damage.cut(4 * SEGMENT);
    let letters = damage.judge(4 * SEGMENT..WRITTEN * RECORD);
    let begin = 4 * SEGMENT / RECORD * RECORD;
    assert_eq!(letters, [("torn".to_owned(), pieces(&damage, begin..4 * SEGMENT))]);
}

#[test]
fn flipped_bits_in_what_waited_are_found() {
    for at in [
        1_500 * RECORD,      // the ~ of a header
        1_500 * RECORD + 3,  // a | of a header
        1_500 * RECORD + 60, // inside of a message
        1_500 * RECORD + 99, // a LF
    ] {
        let mut damage = Damage::prepare();
        damage.change(at, |byte| byte ^ 0x10);
        let letters = damage.judge(block(at));
        assert!(letters.iter().all(|(reason, _)| reason == "damaged"), "{letters:?}");
        let kept: Vec<u8> = letters.iter().flat_map(|(_, line)| [line, &b"\n"[..]].concat()).collect();
        let (begin, end) = (block(at).start / RECORD * RECORD, block(at).end.div_ceil(RECORD) * RECORD);
        let mut expected = pieces(&damage, begin..end);
        expected[usize::try_from(at - begin).expect("few")] ^= 0x10;
        assert_eq!(kept.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }
}

#[test]
fn flipped_bits_without_a_checksum_are_seen_as_far_as_the_frame_shows_them() {
    let mut damage = Damage::prepare();
    damage.forget_sums();
    damage.change(1_200 * RECORD, |byte| byte ^ 0x10); // the ~ of a header
    damage.change(1_300 * RECORD + 60, |byte| byte ^ 0x01); // inside of a message
    damage.change(1_400 * RECORD + 99, |_| b'x'); // a LF
    damage.change(1_500 * RECORD + 60, |_| b'\n'); // a LF that was none
    let list = damage.start();
    let changed = |n: u64, at: usize, to: u8| {
        let mut element = damage.stage.records.element(n);
        element[at] = to;
        element
    };
    let mut expected: Vec<Vec<u8>> = (0..WRITTEN).map(|n| damage.stage.records.element(n)).collect();
    let after = Numbered::new("after", 100);
    expected.extend((0..200).map(|n| after.element(n)));
    // Nobody can know that these were others.
    expected[1_300] = changed(1_300, 60, b'y');
    expected[1_400] =
        [damage.stage.records.element(1_400), b"x".to_vec(), damage.stage.records.element(1_401)].concat();
    expected[1_500].truncate(60);
    expected.remove(1_401);
    expected.remove(1_200);
    Ledger::new().sent_exactly(expected).judge(list).assert_clean();
    let rest = damage.stage.records.element(1_500)[61..].to_vec();
    assert_eq!(damage.letters(), [("torn".to_owned(), changed(1_200, 0, b'n')), ("torn".to_owned(), rest)]);
}

#[test]
fn whatever_is_in_the_folder_beside_it_is_left_alone() {
    let mut damage = Damage::prepare();
    let folder = damage.stage.bridge.spool();
    let named = |name: &str| folder.join(name);
    fs::write(named("README"), "somebody's").expect("a file");
    fs::write(named("0000000000000000-1.seg"), "no name of ours").expect("a file");
    fs::create_dir(named("lost+found")).expect("a folder");
    fs::create_dir(named("ffffffffffffff00-00000000000000000000.seg")).expect("a folder with a name of ours");
    symlink("/etc/passwd", named("ffffffffffffff01-00000000000000000000.seg")).expect("a link with a name of ours");
    fs::write(named("\u{fc}.seg"), "x").expect("a file");
    // A segment of a spool that somebody mixed in: empty, from the end of time.
    fs::write(named("f000000000000000-00000000000000000000.seg"), "").expect("a file");
    assert_eq!(damage.judge(0..0), []);
    let told = damage.stage.bridge.said("holds what is not ours, left alone: ");
    let expected = "0000000000000000-1.seg, README, ffffffffffffff00-00000000000000000000.seg, \
                    ffffffffffffff01-00000000000000000000.seg, lost+found, \u{fc}.seg";
    assert!(told.len() == 1 && told[0].ends_with(expected), "{told:?}");
    assert_eq!(fs::read(named("README")).expect("it is there"), b"somebody's");
    assert!(named("lost+found").is_dir() && named("ffffffffffffff01-00000000000000000000.seg").is_symlink());
}

#[test]
fn a_segment_of_nobody_is_read_and_does_no_harm() {
    for name in [
        "0000000000000001-00000000000000000007.seg",
        "f000000000000000-00000000000000000007.seg",
        "ffffffffffffffff-18446744073709551615.seg",
        "f000000000000000-18446744073709551000.seg",
    ] {
        let mut damage = Damage::prepare();
        let foreign = [b"no record\n".as_slice(), &Numbered::new("foreign", 100).record(0)].concat();
        fs::write(damage.stage.bridge.spool().join(name), foreign).expect("a file");
        let list = damage.start();
        let own = list.into_iter().filter(|element| parse(element).is_none_or(|(run, _)| run != "foreign"));
        let ledger = Ledger::new().sent(&damage.stage.records, 0..WRITTEN).sent(&Numbered::new("after", 100), 0..200);
        ledger.judge(own).assert_clean();
    }
}

#[test]
fn what_was_noted_beside_the_segments_may_be_damaged() {
    for (name, content) in [
        ("acked", b"garbage\n".to_vec()),
        ("acked", vec![0xff; 100_000]),
        ("acked", Vec::new()),
        ("acked", b"0000000000000001:5 00000000".to_vec()),
        ("boot", b"another run of the machine\n".to_vec()),
        ("boot", vec![0; 5000]),
        ("boot", Vec::new()),
    ] {
        let mut damage = Damage::prepare();
        fs::write(damage.stage.bridge.spool().join(name), &content).expect("it can be written");
        assert_eq!(damage.judge(0..0), [], "{name} with {} bytes", content.len());
        let warned = damage.stage.bridge.said("is damaged and ignored").len();
        assert_eq!(warned, usize::from(name == "acked" && !content.is_empty()), "{}", damage.stage.bridge.stderr());
        let epochs = damage.stage.bridge.said("begins epoch").len();
        assert_eq!(epochs, usize::from(name == "boot"), "{}", damage.stage.bridge.stderr());
    }
}

#[test]
fn sums_that_are_damaged_cost_no_record() {
    let mut damage = Damage::prepare();
    for entry in fs::read_dir(damage.stage.bridge.spool()).expect("a folder").flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "sum") {
            fs::write(entry.path(), vec![0xff; 77]).expect("it can be written");
        }
    }
    assert_eq!(damage.judge(0..0), []);
}

#[test]
fn after_a_restart_of_the_machine_an_open_line_is_kept_aside() {
    let mut damage = Damage::prepare();
    // The power went in the middle of a record, and Redis has its cursor.
    damage.cut(WRITTEN * RECORD - 30);
    damage.forget_sums();
    fs::write(damage.stage.bridge.spool().join("boot"), "another run of the machine\n").expect("it can be written");
    assert!(damage.stage.redis.dir().exists());
    let last = damage.stage.records.element(WRITTEN - 1);
    let letters = damage.judge((WRITTEN - 1) * RECORD..WRITTEN * RECORD);
    assert_eq!(letters, [("torn".to_owned(), last[..70].to_vec())]);
    let cursor = damage.stage.redis.get(CURSOR).expect("a cursor");
    assert!(!cursor.starts_with(damage.epoch.as_bytes()), "{}", cursor.escape_ascii());
}
