//! An outlet whose host, whose Redis and whose connection die: lost, doubled and misordered are 0.
//!
//! `E2E_TORTURE=N` in the environment makes N times as many rounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use delivery::fault::Place;
use e2e::child::{PATIENCE, Scene, until};
use e2e::consumer::{Consumer, taken_from};
use e2e::outlet::Host;
use e2e::proxy::{Mode, Proxy};
use e2e::redis::Redis;

fn rounds(usual: usize) -> usize {
    usual * std::env::var("E2E_TORTURE").map_or(1, |times| times.parse().expect("E2E_TORTURE is a number"))
}

fn milliseconds(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(fastrand::u64(range))
}

/// One thing that goes wrong with Redis or the way to it, and is over when this returns.
fn misfortune(redis: &mut Redis, proxy: &Proxy) {
    match fastrand::u8(..8) {
        0 => redis.restart(),
        1 => {
            redis.sigstop();
            thread::sleep(milliseconds(50..700));
            redis.sigcont();
        }
        2 => {
            proxy.once(Mode::SwallowReplies(milliseconds(1..600)));
            thread::sleep(milliseconds(10..300));
        }
        3 => {
            proxy.once(Mode::CutRequest(fastrand::u64(1..60_000)));
            thread::sleep(milliseconds(10..300));
        }
        4 => {
            // Late writes: what was sent comes after the connection is gone.
            proxy.hold();
            thread::sleep(milliseconds(50..600));
            proxy.release();
        }
        5 => {
            redis.cmd(&["CONFIG", "SET", "maxmemory", "1"]);
            thread::sleep(milliseconds(10..300));
            redis.cmd(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        6 => {
            redis.cmd(&["REPLICAOF", "127.0.0.1", "1"]);
            thread::sleep(milliseconds(10..300));
            redis.cmd(&["REPLICAOF", "NO", "ONE"]);
        }
        _ => {
            proxy.cut();
            redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        }
    }
    proxy.set(Mode::Pass);
}

struct Arena {
    redis: Redis,
    proxy: Proxy,
    host: Host,
}

fn arena(scene: &Scene, spooled: bool, workers: usize, batch: &str, lists: usize) -> Arena {
    let redis = Redis::setup(scene).aof().start();
    let proxy = Proxy::start(scene, redis.socket());
    let host = Host::new(scene, proxy.socket(), workers, batch, lists);
    let host = if spooled { host.spooled() } else { host };
    Arena { redis, proxy, host }
}

impl Arena {
    /// A last life without misfortune; then the verdict.
    fn judge(mut self, at_least: usize) {
        self.proxy.set(Mode::Pass);
        self.proxy.release();
        let goal = self.host.furthest() + 1;
        let status = self.host.start(None, Some(goal)).wait(PATIENCE);
        assert!(status.success(), "the last life: {status}");
        let verdict = self.host.judge(|name| self.redis.list(name));
        verdict.assert_clean(at_least);
        self.redis.child();
    }
}

fn misfortunes_of_one_life(spooled: bool, workers: usize, batch: &str, lists: usize) {
    let scene = Scene::new();
    let mut arena = arena(&scene, spooled, workers, batch, lists);
    let mut host = arena.host.start(None, None);
    for _ in 0..rounds(10) {
        misfortune(&mut arena.redis, &arena.proxy);
        let before = arena.host.furthest();
        until("the host to go on", PATIENCE, || {
            assert_eq!(host.ended(), None, "the host ended");
            (arena.host.furthest() > before).then_some(())
        });
    }
    host.kill9();
    arena.judge(1000);
}

#[test]
fn misfortunes_without_a_spool() {
    misfortunes_of_one_life(false, 2, "1,128,1024", 0);
}

#[test]
fn misfortunes_without_a_spool_in_many_lists() {
    misfortunes_of_one_life(false, 1, "1,30,4096", 7);
}

#[test]
fn misfortunes_with_a_spool() {
    misfortunes_of_one_life(true, 4, "1,128,1024", 0);
}

#[test]
fn misfortunes_with_a_spool_in_many_lists() {
    misfortunes_of_one_life(true, 2, "1,30,4096", 5);
}

#[test]
fn killed_at_random_times() {
    for spooled in [false, true] {
        let scene = Scene::new();
        let mut arena = arena(&scene, spooled, 2, "1,128,1024", 3);
        for _ in 0..rounds(12) {
            let mut host = arena.host.start(None, None);
            thread::sleep(milliseconds(0..120));
            if fastrand::bool() {
                misfortune(&mut arena.redis, &arena.proxy);
            }
            thread::sleep(milliseconds(0..60));
            host.kill9();
        }
        arena.judge(200);
    }
}

fn killed_at_every_fault_point(spool: bool) {
    let common = [
        Place::PushBeforeSend,
        Place::PushMidSend,
        Place::PushAfterSend,
        Place::PushAfterReply,
        Place::DeadLetterBeforeWrite,
        Place::DeadLetterAfterWrite,
    ];
    let direct = [Place::OutletBeforeFence, Place::OutletAfterFence];
    let spooled = Place::OUTLET.into_iter().filter(|place| !direct.contains(place));
    let spooled = Place::JOURNAL.into_iter().chain(spooled).filter(|place| {
        // A small spool turns over its files too seldom in a short life.
        ![Place::JournalBeforeRename, Place::JournalAfterRename].contains(place)
    });
    let places: Vec<Place> = match spool {
        false => common.into_iter().chain(direct).collect(),
        true => common.into_iter().chain(spooled).collect(),
    };
    let scene = Scene::new();
    let mut arena = arena(&scene, spool, 2, "1,20,300", 3);
    if spool {
        arena.host = arena.host.with("--spool-max", "1048576");
    }
    for place in places {
        let letters = [Place::DeadLetterBeforeWrite, Place::DeadLetterAfterWrite].contains(&place);
        for _ in 0..rounds(2) {
            if letters {
                // One list turns into something else while a host lives, and back.
                arena.redis.cmd(&["RENAME", "list1", "aside"]);
                arena.redis.cmd(&["SET", "list1", "string"]);
            }
            let mut host = arena.host.start(Some((place.name(), fastrand::u64(1..=6))), None);
            let begun = Instant::now();
            while host.ended().is_none() {
                assert!(begun.elapsed() < 2 * PATIENCE, "{} is not reached", place.name());
                // Whoever never gets a quiet moment need not get through.
                match begun.elapsed() < PATIENCE {
                    true => misfortune(&mut arena.redis, &arena.proxy),
                    false => thread::sleep(Duration::from_millis(10)),
                }
            }
            if letters {
                // In one step: late writes of the dead must not get in between.
                arena.redis.cmd(&["RENAME", "aside", "list1"]);
            }
        }
    }
    arena.judge(200);
}

#[test]
fn killed_at_every_fault_point_without_a_spool() {
    killed_at_every_fault_point(false);
}

#[test]
fn killed_at_every_fault_point_with_a_spool() {
    killed_at_every_fault_point(true);
}

/// One of three lists is none for a while, and is mended while the drainer has gone far past it, or while nobody lives.
#[test]
fn killed_while_a_list_is_held() {
    let places = [
        Place::PushBeforeSend,
        Place::PushMidSend,
        Place::PushAfterSend,
        Place::PushAfterReply,
        Place::OutletAfterSpool,
        Place::OutletBeforeRelease,
        Place::OutletAfterRelease,
        Place::JournalAfterSync,
    ];
    let scene = Scene::new();
    let mut arena = arena(&scene, true, 2, "1,20,300", 3);
    arena.host = arena.host.holding();
    let mut host = arena.host.start(None, None);
    until("the list to be there", PATIENCE, || (arena.redis.llen("list1") > 0).then_some(()));
    host.kill9();
    for round in 0..rounds(16) {
        arena.redis.cmd(&["RENAME", "list1", "aside"]);
        arena.redis.cmd(&["SET", "list1", "string"]);
        let fault = (round % 2 == 0).then(|| (places[round / 2 % places.len()].name(), fastrand::u64(1..=60)));
        let (before, others) = (arena.host.furthest(), arena.redis.llen("list0"));
        let mut host = arena.host.start(fault, None);
        until("the other lists to go on", PATIENCE, || {
            let goes_on = arena.host.furthest() > before && arena.redis.llen("list0") > others;
            (goes_on || host.ended().is_some()).then_some(())
        });
        if fastrand::bool() {
            misfortune(&mut arena.redis, &arena.proxy);
        }
        if host.ended().is_none() && fastrand::bool() {
            host.kill9();
        }
        // In one step: nothing of the list may be pushed to another.
        arena.redis.cmd(&["RENAME", "aside", "list1"]);
        if host.ended().is_none() {
            thread::sleep(milliseconds(0..2_500));
            host.kill9();
        }
    }
    arena.judge(1_000);
}

/// Three lists with a high water. One is hardly taken from, one seldom, one always; what is longer than it may be holds only itself.
#[test]
fn killed_while_lists_are_too_long() {
    const MARK: usize = 300;
    let places = [
        Place::PushBeforeSend,
        Place::PushMidSend,
        Place::PushAfterSend,
        Place::PushAfterReply,
        Place::OutletBeforeRelease,
        Place::OutletAfterRelease,
    ];
    let scene = Scene::new();
    let mut arena = arena(&scene, true, 2, "1,20,300", 3);
    arena.host = arena.host.with("--max-length", &MARK.to_string());
    let slow = [("list0", 5), ("list1", 100), ("list2", 1_000)];
    let consumer = Consumer::of_each(&arena.redis, &slow, Duration::from_millis(20));
    let taken = |arena: &Arena, list: &str| arena.redis.llen(&taken_from(list));
    for round in 0..rounds(16) {
        let fault = (round % 2 == 0).then(|| (places[round / 2 % places.len()].name(), fastrand::u64(1..=60)));
        let (before, flowing) = (arena.host.furthest(), taken(&arena, "list2"));
        let mut host = arena.host.start(fault, None);
        until("the list that is taken from to go on", PATIENCE, || {
            let goes_on = arena.host.furthest() > before && taken(&arena, "list2") > flowing + 100;
            (goes_on || host.ended().is_some()).then_some(())
        });
        if fastrand::bool() {
            misfortune(&mut arena.redis, &arena.proxy);
        }
        thread::sleep(milliseconds(0..500));
        host.kill9();
    }
    let longest = consumer.stop();
    // A batch of each worker, a window of the drainer's, and what each life had under way.
    assert!(longest >= MARK && longest < MARK + 1024 + 2 * 300 + rounds(16) * 300, "{longest}");
    let quick = Consumer::of_each(&arena.redis, &slow.map(|(list, _)| (list, 1_000)), Duration::from_millis(5));
    arena.proxy.set(Mode::Pass);
    arena.proxy.release();
    let goal = arena.host.furthest() + 1;
    let status = arena.host.start(None, Some(goal)).wait(PATIENCE);
    assert!(status.success(), "the last life: {status}");
    quick.stop();
    let all = |list: &str| [arena.redis.list(&taken_from(list)), arena.redis.list(list)].concat();
    arena.host.judge(all).assert_clean(1_000);
}

#[test]
fn a_host_and_redis_die_together() {
    let scene = Scene::new();
    let mut arena = arena(&scene, true, 2, "1,128,1024", 0);
    for _ in 0..rounds(8) {
        let before = arena.host.furthest();
        let mut host = arena.host.start(None, None);
        until("the host to go on", PATIENCE, || (arena.host.furthest() > before).then_some(()));
        let first = AtomicBool::new(fastrand::bool());
        for _ in 0..2 {
            if first.swap(false, Ordering::Relaxed) {
                host.kill9();
            } else {
                arena.redis.kill9();
            }
            thread::sleep(milliseconds(0..20));
        }
        host.kill9();
        arena.redis.start();
    }
    arena.judge(200);
}
