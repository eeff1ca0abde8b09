//! `fifo-bridge spool`: spools of both kinds, looked into, read out and emptied while nothing runs.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Output;

use delivery::journal::frame::Encoder;
use delivery::journal::{Journal, JournalConfig};
use delivery::position::Position;
use delivery::spool::Sync;
use e2e::bridge::{bare_command, plain_binary};
use e2e::child::{PATIENCE, Scene, until};
use e2e::ledger::Ledger;
use e2e::pipe::PipeWriter;
use e2e::redis::Redis;
use e2e::stage::{KEY, Stage};
use serde_json::Value;

/// `fifo-bridge spool WORDS` without any configuration.
fn spool(scene: &Scene, words: &[&str]) -> Output {
    let mut command = bare_command(plain_binary(), scene.path());
    command.arg("spool").args(words).output().expect("cannot run fifo-bridge")
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[track_caller]
fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[track_caller]
fn json(output: &Output) -> Value {
    serde_json::from_str(&good(output)).expect("JSON")
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A journal with frames of two records each, as a door would write them. So many of them are drained.
fn journal(directory: &Path, frames: u64, drained: u64) {
    let config = JournalConfig {
        directory: directory.to_owned(),
        bytes_max: 8 << 20,
        segment_bytes: 1 << 20,
        sync: Sync::Always,
    };
    let (journal, mut reader) = Journal::open(config, 1_700_000_000).expect("it opens");
    for number in 0..frames {
        let mut encoder = Encoder::new("central");
        let start = Position { epoch: journal.epoch(), offset: number };
        for list in ["jobs", "mail"] {
            let record = format!("{list} {number}\nsecond line");
            encoder.part(3, list, start, 1, [record.as_bytes()]);
        }
        journal.append(encoder.bytes(), encoder.records()).expect("room");
    }
    for _ in 0..drained {
        let lsn = reader.next().expect("read").expect("a frame").lsn;
        journal.release(lsn).expect("release");
    }
}

#[test]
fn a_journal_is_shown_checked_and_read_out() {
    let scene = Scene::new();
    let directory = scene.file("spool");
    journal(&directory, 10, 4);
    let path = text(&directory);
    let status = json(&spool(&scene, &["status", path, "--json"]));
    assert_eq!((&status["kind"], &status["unpushed_records"]), (&"journal".into(), &12.into()));
    assert_eq!((&status["drained_frame"], &status["last_frame"]), (&4.into(), &10.into()));
    let shown = good(&spool(&scene, &["status", path]));
    assert!(shown.contains("unpushed records   12\n"), "{shown}");
    let verified = good(&spool(&scene, &["verify", path]));
    assert!(verified.ends_with("nothing is damaged\n"), "{verified}");

    let exported = lines(&good(&spool(&scene, &["export", path])));
    let records: Vec<&str> = exported.iter().map(|line| line["record"].as_str().expect("text")).collect();
    let wanted: Vec<String> =
        (4..10).flat_map(|n| ["jobs", "mail"].map(|list| format!("{list} {n}\nsecond line"))).collect();
    assert_eq!(records, wanted);
    assert_eq!((&exported[0]["list"], &exported[0]["producer"]), (&"jobs".into(), &"central:3".into()));
    assert_eq!(lines(&good(&spool(&scene, &["export", path, "--all"]))).len(), 20);
    assert_eq!(
        good(&spool(&scene, &["export", path, "--raw"])),
        wanted.concat().replace("second line", "second line\n")
    );

    // A flipped bit is found, told, and costs its frame.
    let segment = fs::read_dir(&directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    let segment = segment.into_iter().find(|path| text(path).contains("journal-")).expect("a segment");
    let bytes = fs::read(&segment).expect("it can be read");
    let at = bytes.windows(6).position(|window| window == b"mail 7").expect("the record");
    fs::File::options()
        .write(true)
        .open(&segment)
        .expect("it opens")
        .write_all_at(b"M", at as u64)
        .expect("it takes it");
    let verify = spool(&scene, &["verify", path]);
    assert_eq!(verify.status.code(), Some(1));
    let found = String::from_utf8(verify.stdout).expect("text");
    assert!(found.contains("are damaged: frames 8 to 8, records 14 to 15 are lost\n"), "{found}");
    assert_eq!(lines(&good(&spool(&scene, &["export", path]))).len(), 10);
}

#[test]
fn a_journal_goes_into_redis_once() {
    let scene = Scene::new();
    let directory = scene.file("spool");
    journal(&directory, 500, 100);
    let mut redis = Redis::setup(&scene).prepare();
    let server = redis.socket().to_owned();
    let path = text(&directory);
    let words = ["replay", path, "--server", text(&server)];
    let refused = spool(&scene, &words);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    redis.start();
    let replayed = good(&spool(&scene, &words));
    assert_eq!(replayed, "800 records were pushed\n");
    for list in ["jobs", "mail"] {
        let held: Vec<Vec<u8>> = redis.list(list);
        let wanted: Vec<Vec<u8>> = (100..500).map(|n| format!("{list} {n}\nsecond line").into_bytes()).collect();
        assert!(held == wanted, "{list}: {}", held.len());
    }
    assert_eq!(json(&spool(&scene, &["status", path, "--json"]))["unpushed_records"], 0);
    assert_eq!(good(&spool(&scene, &words)), "0 records were pushed\n");
    // All of it once more, from a journal that does not know that it was drained: the cursors tell.
    fs::remove_file(directory.join("mark")).expect("a mark");
    assert_eq!(good(&spool(&scene, &words)), "0 records were pushed\n");
    assert_eq!(redis.llen("jobs"), 400);
}

#[test]
fn a_stream_is_shown_read_out_and_goes_into_redis_once() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    stage.bridge.start();
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    for number in 0..3000 {
        writer.write_whole(&stage.records.record(number));
    }
    let directory = stage.bridge.spool();
    let path = text(&directory);
    let used = spool(&stage.scene, &["status", path]);
    assert_eq!(used.status.code(), Some(1));
    let pid = stage.bridge.child().pid();
    let who = said(&used);
    // The kernel tells the first 15 characters of a name.
    assert!(who.starts_with(&format!("fifo-bridge: the spool {path} is in use by fifo-bridge")), "{who}");
    assert!(who.ends_with(&format!("(process {pid}): stop it first\n")), "{who}");
    until("an empty pipe", PATIENCE, || writer.is_empty().then_some(()));
    stage.bridge.kill9();

    let verified = json(&spool(&stage.scene, &["verify", path, "--json"]));
    assert_eq!(
        (&verified["kind"], &verified["lines"], &verified["faults"]),
        (&"stream".into(), &3000.into(), &Value::Array(vec![]))
    );
    assert_eq!(verified["unpushed_bytes"], verified["read_bytes"]);
    let exported = good(&spool(&stage.scene, &["export", path, "--raw"])).into_bytes();
    let wanted: Vec<u8> = (0..3000).flat_map(|number| stage.records.record(number)).collect();
    assert!(exported == wanted, "{} bytes", exported.len());

    stage.redis.start();
    let replay = |stage: &Stage| stage.bridge.run(&["spool", "replay", path]);
    assert_eq!(good(&replay(&stage)), "3000 records were pushed\n");
    assert_eq!(good(&replay(&stage)), "0 records were pushed\n");
    Ledger::new().sent(&stage.records, 0..3000).judge(stage.redis.list(KEY)).assert_clean();
    assert_eq!(json(&spool(&stage.scene, &["status", path, "--json"]))["unpushed_bytes"], 0);
    assert!(good(&spool(&stage.scene, &["export", path])).is_empty());

    // Damage is told.
    let segment = fs::read_dir(&directory).expect("a folder").map(|entry| entry.expect("an entry").path());
    let first = segment.filter(|path| path.extension().is_some_and(|end| end == "seg")).min().expect("a segment");
    fs::copy(&first, text(&first).replace("-00000000000000000000.seg", "-00000000000000900000.seg")).expect("copy");
    let verify = spool(&stage.scene, &["verify", path]);
    assert_eq!(verify.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verify.stdout).contains("are missing\n"));
}

#[test]
fn what_is_no_spool_is_told() {
    let scene = Scene::new();
    let folder = scene.folder("folder");
    for words in [["status", text(&folder)], ["verify", text(&folder)], ["export", text(&folder)]] {
        let output = spool(&scene, &words);
        assert_eq!(
            (output.status.code(), said(&output)),
            (Some(1), format!("fifo-bridge: {} holds no spool\n", folder.display()))
        );
    }
    let missing = scene.file("missing");
    let output = spool(&scene, &["status", text(&missing)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("No such file or directory"), "{}", said(&output));
}
