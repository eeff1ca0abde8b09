//! Records of every shape: each is in the list byte for byte, or kept aside whole and with a reason.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use delivery::fault::Place;
use e2e::bridge::BridgeConfig;
use e2e::child::{PATIENCE, free_port, until};
use e2e::ledger::Ledger;
use e2e::monitor::Monitor;
use e2e::pipe::{Numbered, PipeReader, PipeWriter, parse};
use e2e::rsyslog::{Rsyslogd, send_tcp};
use e2e::stage::{KEY, Stage};
use serde_json::Value;

const HEAD: &[u8] = b"~16|6|Nov 21 10:00:00|";

/// A record of `size` bytes, without its LF.
fn record(size: usize) -> Vec<u8> {
    let mut record = HEAD.to_vec();
    record.extend((HEAD.len()..size).map(|n| b'a' + (n % 26) as u8));
    record
}

/// The bytes that a letter keeps.
fn kept(letter: &Value) -> Vec<u8> {
    match (&letter["record"], &letter["record_base64"]) {
        (Value::String(text), Value::Null) => text.clone().into_bytes(),
        (Value::Null, Value::String(text)) => STANDARD.decode(text).expect("base64"),
        _ => panic!("one of record and record_base64, not {letter}"),
    }
}

fn reason(letter: &Value) -> &str {
    letter["reason"].as_str().expect("a reason")
}

/// The dead letters, each line of the file being one.
fn letters(stage: &Stage) -> Vec<Value> {
    let text = fs::read_to_string(stage.bridge.spool().join("dead-letters.jsonl")).expect("dead letters are UTF-8");
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is cut off");
    let letters: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
    for letter in &letters {
        let mut keys: Vec<&str> = letter.as_object().expect("an object").keys().map(String::as_str).collect();
        keys.retain(|key| !key.starts_with("record"));
        assert_eq!(keys, ["detail", "end", "lane", "reason", "time"]);
        assert_eq!(letter["lane"], KEY);
    }
    letters
}

/// Writes `lines`, each with a LF, and waits for `good` in the list and `bad` in the dead letters, with the reason.
#[track_caller]
fn come_to<L: AsRef<[u8]>>(stage: &Stage, lines: &[L], good: &[Vec<u8>], bad: &[(&str, Vec<u8>)]) {
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    for line in lines {
        writer.write_whole(&[line.as_ref(), b"\n"].concat());
    }
    arrive(stage, good, bad);
}

#[track_caller]
fn arrive(stage: &Stage, good: &[Vec<u8>], bad: &[(&str, Vec<u8>)]) {
    stage.bridge.wait_letters(bad.len(), PATIENCE);
    stage.redis.wait_llen(KEY, good.len(), PATIENCE);
    stage.rest();
    Ledger::new().sent_exactly(good).judge(stage.redis.list(KEY)).assert_clean();
    let found: Vec<(String, Vec<u8>)> =
        letters(stage).iter().map(|letter| (reason(letter).to_owned(), kept(letter))).collect();
    let shown = |letters: &[(String, Vec<u8>)]| {
        letters.iter().map(|(why, line)| format!("{why}: {}", line.escape_ascii())).collect::<Vec<_>>()
    };
    let bad: Vec<(String, Vec<u8>)> = bad.iter().map(|(why, line)| ((*why).to_owned(), line.clone())).collect();
    assert_eq!(shown(&found), shown(&bad));
}

fn plain(bridge: BridgeConfig) -> BridgeConfig {
    bridge
}

fn lines(bridge: BridgeConfig) -> BridgeConfig {
    bridge.set("frame.format", "line")
}

#[test]
fn every_size_arrives_to_the_byte() {
    let stage = Stage::new(|redis| redis, plain);
    let most = 256 << 10;
    let sizes = [HEAD.len(), HEAD.len() + 1, 4094, 4095, 4096, 4097, 8192, 65_535, 65_536, 65_537, most - 1, most];
    let records: Vec<_> = sizes.into_iter().map(record).collect();
    come_to(&stage, &records, &records, &[]);
    assert_eq!(["received", "pushed", "dead_letters", "torn"].map(|word| stage.bridge.counter(word)), [12, 12, 0, 0]);
}

