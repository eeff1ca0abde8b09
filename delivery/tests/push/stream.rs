//! The push into a stream of Redis': all or nothing, once, with IDs that grow whoever adds.

use delivery::error::{Disposition, Trouble};
use delivery::link::Link;
use delivery::push::{Answer, Entry, Mode, Names, Reply};

use crate::server::{Server, command, cursor, list, names, push, records, snapshot};

const SIZES: [usize; 5] = [1, 11, 12, 250, 4000];
/// All that a bridge needs of Redis, for a stream named `list`.
const MINIMUM: &str = "~list ~{list}:cursor:* +ping +get +eval +getset +xadd +xlen";

pub fn stream() -> Mode {
    Mode::Stream(Entry::default())
}

fn taken(length: usize) -> Answer {
    Answer::Taken(length as u64)
}

fn code(answer: &Answer) -> (&str, Disposition) {
    match answer {
        Answer::Failed(trouble @ Trouble::Answered { code, .. }) => (code, trouble.disposition()),
        other => panic!("not refused by redis: {other:?}"),
    }
}

/// The IDs of all entries, as pairs of numbers.
fn ids(link: &mut Link, key: &str) -> Vec<(u64, u64)> {
    let id = |entry: Reply| match entry {
        Reply::Many(parts) => match &parts[0] {
            Reply::Bytes(id) => {
                let id = std::str::from_utf8(id).expect("text");
                let (ms, seq) = id.split_once('-').expect("two parts");
                (ms.parse().expect("a number"), seq.parse().expect("a number"))
            }
            other => panic!("no ID: {other:?}"),
        },
        other => panic!("no entry: {other:?}"),
    };
    match command(link, &[b"XRANGE", key.as_bytes(), b"-", b"+"]) {
        Reply::Many(entries) => entries.into_iter().map(id).collect(),
        other => panic!("XRANGE: {other:?}"),
    }
}

#[track_caller]
fn grow(ids: &[(u64, u64)]) {
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "the IDs do not grow");
}

#[test]
fn batches_of_all_sizes_are_added_in_order() {
    let server = Server::start(&[]);
    let (mut link, names, mut at) = (server.link(), names(), 0);
    for size in SIZES {
        let from = if at == 0 { String::new() } else { at.to_string() };
        let to = at + size;
        assert_eq!(push(&mut link, &names, stream(), &from, &to.to_string(), &records(at..to)), taken(to), "{size}");
        assert_eq!(cursor(&mut link, &names), to.to_string());
        at = to;
    }
    assert_eq!(list(&mut link, "list"), records(0..at));
    grow(&ids(&mut link, "list"));
}

#[test]
fn a_repeat_is_refused_and_leaves_no_trace() {
    let server = Server::start(&[]);
    let (mut link, names) = (server.link(), names());
    assert_eq!(push(&mut link, &names, stream(), "", "c", &records(0..5)), taken(5));
    for size in SIZES {
        let before = snapshot(&mut link, &names);
        for from in ["", "b"] {
            let answer = push(&mut link, &names, stream(), from, "x", &records(0..size));
            assert_eq!(answer, Answer::Refused(b"c".to_vec()), "{size} {from:?}");
            assert_eq!(snapshot(&mut link, &names), before, "{size} {from:?}");
        }
    }
    // It is the cursor that tells it, not what is left in the stream.
    command(&mut link, &[b"XTRIM", b"list", b"MAXLEN", b"0"]);
    assert_eq!(push(&mut link, &names, stream(), "", "c", &records(0..5)), Answer::Refused(b"c".to_vec()));
    command(&mut link, &[b"DEL", b"list"]);
    assert_eq!(push(&mut link, &names, stream(), "", "c", &records(0..5)), Answer::Refused(b"c".to_vec()));
    assert_eq!(link.ask(&["EXISTS", "list"]), Ok(Reply::Number(0)));
}

/// Several workers of a host, or hosts, fill one stream, and the server's clock is not to be trusted.
#[test]
fn producers_share_a_stream_also_when_the_clock_goes_back() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let producers = ["a", "b", "c"].map(|producer| Names::new("list", producer).expect("names"));
    let mut wanted = Vec::new();
    for round in 0..30 {
        if round == 10 {
            // As if its clock had been a century ahead until now.
            let ahead = format!("{}-5", 5_000_000_000_000_u64);
            command(&mut link, &[b"XADD", b"list", ahead.as_bytes(), b"msg", b"stranger"]);
            wanted.push(b"stranger".to_vec());
        }
        for names in &producers {
            let (from, to) = (cursor(&mut link, names), (round + 1).to_string());
            let batch = records(wanted.len()..wanted.len() + 1 + round);
            wanted.extend(batch.clone());
            assert_eq!(push(&mut link, names, stream(), &from, &to, &batch), taken(wanted.len()));
            // Its repeat, as of a connection that was cut.
            assert_eq!(push(&mut link, names, stream(), &from, &to, &batch), Answer::Refused(to.into_bytes()));
        }
    }
    assert_eq!(list(&mut link, "list"), wanted);
    let ids = ids(&mut link, "list");
    grow(&ids);
    assert_eq!(ids.last().expect("entries").0, 5_000_000_000_000);
}

