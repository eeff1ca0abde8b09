//! Settings: each mistake has its line, flags win, secrets stay secret, a reload takes over what it may.

use std::fs;
use std::path::Path;
use std::process::Output;

use e2e::bridge::{Bridge, BridgeConfig, bare_command, binary};
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::ledger::Ledger;
use e2e::pipe::{Numbered, PipeWriter};
use e2e::redis::Redis;
use e2e::stage::{KEY, Stage};

const SECRET: &str = "s3cr3t-W0rd";

/// Runs fifo-bridge to its end, in an environment of its own.
fn fifo_bridge(scene: &Scene, words: &[&str]) -> Output {
    bare_command(binary(), scene.path()).args(words).output().expect("cannot run fifo-bridge")
}

/// Everything that it said.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A mistake, the line that it is in, and what is said of it behind `FILE:LINE: `.
const MISTAKES: &[(&str, usize, &str)] = &[
    // What nobody knows.
    (
        "[redis]\npasswort = \"x\"",
        2,
        "redis.passwort: unknown field `passwort`, expected one of `server`, `port`, `user`, `password`, `password-file`, \
         `db`, `sentinel-master`, `sentinel-user`, `sentinel-password`, `sentinel-password-file`, `ack`, `connect-timeout-ms`, \
         `timeout-ms`, `cluster`, `shard`, `tls`",
    ),
    (
        "\n\n[redsi]\nport = 1",
        3,
        "redsi: unknown field `redsi`, expected one of `redis`, `queue`, `stream`, `batch`, `fifo`, `frame`, `spool`, `dead-letter`, \
         `metrics`, `log`",
    ),
    (
        "port = 1",
        1,
        "port: unknown field `port`, expected one of `redis`, `queue`, `stream`, `batch`, `fifo`, `frame`, `spool`, `dead-letter`, \
         `metrics`, `log`",
    ),
    (
        "[queue]\npush = \"up\"",
        2,
        "queue.push: unknown variant `up`, expected `right` or `left`; allowed: right or left",
    ),
    (
        "[log]\nlevel = \"loud\"",
        2,
        "log.level: unknown variant `loud`, expected one of `error`, `warn`, `info`, `debug`; allowed: error, warn, info or debug",
    ),
    // Another type.
    ("[redis]\nport = \"x\"", 2, "redis.port: invalid type: string \"x\", expected u16; allowed: 1 to 65535"),
    (
        "[queue]\nkey = \"a\"\nin-flight = 2.5",
        3,
        "queue.in-flight: invalid type: floating point `2.5`, expected usize; allowed: 1 to 64",
    ),
    (
        "[fifo]\nmode = 660",
        2,
        "fifo.mode: invalid type: integer `660`, expected a string; allowed: octal, 0600 to 0666",
    ),
    (
        "[spool]\nmaxsize = true",
        2,
        "spool.maxsize: invalid type: boolean `true`, expected a size: bytes, or text like \"64m\"; allowed: size, 256k or more",
    ),
    ("spool = 5", 1, "spool: invalid type: integer `5`, expected a section"),
    // A secret is not repeated.
    ("[redis]\npassword = 12345678", 2, "redis.password: invalid type, expected a string; allowed: text"),
    (
        "[redis]\nserver = [12345678]",
        2,
        "redis.server: invalid type, expected a string; allowed: host, host:port, [v6]:port, /path/of/socket, redis://…, rediss://…, unix://…",
    ),
    (
        "[redis]\nserver = 12345678",
        2,
        "redis.server: invalid type, expected a string or an array of strings; allowed: host, host:port, [v6]:port, \
         /path/of/socket, redis://…, rediss://…, unix://…",
    ),
    ("redis = \"redis://u:s3cr3t-W0rd@h\"", 1, "redis: invalid type, expected a section"),
    // Out of range.
    ("[redis]\nport = 70000", 2, "redis.port: invalid value: integer `70000`, expected u16; allowed: 1 to 65535"),
    ("[redis]\nport = -1", 2, "redis.port: invalid value: integer `-1`, expected u16; allowed: 1 to 65535"),
    ("[redis]\nport = 0", 2, "redis.port: 0 is not allowed; 1 to 65535"),
    ("[redis]\ntimeout-ms = 0", 2, "redis.timeout-ms: 0 is not allowed; 10 to 600000"),
    ("[redis]\nconnect-timeout-ms = 60001", 2, "redis.connect-timeout-ms: 60001 is not allowed; 10 to 60000"),
    ("# hello\n\n[queue]\nin-flight = 65", 4, "queue.in-flight: 65 is not allowed; 1 to 64"),
    ("[batch]\nrecords-max = 0", 2, "batch.records-max: 0 is not allowed; 1 to 4000"),
    ("[batch]\nrecords-max = 4001", 2, "batch.records-max: 4001 is not allowed; 1 to 4000"),
    ("[batch]\nlinger-ms = 1001", 2, "batch.linger-ms: 1001 is not allowed; 0 to 1000"),
    ("[frame]\nrecord-max = \"100\"", 2, "frame.record-max: 100 is not allowed; 128 to 67108864"),
    ("[fifo]\npipe-size = 100", 2, "fifo.pipe-size: 100 is not allowed; 4096 to 1073741824"),
    ("[fifo]\nmode = \"0999\"", 2, "fifo.mode: \"0999\" is not allowed; octal, 0600 to 0666"),
    ("[fifo]\nmode = \"0066\"", 2, "fifo.mode: \"0066\" is not allowed; octal, 0600 to 0666"),
    ("[spool]\nretention-seconds = 86401", 2, "spool.retention-seconds: 86401 is not allowed; 0 to 86400"),
    // Sizes.
    (
        "[spool]\nmaxsize = \"much\"",
        2,
        "spool.maxsize: \"much\" is not a size; allowed are bytes or a number with k, m, g or t, \"64m\" for example; \
         allowed: size, 256k or more",
    ),
    ("[spool]\nmaxsize = -5", 2, "spool.maxsize: -5 is not a size; allowed: size, 256k or more"),
    (
        "[batch]\nbytes-max = \"99999999999t\"",
        2,
        "batch.bytes-max: \"99999999999t\" is too large; allowed: size, 4k to 64m",
    ),
    // Contradictions.
    (
        "[redis]\npassword = \"s3cr3t-W0rd\"\npassword-file = \"/x\"",
        3,
        "redis.password-file: contradicts redis.password; set one of them",
    ),
    (
        "[queue]\nmode = \"stream\"\npush = \"left\"",
        3,
        "queue.push: left is not for queue.mode = \"stream\": a stream grows at one end only",
    ),
    ("[stream]\nfield = \"record\"", 2, "stream.field: is of no use without queue.mode = \"stream\""),
    ("[stream]\nmaxlen = 5", 2, "stream.maxlen: is of no use without queue.mode = \"stream\": a list is never trimmed"),
    (
        "[queue]\nmode = \"stream\"\nmax-length = 5\n[stream]\nmaxlen = 5",
        5,
        "stream.maxlen: contradicts queue.max-length: the one throws old entries away, the other holds new ones back; set one of them",
    ),
    (
        "[queue]\nmode = \"publish\"",
        2,
        "queue.mode: unknown variant `publish`, expected `queue` or `stream`; allowed: queue or stream",
    ),
    (
        "[spool]\nmaxsize = \"1m\"\nsegment-size = \"512k\"",
        3,
        "spool.segment-size: 512k is more than a quarter of spool.maxsize (1m)",
    ),
    (
        "[frame]\nrecord-max = \"3m\"\n[spool]\nmaxsize = \"4m\"\nsegment-size = \"1m\"",
        2,
        "frame.record-max: 3m is more than the spool can hold: spool.maxsize (4m) less two spool.segment-size (1m)",
    ),
    ("[spool]\nmaxsize = \"1m\"", 2, "spool.maxsize: 1m is less than four times spool.segment-size (8m)"),
    // Servers and paths.
    ("[redis]\nserver = \"\"", 2, "redis.server: is empty; give a host, host:port, /path/of/socket or redis:// URL"),
    ("[redis]\nserver = \"h:99999\"", 2, "redis.server: has the port \"99999\"; a port is 1 to 65535"),
    ("[redis]\nserver = \"[::1\"", 2, "redis.server: lacks the ] that closes an IPv6 address"),
    ("[redis]\nserver = \":6379\"", 2, "redis.server: has no host"),
    ("[redis]\nserver = \"http://h\"", 2, "redis.server: is not an address of redis: invalid client config"),
    (
        "[redis]\nserver = \"redis://u:s3cr3t-W0rd@h:x\"",
        2,
        "redis.server: is not an address of redis: invalid client config",
    ),
    (
        "[redis]\nserver = [\"h\", \"i:7000\"]",
        2,
        "redis.server: names several servers; several are Sentinels, nodes of a Cluster or shards, and the settings say which",
    ),
    (
        "[redis]\nsentinel-master = \"m\"\nserver = [\"h\", \"redis://i:7000/3\"]",
        3,
        "redis.server: names a database, and Sentinels have none",
    ),
    ("[redis]\nsentinel-user = \"u\"", 2, "redis.sentinel-user: is of no use without redis.sentinel-master"),
    (
        "[redis]\nsentinel-password = \"s3cr3t-W0rd\"\nsentinel-password-file = \"/x\"",
        3,
        "redis.sentinel-password-file: contradicts redis.sentinel-password; set one of them",
    ),
    (
        "[redis]\nsentinel-password = 12345678",
        2,
        "redis.sentinel-password: invalid type, expected a string; allowed: text",
    ),
    (
        "[redis]\nack = \"replica:0\"",
        2,
        "redis.ack: \"replica:0\" is not allowed; memory, replica:N with N from 1 to 100, or aof",
    ),
    ("[redis]\nserver = []", 2, "redis.server: is empty; give a host, host:port, /path/of/socket or redis:// URL"),
    (
        "[redis]\nserver = \"rediss://h/#insecure\"",
        2,
        "redis.server: has a # in it; the server's certificate is always checked",
    ),
    (
        "[redis]\nserver = \"u:s3cr3t-W0rd@h\"",
        2,
        "redis.server: holds a login; write redis://user:password@host:port, or set user and password on their own",
    ),
    ("[fifo]\npath = \"pipe\"", 2, "fifo.path: \"pipe\" is not allowed; an absolute path"),
    ("[fifo]\npath = \"\"", 2, "fifo.path: is empty; an absolute path is needed"),
    ("[spool]\ndirectory = \"spool\"", 2, "spool.directory: \"spool\" is not allowed; an absolute path"),
    ("[dead-letter]\ndirectory = \"../x\"", 2, "dead-letter.directory: \"../x\" is not allowed; an absolute path"),
    ("[metrics]\nstatus-socket = \"s\"", 2, "metrics.status-socket: \"s\" is not allowed; an absolute path"),
    (
        "[metrics]\nlisten = \"nowhere\"",
        2,
        "metrics.listen: \"nowhere\" is not allowed; address:port, /path/of/socket, or empty",
    ),
    (
        "[metrics]\nlisten = \"127.0.0.1:99999\"",
        2,
        "metrics.listen: \"127.0.0.1:99999\" is not allowed; address:port, /path/of/socket, or empty",
    ),
    ("[queue]\nkey = \"\"", 2, "queue.key: a list needs a name"),
    (
        "[queue]\nkey = \"a{}b\"",
        2,
        "queue.key: \"a{}b\" holds a brace but no hash tag: its cursor could not share its slot",
    ),
    // What is no TOML.
    ("[redis", 1, "syntax: unclosed table, expected `]`"),
    ("[redis]\n\npassword = s3cr3t-W0rd", 3, "syntax: string values must be quoted, expected literal string"),
    ("[redis]\npassword = \"s3cr3t-W0rd", 2, "syntax: invalid basic string, expected `\"`"),
    ("[redis]\nport = 1\nport = 2", 3, "syntax: duplicate key"),
    ("[redis]\n[log]\n[redis]", 3, "syntax: duplicate key"),
];

