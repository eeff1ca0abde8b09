//! A Redis that will not take a push: all of it or nothing, and an answer that tells what to do.

use delivery::error::{Disposition, Trouble};
use delivery::push::{Answer, Names, Reply, Side};

use crate::basic::{SIDES, SIZES};
use crate::server::{Server, answer, command, cursor, list, names, pack, push, record, records, snapshot, until};

const LAST: &[u8] = include_bytes!("../../src/push/last.lua").trim_ascii();

fn code(answer: &Answer) -> (&str, Disposition) {
    match answer {
        Answer::Failed(trouble @ Trouble::Answered { code, .. }) => (code, trouble.disposition()),
        other => panic!("not refused by redis: {other:?}"),
    }
}

#[test]
fn a_list_of_another_type_takes_nothing_and_the_cursor_stays() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let names = names();
    command(&mut link, &[b"SET", b"list", b"a string"]);
    for at in ["", "c"] {
        if !at.is_empty() {
            command(&mut link, &[b"SET", names.cursor.as_bytes(), at.as_bytes()]);
        }
        for side in SIDES {
            for size in SIZES {
                let answer = push(&mut link, &names, side, at, "d", &records(0..size));
                assert_eq!(code(&answer), ("WRONGTYPE", Disposition::Poison), "{side:?} {size}");
                assert_eq!(cursor(&mut link, &names), at);
                // What does not continue the cursor is refused for that, whatever the list is.
                let stale = push(&mut link, &names, side, "b", "d", &records(0..size));
                assert_eq!(stale, Answer::Refused(at.into()), "{side:?} {size}");
                assert_eq!(cursor(&mut link, &names), at);
            }
        }
        assert_eq!(command(&mut link, &[b"GET", b"list"]), Reply::Bytes(b"a string".to_vec()));
    }
}

#[test]
fn a_cursor_of_another_type_takes_nothing_and_the_list_stays() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let names = names();
    command(&mut link, &[b"SADD", names.cursor.as_bytes(), b"member"]);
    for filled in 0..2 {
        for side in SIDES {
            for size in SIZES {
                let before = command(&mut link, &[b"DUMP", b"list"]);
                let answer = push(&mut link, &names, side, "", "d", &records(0..size));
                assert_eq!(code(&answer), ("WRONGTYPE", Disposition::Poison), "{side:?} {size}");
                assert_eq!(command(&mut link, &[b"DUMP", b"list"]), before, "{side:?} {size}");
                assert_eq!(command(&mut link, &[b"SCARD", names.cursor.as_bytes()]), Reply::Number(1));
            }
        }
        command(&mut link, &[b"RPUSH", b"list", format!("before {filled}").as_bytes()]);
    }
}

/// Nothing is taken while `break_it` is in force, and all of it afterwards.
fn nothing_is_taken_while(server: &Server, wanted: &str, break_it: impl Fn(), mend: impl Fn()) {
    let mut link = server.link();
    for side in SIDES {
        for size in SIZES {
            let names = Names::new(&format!("list-{side:?}-{size}"), "p").expect("names");
            push(&mut link, &names, side, "", "c", &records(0..3));
            let before = snapshot(&mut link, &names);
            break_it();
            for from in ["c", "b"] {
                let refused = push(&mut link, &names, side, from, "d", &records(0..size));
                assert_eq!(code(&refused), (wanted, Disposition::RetryLater), "{side:?} {size} {from}");
                assert_eq!(snapshot(&mut link, &names), before, "{side:?} {size} {from}");
            }
            // Sixteen under way.
            let mut out = Vec::new();
            for n in 0..16 {
                let from = if n == 0 { "c".to_owned() } else { n.to_string() };
                pack(&mut out, &names, side, &from, &(n + 1).to_string(), &records(0..size));
            }
            link.send(&out).expect("send");
            for _ in 0..16 {
                assert_eq!(code(&answer(&mut link, size)), (wanted, Disposition::RetryLater), "{side:?} {size}");
            }
            assert_eq!(snapshot(&mut link, &names), before, "{side:?} {size}");
            mend();
            let again = push(&mut link, &names, side, "c", "d", &records(3..3 + size));
            assert_eq!(again, Answer::Taken(3 + size as u64));
        }
    }
}