#[test]
fn a_mebibyte_arrives_when_it_is_allowed() {
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("frame.record-max", "1m"));
    let records = [record(1 << 20), record(100), record(1 << 20)];
    come_to(&stage, &records, &records, &[]);
}

#[test]
fn what_is_too_long_is_kept_in_parts_and_nothing_of_it_is_cut() {
    let stage = Stage::new(|redis| redis, plain);
    let long = [record((256 << 10) + 1), record(1 << 20), record(700_000)];
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    let mut good = Vec::new();
    for (n, long) in long.iter().enumerate() {
        good.push(stage.records.element(n as u64));
        writer.write_whole(&stage.records.record(n as u64));
        writer.write_whole(&[long, &b"\n"[..]].concat());
    }
    good.push(record(50));
    writer.write_whole(&[&record(50), &b"\n"[..]].concat());
    stage.redis.wait_llen(KEY, good.len(), PATIENCE);
    stage.rest();
    Ledger::new().sent_exactly(&good).judge(stage.redis.list(KEY)).assert_clean();
    let letters = letters(&stage);
    assert!(letters.iter().all(|letter| reason(letter) == "too-long"));
    let together: Vec<u8> = letters.iter().flat_map(kept).collect();
    assert!(together == long.concat(), "the parts do not make the records: {} bytes", together.len());
    // A record that is kept in parts is one record.
    let words = ["received", "pushed", "dead_letters", "torn"].map(|word| stage.bridge.counter(word));
    assert_eq!(words, [7, 4, 3, 0]);
}

/// Everything but LF.
fn every_byte() -> Vec<u8> {
    (0..=255).filter(|byte| *byte != b'\n').collect()
}

#[test]
fn any_byte_survives() {
    let stage = Stage::new(|redis| redis, plain);
    let mut records = vec![[HEAD, &every_byte()].concat()];
    records.extend(every_byte().into_iter().map(|byte| [HEAD, &[byte]].concat()));
    records.extend(every_byte().into_iter().map(|byte| [HEAD, &[byte; 500]].concat()));
    records.push([b"~\0|\0|\0|", &[0; 3000][..]].concat());
    come_to(&stage, &records, &records, &[]);
}

#[test]
fn any_line_is_a_record_when_it_is_asked_for() {
    let stage = Stage::new(|redis| redis, lines);
    let mut chance = fastrand::Rng::with_seed(7);
    let mut records: Vec<Vec<u8>> =
        [&b""[..], b"x", b"~", b"", b"\r", b"no template", b"~16|6|Nov 21 10:00:00|with one"]
            .map(<[u8]>::to_vec)
            .to_vec();
    for _ in 0..2000 {
        let size = if chance.u8(..) < 10 { chance.usize(..9000) } else { chance.usize(..200) };
        records.push((0..size).map(|_| chance.choice(every_byte()).expect("bytes")).collect());
    }
    come_to(&stage, &records, &records, &[]);
    assert_eq!(stage.bridge.counter("received"), records.len() as u64);
}

