//! What impstats says of the module, and that it adds up.

use e2e::child::{PATIENCE, Scene, until};
use e2e::native::plain::{Plain, assert_has, usual};
use e2e::pipe::Numbered;
use e2e::proxy::{Mode, Proxy};
use e2e::redis::Redis;
use serde_json::Value;

fn number(counters: &Value, name: &str) -> u64 {
    counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}"))
}

/// At rest everything that was received is somewhere.
#[track_caller]
fn assert_adds_up(counters: &Value, records: u64) {
    let somewhere = ["pushed", "duplicates_suppressed", "dead_letters"].map(|name| number(counters, name));
    assert_eq!(number(counters, "received"), somewhere.iter().sum::<u64>(), "{counters}");
    assert_eq!(number(counters, "accepted"), records, "{counters}");
}

#[test]
fn counters_add_up_after_outages_and_lost_replies() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let proxy = Proxy::start(&scene, redis.socket());
    let rules = format!(
        "action(type=\"omrust\" name=\"out\" key=\"list\" server=\"{}\" template=\"record\" timeout=\"400\" \
         action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")",
        proxy.socket().display()
    );
    let plain = Plain::new(&scene, "", &rules);
    let mut rsyslogd = plain.start();
    let records = Numbered::new("sum", 100);
    plain.send(&records, 0..2_000);
    redis.wait_llen("list", 2_000, PATIENCE);
    proxy.once(Mode::SwallowReplies(std::time::Duration::ZERO));
    plain.send(&records, 2_000..3_000);
    redis.wait_llen("list", 3_000, PATIENCE);
    redis.kill9();
    plain.send(&records, 3_000..4_000);
    plain.counters("out", "retries", 3);
    redis.start();
    assert_has(&redis, "list", "sum", 0..4_000);
    let counters = until("everything to be counted", PATIENCE, || {
        let counters = plain.statistics.last(0, "out", "omrust")?;
        (number(&counters, "accepted") == 4_000).then_some(counters)
    });
    assert_adds_up(&counters, 4_000);
    assert!(number(&counters, "reconnects") > 0 && number(&counters, "unknown_outcome") > 0, "{counters}");
    rsyslogd.term();
}

#[test]
fn each_action_has_its_own_object_and_name() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let usual = usual(&redis);
    let rules = format!(
        "action(type=\"omrust\" name=\"one\" key=\"list\" {usual})\naction(type=\"omrust\" name=\"two\" statsname=\"second\" key=\"list\" {usual})"
    );
    let plain = Plain::new(&scene, "", &rules);
    let mut rsyslogd = plain.start();
    plain.send(&Numbered::new("each", 100), 0..500);
    for name in ["one", "second"] {
        let counters = plain.counters(name, "accepted", 500);
        assert_adds_up(&counters, 500);
        let told: Vec<&str> = omrust::abi::COUNTERS.iter().map(|counter| counter.0).collect();
        assert!(told.iter().all(|name| counters[*name].is_u64()), "{counters}");
    }
    assert_eq!(redis.llen("list"), 1_000);
    rsyslogd.term();
}

#[test]
fn counters_can_be_reset_and_gauges_stay() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let plain = Plain::new(&scene, "", &format!("action(type=\"omrust\" name=\"out\" key=\"list\" {})", usual(&redis)));
    let setup = plain.setup.clone().replace("interval=\"1\"", "interval=\"1\" resetCounters=\"on\"");
    let mut rsyslogd = setup.start();
    plain.send(&Numbered::new("reset", 100), 0..500);
    plain.counters("out", "pushed", 500);
    until("the counters to be 0 again", PATIENCE, || {
        let counters = plain.statistics.last(0, "out", "omrust")?;
        (number(&counters, "pushed") == 0 && number(&counters, "list_length") == 500).then_some(())
    });
    plain.send(&Numbered::new("reset", 100), 500..600);
    plain.counters("out", "pushed", 100);
    rsyslogd.term();
}
