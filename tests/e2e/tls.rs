//! TLS to a real redis-server: who is let in, and the one line that tells why not.

use std::process::Output;

use e2e::bridge::{Bridge, BridgeConfig};
use e2e::certs::{Authority, HERE, Pair};
use e2e::child::Scene;
use e2e::load::Pace;
use e2e::pipe::Numbered;
use e2e::redis::{Redis, RedisSetup};
use e2e::stage::{KEY, Stage};

/// A server that speaks TLS, and who signed its certificate.
struct Server {
    scene: Scene,
    authority: Authority,
    redis: Redis,
}

impl Server {
    fn new(pair: impl FnOnce(&Authority) -> Pair, ask: bool) -> Self {
        Self::with(pair, ask, |setup| setup)
    }

    fn with(pair: impl FnOnce(&Authority) -> Pair, ask: bool, more: impl FnOnce(RedisSetup) -> RedisSetup) -> Self {
        let scene = Scene::new();
        let authority = Authority::new(&scene, "authority");
        let pair = pair(&authority);
        let redis = more(Redis::setup(&scene).tls(&authority, &pair, ask)).start();
        Self { scene, authority, redis }
    }

    fn port(&self) -> u16 {
        self.redis.port().expect("it listens on TCP")
    }

    /// A bridge that trusts the authority and goes to `host`.
    fn bridge(&self, host: &str) -> BridgeConfig {
        Bridge::config(&self.scene)
            .set("redis.server", format!("rediss://{host}:{}", self.port()))
            .set("redis.tls.ca-cert", text(&self.authority.certificate()))
            .set("queue.producer", "p")
    }

    fn stage(self, bridge: BridgeConfig) -> Stage {
        Stage { scene: self.scene, redis: self.redis, bridge: bridge.start(), records: Numbered::new("r", 100) }
    }
}

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

fn good(authority: &Authority) -> Pair {
    authority.issue("server", HERE)
}

fn identified(config: BridgeConfig, pair: &Pair) -> BridgeConfig {
    config.set("redis.tls.cert", text(&pair.cert)).set("redis.tls.key", text(&pair.key))
}

/// `check` fails with this exit status, and what it says holds all of these words.
#[track_caller]
fn refused(config: BridgeConfig, status: i32, words: &[&str]) {
    let Output { status: ended, stderr, .. } = config.prepare().run(&["check"]);
    let said = String::from_utf8_lossy(&stderr);
    assert_eq!(ended.code(), Some(status), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "{word} in {said}");
    }
}

