//! omrust-prog is killed -9 in every state of the conversation, by itself at named places and from outside.

use std::fs;
use std::time::Duration;

use e2e::native::prog::{OMPROG, OMPROG_SHARED, OMPROG_SINGLE};
use e2e::native::prog_faults;
use e2e::native::rig::{Plan, Queue};
use e2e::native::scenario::{Scenario, Step};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use omrust_prog::fault::Place;

/// How often the outside kills; `E2E_TORTURE` multiplies.
fn rounds() -> usize {
    let times = std::env::var("E2E_TORTURE").ok().and_then(|times| times.parse::<usize>().ok()).unwrap_or(1);
    6 * times
}

/// Each life ends at the so-manieth passage of `place`.
fn dies_at(place: Place, spool: bool) -> Scenario {
    let count = match place {
        Place::BeforeReady => 1,
        Place::BeforeSettle | Place::AfterSettle | Place::BeforeOk | Place::AfterOk | Place::AfterBegin => 3,
        Place::BeforeNote | Place::AfterNote | Place::BeforeDefer | Place::AfterDefer => 150,
    };
    prog_faults::dies_at(place.name(), count, spool, place == Place::BeforeReady)
}

#[track_caller]
fn walk(places: &[Place], spool: bool) {
    for place in places {
        dies_at(*place, spool).assert_clean(&OMPROG);
    }
}

#[test]
fn every_place_is_in_a_test() {
    let all: Vec<Place> = [COMING_IN, GOING_OUT].concat();
    assert_eq!(all.len(), Place::ALL.len());
}

/// While records come in.
const COMING_IN: &[Place] = &[
    Place::BeforeReady,
    Place::AfterBegin,
    Place::BeforeNote,
    Place::AfterNote,
    Place::BeforeDefer,
    Place::AfterDefer,
];
/// While they are brought away.
const GOING_OUT: &[Place] = &[Place::BeforeSettle, Place::AfterSettle, Place::BeforeOk, Place::AfterOk];

#[test]
fn killed_while_a_transaction_comes_in() {
    walk(COMING_IN, true);
}

#[test]
fn killed_while_a_transaction_comes_in_without_a_spool() {
    walk(COMING_IN, false);
}

#[test]
fn killed_while_a_transaction_is_brought_away() {
    walk(GOING_OUT, true);
}

#[test]
fn killed_while_a_transaction_is_brought_away_without_a_spool() {
    walk(GOING_OUT, false);
}

/// The programs that have the scene in their words.
fn programs(scene: &str) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    processes
        .filter_map(|process| {
            let words = fs::read(process.path().join("cmdline")).ok()?;
            let words = String::from_utf8_lossy(&words).into_owned();
            let is_one = words.contains("omrust-prog") && words.contains(scene) && !words.contains("rsyslogd");
            process.file_name().to_str()?.parse().ok().filter(|_| is_one).map(Pid::from_raw)
        })
        .collect()
}

const KILL: Step = Step::Do(|rig| {
    let scene = rig.scene.path().to_str().expect("a plain path").to_owned();
    for program in programs(&scene) {
        let _ = kill(program, Signal::SIGKILL);
    }
});

fn killed_from_outside(plan: Plan) -> Scenario {
    let mut steps = vec![Step::Send(&["a", "b"]), Step::Flow(300)];
    for _ in 0..rounds() {
        steps.extend([
            KILL,
            Step::Flow(fastrand::u64(50..400)),
            Step::Last(Duration::from_millis(fastrand::u64(1..30))),
        ]);
    }
    Scenario { name: "the program is killed from outside", plan, steps }
}

#[test]
fn killed_from_outside_under_load() {
    killed_from_outside(Plan::default()).assert_clean(&OMPROG);
    killed_from_outside(Plan { spool: false, ..Plan::default() }).assert_clean(&OMPROG);
}

/// With three lanes, each on a master of its own.
#[test]
fn killed_from_outside_with_lanes() {
    killed_from_outside(Plan { cluster_lanes: 3, ..Plan::default() }).assert_clean(&OMPROG);
    killed_from_outside(Plan { cluster_lanes: 3, spool: false, ..Plan::default() }).assert_clean(&OMPROG);
}

#[test]
fn killed_from_outside_without_transactions() {
    killed_from_outside(Plan::default()).assert_clean(&OMPROG_SINGLE);
}

#[test]
fn all_programs_of_three_workers_are_killed_at_once() {
    let queue = Queue::Memory { workers: 3, batch: 128 };
    killed_from_outside(Plan { queue, ..Plan::default() }).assert_clean(&OMPROG);
}

/// Workers that share one program have several transactions open at a time. Those of the others are handed in again in parts that nothing
/// tells apart: some come twice. None is lost.
#[test]
fn the_program_of_three_workers_is_killed() {
    let queue = Queue::Memory { workers: 3, batch: 128 };
    let outcome = killed_from_outside(Plan { queue, ..Plan::default() }).run(&OMPROG_SHARED);
    assert_eq!((outcome.verdict.lost.count, outcome.verdict.foreign.count, outcome.unanswered), (0, 0, 0), "{outcome}");
}

/// Program and Redis are killed together: what was noted, pushed and spooled is told apart.
#[test]
fn killed_together_with_redis() {
    let redis = vec![("appendonly", "yes"), ("appendfsync", "always")];
    for spool in [true, false] {
        let plan = Plan {
            redis: redis.clone(),
            spool,
            more: "timeout=\"400\" connecttimeout=\"400\" spool.delay=\"200\"".to_owned(),
            ..Plan::default()
        };
        let round = [
            Step::Flow(300),
            Step::KillRedis,
            KILL,
            Step::Last(Duration::from_millis(50)),
            Step::StartRedis,
            Step::Flow(300),
            KILL,
            Step::KillRedis,
            Step::StartRedis,
        ];
        let steps = [vec![Step::Send(&["a", "b"])], round.repeat(2), vec![Step::Flow(300)]].concat();
        Scenario { name: "program and redis are killed", plan, steps }.assert_clean(&OMPROG);
    }
}
