//! A name whose address changes: it is looked up again at each connect, and each of its addresses is tried.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use e2e::bridge::{Bridge, binary};
use e2e::child::Scene;
use e2e::load::Pace;
use e2e::native::plain::{Plain, assert_has};
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use e2e::stage::Stage;

/// A fifo-bridge that sees `hosts` where `/etc/hosts` is, and nobody else does.
fn elsewhere(scene: &Scene, hosts: &std::path::Path) -> std::path::PathBuf {
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind \"$0\" /etc/hosts && exec \"$@\"' {} {} \"$@\"\n",
        hosts.display(),
        binary().display()
    );
    let path = scene.write("elsewhere", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    path
}

#[test]
fn a_name_may_change_its_address() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).tcp().options(&["bind", "127.0.0.2"]).start();
    let hosts = scene.write("hosts", "127.0.0.3 redis.test\n");
    let bridge = Bridge::config(&scene)
        .program(&elsewhere(&scene, &hosts))
        .set("redis.server", format!("redis.test:{}", redis.port().expect("a port")))
        .set("queue.producer", "p")
        .start();
    let mut stage = Stage { scene, redis, bridge, records: Numbered::new("r", 100) };
    let load = stage.load(Pace::default());
    // Nobody listens at the first address.
    stage.bridge.wait_said("takes nothing", 1);
    load.go_on(500);
    fs::write(&hosts, "127.0.0.2 redis.test\n").expect("written");
    stage.bridge.wait_said("is back after", 1);
    // The server moves, and the name has an old address beside the new one.
    for (address, names) in [
        ("127.0.0.4", "127.0.0.2 redis.test\n127.0.0.4 redis.test\n"),
        ("127.0.0.5", "127.0.0.5 redis.test\n127.0.0.4 redis.test\n"),
        ("127.0.0.6", "::1 redis.test\n127.0.0.6 redis.test\n"),
    ] {
        load.go_on(1000);
        let before = stage.bridge.counter("reconnects");
        stage.redis.cmd(&["CONFIG", "SET", "bind", address]);
        stage.redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        load.go_on(1000);
        fs::write(&hosts, names).expect("written");
        e2e::child::until("a new connection", e2e::child::PATIENCE, || {
            (stage.bridge.counter("reconnects") > before).then_some(())
        });
    }
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    stage.counted(&sent);
    stage.bridge.term();
}

/// An address of IPv6, and a name that has one: the bridge and the module, through a restart of the server.
#[test]
fn a_server_may_have_an_address_of_ipv6() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).tcp().aof().options(&["bind", "::1"]).start();
    let port = redis.port().expect("a port");
    let bridge = Bridge::config(&scene).set("redis.server", format!("[::1]:{port}")).set("queue.producer", "p").start();
    let action = format!(
        "action(name=\"out\" type=\"omrust\" server=\"::1\" serverport=\"{port}\" key=\"native\" template=\"record\" \
         action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")"
    );
    let plain = Plain::new(&scene, "", &action);
    let _rsyslogd = plain.start();
    let mut stage = Stage { scene, redis, bridge, records: Numbered::new("r", 100) };
    let load = stage.load(Pace::default());
    plain.send(&Numbered::new("n", 100), 0..500);
    load.go_on(500);
    stage.redis.restart();
    plain.send(&Numbered::new("n", 100), 500..1000);
    load.go_on(500);
    let sent = load.stop();
    stage.judge(&sent);
    assert_has(&stage.redis, "native", "n", 0..1000);
    stage.bridge.term();
}
