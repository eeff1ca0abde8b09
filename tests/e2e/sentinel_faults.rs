//! Failovers that something else makes worse: TLS everywhere, and answers that are lost while another server becomes the master.

use std::time::Duration;

use e2e::certs::Authority;
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::load::Load;
use e2e::native::door::{Door, KEY, OMRUST};
use e2e::native::prog::OMPROG;
use e2e::pipe::Numbered;
use e2e::proxy::{Mode, Proxy};
use e2e::sentinel::{Ground, Watched};

use crate::sentinel::{Native, ONE_REPLICA, arrived, config, pace};

/// The master is killed and comes back as a replica; without one the new master takes nothing.
fn killed(watched: &mut Watched) {
    let (old, _) = watched.kill_master();
    watched.servers[old].start();
    watched.wait_replica(old);
}

/// Servers and Sentinels that speak TLS only, and ask for certificates.
fn secure(scene: &Scene) -> (Authority, Watched) {
    let authority = Authority::new(scene, "authority");
    authority.issue("client", &["client"]);
    let mut watched = Watched::prepare_on(scene, ONE_REPLICA, Ground { tls: Some(&authority), ..Ground::default() });
    watched.start_sentinels();
    (authority, watched)
}

#[test]
fn the_bridge_lives_through_failovers_where_all_speak_tls() {
    let scene = Scene::new();
    let (_authority, mut watched) = secure(&scene);
    let file = |name: &str| scene.file(name).display().to_string();
    let bridge = config(&scene, &watched, "replica:1")
        .set("redis.tls.enabled", true)
        .set("redis.tls.ca-cert", file("authority.crt"))
        .set("redis.tls.cert", file("client.crt"))
        .set("redis.tls.key", file("client.key"))
        .start();
    let load = Load::start(&bridge.fifo(), &Numbered::new("r", 100), pace());
    watched.flow(KEY, 300);
    watched.fail_over();
    watched.flow(KEY, 300);
    killed(&mut watched);
    watched.flow(KEY, 300);
    let sent = load.stop();
    sent.ledger().judge(arrived(&watched, &bridge, sent.count)).assert_clean();
}

fn where_all_speak_tls(door: &Door, spool: bool) {
    let scene = Scene::new();
    let (_authority, watched) = secure(&scene);
    let file = |name: &str| scene.file(name).display().to_string();
    let more = format!(
        "ack=\"replica:1\" tls=\"on\" tls.cacert=\"{}\" tls.mycert=\"{}\" tls.myprivkey=\"{}\"",
        file("authority.crt"),
        file("client.crt"),
        file("client.key")
    );
    let addresses = watched.addresses();
    let verdict = Native::before(&scene, watched, &addresses, door, &more, spool).run(|watched| {
        watched.fail_over();
    });
    assert!(verdict.is_clean(), "{}: {verdict}", door.name);
}

#[test]
fn the_module_lives_through_a_failover_where_all_speak_tls() {
    where_all_speak_tls(&OMRUST, false);
}

#[test]
fn the_program_lives_through_a_failover_where_all_speak_tls() {
    where_all_speak_tls(&OMPROG, true);
}

/// A proxy before each server that only the door goes through, for a proxy before each Sentinel names it.
struct Between {
    servers: Vec<Proxy>,
    _sentinels: Vec<Proxy>,
    addresses: Vec<String>,
}

impl Between {
    fn start(watched: &Watched) -> Self {
        let ports: Vec<(u16, u16)> =
            (0..watched.servers.len()).map(|server| (watched.port(server), free_port())).collect();
        let servers = ports.iter().map(|(server, port)| Proxy::between(*port, *server)).collect();
        let sentinels: Vec<(u16, Proxy)> = watched
            .sentinel_ports()
            .into_iter()
            .map(|sentinel| {
                let port = free_port();
                (port, Proxy::renaming(port, sentinel, &ports))
            })
            .collect();
        let addresses = sentinels.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect();
        Self { servers, _sentinels: sentinels.into_iter().map(|(_, proxy)| proxy).collect(), addresses }
    }

    /// What the door pushes last to the old master, and first to the new one, is done and not answered.
    fn swallow(&self, watched: &Watched, times: usize) {
        for _ in 0..times {
            let old = until("a master", PATIENCE, || watched.master());
            self.fault(old, |proxy| proxy.set(Mode::SwallowReplies(Duration::from_millis(300))));
            let new = watched.fail_over();
            self.fault(new, |proxy| proxy.once(Mode::SwallowReplies(Duration::from_millis(100))));
            self.servers[old].set(Mode::Pass);
            watched.flow(KEY, 300);
        }
    }

    /// Waits until an answer was swallowed.
    #[track_caller]
    fn fault(&self, server: usize, begin: impl FnOnce(&Proxy)) {
        let proxy = &self.servers[server];
        let before = proxy.faults();
        begin(proxy);
        until("an answer to be swallowed", PATIENCE, || (proxy.faults() > before).then_some(()));
    }
}

#[test]
fn the_bridge_lives_through_answers_that_are_lost_in_a_failover() {
    let scene = Scene::new();
    let watched = Watched::start(&scene, ONE_REPLICA);
    let between = Between::start(&watched);
    let bridge = config(&scene, &watched, "replica:1").set("redis.server", between.addresses.clone()).start();
    let load = Load::start(&bridge.fifo(), &Numbered::new("r", 100), pace());
    watched.flow(KEY, 300);
    between.swallow(&watched, 2);
    let sent = load.stop();
    sent.ledger().judge(arrived(&watched, &bridge, sent.count)).assert_clean();
}

fn with_answers_lost(door: &Door, spool: bool) {
    let scene = Scene::new();
    let watched = Watched::start(&scene, ONE_REPLICA);
    let between = Between::start(&watched);
    let addresses = between.addresses.clone();
    let native = Native::before(&scene, watched, &addresses, door, "ack=\"replica:1\"", spool);
    let verdict = native.run(|watched| between.swallow(watched, 1));
    assert!(verdict.is_clean(), "{}: {verdict}", door.name);
}

#[test]
fn the_module_lives_through_answers_that_are_lost_in_a_failover() {
    with_answers_lost(&OMRUST, false);
}

#[test]
fn the_program_lives_through_answers_that_are_lost_in_a_failover() {
    with_answers_lost(&OMPROG, true);
}
