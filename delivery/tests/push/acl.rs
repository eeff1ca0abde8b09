//! Users who may not do all that a push needs.

use delivery::error::{Disposition, Trouble};
use delivery::link::Link;
use delivery::push::{Answer, Mode, Names, Reply, Side};

use crate::basic::SIDES;
use crate::server::{Server, command, list, names, pack, push, records, snapshot};

/// All that a bridge needs of Redis, for a list named `list` and with `queue.push` = right.
///
/// * MULTI, EXEC, EVAL, RPUSH (LPUSH for the left), GETSET, LTRIM: the push
/// * GET: reading the cursor; PING: the connection
///
/// Two more are used and not needed: `+config|get` to warn of an eviction policy, `+llen` for the length of the list.
const MINIMUM: &str = "~list ~{list}:cursor:* +ping +get +multi +exec +eval +rpush +getset +ltrim";

const SIZES: [usize; 4] = [1, 11, 12, 250];

#[test]
fn the_minimal_rule_is_enough() {
    let server = Server::start(&[]);
    let mut link = server.link_as("bridge", MINIMUM);
    let mut admin = server.link();
    let names = names();
    link.rehearse(&names, &Mode::default()).expect("all that is needed");
    let mut at = 0;
    for size in [1, 11, 12, 25, 250, 4000] {
        let from = if at == 0 { String::new() } else { at.to_string() };
        let to = at + size;
        let refused = push(&mut link, &names, Side::Right, "elsewhere", "x", &records(0..size));
        assert_eq!(refused, Answer::Refused(from.clone().into_bytes()));
        assert_eq!(
            push(&mut link, &names, Side::Right, &from, &to.to_string(), &records(at..to)),
            Answer::Taken(to as u64)
        );
        assert_eq!(link.cursor(&names.cursor).expect("the cursor"), to.to_string().into_bytes());
        at = to;
    }
    assert_eq!(list(&mut admin, "list"), records(0..at));
}

/// Each word of the minimal rule is needed, and the lack of it is told before anything is pushed, or keeps all out.
#[test]
fn without_any_one_of_its_words_nothing_is_kept() {
    let server = Server::start(&[]);
    let mut admin = server.link();
    let names = names();
    assert_eq!(push(&mut admin, &names, Side::Right, "", "c", &records(0..30)), Answer::Taken(30));
    let before = snapshot(&mut admin, &names);
    for lacking in ["+multi", "+exec", "+eval", "+rpush", "+getset", "+ltrim", "~list", "~{list}:cursor:*"] {
        let rules: Vec<&str> = MINIMUM.split(' ').filter(|word| *word != lacking).collect();
        let mut link = server.link_as("bridge", &rules.join(" "));
        match link.rehearse(&names, &Mode::default()) {
            Ok(()) => {}
            Err(trouble) => {
                assert_eq!(trouble.disposition(), Disposition::RetryLater, "{lacking}: {trouble}");
                assert_eq!(trouble.class(), "NOPERM", "{lacking}: {trouble}");
                continue;
            }
        }
        assert!(["+rpush", "+getset"].contains(&lacking), "{lacking} was not told at the rehearsal");
        for size in SIZES {
            for from in ["c", "b"] {
                let answer = push(&mut link, &names, Side::Right, from, "d", &records(30..30 + size));
                match &answer {
                    Answer::Refused(at) => assert_eq!((from, at.as_slice()), ("b", &b"c"[..]), "{lacking}"),
                    Answer::Failed(trouble) => {
                        assert_eq!(trouble.disposition(), Disposition::Poison, "{lacking} {size}: {trouble:?}");
                    }
                    Answer::Taken(_) => panic!("{lacking} {size} {from}: {answer:?}"),
                }
                assert_eq!(snapshot(&mut admin, &names), before, "{lacking} {size} {from}");
            }
        }
    }
}

/// The undo needs no permission that a push does not need as well: SET, which an earlier form used, may be missing.
#[test]
fn a_refused_push_never_moves_the_cursor_of_a_user_without_set() {
    let server = Server::start(&[]);
    let mut admin = server.link();
    for side in SIDES {
        for size in SIZES {
            let names = Names::new(&format!("list-{side:?}-{size}"), "p").expect("names");
            push(&mut admin, &names, side, "", "c", &records(0..3));
            let before = snapshot(&mut admin, &names);
            let mut link = server.link_as("bridge", "~* +@all -set");
            assert_eq!(push(&mut link, &names, side, "b", "d", &records(0..size)), Answer::Refused(b"c".to_vec()));
            assert_eq!(snapshot(&mut admin, &names), before, "{side:?} {size}");
        }
    }
}