#[test]
fn a_line_without_the_frame_is_kept_aside() {
    let stage = Stage::new(|redis| redis, plain);
    let bad: Vec<Vec<u8>> = [
        &b""[..],
        b"x",
        b"~",
        b"\0",
        b"~16|6|Nov 21 10:00:00",
        b" ~16|6|Nov 21 10:00:00|not at the beginning",
        b"<134>Nov 21 10:00:00 host tag: no template",
        b"the end of a record|with|three|bars",
        &every_byte(),
        &[b'y'; 6000],
        b"",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    let (mut all, mut good, mut parked) = (Vec::new(), Vec::new(), Vec::new());
    for (n, line) in bad.iter().enumerate() {
        all.extend([stage.records.element(n as u64), line.clone()]);
        good.push(stage.records.element(n as u64));
        // What is found inside of a line without a frame is a record of its own.
        if line.starts_with(b" ~") {
            good.push(line[1..].to_vec());
        }
        parked.push(("torn", line.clone()));
    }
    come_to(&stage, &all, &good, &parked);
    let words = ["received", "pushed", "dead_letters", "torn"].map(|word| stage.bridge.counter(word));
    assert_eq!(words, [23, 12, 11, 11]);
    // The log is not filled with them.
    assert_eq!(stage.bridge.said("dead letters since the last such line").len(), 1);
}

/// Two records on one line, the first one cut off.
fn glued(first: usize, second: &[u8]) -> Vec<u8> {
    [record(first).as_slice(), second].concat()
}

#[test]
fn the_second_of_two_glued_records_is_delivered_and_the_line_is_kept() {
    let stage = Stage::new(|redis| redis, plain);
    let whole = [b"~local3|info|2026-11-21T10:00:00.123456+01:00|whole".to_vec(), record(6000), record(23)];
    let all: Vec<_> = whole.iter().map(|second| glued(4096, second)).collect();
    let parked: Vec<_> = all.iter().map(|line| ("torn", line.clone())).collect();
    come_to(&stage, &all, &whole, &parked);
    let words = ["received", "pushed", "dead_letters", "torn"].map(|word| stage.bridge.counter(word));
    assert_eq!(words, [6, 3, 3, 3]);
}

#[test]
fn where_a_second_record_is_looked_for_is_a_setting() {
    let second = record(100);
    let (short, long) = (glued(1000, &second), glued(5000, &second));
    // A short line may hold what looks like a header: a sender can write that, ompipe cannot.
    let stage = Stage::new(|redis| redis, plain);
    come_to(&stage, &[&short, &long], &[short.clone(), second.clone()], &[("torn", long.clone())]);
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("frame.resync", "always"));
    let parked = [("torn", short.clone()), ("torn", long.clone())];
    come_to(&stage, &[&short, &long], &[second.clone(), second.clone()], &parked);
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("frame.resync", "never"));
    come_to(&stage, &[&short, &long], &[short.clone(), long.clone()], &[]);
}

#[test]
fn a_header_in_a_message_forges_nothing() {
    let stage = Stage::new(|redis| redis, plain);
    let forged = b"~16|6|Nov 21 10:00:00|~16|6|Nov 21 10:00:00|forged".to_vec();
    let with_lf = b"~16|6|Nov 21 10:00:00|as rsyslog escapes it #012~16|6|Nov 21 10:00:00|forged".to_vec();
    // As long as the shipped template lets a message be.
    let mut longest = record(4095 - forged.len());
    longest.extend_from_slice(&forged);
    let records = [forged, with_lf, longest];
    come_to(&stage, &records, &records, &[]);
}

#[test]
fn a_line_that_is_completed_later_is_whole() {
    let mut stage = Stage::new(|redis| redis, plain);
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    let records: Vec<Vec<u8>> = (0..4).map(|n| stage.records.element(n)).collect();
    for (n, whole) in records.iter().enumerate() {
        let (first, rest) = whole.split_at(20 * n + 1);
        writer.try_write(first).expect("there is room");
        until("the beginning to be in the spool", PATIENCE, || writer.is_empty().then_some(()));
        match n {
            0 => stage.bridge.term(),
            1 => stage.bridge.kill9(),
            2 => drop(stage.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])),
            _ => {}
        }
        if n < 2 {
            stage.bridge.start();
        }
        assert_eq!(stage.redis.llen(KEY), n);
        writer.try_write(rest).and_then(|_| writer.try_write(b"\n")).expect("there is room");
        stage.redis.wait_llen(KEY, n + 1, PATIENCE);
    }
    arrive(&stage, &records, &[]);
}

/// The rest of a record that is too long, behind a new start or a new connection.
#[test]
fn the_rest_of_what_is_too_long_is_no_record() {
    for interruption in ["kill", "stop", "connection", "reload"] {
        let mut stage = Stage::new(|redis| redis, |bridge| lines(bridge).set("frame.record-max", 1000));
        let mut writer = PipeWriter::open(&stage.bridge.fifo());
        let long = record(3000);
        writer.write(&stage.records.record(0));
        writer.try_write(&long[..1500]).expect("there is room");
        stage.bridge.wait_letters(1, PATIENCE);
        until("the cursor to follow", PATIENCE, || (stage.bridge.status()["unpushed_bytes"] == 0).then_some(()));
        match interruption {
            "kill" => stage.bridge.kill9(),
            "stop" => stage.bridge.term(),
            "reload" => {
                stage.bridge.reconfigure(|bridge| bridge.set("batch.records-max", 3));
                stage.bridge.hup();
                stage.bridge.wait_said("the settings were read again", 1);
            }
            // The next push finds out, and goes on from the cursor.
            _ => drop(stage.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])),
        }
        if interruption == "kill" || interruption == "stop" {
            stage.bridge.start();
        }
        writer.try_write(&long[1500..2000]).and_then(|_| writer.try_write(b"\n")).expect("there is room");
        writer.write(&stage.records.record(1));
        stage.redis.wait_llen(KEY, 2, PATIENCE);
        stage.rest();
        let list = stage.redis.list(KEY);
        Ledger::new().sent(&stage.records, 0..2).judge(list).assert_clean();
        let letters = letters(&stage);
        assert!(letters.iter().all(|letter| reason(letter) == "too-long"), "{interruption}: {letters:?}");
        let together: Vec<u8> = letters.iter().flat_map(kept).collect();
        assert_eq!(together.escape_ascii().to_string(), long[..2000].escape_ascii().to_string(), "{interruption}");
    }
}