#[test]
fn out_of_memory() {
    let server = Server::start(&[]);
    nothing_is_taken_while(&server, "OOM", || server.config("maxmemory", "1"), || server.config("maxmemory", "0"));
}

#[test]
fn too_few_replicas() {
    let server = Server::start(&[]);
    nothing_is_taken_while(
        &server,
        "NOREPLICAS",
        || server.config("min-replicas-to-write", "1"),
        || server.config("min-replicas-to-write", "0"),
    );
}

#[test]
fn a_read_only_replica() {
    let server = Server::start(&[]);
    let replica_of =
        |host: &str, port: &str| server.link().ask(&["REPLICAOF", host, port]).map(drop).expect("REPLICAOF");
    // Nobody listens there: it stays a replica that waits for its master.
    nothing_is_taken_while(&server, "READONLY", || replica_of("127.0.0.1", "1"), || replica_of("NO", "ONE"));
}

#[test]
fn a_disk_that_redis_cannot_write_to() {
    let server = Server::start(&["--enable-protected-configs", "yes"]);
    let mut link = server.link();
    let gone = server.folder().join("gone");
    std::fs::create_dir(&gone).expect("a folder");
    server.config("dir", &gone.display().to_string());
    std::fs::remove_dir(&gone).expect("its removal");
    link.ask(&["BGSAVE"]).expect("BGSAVE");
    until("the snapshot to fail", || {
        let Ok(Reply::Bytes(info)) = link.ask(&["INFO", "persistence"]) else { panic!("INFO") };
        String::from_utf8_lossy(&info).contains("rdb_last_bgsave_status:err").then_some(())
    });
    // A Redis in this state does not even answer PING, so this connection is as old as its good days.
    let admin = std::cell::RefCell::new(link);
    let save = |points| admin.borrow_mut().ask(&["CONFIG", "SET", "save", points]).map(drop).expect("CONFIG SET");
    nothing_is_taken_while(&server, "MISCONF", || save("3600 1000000"), || save(""));
}

#[test]
fn a_redis_that_is_busy_with_a_script() {
    let server = Server::start(&["--lua-time-limit", "1"]);
    let (mut killer, mut prober) = (server.link(), server.link());
    let mut stuck = || {
        let mut link = server.link();
        let packed = b"*3\r\n$4\r\nEVAL\r\n$17\r\nwhile true do end\r\n$1\r\n0\r\n";
        link.send(packed).expect("send");
        until("redis to be busy", || match command(&mut prober, &[b"GET", b"x"]) {
            Reply::Error { code, .. } if code == "BUSY" => Some(()),
            _ => None,
        });
    };
    let (mut link, names) = (server.link(), names());
    for size in SIZES {
        stuck();
        let refused = push(&mut link, &names, Side::Right, "", "c", &records(0..size));
        assert_eq!(code(&refused), ("BUSY", Disposition::RetryLater), "{size}");
        killer.ask(&["SCRIPT", "KILL"]).expect("SCRIPT KILL");
        until("the end of the script", || killer.ask(&["GET", "x"]).ok());
        assert_eq!((list(&mut link, "list").len(), cursor(&mut link, &names)), (0, String::new()));
    }
}