#[test]
fn each_mistake_in_the_file_is_named_with_its_line() {
    let scene = Scene::new();
    let mut wrong = Vec::new();
    for (text, line, expected) in MISTAKES {
        let file = scene.write("bad.toml", format!("{text}\n"));
        let output = fifo_bridge(&scene, &["check", "--no-connect", "--config", file.to_str().expect("a plain path")]);
        let expected = format!("fifo-bridge: {}:{line}: {expected}\n", file.display());
        if code(&output) != Some(78) || said(&output) != expected {
            wrong.push(format!("{text:?}\n  said {}{:?}\n  not  {expected}", said(&output), output.status));
        }
        assert!(!said(&output).contains(SECRET), "{}", said(&output));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_refuses_a_bad_configuration_alike() {
    let scene = Scene::new();
    let file = scene.write("bad.toml", "[fifo]\npath = \"pipe\"\n");
    for words in [vec!["run"], vec!["check"], vec!["config"], vec!["status", "--json"]] {
        let output = fifo_bridge(&scene, &[words.as_slice(), &["--config", file.to_str().expect("plain")]].concat());
        assert_eq!(code(&output), Some(78), "{words:?}: {}", said(&output));
        let expected =
            format!("fifo-bridge: {}:2: fifo.path: \"pipe\" is not allowed; an absolute path\n", file.display());
        assert_eq!(said(&output), expected, "{words:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let scene = Scene::new();
    let hint = "fifo-bridge: name another file with --config, or none at all to run on defaults\n";
    let missing = scene.file("missing.toml");
    let folder = scene.folder("folder");
    let binary = scene.write("binary.toml", [0xff, 0xfe, 0]);
    for (file, why) in [
        (missing, "No such file or directory (os error 2)"),
        (folder, "Is a directory (os error 21)"),
        (binary, "stream did not contain valid UTF-8"),
    ] {
        let output = fifo_bridge(&scene, &["run", "--config", file.to_str().expect("a plain path")]);
        assert_eq!(code(&output), Some(78), "{}", said(&output));
        assert_eq!(said(&output), format!("fifo-bridge: {}: cannot be read: {why}\n{hint}", file.display()));
    }
}

#[test]
fn a_mistake_on_the_command_line_names_its_key() {
    let scene = Scene::new();
    let good = scene.write("good.toml", "[queue]\nkey = \"l\"\n");
    for (words, expected) in [
        (
            vec!["--set", "queue.nope=1"],
            "queue.nope: is no setting; there are queue.key, queue.mode, queue.push, queue.lanes, queue.lane-field, queue.in-flight, queue.producer, \
             queue.on-lost-cursor, queue.on-refused, queue.max-length",
        ),
        (vec!["--set", "nope.x=1"], "nope.x: is no setting; see fifo-bridge.toml(5)"),
        (
            vec!["--set", "redis.pasword=s3cr3t-W0rd"],
            "redis.pasword: is no setting; there are redis.server, redis.port, \
         redis.user, redis.password, redis.password-file, redis.db, redis.tls.enabled, redis.tls.ca-cert, redis.tls.cert, redis.tls.key, \
         redis.tls.server-name, redis.sentinel-master, redis.sentinel-user, redis.sentinel-password, redis.sentinel-password-file, \
         redis.ack, redis.connect-timeout-ms, redis.timeout-ms, redis.cluster, redis.shard",
        ),
        (vec!["--set", "queue.in-flight=0"], "queue.in-flight: 0 is not allowed; 1 to 64"),
        (vec!["--port", "abc"], "redis.port: \"abc\" is not a number; allowed: 1 to 65535"),
        // The key that is wrong, not all that were given.
        (
            vec!["--key", "l", "--port", "99999"],
            "redis.port: invalid value: integer `99999`, expected u16; allowed: 1 to 65535",
        ),
        (
            vec!["--log-level", "loud", "--key", "l"],
            "log.level: unknown variant `loud`, expected one of `error`, `warn`, `info`, `debug`; \
             allowed: error, warn, info or debug",
        ),
        (
            vec!["--set", "batch.bytes-max=lots"],
            "batch.bytes-max: \"lots\" is not a size; allowed are bytes or a number with k, m, g or t, \"64m\" for example; \
             allowed: size, 4k to 64m",
        ),
        (vec!["--fifo", "pipe"], "fifo.path: \"pipe\" is not allowed; an absolute path"),
        (
            vec!["--server", "u:s3cr3t-W0rd@h"],
            "redis.server: holds a login; write redis://user:password@host:port, or set \
         user and password on their own",
        ),
        (
            vec!["--metrics-listen", "nowhere"],
            "metrics.listen: \"nowhere\" is not allowed; address:port, /path/of/socket, or empty",
        ),
        // The flag is at fault, not the line that it overrides.
        (vec!["--key", ""], "queue.key: a list needs a name"),
    ] {
        let config = ["check", "--no-connect", "--config", good.to_str().expect("a plain path")];
        let output = fifo_bridge(&scene, &[&config[..], &words].concat());
        assert_eq!((code(&output), said(&output)), (Some(78), format!("fifo-bridge: {expected}\n")), "{words:?}");
    }
    let output = fifo_bridge(&scene, &["check", "--nope"]);
    assert_eq!(code(&output), Some(2), "a flag that does not exist is a mistake of use: {}", said(&output));
}

/// The effective settings.
fn effective(scene: &Scene, words: &[&str]) -> toml::Table {
    let output = fifo_bridge(scene, &[&["config"], words].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8_lossy(&output.stdout).parse().expect("TOML")
}

fn text<'a>(table: &'a toml::Table, section: &str, key: &str) -> &'a str {
    table[section][key].as_str().expect("a text")
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let scene = Scene::new();
    let file = scene.write(
        "f.toml",
        "[queue]\nkey = \"from-file\"\nin-flight = 7\n[redis]\nserver = \"file-host\"\nport = 7000\n[log]\nlevel = \"warn\"\n",
    );
    let file = file.to_str().expect("a plain path");
    let plain = effective(&scene, &[]);
    assert_eq!(text(&plain, "queue", "key"), "rsyslog");
    assert_eq!(text(&plain, "redis", "server"), "127.0.0.1");
    let filed = effective(&scene, &["--config", file]);
    assert_eq!(text(&filed, "queue", "key"), "from-file");
    assert_eq!(filed["queue"]["in-flight"].as_integer(), Some(7));
    assert_eq!(filed["batch"], plain["batch"]);
    let words = ["--config", file, "--key", "from-flag", "--port", "7001", "--set", "queue.in-flight=9"];
    let flagged = effective(&scene, &words);
    assert_eq!(text(&flagged, "queue", "key"), "from-flag");
    assert_eq!(flagged["redis"]["port"].as_integer(), Some(7001));
    assert_eq!(flagged["queue"]["in-flight"].as_integer(), Some(9));
    assert_eq!(text(&flagged, "redis", "server"), "file-host");
    assert_eq!(text(&flagged, "log", "level"), "warn");
    // A flag of its own wins over --set, whatever their order.
    let both = effective(&scene, &["--key", "flag", "--set", "queue.key=set"]);
    assert_eq!(text(&both, "queue", "key"), "flag");
    for (flag, section, key) in [
        ("--fifo", "fifo", "path"),
        ("--server", "redis", "server"),
        ("--spool-directory", "spool", "directory"),
        ("--metrics-listen", "metrics", "listen"),
    ] {
        assert_eq!(text(&effective(&scene, &[flag, "/x/y"]), section, key), "/x/y", "{flag}");
    }
}

#[test]
fn config_prints_the_defaults() {
    let scene = Scene::new();
    let printed = String::from_utf8(fifo_bridge(&scene, &["config"]).stdout).expect("text");
    let expected = r#"[redis]
server = "127.0.0.1"
port = 6379
user = ""
password = ""
password-file = ""
db = 0
sentinel-master = ""
sentinel-user = ""
sentinel-password = ""
sentinel-password-file = ""
ack = "memory"
connect-timeout-ms = 1000
timeout-ms = 5000
cluster = false
shard = false

[redis.tls]
enabled = false
ca-cert = ""
cert = ""
key = ""
server-name = ""

[queue]
key = "rsyslog"
mode = "queue"
push = "right"
lanes = 1
lane-field = ""
in-flight = 4
producer = ""
on-lost-cursor = "resume"
on-refused = "hold"
max-length = 0

[stream]
field = "msg"
maxlen = 0

[batch]
records-max = 25
bytes-max = "1m"
linger-ms = 8

[fifo]
path = "/run/fifo-bridge/pipe"
mode = "0660"
owner = ""
group = ""
pipe-size = "1m"

[frame]
format = "bridge"
resync = "long"
record-max = "256k"

[spool]
directory = ""
maxsize = "1g"
segment-size = "8m"
sync = "none"
sync-interval-ms = 1000
retention-bytes = "64m"
retention-seconds = 60

[dead-letter]
directory = ""

[metrics]
listen = "127.0.0.1:9746"
status-socket = ""

[log]
level = "info"
"#;
    assert_eq!(printed, expected);
}

#[test]
fn config_masks_secrets_and_is_accepted_again() {
    let scene = Scene::new();
    for (name, settings) in [
        ("password", vec![format!("redis.password={SECRET}")]),
        ("tcp", vec![format!("redis.server=redis://user:{SECRET}@h:7000/2")]),
        ("nobody", vec![format!("redis.server=redis://:{SECRET}@h")]),
        ("unix", vec![format!("redis.server=unix:///run/r.sock?user=u&pass={SECRET}&db=2")]),
        ("at", vec![format!("redis.server=redis+unix:///run/r.sock?pass={SECRET}@x")]),
        ("both", vec![format!("redis.password={SECRET}"), format!("redis.server=redis://u:x{SECRET}@h")]),
    ] {
        let words: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
        let output = fifo_bridge(&scene, &[&["config"], words.as_slice()].concat());
        assert!(output.status.success() && !said(&output).contains(SECRET), "{name}: {}", said(&output));
        assert!(said(&output).contains("***"), "{name}: {}", said(&output));
        let again = scene.write(&format!("{name}.toml"), &output.stdout);
        let again = again.to_str().expect("a plain path");
        let check = fifo_bridge(&scene, &["check", "--no-connect", "--config", again]);
        assert_eq!((code(&check), said(&check)), (Some(0), "the configuration is good\n".to_owned()), "{name}");
        assert_eq!(fifo_bridge(&scene, &["config", "--config", again]).stdout, output.stdout, "{name}");
    }
}

#[test]
fn check_asks_redis_unless_told_not_to() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).password(SECRET).start();
    let bridge = Bridge::config(&scene).redis(&redis).set("queue.producer", "p").prepare();
    let good = bridge.run(&["check"]);
    assert_eq!(code(&good), Some(0), "{}", said(&good));
    let expected = format!(
        "the configuration is good\nredis at {} answers\nthere is no cursor {{rsyslog}}:cursor:p yet\n\
         the list rsyslog has 0 records\nmaxmemory-policy is noeviction\n",
        redis.socket().display()
    );
    assert_eq!(said(&good), expected);

    redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let evicts = bridge.run(&["check"]);
    assert_eq!(code(&evicts), Some(1), "{}", said(&evicts));
    assert!(said(&evicts).contains("maxmemory-policy is allkeys-lru: redis may drop records"), "{}", said(&evicts));
    redis.cmd(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);

    redis.cmd(&["SET", KEY, "no list"]);
    let wrong = bridge.run(&["check"]);
    assert_eq!(code(&wrong), Some(1), "{}", said(&wrong));
    assert!(said(&wrong).contains("the list rsyslog cannot be used: redis answered WRONGTYPE"), "{}", said(&wrong));
    redis.cmd(&["DEL", KEY]);

    let word = bridge.run(&["check", "--set", "redis.password=wr0ng-W0rd"]);
    assert_eq!(code(&word), Some(1), "{}", said(&word));
    assert!(said(&word).contains("cannot be used: ") && said(&word).contains("assword"), "{}", said(&word));
    assert!(!said(&word).contains("wr0ng-W0rd"), "{}", said(&word));
    let none = bridge.run(&["check", "--set", "redis.password="]);
    assert_eq!(code(&none), Some(1), "{}", said(&none));
    assert!(said(&none).contains("redis answered NOAUTH"), "{}", said(&none));
    let lost = bridge.run(&["check", "--set", "redis.password=", "--set", "redis.password-file=/nowhere/at/all"]);
    assert_eq!(code(&lost), Some(1), "{}", said(&lost));
    let expected = "the password file /nowhere/at/all cannot be read: No such file or directory (os error 2)";
    assert!(said(&lost).contains(expected), "{}", said(&lost));

    redis.kill9();
    let dead = bridge.run(&["check"]);
    assert_eq!(code(&dead), Some(1), "{}", said(&dead));
    assert!(
        said(&dead).contains(&format!("redis at {} cannot be used: ", redis.socket().display())),
        "{}",
        said(&dead)
    );
    let port = format!("127.0.0.1:{}", free_port());
    let nobody = bridge.run(&["check", "--server", &port]);
    assert_eq!(code(&nobody), Some(1), "{}", said(&nobody));
    assert!(said(&nobody).contains("Connection refused"), "{}", said(&nobody));
    let unasked = bridge.run(&["check", "--no-connect"]);
    assert_eq!((code(&unasked), said(&unasked)), (Some(0), "the configuration is good\n".to_owned()));
}

/// Everything that a running bridge tells anybody.
fn everything_told(bridge: &Bridge) -> String {
    let commands = [vec!["status"], vec!["status", "--json"], vec!["config"], vec!["check"]];
    let told: String = commands.iter().map(|words| said(&bridge.run(words))).collect();
    told + &bridge.metrics_text() + &bridge.stderr()
}

#[test]
fn no_door_tells_the_password() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).tcp().password(SECRET).start();
    let port = redis.port().expect("it listens on TCP");
    let socket = redis.socket().to_str().expect("a plain path").to_owned();
    let word = scene.write("word", format!("{SECRET}\n"));
    let credentials = scene.folder("credentials");
    fs::write(credentials.join("redis-password"), SECRET).expect("it can be written");
    let tcp = format!("redis://default:{SECRET}@127.0.0.1:{port}");
    let unix = format!("unix://{socket}?pass={SECRET}");
    let ways: [(&str, &dyn Fn(BridgeConfig) -> BridgeConfig); 5] = [
        ("plain", &|bridge| bridge.redis(&redis)),
        ("file", &|bridge| bridge.set("redis.password-file", word.to_str().expect("plain")).server(redis.socket())),
        ("tcp", &|bridge| bridge.set("redis.server", tcp.as_str())),
        ("unix", &|bridge| bridge.set("redis.server", unix.as_str())),
        ("systemd", &|bridge| {
            bridge.env("CREDENTIALS_DIRECTORY", credentials.to_str().expect("plain")).server(redis.socket())
        }),
    ];
    for (name, way) in ways {
        let mut bridge =
            way(Bridge::config(&scene).name(name).set("log.level", "debug").set("queue.key", name)).start();
        PipeWriter::open(&bridge.fifo()).write(&Numbered::new("x", 60).record(0));
        redis.wait_llen(name, 1, PATIENCE);
        let told = everything_told(&bridge);
        assert!(!told.contains(SECRET), "{name}: {told}");
        // The password changes under it: it is refused, and a reload of a bad file and of a good one tell nothing either.
        redis.cmd(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        fs::write(bridge.file(), format!("[redis]\npassword = [\"{SECRET}\"]\n")).expect("it can be written");
        bridge.hup();
        bridge.wait_said("nothing was reloaded", 1);
        bridge.reconfigure(|bridge| bridge);
        bridge.term();
        assert!(!bridge.stderr().contains(SECRET), "{name}: {}", bridge.stderr());
    }
    // The wrong one is a secret as well: somebody mistyped it.
    let wrong = "wr0ng-W0rd";
    let config = Bridge::config(&scene).name("wrong").server(redis.socket()).set("redis.password", wrong);
    let mut bridge = config.set("log.level", "debug").start();
    bridge.wait_said("takes nothing, records wait in the spool: ", 1);
    let told = everything_told(&bridge);
    assert!(!told.contains(wrong), "{told}");
    bridge.term();
}