#[test]
fn at_the_left_end_the_last_comes_first() {
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("queue.push", "left"));
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    writer.write(&stage.records.record(0));
    stage.redis.wait_llen(KEY, 1, PATIENCE);
    writer.write_all((1..3000).map(|n| stage.records.record(n)));
    stage.redis.wait_llen(KEY, 3000, PATIENCE);
    stage.rest();
    let mut list = stage.redis.list(KEY);
    list.reverse();
    Ledger::new().sent(&stage.records, 0..3000).judge(list).assert_clean();
}

/// Records in each push, as Redis saw them, when the spool is full of records from the start.
fn batches(stage: &mut Stage, records: &[Vec<u8>]) -> Vec<usize> {
    stage.bridge.start();
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    for record in records {
        writer.write_whole(&[record, &b"\n"[..]].concat());
    }
    until("the pipe to be empty", PATIENCE, || writer.is_empty().then_some(()));
    stage.bridge.term();
    stage.redis.start();
    let monitor = Monitor::start(&stage.redis);
    stage.bridge.start();
    stage.redis.wait_llen(KEY, records.len(), PATIENCE);
    stage.rest();
    Ledger::new().sent_exactly(records).judge(stage.redis.list(KEY)).assert_clean();
    let (mut batches, mut open) = (Vec::new(), 0);
    for command in monitor.commands(&stage.redis) {
        open += command.matches("\"~16|6|Nov 21 10:00:00|").count();
        // The script is the last command of every push.
        if command.starts_with("\"EVAL\"") && open > 0 {
            batches.push(std::mem::take(&mut open));
        }
    }
    batches
}

#[test]
fn a_push_holds_as_many_records_as_it_may() {
    for (most, count) in [(1, 200), (25, 2000), (4000, 9000)] {
        let mut stage = Stage::prepare(|redis| redis, |bridge| bridge.set("batch.records-max", i64::from(most)));
        let records: Vec<_> = (0..count).map(|n| stage.records.element(n)).collect();
        let batches = batches(&mut stage, &records);
        assert_eq!(batches.iter().sum::<usize>(), records.len());
        assert_eq!(batches.iter().max(), usize::try_from(most).ok().as_ref(), "records-max {most}: {batches:?}");
        // A batch may end early where the bridge reads on.
        let short = batches.iter().filter(|batch| **batch < most as usize).count();
        assert!(short <= 6, "records-max {most}: {batches:?}");
    }
}

#[test]
fn a_push_holds_as_many_bytes_as_it_may() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge.set("batch.bytes-max", "4k"));
    let mut records: Vec<_> = (0..200).map(|_| record(1000)).collect();
    // Longer than a whole push: it goes alone.
    records.insert(100, record(6000));
    let batches = batches(&mut stage, &records);
    assert_eq!(batches.iter().max(), Some(&4), "{batches:?}");
    assert!(batches.len() <= 54, "{batches:?}");
    assert_eq!(batches[25], 1, "{batches:?}");
}

