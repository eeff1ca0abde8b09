//! What the parameters of the action omprog can be, and what a message can be, with a real rsyslogd between sender and program.

use e2e::child::{PATIENCE, Scene, free_port};
use e2e::native::faults;
use e2e::native::prog::{OMPROG, plain_binary};
use e2e::native::scenario::Scenario;
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, send_tcp};

fn with(scenario: Scenario, words: &str) -> Scenario {
    let mut scenario = scenario;
    scenario.plan.more = format!("{} {words}", scenario.plan.more);
    scenario
}

#[test]
fn marks_of_ones_own() {
    let marks = "beginTransactionMark=\"<<<\" commitTransactionMark=\">>>\"";
    with(faults::redis_killed_plainly(true), marks).assert_clean(&OMPROG);
}

/// Redis answers nobody while rsyslogd ends: the program is gone by itself before it would be killed, and has everything in its spool.
#[test]
fn it_is_gone_before_the_close_timeout() {
    for more in ["", " signalOnClose=\"on\""] {
        let words = format!("closeTimeout=\"1500\" killUnresponsive=\"on\"{more}");
        let outcome = with(faults::stopped_while_redis_stands_still(), &words).run(&OMPROG);
        assert!(outcome.is_clean(), "{outcome}");
        assert!(!outcome.messages.contains("did not terminate"), "{}", outcome.messages);
    }
}

#[test]
fn any_message_of_rsyslogs() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let port = free_port();
    let (socket, state) = (redis.socket().display(), scene.file("state"));
    let toml = format!("[redis]\nserver = \"{socket}\"\n[spool]\ndirectory = \"{}\"\n", state.display());
    let binary = format!("{} --config {}", plain_binary().display(), scene.write("omrust.toml", toml).display());
    let mut rsyslogd = Rsyslogd::setup(&scene, "rsyslogd")
        .text("global(workDirectory=\"@WORK@\" maxMessageSize=\"4m\" parser.escapeControlCharactersOnReceive=\"off\")")
        .text("module(load=\"imptcp\" threads=\"1\")\nmodule(load=\"omprog\")")
        .text("template(name=\"line\" type=\"string\" string=\"%msg:2:$%\\n\")")
        .text(&format!(
            "ruleset(name=\"in\" queue.type=\"LinkedList\" queue.dequeueBatchSize=\"64\") {{\n\
             action(type=\"omprog\" binary=\"{binary}\" template=\"line\" confirmMessages=\"on\" useTransactions=\"on\" \
             action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\") }}"
        ))
        .text(&format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\" ruleset=\"in\" maxFrameSize=\"4000000\")"))
        .listens(port)
        .start();
    let bytes: Vec<u8> = (1..=255).filter(|byte| ![b'\n', b'\r'].contains(byte)).collect();
    let large = vec![b'x'; 1 << 20];
    let marks: [&[u8]; 2] = [b"BEGIN TRANSACTION", b"COMMIT TRANSACTION"];
    let records: [&[u8]; 12] = [
        b"first",
        &bytes,
        b"",
        &large,
        b"before",
        marks[0],
        b"between",
        marks[1],
        b"behind",
        marks[0],
        b" BEGIN TRANSACTION",
        b"last",
    ];
    let frame = |record: &&[u8]| [&b"<134>Nov 21 10:00:00 host tag: "[..], record].concat();
    send_tcp(port, records.iter().map(frame));
    // What reads like a mark is taken for one; nothing else suffers.
    let expected: Vec<&[u8]> = records.into_iter().filter(|record| !marks.contains(record)).collect();
    redis.wait_llen("rsyslog", expected.len(), PATIENCE);
    rsyslogd.term();
    let found = redis.list("rsyslog");
    let shown = |records: &[Vec<u8>]| -> Vec<String> {
        records.iter().map(|record| record[..record.len().min(40)].escape_ascii().to_string()).collect()
    };
    assert!(found == expected, "{:?}", shown(&found));
}
