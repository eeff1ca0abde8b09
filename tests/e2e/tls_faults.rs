//! TLS while things break: nothing is lost, nothing comes twice, nothing out of order. Through every door.

use std::time::Duration;

use e2e::bridge::Bridge;
use e2e::certs::{Authority, HERE};
use e2e::child::{Scene, free_port, until};
use e2e::load::Pace;
use e2e::native::door::{Door, OMRUST};
use e2e::native::faults;
use e2e::native::prog::OMPROG;
use e2e::native::rig::{Plan, Rig};
use e2e::native::scenario::{Scenario, Step};
use e2e::pipe::Numbered;
use e2e::proxy::{Mode, Proxy};
use e2e::redis::Redis;
use e2e::stage::Stage;

const IMPATIENT: &str = "timeout=\"400\" connecttimeout=\"400\"";
/// In the middle of what a server says in the handshake.
const HANDSHAKE: u64 = 500;
/// In the middle of an answer to a push.
const REPLY: u64 = 37;

fn plan(spool: bool) -> Plan {
    Plan { tls: true, spool, more: IMPATIENT.to_owned(), ..Plan::default() }
}

/// Each connection is cut in the middle of a reply, and the next ones in the handshake.
fn cut(spool: bool) -> Scenario {
    let plan = Plan { proxy: true, ..plan(spool) };
    let round = [
        Step::Flow(300),
        Step::Do(|rig| proxy(rig).once(Mode::CutReply(REPLY))),
        Step::Do(|rig| fault(proxy(rig))),
        Step::Do(|rig| {
            proxy(rig).set(Mode::CutReply(HANDSHAKE));
            proxy(rig).cut();
        }),
        Step::Sent(500),
        Step::Do(|rig| fault(proxy(rig))),
        Step::Pass,
    ];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(3), vec![Step::Flow(500)]].concat();
    Scenario { name: "TLS is cut in a reply and in the handshake", plan, steps }
}

fn proxy(rig: &Rig) -> &Proxy {
    rig.proxy.as_ref().expect("a proxy")
}

/// Waits until one more connection was cut.
#[track_caller]
fn fault(proxy: &Proxy) {
    let before = proxy.faults();
    until("a connection to be cut", e2e::child::PATIENCE, || {
        (proxy.mode() == Mode::Pass || proxy.faults() > before).then_some(())
    });
}

/// A new authority signs new certificates for both sides, and the files take the place of the old ones.
fn rotate(rig: &mut Rig) {
    let authority = Authority::new(&rig.scene, "authority");
    authority.issue("client", &["client"]);
    let server = authority.issue("server", HERE);
    let path = |path: std::path::PathBuf| path.display().to_string();
    rig.redis.cmd(&[
        "CONFIG",
        "SET",
        "tls-ca-cert-file",
        &path(authority.certificate()),
        "tls-cert-file",
        &path(server.cert),
        "tls-key-file",
        &path(server.key),
    ]);
    rig.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
}

fn rotated(spool: bool) -> Scenario {
    let round = [Step::Flow(500), Step::Do(rotate), Step::Sent(500), Step::Flow(500)];
    let steps = [vec![Step::Send(&["a", "b"])], round.repeat(3)].concat();
    Scenario { name: "certificates are exchanged under load", plan: plan(spool), steps }
}

fn both(scenario: fn(bool) -> Scenario, door: &Door) {
    for spool in [true, false] {
        scenario(spool).assert_clean(door);
    }
}

#[test]
fn the_module_lives_through_cuts() {
    both(cut, &OMRUST);
}

#[test]
fn the_program_lives_through_cuts() {
    both(cut, &OMPROG);
}

#[test]
fn the_module_takes_new_certificates() {
    both(rotated, &OMRUST);
}

#[test]
fn the_program_takes_new_certificates() {
    both(rotated, &OMPROG);
}

#[test]
fn redis_is_killed_behind_tls() {
    faults::redis_killed(plan(true)).assert_clean(&OMRUST);
    faults::redis_killed(plan(true)).assert_clean(&OMPROG);
}

/// A bridge behind a proxy, over TLS.
fn bridge() -> (Stage, Proxy) {
    let scene = Scene::new();
    let authority = Authority::new(&scene, "authority");
    let redis = Redis::setup(&scene).tls(&authority, &authority.issue("server", HERE), true).start();
    let client = authority.issue("client", &["client"]);
    let port = free_port();
    let proxy = Proxy::between(port, redis.port().expect("a port"));
    let text = |path: &std::path::Path| path.display().to_string();
    let bridge = Bridge::config(&scene)
        .set("redis.server", format!("rediss://localhost:{port}"))
        .set("redis.tls.ca-cert", text(&authority.certificate()))
        .set("redis.tls.cert", text(&client.cert))
        .set("redis.tls.key", text(&client.key))
        .set("redis.connect-timeout-ms", 400)
        .set("redis.timeout-ms", 400)
        .set("queue.producer", "p")
        .start();
    (Stage { scene, redis, bridge, records: Numbered::new("r", 100) }, proxy)
}

#[test]
fn the_bridge_lives_through_cuts() {
    let (mut stage, proxy) = bridge();
    let load = stage.load(Pace::default());
    for round in 0..10 {
        load.go_on(500);
        proxy.once(Mode::CutReply(REPLY + round));
        fault(&proxy);
        load.go_on(500);
        proxy.set(Mode::CutReply(HANDSHAKE));
        proxy.cut();
        fault(&proxy);
        proxy.set(Mode::Pass);
        load.go_on(500);
        proxy.once(Mode::CutRequest(3000));
        fault(&proxy);
        load.go_on(500);
        proxy.once(Mode::SwallowReplies(Duration::from_millis(50)));
        fault(&proxy);
    }
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    stage.bridge.term();
}

#[test]
fn the_bridge_takes_new_certificates() {
    let (mut stage, _proxy) = bridge();
    let load = stage.load(Pace::default());
    for _ in 0..5 {
        load.go_on(1000);
        let authority = Authority::new(&stage.scene, "authority");
        authority.issue("client", &["client"]);
        let server = authority.issue("server", HERE);
        let files = [authority.certificate(), server.cert, server.key].map(|path| path.display().to_string());
        let [ca, cert, key] = &files;
        stage.redis.cmd(&["CONFIG", "SET", "tls-ca-cert-file", ca, "tls-cert-file", cert, "tls-key-file", key]);
        stage.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    }
    load.go_on(1000);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    assert!(stage.bridge.counter("reconnects") >= 5);
    stage.bridge.term();
}

/// A reply that does not come ends in time, and so does a handshake: redis stands still behind an open port.
#[test]
fn redis_stands_still_behind_tls() {
    let (mut stage, proxy) = bridge();
    let load = stage.load(Pace::default());
    for _ in 0..3 {
        load.go_on(1000);
        stage.redis.sigstop();
        stage.bridge.wait_said("takes nothing", 1);
        load.go_on(1000);
        // What it was sent before must not be the last that it hears of.
        proxy.cut();
        stage.redis.sigcont();
    }
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    stage.bridge.term();
}
