//! Several lanes: order within each stream, a lane that is away alone, idle lanes, another number of lanes, kills at every step.

use std::time::Duration;

use delivery::fault::Place;
use delivery::outlet::lane_of;
use e2e::bridge::{Bridge, BridgeConfig};
use e2e::child::{PATIENCE, Scene, until};
use e2e::ledger::Ledger;
use e2e::load::{Load, Pace, Sent};
use e2e::pipe::{Numbered, PipeWriter};
use e2e::redis::Redis;
use e2e::stage::{KEY, rest};

use crate::kills::rounds;

/// So many hosts write side by side, each a stream of its own.
const STREAMS: usize = 6;
/// Everything has arrived by then, whatever happened before.
const ARRIVAL: Duration = Duration::from_secs(60);

fn list(lane: usize) -> String {
    format!("{KEY}:{lane}")
}

/// One Redis, a bridge with several lanes, and the streams that are written.
struct Lanes {
    _scene: Scene,
    redis: Redis,
    bridge: Bridge,
    count: usize,
}

impl Lanes {
    fn start(count: usize, change: impl FnOnce(BridgeConfig) -> BridgeConfig) -> Self {
        let scene = Scene::new();
        let redis = Redis::setup(&scene).start();
        let config = Bridge::config(&scene)
            .redis(&redis)
            .set("queue.producer", "p")
            .set("queue.lanes", i64::try_from(count).expect("few"))
            .set("queue.lane-field", "word:1")
            .set("spool.segment-size", "64k")
            .set("spool.maxsize", "64m")
            .set("spool.retention-bytes", "64k")
            .set("spool.retention-seconds", 0);
        let bridge = change(config).start();
        Self { _scene: scene, redis, bridge, count }
    }

    fn load(&self) -> Streams {
        Streams::start(&self.bridge)
    }

    fn arrived(&self) -> usize {
        (0..self.count).map(|lane| self.redis.llen(&list(lane))).sum()
    }

    /// Waits until everything has arrived, and judges each lane and the dead letters.
    #[track_caller]
    fn judge(&self, written: &[(Numbered, Sent)]) {
        let lists: Vec<String> = (0..self.count).map(list).collect();
        judge(&self.bridge, &lists, written, &|lane| self.redis.llen(&lists[lane]), &|lane| {
            self.redis.list(&lists[lane])
        });
    }
}

/// Waits until everything that was written has arrived in `lists`, and judges each and the dead letters. `length` and `records` look
/// into the list of a lane.
#[track_caller]
pub fn judge(
    bridge: &Bridge,
    lists: &[String],
    written: &[(Numbered, Sent)],
    length: &dyn Fn(usize) -> usize,
    records: &dyn Fn(usize) -> Vec<Vec<u8>>,
) {
    let count: u64 = written.iter().map(|(_, sent)| sent.count).sum();
    let torn: Vec<&Vec<u8>> = written.iter().flat_map(|(_, sent)| &sent.torn).collect();
    bridge.wait_letters(torn.len(), ARRIVAL);
    let arrived = || (0..lists.len()).map(length).sum::<usize>() as u64;
    until("all records to arrive", ARRIVAL, || (arrived() >= count).then_some(()));
    rest(bridge);
    for lane in 0..lists.len() {
        let own =
            written.iter().filter(|(stream, _)| lane_of(stream.run().as_bytes(), lists.len() as u32) as usize == lane);
        let ledger = own.fold(Ledger::new(), |ledger, (stream, sent)| ledger.sent(stream, 0..sent.count));
        ledger.judge(records(lane)).assert_clean();
    }
    let letters = bridge.dead_letters();
    assert!(letters.iter().all(|letter| letter["lane"] == lists[0]), "a line that is no record is the first lane's");
    let parked = letters.iter().map(|letter| letter["record"].as_str().expect("text").as_bytes());
    Ledger::new().sent_exactly(torn).judge(parked).assert_clean();
}

/// Writers in the background.
pub struct Streams(Vec<(Numbered, Load)>);

