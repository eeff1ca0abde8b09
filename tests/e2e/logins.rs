//! Users of Redis: the least rule that is documented, and passwords that are changed while records flow. Through every door.

use std::fs;
use std::path::Path;

use e2e::bridge::BridgeConfig;
use e2e::child::{PATIENCE, Scene, until};
use e2e::load::Pace;
use e2e::native::door::{Door, OMRUST};
use e2e::native::prog::OMPROG;
use e2e::native::rig::{Plan, Rig};
use e2e::native::scenario::{Scenario, Step};
use e2e::redis::Redis;
use e2e::stage::Stage;

/// What a door fills: a list, or a stream of Redis'.
#[derive(Clone, Copy)]
enum Kind {
    List,
    Stream,
}

/// The words of `ACL SETUSER bridge ...` (a stream: `adder`) as `docs/DELIVERY.md` gives them, from `on` to the last.
fn rule(kind: Kind) -> Vec<String> {
    let command = match kind {
        Kind::List => "ACL SETUSER bridge ",
        Kind::Stream => "ACL SETUSER adder ",
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DELIVERY.md");
    let page = fs::read_to_string(page).expect("the page");
    let line = page.lines().find_map(|line| line.trim().strip_prefix(command)).expect("the rule is there");
    assert!(line.starts_with("on >secret "), "{line}");
    line.split(' ').map(str::to_owned).collect()
}

/// What may not be left out.
fn needed(rule: &[String]) -> impl Iterator<Item = &String> {
    rule.iter().filter(|word| word.starts_with(['~', '+']))
}

/// The user has exactly this rule, and everybody has to log in anew, in one step: taking MULTI away from a connection that works is
/// a hole that `docs/DELIVERY.md` names.
fn set(redis: &Redis, rule: &[String], lacking: &str) {
    let words = ["ACL", "SETUSER", "bridge", "reset"].into_iter();
    let words: Vec<&str> = words.chain(rule.iter().map(String::as_str).filter(|word| *word != lacking)).collect();
    let mut step = redis::pipe();
    step.atomic().cmd(words[0]).arg(&words[1..]).cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]);
    step.query::<redis::Value>(&mut redis.connect().expect("a connection")).expect("a new rule");
}