#[test]
fn the_rehearsal_changes_nothing() {
    let server = Server::start(&[]);
    let mut link = server.link();
    let names = names();
    link.rehearse(&names, &Mode::default()).expect("an empty server");
    assert_eq!(link.ask(&["DBSIZE"]), Ok(Reply::Number(0)));
    push(&mut link, &names, Side::Right, "", "c", &records(0..25));
    let before = snapshot(&mut link, &names);
    link.rehearse(&names, &Mode::default()).expect("a list");
    assert_eq!(snapshot(&mut link, &names), before);
    command(&mut link, &[b"DEL", b"list"]);
    command(&mut link, &[b"SET", b"list", b"a string"]);
    link.rehearse(&names, &Mode::default())
        .expect("a wrong type is for the push to tell, for it concerns this list only");
}

#[test]
fn a_renamed_command_is_told_at_the_rehearsal() {
    for gone in ["MULTI", "EXEC", "EVAL", "LTRIM"] {
        let server = Server::start(&["--rename-command", gone, "no-longer-called-so"]);
        let trouble = server.link().rehearse(&names(), &Mode::default()).expect_err(gone);
        assert_eq!(trouble.disposition(), Disposition::RetryLater, "{gone}: {trouble}");
    }
}

fn halves(server: &Server, link: &mut Link, names: &Names, rules: &str) -> (Vec<Reply>, (Reply, String)) {
    let mut admin = server.link();
    let mut out = Vec::new();
    pack(&mut out, names, Side::Right, "c", "d", &records(0..25));
    let exec = b"*1\r\n$4\r\nEXEC\r\n".len();
    let before = snapshot(&mut admin, names);
    link.send(&out[..out.len() - exec]).expect("send");
    let mut replies: Vec<Reply> = (0..3).map(|_| link.receive().expect("queued")).collect();
    server.acl("bridge", rules);
    link.send(&out[out.len() - exec..]).expect("send");
    replies.push(link.receive().expect("the answer to EXEC"));
    (replies, before)
}

/// Permissions that go between queueing and execution. What others put into the list must stay, too.
#[test]
fn permissions_that_go_in_the_middle_of_a_transaction_leave_no_trace() {
    let server = Server::start(&[]);
    let mut admin = server.link();
    let names = names();
    command(&mut admin, &[b"SET", names.cursor.as_bytes(), b"c"]);
    for _ in 0..100 {
        command(&mut admin, &[b"RPUSH", b"list", b"of somebody else"]);
    }
    for gone in ["-rpush", "-getset", "-set", "resetkeys", "resetkeys ~{list}:cursor:p"] {
        let mut link = server.link_as("bridge", "~* +@all");
        let (replies, before) = halves(&server, &mut link, &names, gone);
        match delivery::push::answer(&replies) {
            // SET is not needed.
            Answer::Taken(125) if gone == "-set" => {
                command(&mut admin, &[b"LTRIM", b"list", b"0", b"99"]);
                command(&mut admin, &[b"SET", names.cursor.as_bytes(), b"c"]);
            }
            Answer::Failed(_) => assert_eq!(snapshot(&mut admin, &names), before, "{gone}: {replies:?}"),
            other => panic!("{gone}: {other:?}"),
        }
    }
}

/// The known gap (`docs/DELIVERY.md`): nobody but a person can say what became of the push, and a person is asked.
#[test]
fn what_cannot_be_undone_is_told_to_a_person() {
    let server = Server::start(&[]);
    let mut admin = server.link();
    let names = names();
    for gone in ["-eval", "resetkeys ~list"] {
        command(&mut admin, &[b"SET", names.cursor.as_bytes(), b"c"]);
        let mut link = server.link_as("bridge", "~* +@all");
        let (replies, _) = halves(&server, &mut link, &names, gone);
        let Answer::Failed(trouble) = delivery::push::answer(&replies) else { panic!("{gone}: {replies:?}") };
        assert_eq!(trouble.disposition(), Disposition::StopLane, "{gone}: {trouble:?}");
    }
    // MULTI is gone: what should have been one step ran as two.
    let mut link = server.link_as("bridge", "~* +@all -multi");
    let answer = push(&mut link, &names, Side::Right, "c", "d", &records(0..25));
    assert!(matches!(answer, Answer::Failed(Trouble::Confused { .. })), "{answer:?}");
}