impl Streams {
    /// One of them writes lines that are no records, too.
    pub fn start(bridge: &Bridge) -> Self {
        let start = |stream: usize| {
            let records = Numbered::new(&format!("host{stream}"), 100);
            let pace = Pace { torn_every: if stream == 0 { 50 } else { 0 }, burst: 4, ..Pace::default() };
            (records.clone(), Load::start(&bridge.fifo(), &records, pace))
        };
        Self((0..STREAMS).map(start).collect())
    }

    /// Waits until each has written so many more.
    pub fn go_on(&self, more: u64) {
        self.0.iter().for_each(|(_, load)| load.go_on(more));
    }

    /// Ends them.
    pub fn stop(self) -> Vec<(Numbered, Sent)> {
        self.0.into_iter().map(|(records, load)| (records, load.stop())).collect()
    }
}

#[test]
fn each_stream_is_in_one_lane_and_all_is_counted() {
    let lanes = Lanes::start(4, |bridge| bridge);
    let load = lanes.load();
    load.go_on(300);
    let written = load.stop();
    lanes.judge(&written);
    let status = lanes.bridge.status();
    let each = status["lanes"].as_array().expect("lanes");
    assert_eq!(each.len(), 4);
    let pushed = |key: &str| each.iter().map(|lane| lane[key].as_u64().expect("a number")).sum::<u64>();
    let records: u64 = written.iter().map(|(_, sent)| sent.count).sum();
    assert_eq!((pushed("pushed"), pushed("list_length")), (records, records));
    assert_eq!(lanes.bridge.counter("received"), records + written[0].1.torn.len() as u64);
    assert_eq!(lanes.bridge.counter("list_length"), records);
    for lane in 0..4 {
        let length = lanes.redis.llen(&list(lane));
        let name = format!("fifo_bridge_lane_pushed_total{{list=\"{}\"}}", list(lane));
        assert_eq!(lanes.bridge.metrics()[&name].to_string(), length.to_string());
    }
}

#[test]
fn lanes_killed_at_random_moments() {
    let mut lanes = Lanes::start(3, |bridge| bridge);
    let load = lanes.load();
    for _ in 0..rounds(40) {
        lanes.bridge.kill9();
        let (records, in_flight) = (fastrand::i64(1..100), fastrand::i64(1..16));
        lanes.bridge.reconfigure(|bridge| bridge.set("batch.records-max", records).set("queue.in-flight", in_flight));
        lanes.bridge.launch();
        std::thread::sleep(Duration::from_millis(200).mul_f64(fastrand::f64().powi(2)));
        lanes.bridge.kill9();
    }
    lanes.bridge.start();
    lanes.judge(&load.stop());
}

#[test]
fn lanes_killed_at_every_fault_point() {
    let mut lanes = Lanes::start(3, |bridge| bridge);
    let load = lanes.load();
    for place in Place::ALL {
        let most = match place {
            Place::SpoolBeforeFree | Place::SpoolAfterFree => 2,
            // Each lane connects once.
            Place::StartBeforeCursor | Place::DrainBeforeRotate | Place::DrainAfterRotate => 3,
            _ => 12,
        };
        for _ in 0..rounds(5) {
            lanes.bridge.kill9();
            lanes.bridge.launch_with_fault(place.name(), fastrand::u64(1..=most));
            let status = lanes.bridge.wait_exit(PATIENCE);
            assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{}: {status}", place.name());
        }
    }
    lanes.bridge.start();
    lanes.judge(&load.stop());
}

#[test]
fn a_lane_whose_list_is_of_another_type_waits_alone() {
    let mut lanes = Lanes::start(3, |bridge| bridge);
    let stuck = lane_of(b"host1", 3) as usize;
    lanes.redis.cmd(&["SET", &list(stuck), "in the way"]);
    let load = lanes.load();
    load.go_on(200);
    let others = |lanes: &Lanes| (0..3).filter(|lane| *lane != stuck).map(|lane| lanes.redis.llen(&list(lane))).sum();
    let before: usize = others(&lanes);
    load.go_on(500);
    until("the other lanes to flow", PATIENCE, || (others(&lanes) > before + 300).then_some(()));
    let status = lanes.bridge.status();
    assert_eq!(
        (&status["connected"], &status["lanes"][stuck]["connected"]),
        (&false.into(), &false.into()),
        "{status:#}"
    );
    assert!((0..3).all(|lane| lane == stuck || status["lanes"][lane]["connected"] == true), "{status:#}");
    lanes.bridge.kill9();
    lanes.bridge.start();
    lanes.redis.cmd(&["DEL", &list(stuck)]);
    lanes.judge(&load.stop());
}

