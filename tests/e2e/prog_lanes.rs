//! omrust-prog with several lanes over servers that know nothing of each other: each stream whole and in order, whoever is killed.

use delivery::fault::Place;
use delivery::outlet::lane_of;
use e2e::child::{PATIENCE, Scene};
use e2e::native::prog::{Talk, binary};
use e2e::redis::Redis;

const KEY: &str = "rsyslog";

/// Two servers, each with what it has answered on its disk.
fn servers(scene: &Scene) -> [Redis; 2] {
    ["one", "two"].map(|name| Redis::setup(scene).name(name).aof().start())
}

fn toml(servers: &[Redis; 2], scene: &Scene, lanes: u32, spool: bool, prog: &str) -> String {
    let names = servers.each_ref().map(|server| format!("\"{}\"", server.socket().display()));
    let (server, lanes) = match lanes {
        1 => (names[0].clone(), String::new()),
        lanes => {
            (format!("[{}]\nshard = true", names.join(", ")), format!("lanes = {lanes}\nlane-field = \"word:1\"\n"))
        }
    };
    let state = scene.file("state").display().to_string();
    let (spool, prog) = match spool {
        true => (format!("[spool]\ndirectory = \"{state}\"\ndelay-ms = 200\n"), format!("[prog]\n{prog}")),
        false => (String::new(), format!("[prog]\nstate-directory = \"{state}\"\n{prog}")),
    };
    format!(
        "[redis]\nserver = {server}\ntimeout-ms = 500\nconnect-timeout-ms = 500\n[queue]\nproducer = \"p\"\n{lanes}{spool}{prog}"
    )
}

/// Record `number` of stream `stream`.
fn record(stream: u32, number: u32) -> String {
    format!("host{stream} {number} {}", "x".repeat(usize::try_from(number % 97).expect("small")))
}

fn lane(record: &str, lanes: u32) -> usize {
    let key = record.split(' ').next().expect("a word");
    lane_of(key.as_bytes(), lanes) as usize
}

fn name(lane: usize, lanes: u32) -> String {
    if lanes == 1 { KEY.to_owned() } else { format!("{KEY}:{lane}") }
}

fn list(servers: &[Redis; 2], lane: usize, lanes: u32) -> Vec<String> {
    let list = servers[lane % 2].list(&name(lane, lanes));
    list.into_iter().map(|element| String::from_utf8_lossy(&element).into_owned()).collect()
}

/// Each lane has what was accepted for it, in the order in which it was accepted.
#[track_caller]
fn judge(servers: &[Redis; 2], lanes: u32, accepted: &[String]) {
    for number in 0..lanes as usize {
        let want: Vec<&String> = accepted.iter().filter(|record| lane(record, lanes) == number).collect();
        servers[number % 2].wait_llen(&name(number, lanes), want.len(), PATIENCE);
        let have = list(servers, number, lanes);
        let first = have.iter().zip(&want).position(|(have, want)| have != *want);
        assert!(have.iter().eq(want.iter().copied()), "lane {number}: {} of {}, {first:?}", have.len(), want.len());
    }
}

fn start(scene: &Scene, toml: &str) -> Talk {
    let mut talk = Talk::start(scene, toml, &[]);
    assert_eq!(talk.answer(), "OK");
    talk
}

/// A transaction of the next `count` records of eight streams. They are accepted.
fn more(talk: &mut Talk, accepted: &mut Vec<String>, count: u32) {
    let next = u32::try_from(accepted.len()).expect("not so many");
    let records: Vec<String> = (next..next + count).map(|number| record(number % 8, number)).collect();
    let words: Vec<&str> = records.iter().map(String::as_str).collect();
    assert_eq!(talk.transaction(&words), "OK");
    accepted.extend(records);
}

#[test]
fn streams_are_spread_over_two_servers() {
    let scene = Scene::new();
    let servers = servers(&scene);
    let mut accepted = Vec::new();
    let mut talk = start(&scene, &toml(&servers, &scene, 4, false, ""));
    for count in [1, 2, 40, 3000, 1, 700] {
        more(&mut talk, &mut accepted, count);
    }
    assert!(talk.end().success());
    judge(&servers, 4, &accepted);
    assert!((0..4).all(|lane| !list(&servers, lane, 4).is_empty()), "a lane has nothing");
}