#[test]
fn a_reload_takes_over_a_new_password() {
    let mut stage = Stage::new(|redis| redis.password("old"), |bridge| bridge);
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    writer.write(&stage.records.record(0));
    stage.redis.wait_llen(KEY, 1, PATIENCE);
    stage.redis.cmd(&["CONFIG", "SET", "requirepass", "new"]);
    // The harness knows the old one only: from here on with the new one.
    let new = |words: &[&str]| {
        let url = format!("unix://{}?pass=new", stage.redis.socket().display());
        let mut connection = redis::Client::open(url).and_then(|client| client.get_connection()).expect("it takes us");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query::<redis::Value>(&mut connection).expect("an answer")
    };
    new(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    writer.write(&stage.records.record(1));
    stage.bridge.wait_said("takes nothing, records wait in the spool: ", 1);
    stage.bridge.reconfigure(|bridge| bridge.set("redis.password", "new"));
    stage.bridge.hup();
    stage.bridge.wait_said("is back after", 1);
    until("the second record", PATIENCE, || (new(&["LLEN", KEY]) == redis::Value::Int(2)).then_some(()));
    new(&["CONFIG", "SET", "requirepass", "old"]);
    Ledger::new().sent(&stage.records, 0..2).judge(stage.redis.list(KEY)).assert_clean();
    stage.rest();
}

#[test]
fn a_reload_takes_over_what_becomes_of_refused_records() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge.set("queue.on-refused", "hold"));
    stage.redis.cmd(&["SET", KEY, "no list"]);
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    writer.write(&stage.records.record(0));
    stage.bridge.wait_said("they wait in the spool: redis answered WRONGTYPE", 1);
    assert!(stage.bridge.dead_letters().is_empty());
    stage.bridge.reconfigure(|bridge| bridge.set("queue.on-refused", "dead-letter"));
    stage.bridge.hup();
    stage.bridge.wait_letters(1, PATIENCE);
    assert_eq!(stage.bridge.dead_letters()[0]["reason"], "refused");
    stage.rest();
}