#[test]
fn a_dead_letter_is_written_once_whenever_the_bridge_is_killed() {
    let mut stage = Stage::new(|redis| redis, plain);
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    let mut n = 0;
    for place in [Place::DeadLetterBeforeWrite, Place::DeadLetterAfterWrite] {
        for count in 1..=4 {
            stage.bridge.kill9();
            stage.bridge.launch_with_fault(place.name(), count);
            for _ in 0..5 {
                let torn = format!("torn {n} \"with\" \t\u{1} ü").into_bytes();
                writer.write(&stage.records.record(n));
                writer.write(&[&torn, &b"\n"[..]].concat());
                good.push(stage.records.element(n));
                bad.push(("torn", torn));
                n += 1;
            }
            let status = stage.bridge.wait_exit(PATIENCE);
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{}", place.name());
        }
    }
    stage.bridge.start();
    arrive(&stage, &good, &bad);
}

/// The numbers of all records of the run `long` that begin in a line.
fn numbers(line: &[u8]) -> Vec<u64> {
    let line = String::from_utf8_lossy(line).into_owned();
    let behind = line.split("long ").skip(1);
    behind.filter_map(|text| text.split(' ').next()?.parse().ok()).collect()
}

#[test]
fn what_a_real_rsyslogd_glues_is_told_apart() {
    // A small pipe and nobody who empties it: then rsyslogd is cut off in the middle of a message.
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge.set("fifo.pipe-size", "64k"));
    let port = free_port();
    let fifo = stage.bridge.fifo();
    e2e::pipe::mkfifo(&fifo);
    let holder = PipeReader::open(&fifo);
    let mut rsyslogd = Rsyslogd::setup(&stage.scene, "central")
        .text(
            r#"
            global(workDirectory="@WORK@" maxMessageSize="16k")
            module(load="imptcp")
            template(name="unbounded" type="string"
                     string="~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg%\n")
            input(type="imptcp" address="127.0.0.1" port="PORT" ruleset="in")
            ruleset(name="in" queue.type="LinkedList") {
                action(type="ompipe" pipe="PIPE" template="unbounded" action.resumeRetryCount="-1"
                       action.resumeInterval="1" queue.type="LinkedList" queue.workerThreads="1")
            }"#,
        )
        .replace("PORT", &port.to_string())
        .replace("PIPE", fifo.to_str().expect("a plain path"))
        .listens(port)
        .start();
    let records = Numbered::new("long", 6000);
    let count = 80;
    send_tcp(port, (0..count).map(|n| records.syslog(n)));
    let full = || e2e::pipe::peek(&fifo).len() > 40_000;
    until("the pipe to be full", PATIENCE, || full().then_some(()));
    stage.redis.start();
    for _ in 0..3 {
        stage.bridge.start();
        until("the pipe to be emptied", PATIENCE, || (!full()).then_some(()));
        // It stands still, and the pipe fills again: rsyslogd, suspended for a second each time, has more.
        stage.bridge.child().stop();
        until("the pipe to be full again", PATIENCE, || full().then_some(()));
        stage.bridge.child().cont();
        stage.bridge.term();
    }
    stage.bridge.kill9();
    stage.bridge.start();
    // A record is whole in the list, or its beginning is in a line that was kept aside: several, if rsyslogd was cut off again.
    let everything = || {
        let listed: Vec<u64> = stage.redis.list(KEY).iter().filter_map(|element| Some(parse(element)?.1)).collect();
        let torn: Vec<u64> = stage.bridge.dead_letters().iter().flat_map(|letter| numbers(&kept(letter))).collect();
        (listed, torn)
    };
    until("all that rsyslogd has", PATIENCE, || {
        let (listed, torn) = everything();
        (0..count).all(|n| listed.contains(&n) || torn.contains(&n)).then_some(())
    });
    stage.rest();
    rsyslogd.term();
    let (listed, torn) = everything();
    assert!(!torn.is_empty(), "nothing was glued: the test is too weak");
    for n in 0..count {
        let times = |numbers: &[u64]| numbers.iter().filter(|number| **number == n).count();
        // The whole record at the end of a glued line is in both.
        assert!(matches!((times(&listed), times(&torn)), (1, 0 | 1) | (0, 1)), "{n}: {listed:?} {torn:?}");
    }
    let list = stage.redis.list(KEY);
    assert_eq!(list.len(), listed.len());
    assert!(
        list.iter().all(|element| element.len() > 5900 && element.ends_with(b"xxxx")),
        "half a record is in the list"
    );
    let letters = letters(&stage);
    assert!(letters.iter().all(|letter| reason(letter) == "torn"), "{letters:?}");
    drop(holder);
}
