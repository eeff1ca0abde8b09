//! omrust.so and a thread of its own that fails: what the spool holds stays there, and comes when that thread has begun anew.

use e2e::child::{PATIENCE, Scene};
use e2e::native::door::faulty_module_folder;
use e2e::native::plain::{Plain, QUEUE, assert_has, usual};
use e2e::pipe::Numbered;
use e2e::redis::Redis;

/// An action with a spool, and a drainer that panics so often behind its first pushes, before it has noted them.
fn failing(scene: &Scene, redis: &Redis, times: u32) -> Plain {
    let spool = scene.folder("spool");
    let rules = format!(
        "action(type=\"omrust\" name=\"out\" key=\"list\" {} spool.directory=\"{}\" spool.delay=\"200\")",
        usual(redis),
        spool.display()
    );
    let mut plain = Plain::with_modules(scene, faulty_module_folder(), QUEUE, "", &rules);
    plain.setup = plain.setup.env("FIFO_BRIDGE_PANIC", &format!("outlet-before-release:{times}"));
    plain
}

#[test]
fn a_drainer_that_panics_starts_over_and_nothing_comes_twice() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let plain = failing(&scene, &redis, 1);
    let mut rsyslogd = plain.start();
    let records = Numbered::new("panic", 100);
    plain.send(&records, 0..1_000);
    redis.wait_llen("list", 1_000, PATIENCE);
    redis.kill9();
    plain.send(&records, 1_000..3_000);
    plain.counters("out", "spooled", 2_000);
    redis.start();
    plain.wait_said("internal error 1 while draining the spool, it starts over");
    plain.send(&records, 3_000..4_000);
    assert_has(&redis, "list", "panic", 0..4_000);
    assert_eq!(plain.said("internal error").len(), 1, "{}", plain.messages());
    rsyslogd.term();
}

#[test]
fn a_drainer_that_panics_twice_at_one_place_stands_still_until_a_hup() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let plain = failing(&scene, &redis, 2);
    let mut rsyslogd = plain.start();
    let records = Numbered::new("panic", 100);
    plain.send(&records, 0..1_000);
    redis.wait_llen("list", 1_000, PATIENCE);
    redis.kill9();
    plain.send(&records, 1_000..3_000);
    plain.counters("out", "spooled", 2_000);
    redis.start();
    plain.wait_said("at the same place as before: nothing is drained until HUP or a restart");
    // rsyslogd goes on handing in batches, and they are as safe as ever.
    plain.send(&records, 3_000..4_000);
    plain.counters("out", "spooled", 3_000);
    assert_eq!(plain.said("internal error").len(), 2, "{}", plain.messages());
    rsyslogd.hup();
    assert_has(&redis, "list", "panic", 0..4_000);
    rsyslogd.term();
}