#[test]
fn a_bad_file_is_not_reloaded_and_nothing_changes() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge);
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    let file = stage.bridge.file().to_owned();
    for (round, (text, why)) in [
        ("[queue\n", "1: syntax: unclosed table, expected `]`"),
        ("[queue]\nin-flight = 0\n", "2: queue.in-flight: 0 is not allowed; 1 to 64"),
        (
            "[queue]\nkye = \"x\"\n",
            "2: queue.kye: unknown field `kye`, expected one of `key`, `mode`, `push`, `lanes`, `lane-field`, `in-flight`, `producer`, \
         `on-lost-cursor`, `on-refused`, `max-length`",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&file, text).expect("it can be written");
        stage.bridge.hup();
        let expected = format!("nothing was reloaded, the old settings stay: {}:{why}", file.display());
        stage.bridge.wait_said(&expected, 1);
        writer.write(&stage.records.record(round as u64));
        stage.redis.wait_llen(KEY, round + 1, PATIENCE);
    }
    fs::remove_file(&file).expect("it can be removed");
    stage.bridge.hup();
    let expected = format!("the old settings stay: {}: cannot be read: No such file or directory", file.display());
    stage.bridge.wait_said(&expected, 1);
    writer.write(&stage.records.record(3));
    stage.redis.wait_llen(KEY, 4, PATIENCE);
    assert!(stage.bridge.said("the settings were read again").is_empty());
    stage.bridge.reconfigure(|bridge| bridge);
    stage.rest();
}