#[track_caller]
fn accepted(config: BridgeConfig) {
    let output = config.prepare().run(&["check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_server_is_known_by_its_name_and_by_its_addresses() {
    let server = Server::with(good, false, |setup| setup.options(&["bind", "127.0.0.1", "::1"]));
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        accepted(server.bridge(host));
    }
    // The same without an URL.
    accepted(
        server
            .bridge("x")
            .set("redis.server", "::1")
            .set("redis.port", i64::from(server.port()))
            .set("redis.tls.enabled", true),
    );
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let server = Server::new(|authority| authority.issue("server", &["redis.example.net"]), false);
    refused(server.bridge("127.0.0.1"), 1, &["is not for that name", "redis.example.net", "set the server name"]);
    refused(server.bridge("localhost"), 1, &["is not for that name"]);
    accepted(server.bridge("127.0.0.1").set("redis.tls.server-name", "redis.example.net"));
    refused(
        server.bridge("127.0.0.1").set("redis.tls.server-name", "other.example.net"),
        1,
        &["is not for other.example.net"],
    );
}

#[test]
fn an_expired_certificate_is_refused() {
    let server = Server::new(|authority| authority.issue_expired("server", HERE), false);
    refused(server.bridge("127.0.0.1"), 1, &["expired", "days ago", "renew it"]);
}

#[test]
fn a_certificate_of_a_stranger_is_refused() {
    let server = Server::new(good, false);
    let stranger = Authority::new(&server.scene, "stranger");
    let file = text(&stranger.certificate());
    refused(server.bridge("127.0.0.1").set("redis.tls.ca-cert", file.as_str()), 1, &["is not signed by", &file]);
    // Nobody on this machine trusts the authority of a test.
    refused(
        server.bridge("127.0.0.1").unset("redis.tls.ca-cert"),
        1,
        &["is not signed by a CA that this system trusts"],
    );
    // Unless it is told to: the variable that OpenSSL has for it names another store.
    let store = text(&server.authority.certificate());
    accepted(server.bridge("127.0.0.1").unset("redis.tls.ca-cert").env("SSL_CERT_FILE", &store));
    // A folder of certificates, among them the right one.
    let folder = server.scene.folder("certificates");
    for authority in [&stranger, &server.authority] {
        let file = authority.certificate();
        std::fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("copied");
    }
    std::fs::write(folder.join("README"), "no certificate").expect("written");
    accepted(server.bridge("127.0.0.1").set("redis.tls.ca-cert", text(&folder)));
}

#[test]
fn a_client_certificate_opens_the_door() {
    let server = Server::new(good, true);
    // The server says so when the handshake is over for us: often enough to see each way in which that may be heard.
    for _ in 0..10 {
        refused(server.bridge("127.0.0.1"), 1, &["ended the TLS handshake", "client certificate, set one"]);
    }
    let stranger = Authority::new(&server.scene, "stranger").issue("foreign", &["client"]);
    for _ in 0..10 {
        refused(
            identified(server.bridge("127.0.0.1"), &stranger),
            1,
            &["may not accept the client certificate", "foreign.crt"],
        );
    }
    accepted(identified(server.bridge("127.0.0.1"), &server.authority.issue("client", &["client"])));
}

#[test]
fn who_does_not_speak_tls_is_told_so() {
    let server = Server::new(good, false);
    let plain =
        server.bridge("x").unset("redis.tls.ca-cert").set("redis.server", format!("127.0.0.1:{}", server.port()));
    refused(plain, 1, &["TLS", "switch TLS on"]);
    let other = Scene::new();
    let redis = Redis::setup(&other).tcp().start();
    for _ in 0..5 {
        // Whether it answers something or waits for more depends on what the handshake is made of.
        let config =
            server.bridge("x").set("redis.server", format!("rediss://127.0.0.1:{}", redis.port().expect("a port")));
        refused(config.set("redis.connect-timeout-ms", 300), 1, &["does not answer with TLS", "TLS port"]);
    }
}

#[test]
fn files_that_cannot_be_used_are_told_by_check_and_do_not_keep_it_from_running() {
    let server = Server::new(good, true);
    let client = server.authority.issue("client", &["client"]);
    let other = server.authority.issue("other", &["other"]);
    let empty = text(&server.scene.write("empty.pem", "nothing\n"));
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = text(&server.scene.write("locked.key", locked));
    let missing = text(&server.scene.file("missing"));
    let base = || identified(server.bridge("127.0.0.1"), &client);
    let (ca, cert, key) = ("redis.tls.ca-cert", "redis.tls.cert", "redis.tls.key");
    for (name, path, word) in [
        (ca, missing.as_str(), "cannot be read"),
        (cert, &missing, "cannot be read"),
        (key, &missing, "cannot be read"),
        (ca, &empty, "holds no certificate in PEM form"),
        (cert, &empty, "holds no certificate in PEM form"),
        (key, &empty, "holds no private key in PEM form"),
        (key, &locked, "is encrypted"),
        (key, &text(&other.key), "does not belong to the certificate"),
    ] {
        refused(base().set(name, path), 78, &[path, word]);
    }
    // Both files are exchanged one after the other: it waits for the second.
    let bridge = base().set(key, text(&other.key));
    let mut stage = server.stage(bridge);
    let load = stage.load(Pace::default());
    load.go_on(500);
    stage.bridge.wait_said("does not belong to the certificate", 1);
    std::fs::copy(&client.key, &other.key).expect("copied");
    stage.bridge.wait_said("is back after", 1);
    load.go_on(500);
    stage.judge(&load.stop());
    assert_eq!(stage.bridge.said("does not belong").len(), 1);
    stage.bridge.term();
}

#[test]
fn contradictions_are_errors_that_name_the_key() {
    let scene = Scene::new();
    let config = || Bridge::config(&scene).set("redis.server", "127.0.0.1");
    for (config, key) in [
        (config().set("redis.tls.ca-cert", "/x"), "redis.tls.ca-cert"),
        (config().set("redis.tls.enabled", true).set("redis.tls.cert", "/x"), "redis.tls.cert"),
        (config().set("redis.tls.enabled", true).set("redis.tls.key", "/x"), "redis.tls.key"),
        (config().set("redis.tls.enabled", true).set("redis.tls.server-name", "a b"), "redis.tls.server-name"),
        (config().set("redis.tls.enabled", true).set("redis.server", "/run/redis.sock"), "redis.tls.enabled"),
        (config().set("redis.server", "rediss://127.0.0.1/#insecure"), "redis.server"),
        (config().set("redis.tls.insecure", true), "redis.tls.insecure"),
    ] {
        refused(config, 78, &[".toml:", &format!("{key}: ")]);
    }
}

/// A trouble that lasts is one line, and its end another.
#[test]
fn a_certificate_that_expired_and_is_renewed_is_told_once() {
    let server = Server::new(good, false);
    let authority = Authority::new(&server.scene, "authority");
    let bridge = server.bridge("127.0.0.1");
    // The authority is a new one, too: nothing of the first handshake is left.
    let mut stage = server.stage(bridge);
    stage.bridge.wait_said("not signed by", 1);
    renew(&stage.redis, &authority.issue_expired("server", HERE));
    stage.bridge.wait_said("expired", 1);
    let load = stage.load(Pace::default());
    load.go_on(2000);
    let retries = stage.bridge.counter("retries");
    e2e::child::until("more attempts", e2e::child::PATIENCE, || {
        (stage.bridge.counter("retries") > retries + 3).then_some(())
    });
    renew(&stage.redis, &authority.issue("server", HERE));
    stage.bridge.wait_said("is back after", 1);
    load.go_on(500);
    stage.judge(&load.stop());
    let lines = stage.bridge.said("redis");
    assert_eq!(stage.bridge.said("takes nothing").len(), 2, "{lines:#?}");
    assert_eq!(stage.bridge.said("is back after").len(), 1, "{lines:#?}");
    assert_eq!(stage.redis.llen(KEY), stage.redis.list(KEY).len());
    stage.bridge.term();
}

/// redis-server reads its certificate again.
fn renew(redis: &Redis, pair: &Pair) {
    redis.cmd(&["CONFIG", "SET", "tls-cert-file", &text(&pair.cert), "tls-key-file", &text(&pair.key)]);
}