#[test]
fn the_entries_have_the_field_that_was_asked_for() {
    let server = Server::start(&[]);
    let (mut link, names) = (server.link(), names());
    let odd: Vec<Vec<u8>> = vec![Vec::new(), b"\r\n\0$3\r\n".to_vec(), (0..=255).collect(), vec![0xff; 100_000]];
    let mode = Mode::Stream(Entry { field: "the record".into(), max_entries: 0 });
    assert_eq!(push(&mut link, &names, mode, "", "1", &odd), taken(odd.len()));
    assert_eq!(list(&mut link, "list"), odd);
    match command(&mut link, &[b"XRANGE", b"list", b"-", b"+", b"COUNT", b"1"]) {
        Reply::Many(entries) => match &entries[0] {
            Reply::Many(parts) => {
                assert_eq!(parts[1], Reply::Many(vec![Reply::Bytes(b"the record".into()), Reply::Bytes(Vec::new())]));
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_of_the_other_kind_takes_nothing_and_the_cursor_stays() {
    let server = Server::start(&[]);
    let (mut link, names) = (server.link(), names());
    for at in ["", "c"] {
        for (fill, mode) in [
            ([b"RPUSH".as_slice(), b"list", b"x"].as_slice(), stream()),
            (&[b"SET", b"list", b"x"], stream()),
            (&[b"XADD", b"list", b"*", b"f", b"v"], Mode::default()),
        ] {
            command(&mut link, &[b"DEL", b"list"]);
            command(&mut link, &[b"SET", names.cursor.as_bytes(), at.as_bytes()]);
            command(&mut link, fill);
            let before = snapshot(&mut link, &names);
            link.rehearse(&names, &mode).expect("the push tells it");
            for size in SIZES {
                let answer = push(&mut link, &names, mode.clone(), at, "d", &records(0..size));
                assert_eq!(code(&answer), ("WRONGTYPE", Disposition::Poison), "{size}");
                assert_eq!(snapshot(&mut link, &names), before, "{size}");
            }
        }
    }
}

#[test]
fn a_cursor_of_another_type_takes_nothing() {
    let server = Server::start(&[]);
    let (mut link, names) = (server.link(), names());
    command(&mut link, &[b"SADD", names.cursor.as_bytes(), b"member"]);
    for size in SIZES {
        let answer = push(&mut link, &names, stream(), "", "d", &records(0..size));
        assert_eq!(code(&answer), ("WRONGTYPE", Disposition::Poison), "{size}");
        assert_eq!(link.ask(&["EXISTS", "list"]), Ok(Reply::Number(0)));
    }
}

#[test]
fn what_redis_refuses_for_a_while_leaves_no_trace() {
    let server = Server::start(&[]);
    let (mut link, names) = (server.link(), names());
    push(&mut link, &names, stream(), "", "c", &records(0..3));
    let knobs = [
        ("OOM", ["maxmemory", "1", "0"]),
        ("NOREPLICAS", ["min-replicas-to-write", "1", "0"]),
        ("READONLY", ["replicaof", "127.0.0.1", "1"]),
    ];
    for (wanted, [name, on, off]) in knobs {
        let before = snapshot(&mut link, &names);
        match wanted {
            "READONLY" => drop(link.ask(&["REPLICAOF", "127.0.0.1", "1"]).expect("a replica")),
            _ => server.config(name, on),
        }
        for size in SIZES {
            let answer = push(&mut link, &names, stream(), "c", "d", &records(0..size));
            assert_eq!(code(&answer), (wanted, Disposition::RetryLater), "{size}");
        }
        match wanted {
            "READONLY" => drop(link.ask(&["REPLICAOF", "NO", "ONE"]).expect("a master")),
            _ => server.config(name, off),
        }
        assert_eq!(snapshot(&mut link, &names), before, "{wanted}");
    }
    assert_eq!(push(&mut link, &names, stream(), "c", "d", &records(3..28)), taken(28));
}

#[test]
fn a_stream_at_the_last_of_all_ids_keeps_no_part_of_a_push() {
    let server = Server::start(&[]);
    let (mut link, names) = (server.link(), names());
    for (room, size) in [(0_u64, 1), (0, 12), (2, 3), (2, 4000)] {
        command(&mut link, &[b"DEL", b"list"]);
        let last = format!("{}-{}", u64::MAX, u64::MAX - room);
        command(&mut link, &[b"XADD", b"list", last.as_bytes(), b"msg", b"stranger"]);
        let answer = push(&mut link, &names, stream(), "", "d", &records(0..size));
        // A person has to see to it: such an ID never came from a clock.
        assert_eq!(code(&answer), ("ERR", Disposition::StopLane), "{room} {size}");
        assert_eq!(list(&mut link, "list"), [b"stranger".to_vec()], "{room} {size}");
        assert_eq!(cursor(&mut link, &names), "");
    }
}

#[test]
fn only_a_length_that_was_asked_for_makes_redis_throw_entries_away() {
    let server = Server::start(&["--stream-node-max-entries", "10"]);
    let (mut link, names) = (server.link(), names());
    let mode = Mode::Stream(Entry { max_entries: 100, ..Entry::default() });
    let mut at = 0;
    for (n, size) in [1, 250, 30, 12, 1000].into_iter().enumerate() {
        let from = if at == 0 { String::new() } else { at.to_string() };
        let to = (at + size).to_string();
        let answer = push(&mut link, &names, mode.clone(), &from, &to, &records(at..at + size));
        at += size;
        let Answer::Taken(length) = answer else { panic!("{answer:?}") };
        assert!(n == 0 || (100..=120).contains(&length), "{length} entries are left");
        let left = list(&mut link, "list");
        assert_eq!(left.len() as u64, length);
        assert_eq!(left, records(at - left.len()..at), "not the newest");
        // A refused one throws nothing away.
        let before = snapshot(&mut link, &names);
        assert!(matches!(push(&mut link, &names, mode.clone(), "b", "x", &records(0..500)), Answer::Refused(_)));
        assert_eq!(snapshot(&mut link, &names), before);
    }
    let left = list(&mut link, "list").len();
    let answer = push(&mut link, &names, stream(), &at.to_string(), "end", &records(0..1000));
    assert_eq!(answer, taken(left + 1000));
}

#[test]
fn the_minimal_rule_is_enough_and_what_lacks_is_told() {
    let server = Server::start(&[]);
    let (mut admin, names) = (server.link(), names());
    let mut link = server.link_as("bridge", MINIMUM);
    link.rehearse(&names, &stream()).expect("all that is needed");
    assert_eq!(push(&mut link, &names, stream(), "", "c", &records(0..30)), taken(30));
    assert_eq!(push(&mut link, &names, stream(), "b", "d", &records(0..30)), Answer::Refused(b"c".to_vec()));
    assert_eq!(link.length("list", &stream()), Ok(30));
    let before = snapshot(&mut admin, &names);
    for lacking in ["+eval", "+xadd", "+xlen", "+getset", "~list", "~{list}:cursor:*"] {
        let rules: Vec<&str> = MINIMUM.split(' ').filter(|word| *word != lacking).collect();
        let mut link = server.link_as("bridge", &rules.join(" "));
        match link.rehearse(&names, &stream()) {
            Err(trouble) => {
                assert_eq!(
                    (trouble.class(), trouble.disposition()),
                    ("NOPERM", Disposition::RetryLater),
                    "{lacking}: {trouble}"
                );
            }
            Ok(()) => assert_eq!(lacking, "+getset"),
        }
        for size in SIZES {
            let answer = push(&mut link, &names, stream(), "c", "d", &records(0..size));
            assert_eq!(code(&answer), ("NOPERM", Disposition::Poison), "{lacking} {size}");
            assert_eq!(snapshot(&mut admin, &names), before, "{lacking} {size}");
        }
    }
}

#[test]
fn the_rehearsal_changes_nothing() {
    let server = Server::start(&[]);
    let (mut link, names) = (server.link(), names());
    link.rehearse(&names, &stream()).expect("an empty server");
    assert_eq!(link.ask(&["DBSIZE"]), Ok(Reply::Number(0)));
    push(&mut link, &names, stream(), "", "c", &records(0..3));
    let before = snapshot(&mut link, &names);
    link.rehearse(&names, &stream()).expect("a stream");
    server.config("maxmemory", "1");
    link.rehearse(&names, &stream()).expect("out of memory: the push tells it");
    server.config("maxmemory", "0");
    assert_eq!(snapshot(&mut link, &names), before);
}

#[test]
fn a_server_without_streams_is_told_at_the_rehearsal() {
    for gone in ["XADD", "XLEN"] {
        let server = Server::start(&["--rename-command", gone, "no-longer-called-so"]);
        let trouble = server.link().rehearse(&names(), &stream()).expect_err(gone);
        assert_eq!(trouble.disposition(), Disposition::RetryLater, "{gone}: {trouble}");
        assert!(trouble.to_string().contains("Redis 5 or later"), "{trouble}");
    }
}