#[test]
fn a_key_that_needs_a_restart_is_named_and_nothing_is_reloaded() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge);
    let mut writer = PipeWriter::open(&stage.bridge.fifo());
    stage
        .bridge
        .reconfigure(|bridge| bridge.set("queue.key", "other").set("spool.sync", "always").set("batch.records-max", 1));
    stage.bridge.hup();
    stage.bridge.wait_said("nothing was reloaded: queue.key, spool.sync need a restart", 1);
    writer.write(&stage.records.record(0));
    stage.redis.wait_llen(KEY, 1, PATIENCE);
    assert_eq!(stage.redis.llen("other"), 0);
    assert_eq!(stage.bridge.status()["key"], KEY);
    stage.bridge.term();
    stage.bridge.start();
    writer.write(&stage.records.record(1));
    stage.redis.wait_llen("other", 1, PATIENCE);
}

#[test]
fn without_any_file_it_runs_on_defaults() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let runtime = scene.folder("run");
    let fifo = scene.file("pipe");
    let mut command = bare_command(binary(), &runtime);
    // What would meet others on this machine, and nothing else.
    command.args(["run", "--metrics-listen", "", "--fifo"]).arg(&fifo).arg("--server").arg(redis.socket());
    let mut bridge = scene.spawn("defaults", command);
    until("it to be ready", PATIENCE, || {
        assert!(bridge.ended().is_none(), "it ended:\n{}", scene.log("defaults"));
        runtime.join("status.sock").exists().then_some(())
    });
    PipeWriter::open(&fifo).write(&Numbered::new("x", 60).record(0));
    redis.wait_llen("rsyslog", 1, PATIENCE);
    let status = fifo_bridge_in(&runtime, &["status"]);
    assert!(said(&status).contains("list \"rsyslog\": connected"), "{}", said(&status));
    assert!(runtime.join("spool").is_dir());
    assert!(bridge.term(PATIENCE).success());
    assert!(!runtime.join("status.sock").exists());
}

fn fifo_bridge_in(runtime: &Path, words: &[&str]) -> Output {
    bare_command(binary(), runtime).args(words).output().expect("cannot run fifo-bridge")
}