fn kill_clients(redis: &Redis) {
    redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

fn as_user(config: BridgeConfig) -> BridgeConfig {
    config.set("redis.user", "bridge").set("redis.password", "secret")
}

#[test]
fn the_least_rule_is_enough_for_the_bridge_and_each_word_of_it_is_needed() {
    least_rule_of_the_bridge(Kind::List, as_user);
}

#[test]
fn the_least_rule_for_a_stream_is_enough_for_the_bridge_and_each_word_of_it_is_needed() {
    least_rule_of_the_bridge(Kind::Stream, |config| as_user(config).set("queue.mode", "stream"));
}

fn least_rule_of_the_bridge(kind: Kind, config: fn(BridgeConfig) -> BridgeConfig) {
    let mut stage = Stage::prepare(|redis| redis, config);
    stage.redis.start();
    let rule = rule(kind);
    set(&stage.redis, &rule, "");
    stage.bridge.start();
    let load = stage.load(Pace::default());
    load.go_on(2000);
    for word in needed(&rule) {
        let before = stage.bridge.said("NOPERM").len();
        set(&stage.redis, &rule, word);
        until(&format!("a line about {word}"), PATIENCE, || (stage.bridge.said("NOPERM").len() > before).then_some(()));
        load.go_on(1000);
        set(&stage.redis, &rule, "");
        until("it to be well again", PATIENCE, || {
            let said = stage.bridge.stderr();
            (said.rfind("is back after") > said.rfind("NOPERM")).then_some(())
        });
        let lines = &stage.bridge.said("NOPERM")[before..];
        assert_eq!(lines.len(), 1, "{word}: {lines:#?}");
    }
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    stage.bridge.term();
}

/// All that a door says.
fn log(rig: &Rig) -> String {
    rig.messages() + &fs::read_to_string(rig.scene.file("door/omrust-prog.log")).unwrap_or_default()
}

fn said(rig: &Rig, word: &str) -> Vec<String> {
    log(rig).lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

/// Under exactly the least rule, with replies that are lost; then each word of it is left out for a while.
fn least_rule(door: &Door, kind: Kind) {
    let more =
        "serveruser=\"bridge\" serverpassword=\"secret\" onrefused=\"hold\" timeout=\"400\" connecttimeout=\"400\"";
    let mode = if matches!(kind, Kind::Stream) { " mode=\"stream\"" } else { "" };
    let plan = Plan { more: format!("{more}{mode}"), proxy: true, ..Plan::default() };
    let mut rig = Rig::prepare(&plan, door, &Scene::new());
    let rule = rule(kind);
    set(&rig.redis, &rule, "");
    rig.start_rsyslogd();
    rig.send(&["a", "b"]);
    for _ in 0..2 {
        assert!(rig.flow(500, PATIENCE), "{}", log(&rig));
        rig.proxy.as_ref().expect("a proxy").once(e2e::proxy::Mode::SwallowReplies(std::time::Duration::ZERO));
    }
    assert!(rig.flow(500, PATIENCE), "{}", log(&rig));
    assert_eq!(said(&rig, "NOPERM"), Vec::<String>::new());
    // These doors read a cursor only when an answer was lost.
    for word in needed(&rule).filter(|word| *word != "+get") {
        let before = said(&rig, "NOPERM").len();
        set(&rig.redis, &rule, word);
        until(&format!("a line about {word} by {}", door.name), PATIENCE, || {
            // That a list takes nothing is said once, whichever of its two keys it is about.
            let told = word.starts_with('~') && !said(&rig, "takes no records into").is_empty();
            (told || said(&rig, "NOPERM").len() > before).then_some(())
        });
        rig.senders.as_ref().expect("somebody sends").try_go_on(500, PATIENCE);
        set(&rig.redis, &rule, "");
        assert!(rig.flow(500, PATIENCE), "{word}: {}", log(&rig));
        let lines = &said(&rig, "NOPERM")[before..];
        // The connection has one, and the list that is refused another.
        assert!(lines.len() <= 2, "{word}: {lines:#?}");
    }
    let outcome = e2e::native::scenario::end(rig, door);
    assert!(outcome.is_clean(), "{}: {outcome}", door.name);
}

#[test]
fn the_least_rule_is_enough_for_the_module_and_each_word_of_it_is_needed() {
    least_rule(&OMRUST, Kind::List);
    least_rule(&OMRUST, Kind::Stream);
}

#[test]
fn the_least_rule_is_enough_for_the_program_and_each_word_of_it_is_needed() {
    least_rule(&OMPROG, Kind::List);
    least_rule(&OMPROG, Kind::Stream);
}

/// The server has another password from now on, and nobody who knew the old one is let alone.
fn change(redis: &Redis, password: &str) {
    redis.cmd(&["ACL", "SETUSER", "bridge", "resetpass", &format!(">{password}")]);
    kill_clients(redis);
}

fn rotation(spool: bool) -> Scenario {
    let more = "serveruser=\"bridge\" serverpassword.file=\"@SCENE@/password\" timeout=\"400\" connecttimeout=\"400\"";
    let plan = Plan { spool, more: more.to_owned(), ..Plan::default() };
    let give = |rig: &mut Rig| {
        rig.redis.cmd(&["ACL", "SETUSER", "bridge", "on", "~*", "+@all"]);
        rig.scene.write("password", "one\n");
        change(&rig.redis, "one");
    };
    let steps = vec![
        Step::Do(give),
        Step::Send(&["a", "b"]),
        Step::Flow(500),
        // The server is first.
        Step::Do(|rig| change(&rig.redis, "two")),
        Step::Sent(500),
        Step::Do(|rig| drop(rig.scene.write("password", "two\n"))),
        Step::Flow(500),
        // The file is first.
        Step::Do(|rig| drop(rig.scene.write("password", "three\n"))),
        Step::Sent(500),
        Step::Do(|rig| change(&rig.redis, "three")),
        Step::Flow(500),
        // The file is away for a while.
        Step::Do(|rig| fs::remove_file(rig.scene.file("password")).expect("it is there")),
        Step::Do(|rig| change(&rig.redis, "four")),
        Step::Sent(500),
        Step::Do(|rig| drop(rig.scene.write("password", "four\n"))),
        Step::Flow(500),
    ];
    Scenario { name: "the password is changed under load", plan, steps }
}

#[test]
fn the_module_takes_new_passwords_under_load() {
    rotation(true).assert_clean(&OMRUST);
    rotation(false).assert_clean(&OMRUST);
}

#[test]
fn the_program_takes_new_passwords_under_load() {
    rotation(true).assert_clean(&OMPROG);
    rotation(false).assert_clean(&OMPROG);
}

#[test]
fn the_bridge_takes_new_passwords_under_load() {
    let mut stage = Stage::prepare(|redis| redis.acl("bridge", "on >0 ~* +@all"), |bridge| bridge);
    let file = stage.scene.write("password", "0\n");
    let name = file.to_str().expect("a plain path").to_owned();
    stage.bridge.reconfigure(|config| config.set("redis.user", "bridge").set("redis.password-file", name));
    stage.redis.start();
    stage.bridge.start();
    let load = stage.load(Pace::default());
    for round in 1..=6 {
        load.go_on(1000);
        let password = round.to_string();
        if round % 2 == 0 {
            stage.scene.write("password", format!("{password}\n"));
            load.go_on(300);
            change(&stage.redis, &password);
        } else {
            change(&stage.redis, &password);
            load.go_on(300);
            stage.scene.write("password", &password);
        }
    }
    load.go_on(1000);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    assert!(!stage.bridge.stderr().contains(">6"), "a secret in the log");
    stage.bridge.term();
}