/// Memory ends in the middle of what is under way: what was taken is a whole number of batches from the beginning.
#[test]
fn memory_that_ends_on_the_way_leaves_a_clean_end() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let mut ended_inside = 0;
    for round in 0..60 {
        link.ask(&["FLUSHALL"]).expect("FLUSHALL");
        let count = [25, 250, 1000][round % 3];
        let side = SIDES[round % 2];
        let names = names();
        let padded = |n: usize| [record(n), vec![b'x'; 200]].concat();
        let mut out = Vec::new();
        for n in 0..16 {
            let from = if n == 0 { String::new() } else { n.to_string() };
            let batch: Vec<Vec<u8>> = (n * count..(n + 1) * count).map(padded).collect();
            pack(&mut out, &names, side, &from, &(n + 1).to_string(), &batch);
        }
        let Ok(Reply::Bytes(info)) = link.ask(&["INFO", "memory"]) else { panic!("INFO") };
        let info = String::from_utf8_lossy(&info).into_owned();
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("used_memory");
        let used: usize = used.trim().parse().expect("a number");
        server.config("maxmemory", &(used + round * count * 16 * 240 / 60).to_string());
        link.send(&out).expect("send");
        let answers: Vec<Answer> = (0..16).map(|_| answer(&mut link, count)).collect();
        server.config("maxmemory", "0");
        let taken = answers.iter().take_while(|answer| matches!(answer, Answer::Taken(_))).count();
        for refused in &answers[taken..] {
            match refused {
                Answer::Refused(_) => {}
                Answer::Failed(trouble) => assert_eq!(trouble.disposition(), Disposition::RetryLater, "{trouble:?}"),
                Answer::Taken(_) => panic!("taken behind a refused one: {answers:?}"),
            }
        }
        ended_inside += usize::from((1..16).contains(&taken));
        let mut wanted: Vec<Vec<u8>> = (0..taken * count).map(padded).collect();
        if side == Side::Left {
            wanted.reverse();
        }
        assert!(list(&mut link, "list") == wanted, "{taken} of {count}: the list is something else");
        assert_eq!(cursor(&mut link, &names), if taken == 0 { String::new() } else { taken.to_string() });
    }
    assert!(ended_inside > 5, "the limit never fell into the batches: {ended_inside}");
}

/// Before Redis 7 a script looks at the memory by itself, when the native push has just used it. A script in front of ours
/// plays that Redis.
#[test]
fn a_script_that_meets_the_end_of_memory_alone_takes_the_native_push_back() {
    let play = "local real=redis local redis={pcall=function(c,...) \
                if c=='RPUSH' or c=='LPUSH' or c=='GETSET' then \
                return{err='@user_script: 2: -OOM command not allowed when used memory > \\'maxmemory\\'.'}end \
                return real.pcall(c,...)end}\n";
    let server = Server::start(&[]);
    let mut link = server.link();
    for side in SIDES {
        for size in [12, 250] {
            let names = Names::new(&format!("list-{side:?}-{size}"), "p").expect("names");
            push(&mut link, &names, side, "", "c", &records(0..30));
            let before = snapshot(&mut link, &names);
            let mut out = Vec::new();
            pack(&mut out, &names, side, "c", "d", &records(30..30 + size));
            let script = format!("${}\r\n", LAST.len());
            let played = format!("${}\r\n{play}", play.len() + LAST.len());
            let at = out.windows(script.len() + LAST.len()).position(|w| w == [script.as_bytes(), LAST].concat());
            let at = at.expect("the script in the push");
            out.splice(at..at + script.len(), played.into_bytes());
            link.send(&out).expect("send");
            assert_eq!(code(&answer(&mut link, size)), ("OOM", Disposition::RetryLater));
            assert_eq!(snapshot(&mut link, &names), before, "{side:?} {size}");
        }
    }
}

/// What happens between the queueing and the execution has its reason in the second half of the answer.
#[test]
fn a_transaction_that_is_discarded_at_its_end_tells_why() {
    let server = Server::start(&[]);
    let (mut link, mut admin) = (server.link(), server.link());
    let names = names();
    let mut out = Vec::new();
    pack(&mut out, &names, Side::Right, "", "1", &records(0..25));
    let exec = b"*1\r\n$4\r\nEXEC\r\n".len();
    let breaks: [(&str, &[&str], &[&str]); 3] = [
        ("OOM", &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (
            "NOREPLICAS",
            &["CONFIG", "SET", "min-replicas-to-write", "1"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
        ),
        ("READONLY", &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
    ];
    for (wanted, break_it, mend) in breaks {
        link.send(&out[..out.len() - exec]).expect("send");
        let mut replies: Vec<Reply> = (0..3).map(|_| link.receive().expect("queued")).collect();
        assert_eq!(replies, [Reply::Status, Reply::Status, Reply::Status]);
        admin.ask(break_it).expect("break");
        link.send(&out[out.len() - exec..]).expect("send");
        replies.push(link.receive().expect("the answer to EXEC"));
        admin.ask(mend).expect("mend");
        assert_eq!(code(&delivery::push::answer(&replies)), (wanted, Disposition::RetryLater), "{replies:?}");
        assert_eq!((list(&mut link, "list").len(), cursor(&mut link, &names)), (0, String::new()));
    }
    assert_eq!(push(&mut link, &names, Side::Right, "", "1", &records(0..25)), Answer::Taken(25));
}