#[test]
fn an_idle_lane_does_not_keep_the_spool() {
    let lanes = Lanes::start(4, |bridge| bridge);
    let records = Numbered::new("alone", 1000);
    let load = Load::start(&lanes.bridge.fifo(), &records, Pace { burst: 10, ..Pace::default() });
    load.go_on(3_000);
    // 3 MB came through segments of 64 KiB, and one lane only has records.
    until("the spool to be freed", PATIENCE, || (lanes.bridge.spool_files() < 1 << 20).then_some(()));
    lanes.judge(&[(records, load.stop())]);
    until("nothing to be retained but the last", PATIENCE, || (lanes.bridge.spool_files() <= 3 << 16).then_some(()));
}

#[test]
fn redis_is_emptied_and_each_lane_goes_on_where_it_was() {
    let mut lanes = Lanes::start(3, |bridge| bridge);
    let load = lanes.load();
    load.go_on(200);
    lanes.judge(&load.stop());
    // The lanes are not equally far.
    let stuck = lane_of(b"host1", 3) as usize;
    lanes.bridge.term();
    lanes.redis.cmd(&["FLUSHALL"]);
    lanes.redis.cmd(&["SET", &list(stuck), "in the way"]);
    lanes.bridge.start();
    let fresh: Vec<Numbered> = (0..STREAMS).map(|stream| Numbered::new(&format!("host{stream}"), 80)).collect();
    let mut writer = PipeWriter::open(&lanes.bridge.fifo());
    for n in 0..100 {
        writer.write_all(fresh.iter().map(|records| records.record(n)));
    }
    let here = |lane: usize| fresh.iter().filter(move |records| lane_of(records.run().as_bytes(), 3) as usize == lane);
    for lane in (0..3).filter(|lane| *lane != stuck) {
        lanes.redis.wait_llen(&list(lane), here(lane).count() * 100, PATIENCE);
    }
    lanes.bridge.term();
    lanes.redis.cmd(&["FLUSHALL"]);
    lanes.bridge.start();
    // What Redis had confirmed of the others is gone, and is not sent again; what the stuck lane had waiting comes.
    lanes.redis.wait_llen(&list(stuck), here(stuck).count() * 100, PATIENCE);
    rest(&lanes.bridge);
    let ledger = here(stuck).fold(Ledger::new(), |ledger, records| ledger.sent(records, 0..100));
    ledger.judge(lanes.redis.list(&list(stuck))).assert_clean();
    assert_eq!(lanes.arrived(), here(stuck).count() * 100);
}