#[test]
fn a_server_that_is_away_stops_its_lanes_only() {
    let scene = Scene::new();
    let mut servers = servers(&scene);
    let mut accepted = Vec::new();
    let mut talk = start(&scene, &toml(&servers, &scene, 4, true, ""));
    more(&mut talk, &mut accepted, 100);
    servers[1].kill9();
    for count in [300, 1, 900] {
        more(&mut talk, &mut accepted, count);
    }
    for number in [0, 2] {
        let want = accepted.iter().filter(|record| lane(record, 4) == number).count();
        assert_eq!(servers[0].llen(&name(number, 4)), want, "the lanes of the other server flow");
    }
    // The next life finds the spools of both.
    talk.kill9();
    let mut talk = start(&scene, &toml(&servers, &scene, 4, true, ""));
    more(&mut talk, &mut accepted, 50);
    servers[1].start();
    judge(&servers, 4, &accepted);
    more(&mut talk, &mut accepted, 600);
    assert!(talk.end().success());
    judge(&servers, 4, &accepted);
}

/// Without a spool the commit fails when one of the servers is away, and what the other has taken is told apart when it comes again.
#[test]
fn a_commit_that_fails_for_one_server_doubles_nothing_at_the_other() {
    let scene = Scene::new();
    let mut servers = servers(&scene);
    let mut accepted = Vec::new();
    let mut talk = start(&scene, &toml(&servers, &scene, 4, false, "patience-seconds = 0\n"));
    more(&mut talk, &mut accepted, 100);
    for whole in [true, false] {
        servers[1].kill9();
        let next = u32::try_from(accepted.len()).expect("not so many");
        let records: Vec<String> = (next..next + 400).map(|number| record(number % 8, number)).collect();
        let words: Vec<&str> = records.iter().map(String::as_str).collect();
        assert!(talk.transaction(&words).starts_with("NOT YET"));
        // rsyslog hands it in again: first while the server is still away.
        assert!(talk.transaction(&words[..1]).starts_with("NOT YET"));
        servers[1].start();
        if whole {
            until_ok(&mut talk, &words);
        } else {
            // One by one, the first last.
            words[1..].iter().chain(&words[..1]).for_each(|word| until_ok(&mut talk, &[word]));
        }
        accepted.extend(records);
        judge(&servers, 4, &accepted);
        more(&mut talk, &mut accepted, 10);
    }
    assert!(talk.end().success());
    judge(&servers, 4, &accepted);
}

#[track_caller]
fn until_ok(talk: &mut Talk, records: &[&str]) {
    e2e::child::until("a commit", PATIENCE, || (talk.transaction(records) == "OK").then_some(()));
}

/// Killed in the middle of a transaction, parts of which were sent ahead: rsyslog goes on behind what was answered.
#[test]
fn killed_in_the_middle_of_transactions() {
    let scene = Scene::new();
    let servers = servers(&scene);
    let mut accepted = Vec::new();
    for (round, spool) in [true, false, true, false, true].into_iter().enumerate() {
        let mut talk = start(&scene, &toml(&servers, &scene, 4, spool, ""));
        more(&mut talk, &mut accepted, 200);
        assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
        let next = u32::try_from(accepted.len()).expect("not so many");
        for number in next..next + 300 * round as u32 + 900 {
            let record = record(number % 8, number);
            assert_eq!(talk.ask(&record), "DEFER_COMMIT");
            accepted.push(record);
        }
        talk.kill9();
    }
    let talk = start(&scene, &toml(&servers, &scene, 4, true, ""));
    assert!(talk.end().success());
    judge(&servers, 4, &accepted);
}

