//! What is taken, and that a refused push leaves no trace.

use delivery::link::Link;
use delivery::push::{Answer, Names, Reply, Side};

use crate::server::{Server, command, cursor, list, names, push, record, records, snapshot, until};

/// One record, both sides of the border to a transaction, the default, large ones, the largest.
pub const SIZES: [usize; 6] = [1, 11, 12, 25, 250, 4000];
pub const SIDES: [Side; 2] = [Side::Right, Side::Left];

fn taken(length: usize) -> Answer {
    Answer::Taken(length as u64)
}

/// The list as `side` has to leave it, when `records` came one after the other.
fn in_order(side: Side, mut records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if side == Side::Left {
        records.reverse();
    }
    records
}

#[test]
fn batches_of_all_sizes_are_taken_in_order() {
    let server = Server::start(&[]);
    let mut link = server.link();
    for side in SIDES {
        let names = Names::new(&format!("list-{side:?}"), "p").expect("names");
        let mut at = 0;
        for size in SIZES {
            let from = if at == 0 { String::new() } else { at.to_string() };
            let to = at + size;
            let answer = push(&mut link, &names, side, &from, &to.to_string(), &records(at..to));
            assert_eq!(answer, taken(to), "{side:?} {size}");
            assert_eq!(cursor(&mut link, &names), to.to_string());
            assert_eq!(list(&mut link, &names.list), in_order(side, records(0..to)));
            at = to;
        }
    }
}

#[test]
fn a_push_that_does_not_continue_the_cursor_leaves_no_trace() {
    let server = Server::start(&[]);
    let mut link = server.link();
    for side in SIDES {
        for size in SIZES {
            for filled in [0, 1, 300] {
                let names = Names::new(&format!("list-{side:?}-{size}-{filled}"), "p").expect("names");
                if filled > 0 {
                    assert_eq!(push(&mut link, &names, side, "", "c", &records(0..filled)), taken(filled));
                } else {
                    command(&mut link, &[b"SET", names.cursor.as_bytes(), b"c"]);
                }
                let before = snapshot(&mut link, &names);
                // Of the past, of the future, and of nobody.
                for from in ["", "b", "d", "c "] {
                    let answer = push(&mut link, &names, side, from, "x", &records(900..900 + size));
                    assert_eq!(answer, Answer::Refused(b"c".to_vec()), "{side:?} {size} {filled} {from:?}");
                    assert_eq!(snapshot(&mut link, &names), before, "{side:?} {size} {filled} {from:?}");
                }
                assert!(matches!(push(&mut link, &names, side, "c", "d", &records(0..size)), Answer::Taken(_)));
            }
        }
    }
}

#[test]
fn a_missing_cursor_refuses_all_but_the_first_push() {
    let server = Server::start(&[]);
    let mut link = server.link();
    for side in SIDES {
        for size in SIZES {
            let names = Names::new(&format!("list-{side:?}-{size}"), "p").expect("names");
            let answer = push(&mut link, &names, side, "c", "d", &records(0..size));
            assert_eq!(answer, Answer::Refused(Vec::new()), "{side:?} {size}");
            assert_eq!(list(&mut link, &names.list), Vec::<Vec<u8>>::new());
            assert_eq!(cursor(&mut link, &names), "");
            assert_eq!(push(&mut link, &names, side, "", "d", &records(0..size)), taken(size));
        }
    }
}

#[test]
fn behind_a_refused_push_all_pushes_are_refused() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let names = names();
    for (lost, size) in [(0, 1), (0, 25), (3, 11), (5, 12), (15, 250)] {
        link.ask(&["FLUSHALL"]).expect("FLUSHALL");
        let mut out = Vec::new();
        for n in (0..16).filter(|n| *n != lost) {
            let from = if n == 0 { String::new() } else { n.to_string() };
            let batch = records(n * size..(n + 1) * size);
            crate::server::pack(&mut out, &names, Side::Right, &from, &(n + 1).to_string(), &batch);
        }
        link.send(&out).expect("send");
        for n in (0..16).filter(|n| *n != lost) {
            let answer = crate::server::answer(&mut link, size);
            assert_eq!(matches!(answer, Answer::Taken(_)), n < lost, "{n} of {size}: {answer:?}");
        }
        assert_eq!(list(&mut link, &names.list), records(0..lost * size));
        let at = if lost == 0 { String::new() } else { lost.to_string() };
        assert_eq!(cursor(&mut link, &names), at);
    }
}