#[test]
fn another_number_of_lanes_waits_until_nothing_waits() {
    let mut lanes = Lanes::start(2, |bridge| bridge);
    let streams: Vec<Numbered> = (0..STREAMS).map(|stream| Numbered::new(&format!("host{stream}"), 100)).collect();
    let mut writer = PipeWriter::open(&lanes.bridge.fifo());
    let mut write = |numbers: std::ops::Range<u64>| {
        numbers.for_each(|n| writer.write_all(streams.iter().map(|records| records.record(n))));
    };
    write(0..100);
    lanes.redis.wait_llen(&list(0), 1, PATIENCE);
    lanes.redis.sigstop();
    write(100..200);
    until("the spool to have them", PATIENCE, || (lanes.bridge.counter("spool_bytes") > 100_000).then_some(()));
    lanes.bridge.kill9();
    lanes.redis.sigcont();
    // More lanes, and another rule: both would split what waits otherwise.
    for (lanes_wanted, field) in [(3, "word:1"), (1, "word:1"), (2, "word:2")] {
        lanes.bridge.reconfigure(|bridge| bridge.set("queue.lanes", lanes_wanted).set("queue.lane-field", field));
        lanes.bridge.launch();
        assert!(!lanes.bridge.wait_exit(PATIENCE).success(), "it starts with {lanes_wanted} lanes by {field}");
        assert!(
            lanes.bridge.stderr().contains("bytes that are not in redis yet and were split over 2 lanes by word:1")
        );
    }
    // The old way first, or the command that does nothing else.
    lanes.bridge.reconfigure(|bridge| bridge.set("queue.lanes", 2).set("queue.lane-field", "word:1"));
    let replay = lanes.bridge.run(&["spool", "replay", lanes.bridge.spool().to_str().expect("plain")]);
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let old: Vec<Vec<u8>> = (0..2).flat_map(|lane| lanes.redis.list(&list(lane))).collect();
    assert_eq!(old.len(), 200 * STREAMS);
    // Killed in the middle of the change or not: it is made once.
    lanes.redis.cmd(&["DEL", &list(0), &list(1)]);
    lanes.bridge.reconfigure(|bridge| bridge.set("queue.lanes", 3));
    lanes.bridge.start();
    lanes.bridge.kill9();
    lanes.bridge.start();
    write(200..300);
    lanes.count = 3;
    until("the new records", PATIENCE, || (lanes.arrived() == 100 * STREAMS).then_some(()));
    rest(&lanes.bridge);
    let fresh = (0..3).flat_map(|lane| lanes.redis.list(&list(lane)));
    let ledger = streams.iter().fold(Ledger::new(), |ledger, records| ledger.sent(records, 0..300));
    ledger.judge(old.into_iter().chain(fresh)).assert_clean();
    // And back to one.
    lanes.bridge.term();
    lanes.bridge.reconfigure(|bridge| bridge.set("queue.lanes", 1));
    lanes.bridge.start();
    write(300..310);
    lanes.redis.wait_llen(KEY, 10 * STREAMS, PATIENCE);
    lanes.bridge.term();
}

#[test]
fn lanes_reloaded_under_load() {
    let mut lanes = Lanes::start(3, |bridge| bridge);
    let load = lanes.load();
    for round in 1..=20 {
        let (records, in_flight) = (fastrand::i64(1..200), fastrand::i64(1..20));
        lanes.bridge.reconfigure(|bridge| bridge.set("batch.records-max", records).set("queue.in-flight", in_flight));
        lanes.bridge.hup();
        lanes.bridge.wait_said("the settings were read again", round * 3);
    }
    // What decides about the lanes stays until a restart.
    lanes.bridge.reconfigure(|bridge| bridge.set("frame.resync", "always"));
    lanes.bridge.hup();
    lanes.bridge.wait_said("nothing was reloaded: frame.resync need a restart", 1);
    lanes.judge(&load.stop());
}

#[test]
fn what_redis_refuses_of_one_lane_is_parked_and_the_others_flow() {
    let mut lanes = Lanes::start(3, |bridge| bridge.set("queue.on-refused", "dead-letter"));
    let stuck = lane_of(b"host1", 3) as usize;
    lanes.redis.cmd(&["SET", &list(stuck), "in the way"]);
    let streams: Vec<Numbered> = (0..STREAMS).map(|stream| Numbered::new(&format!("host{stream}"), 100)).collect();
    let mut writer = PipeWriter::open(&lanes.bridge.fifo());
    for n in 0..300 {
        writer.write_all(streams.iter().map(|records| records.record(n)));
        if n.is_multiple_of(60) {
            lanes.bridge.kill9();
            lanes.bridge.start();
        }
    }
    rest(&lanes.bridge);
    let own = |lane: usize| {
        let here = streams.iter().filter(move |records| lane_of(records.run().as_bytes(), 3) as usize == lane);
        here.fold(Ledger::new(), |ledger, records| ledger.sent(records, 0..300))
    };
    for lane in (0..3).filter(|lane| *lane != stuck) {
        own(lane).judge(lanes.redis.list(&list(lane))).assert_clean();
    }
    let letters = lanes.bridge.dead_letters();
    assert!(letters.iter().all(|letter| letter["lane"] == list(stuck) && letter["reason"] == "refused"));
    own(stuck).judge(letters.iter().map(|letter| letter["record"].as_str().expect("text"))).assert_clean();
}
