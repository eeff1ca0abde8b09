//! `fifo-bridge dead-letters`: what was set aside comes back once, however often the replay is killed.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use delivery::dead_letter::{DeadLetters, Reason};
use delivery::position::{Epoch, Position};
use e2e::bridge::{bare_command, binary};
use e2e::child::{PATIENCE, Scene, run};
use e2e::redis::Redis;

struct Post {
    scene: Scene,
    redis: Redis,
    letters: DeadLetters,
}

impl Post {
    fn new() -> Self {
        let scene = Scene::new();
        let redis = Redis::setup(&scene).aof().start();
        let letters = DeadLetters::open(&scene.folder("letters"), false).expect("a folder");
        Self { scene, redis, letters }
    }

    /// Parks record `n` for `list`, as doors do.
    fn park(&mut self, reason: Reason, list: &str, n: u64) {
        let end = Position { epoch: Epoch(7), offset: n + 1 };
        let record = format!("{list} {n} {}", "x".repeat((n % 61) as usize));
        assert!(self.letters.write(reason, list, "why", (end, record.as_bytes()), n).expect("it is parked"));
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = bare_command(binary(), &self.scene.folder("runtime"));
        command.arg("dead-letters").args(words);
        command
    }

    fn replay(&self, words: &[&str]) -> Output {
        self.replaying(words).output().expect("it runs")
    }

    fn replaying(&self, words: &[&str]) -> Command {
        let mut command = self.command(&["replay"]);
        command.arg(self.folder()).args(["--server", self.redis.socket().to_str().expect("a plain path")]).args(words);
        command
    }

    fn folder(&self) -> PathBuf {
        self.scene.file("letters")
    }

    /// The numbers in a list.
    fn numbers(&self, list: &str) -> Vec<u64> {
        let number = |element: Vec<u8>| {
            let text = String::from_utf8(element).expect("text");
            text.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text:?}"))
        };
        self.redis.list(list).into_iter().map(number).collect()
    }
}

#[track_caller]
fn told(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn letters_come_back_once_by_reason_and_list() {
    let mut post = Post::new();
    for n in 0..3000 {
        let reason = if n % 3 == 2 { Reason::Torn } else { Reason::Refused };
        post.park(reason, if n % 2 == 0 { "even" } else { "odd" }, n);
    }
    let folder = post.folder();
    let list = told(&post.command(&["list", folder.to_str().expect("plain")]).output().expect("it runs"));
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(list.contains("1000 refused   \"even\": why"), "{list}");
    // One list first, then all: the first is recognised.
    assert_eq!(told(&post.replay(&["--list", "odd"])), "1000 letters: 1000 were pushed, 0 were there already\n");
    assert_eq!(told(&post.replay(&[])), "2000 letters: 1000 were pushed, 1000 were there already\n");
    assert_eq!(told(&post.replay(&[])), "2000 letters: 0 were pushed, 2000 were there already\n");
    let of = |rest: u64| (0..3000).filter(move |n| n % 3 != 2 && n % 2 == rest);
    assert!(post.numbers("even").into_iter().eq(of(0)) && post.numbers("odd").into_iter().eq(of(1)));
    // Another reason goes behind them, letters that came since too.
    post.park(Reason::Refused, "even", 3000);
    assert_eq!(
        told(&post.replay(&["--reason", "refused", "--reason", "torn", "--list", "even"])),
        "1501 letters: 501 were pushed, 1000 were there already\n"
    );
    assert_eq!(post.redis.llen("even"), 1501);
    // Into another list.
    assert_eq!(
        told(&post.replay(&["--list", "odd", "--to", "elsewhere"])),
        "1000 letters: 1000 were pushed, 0 were there already\n"
    );
    assert!(post.numbers("elsewhere").into_iter().eq(of(1)));
    assert_eq!(post.redis.llen("odd"), 1000);
}

#[test]
fn a_replay_that_is_killed_goes_on_where_it_was() {
    let mut post = Post::new();
    let lists = ["a", "b", "c"];
    for n in 0..9000 {
        // Runs of one list, so that there are many pushes.
        post.park(Reason::Refused, lists[(n / 40 % 3) as usize], n);
    }
    let places = ["push-before-send", "push-after-send", "push-after-reply"];
    for round in 0..45_u64 {
        let place = places[(round % 3) as usize];
        let mut command = post.replaying(&[]);
        command.env("FIFO_BRIDGE_FAULT", format!("{place}:{}", fastrand::u64(1..=12)));
        let status = command.output().expect("it runs").status;
        if status.success() {
            break;
        }
        if round % 10 == 9 {
            post.redis.restart();
        }
    }
    told(&post.replay(&[]));
    for (at, list) in (0..).zip(lists) {
        let expected = (0..9000).filter(|n| n / 40 % 3 == at);
        assert!(post.numbers(list).into_iter().eq(expected), "{list}");
    }
}

#[test]
fn what_is_refused_again_stays_and_is_told() {
    let mut post = Post::new();
    for n in 0..10 {
        post.park(Reason::Refused, "good", n);
    }
    for n in 10..20 {
        post.park(Reason::Refused, "bad", n);
    }
    post.redis.cmd(&["SET", "bad", "no list"]);
    let text = run(post.replaying(&[]), PATIENCE).expect_err("it is refused");
    assert!(text.contains("lines 11 to 20 cannot go into \"bad\""), "{text}");
    assert!(text.contains("WRONGTYPE"), "{text}");
    assert_eq!(post.numbers("good"), (0..10).collect::<Vec<u64>>());
    post.redis.cmd(&["DEL", "bad"]);
    assert_eq!(told(&post.replay(&[])), "20 letters: 10 were pushed, 10 were there already\n");
    assert_eq!(post.numbers("bad"), (10..20).collect::<Vec<u64>>());
    for (words, why) in [
        (&["--reason", "old"][..], "\"old\" is no reason; refused, torn, too-long, damaged"),
        (&["--to", "x"], "--to needs the list that the letters were for: one --list"),
    ] {
        let text = run(post.replaying(words), PATIENCE).expect_err("it is wrong");
        assert!(text.contains(why), "{text}");
    }
    let nowhere = run(post.command(&["list", "/nowhere"]), Duration::from_secs(10)).expect_err("nothing is there");
    assert!(nowhere.contains("/nowhere is not there: no dead letters"), "{nowhere}");
}