#[test]
fn any_bytes_pass_unchanged() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let all: Vec<u8> = (0..=255).collect();
    let odd = [
        Vec::new(),
        b"\r\n".to_vec(),
        b"\0".to_vec(),
        b"$3\r\nfoo\r\n*1\r\n$4\r\nEXEC\r\n".to_vec(),
        all,
        vec![0xff; 100_000],
        Vec::new(),
    ];
    for side in SIDES {
        for size in [7, 14, 70] {
            let names = Names::new(&format!("list \r\n{side:?}-{size}"), "p").expect("names");
            let sent: Vec<Vec<u8>> = odd.iter().cycle().take(size).cloned().collect();
            assert_eq!(push(&mut link, &names, side, "", "1", &sent), taken(size));
            assert_eq!(list(&mut link, &names.list), in_order(side, sent));
        }
    }
}

#[test]
fn a_flushed_script_cache_changes_nothing() {
    let server = Server::start(&[]);
    let (mut link, mut other) = (server.link(), server.link());
    let names = names();
    let mut at = 0;
    for round in 0..60 {
        other.ask(&["SCRIPT", "FLUSH"]).expect("SCRIPT FLUSH");
        let size = SIZES[round % 5];
        let from = if at == 0 { String::new() } else { at.to_string() };
        let answer = push(&mut link, &names, Side::Right, &from, &(at + size).to_string(), &records(at..at + size));
        assert_eq!(answer, taken(at + size));
        at += size;
    }
    assert_eq!(list(&mut link, &names.list), records(0..at));
}

#[test]
fn the_cursor_moves_alone_only_from_where_it_is() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let names = names();
    let advance = |link: &mut Link, from: &str, to: &str| {
        let mut out = Vec::new();
        delivery::push::advance(&mut out, &names, (from, to));
        link.send(&out).expect("send");
        crate::server::answer(link, 0)
    };
    assert_eq!(advance(&mut link, "x", "a"), Answer::Refused(Vec::new()));
    assert_eq!(advance(&mut link, "", "a"), Answer::Taken(1));
    assert_eq!(advance(&mut link, "", "b"), Answer::Refused(b"a".to_vec()));
    assert_eq!(cursor(&mut link, &names), "a");
    assert_eq!(push(&mut link, &names, Side::Right, "a", "b", &records(0..25)), taken(25));
}

#[test]
fn a_cursor_that_somebody_else_wrote_can_be_gone_on_from() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let names = names();
    for (round, size) in [1, 25].into_iter().enumerate() {
        let foreign = [0xff, 0, b'\r', b'\n', b' '];
        command(&mut link, &[b"SET", names.cursor.as_bytes(), &foreign]);
        assert_eq!(link.cursor(&names.cursor), Ok(foreign.to_vec()));
        let mut out = Vec::new();
        let batch = records(0..size);
        let slices = batch.iter().map(Vec::as_slice);
        delivery::push::push(&mut out, &names, &Side::Right.into(), (foreign, "1"), slices, size);
        link.send(&out).expect("send");
        assert_eq!(crate::server::answer(&mut link, size), taken(size + round));
    }
}

/// Consumers that wait for the list to fill must not see a record that is taken back in the same step.
#[test]
fn a_waiting_consumer_never_sees_a_push_that_was_undone() {
    const ROUNDS: usize = 150;
    let server = Server::start(&[]);
    let (mut link, mut other) = (server.link(), server.link());
    let names = names();
    let wait: [&[&[u8]]; 4] = [
        &[b"BLPOP", b"list", b"0"],
        &[b"BRPOP", b"list", b"0"],
        &[b"BLMOVE", b"list", b"mine", b"LEFT", b"RIGHT", b"0"],
        &[b"BLMPOP", b"0", b"1", b"list", b"LEFT", b"COUNT", b"100"],
    ];
    let mut at = String::new();
    for round in 0..ROUNDS {
        let mut consumer = server.link();
        let words = wait[round % wait.len()];
        let waiting = std::thread::spawn(move || command(&mut consumer, words));
        until("the consumer to wait", || {
            let Ok(Reply::Bytes(info)) = other.ask(&["INFO", "clients"]) else { panic!("INFO") };
            String::from_utf8_lossy(&info).contains("blocked_clients:1").then_some(())
        });
        let side = SIDES[round % 2];
        for size in [1, 2, 11, 12, 25, 250] {
            let undone = vec![b"undone".to_vec(); size];
            let answer = push(&mut link, &names, side, "elsewhere", "x", &undone);
            assert_eq!(answer, Answer::Refused(at.clone().into_bytes()));
        }
        let next = (round + 1).to_string();
        assert!(matches!(push(&mut link, &names, side, &at, &next, &[record(round)]), Answer::Taken(_)));
        at = next;
        let seen = format!("{:?}", waiting.join().expect("the consumer"));
        let wanted = format!("{:?}", Reply::Bytes(record(round)));
        assert!(seen.contains(&wanted) && !seen.contains("117, 110, 100"), "{seen}");
    }
    let rest = list(&mut link, "list");
    assert!(rest.is_empty(), "{rest:?}");
}
