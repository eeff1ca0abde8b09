//! A name whose address changes, or that nobody tells: it is looked up again at each connect, within its time, and each of its addresses is tried.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use e2e::bridge::{Bridge, BridgeConfig, binary};
use e2e::child::Scene;
use e2e::load::Pace;
use e2e::native::plain::{Plain, assert_has};
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use e2e::stage::Stage;

const HOSTS: &str = "/etc/hosts";

/// A fifo-bridge that sees files of ours where it looks for names, and nobody else does.
fn elsewhere(scene: &Scene, files: &[(&Path, &str)]) -> PathBuf {
    let mounts: Vec<String> =
        files.iter().map(|(ours, theirs)| format!("mount --bind {} {theirs}", ours.display())).collect();
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c '{} && exec \"$0\" \"$@\"' {} \"$@\"\n",
        mounts.join(" && "),
        binary().display()
    );
    let path = scene.write("elsewhere", script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it can be run");
    path
}

/// A bridge that knows `redis` by a name, as these files of ours tell it.
fn by_name(scene: &Scene, redis: &Redis, files: &[(&Path, &str)]) -> BridgeConfig {
    Bridge::config(scene)
        .program(&elsewhere(scene, files))
        .set("redis.server", format!("redis.test:{}", redis.port().expect("a port")))
        .set("queue.producer", "p")
}

#[test]
fn a_name_may_change_its_address() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).tcp().options(&["bind", "127.0.0.2"]).start();
    let hosts = scene.write("hosts", "127.0.0.3 redis.test\n");
    let bridge = by_name(&scene, &redis, &[(&hosts, HOSTS)]).start();
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

/// The name server says nothing, and the system would wait for it much longer than `connect-timeout-ms`.
#[test]
fn a_name_server_may_be_silent() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).tcp().start();
    // Nobody else has it: the last numbers are chance.
    let address = format!("127.{}.{}.{}", fastrand::u8(1..), fastrand::u8(..), fastrand::u8(1..255));
    let silent = UdpSocket::bind((address.as_str(), 53)).expect("the port of name servers; it needs root");
    let resolver = scene.write("resolv.conf", format!("nameserver {address}\n"));
    let hosts = scene.write("hosts", "127.0.0.1 localhost\n");
    let files: [(&Path, &str); 2] = [(&hosts, HOSTS), (&resolver, "/etc/resolv.conf")];
    let bridge = by_name(&scene, &redis, &files).set("redis.connect-timeout-ms", 200).start();
    let mut stage = Stage { scene, redis, bridge, records: Numbered::new("r", 100) };
    let load = stage.load(Pace::default());
    stage.bridge.wait_said("the name redis.test could not be looked up in time", 1);
    load.go_on(500);
    // It was asked.
    silent.set_nonblocking(true).expect("a socket");
    assert!(silent.recv(&mut [0; 512]).is_ok(), "nobody asked the name server");
    fs::write(&hosts, "127.0.0.1 redis.test\n").expect("written");
    stage.bridge.wait_said("is back after", 1);
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