/// Each life ends at a place of a push, ahead of the commit or in it, and rsyslog goes on with what was not answered.
#[test]
fn killed_at_each_place_of_a_push() {
    for (lanes, spool) in [(1, true), (4, false)] {
        let scene = Scene::new();
        let servers = servers(&scene);
        let toml = toml(&servers, &scene, lanes, spool, "");
        let mut accepted = Vec::new();
        for place in [Place::PushBeforeSend, Place::PushMidSend, Place::PushAfterSend, Place::PushAfterReply] {
            for count in 1..=4 {
                let fault = format!("{}:{count}", place.name());
                let mut talk = Talk::start_in(binary(), &scene, &toml, &[], &[("FIFO_BRIDGE_FAULT", &fault)]);
                // The first OK comes behind what an earlier life has left.
                if talk.try_answer().is_some() {
                    die_in_transactions(&mut talk, &mut accepted);
                }
                talk.kill9();
            }
        }
        assert!(start(&scene, &toml).end().success());
        judge(&servers, lanes, &accepted);
    }
}

/// Transactions until the program ends, as rsyslog makes them: a record that was not answered is handed in again to the next life.
fn die_in_transactions(talk: &mut Talk, accepted: &mut Vec<String>) {
    loop {
        if talk.try_ask("BEGIN TRANSACTION").is_none() {
            return;
        }
        for _ in 0..700 {
            let number = u32::try_from(accepted.len()).expect("not so many");
            let record = record(number % 8, number);
            match talk.try_ask(&record) {
                Some(answer) => assert_eq!(answer, "DEFER_COMMIT"),
                None => return,
            }
            accepted.push(record);
        }
        if talk.try_ask("COMMIT TRANSACTION").is_none() {
            // Not answered: rsyslog hands all of it in again.
            return;
        }
    }
}

/// What a life with other lanes had accepted and not brought away goes where it was accepted for.
#[test]
fn another_number_of_lanes_leaves_nothing_behind() {
    let scene = Scene::new();
    let servers = servers(&scene);
    let mut accepted = Vec::new();
    for lanes in [4, 2, 5, 3] {
        let mut talk = start(&scene, &toml(&servers, &scene, lanes, false, ""));
        accepted.clear();
        let before: Vec<usize> = (0..5).map(|lane| list(&servers, lane, lanes).len()).collect();
        assert_eq!(talk.ask("BEGIN TRANSACTION"), "OK");
        // No record is another's equal: it would be taken for one that the killed life had.
        for number in 1000 * lanes..1000 * lanes + 500 {
            let record = record(number % 8, number);
            assert_eq!(talk.ask(&record), "DEFER_COMMIT");
            accepted.push(record);
        }
        talk.kill9();
        let talk = start(&scene, &toml(&servers, &scene, lanes + 1, false, ""));
        assert!(talk.end().success());
        for number in 0..lanes as usize {
            let want: Vec<&String> = accepted.iter().filter(|record| lane(record, lanes) == number).collect();
            let have = list(&servers, number, lanes);
            assert!(have[before[number]..].iter().eq(want.iter().copied()), "lane {number} of {lanes}");
        }
    }
}

/// Nothing overtakes what waits in a spool of other lanes: it says so and takes nothing. The earlier settings empty the spool.
#[test]
fn another_number_of_lanes_waits_for_an_empty_spool() {
    let scene = Scene::new();
    let mut servers = servers(&scene);
    let mut accepted = Vec::new();
    let four = toml(&servers, &scene, 4, true, "");
    let two = toml(&servers, &scene, 2, true, "confirm-timeout-ms = 400\n");
    let mut talk = start(&scene, &four);
    servers[1].kill9();
    more(&mut talk, &mut accepted, 100);
    talk.kill9();
    servers[1].start();
    let mut talk = Talk::start(&scene, &two, &[]);
    talk.dots(8);
    assert!(talk.log().contains("of another number of lanes"), "{}", talk.log());
    talk.kill9();
    let talk = start(&scene, &four);
    judge(&servers, 4, &accepted);
    assert!(talk.end().success());
    let mut talk = start(&scene, &two);
    assert_eq!(talk.transaction(&["host0 late"]), "OK");
    assert!(talk.end().success());
    assert_eq!(list(&servers, lane("host0 late", 2), 2).pop().as_deref(), Some("host0 late"));
}
