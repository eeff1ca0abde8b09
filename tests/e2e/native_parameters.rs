//! What `rsyslogd -N1` says to parameters, and what the words of the stock module mean.

use std::process::{Command, Output, Stdio};

use e2e::child::{PATIENCE, Scene};
use e2e::host::Host;
use e2e::native::door::module_folder;
use e2e::native::plain::{Plain, assert_has};
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use omrust::settings::table::{PARAMETERS, Role, find};

/// What `rsyslogd -N1` says to these actions.
fn checked(actions: &[String]) -> (bool, String) {
    let scene = Scene::new();
    let text = format!("module(load=\"omrust\")\n{}\n", actions.join("\n"));
    let config = scene.write("checked.conf", text);
    let host = Host::installed();
    let mut command: Command = host.command();
    command.arg("-M").arg(host.module_path(&[module_folder().to_path_buf()])).arg("-N1").arg("-f").arg(config);
    let output: Output = command.stdin(Stdio::null()).output().expect("rsyslogd");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.success(), said)
}

fn action(words: &str) -> String {
    format!("action(type=\"omrust\" {words})")
}

/// A wrong value for each parameter, and what else the action is told.
const WRONG: &[(&str, &str, &str)] = &[
    ("server", "[::1", ""),
    ("serverport", "0", ""),
    ("socketpath", "relative.sock", ""),
    ("serveruser", "", ""),
    ("serverpassword", "", ""),
    ("serverpassword.file", "", ""),
    ("db", "many", ""),
    ("connecttimeout", "0", ""),
    ("timeout", "3600000", ""),
    ("key", "a}b", ""),
    ("dynakey", "sometimes", ""),
    ("key.prefix", "logs:", ""),
    ("push", "up", ""),
    ("userpush", "sometimes", ""),
    ("mode", "publish", ""),
    ("stream.field", "log", ""),
    ("stream.outfield", "log", ""),
    ("stream.maxlen", "many", "mode=\"stream\""),
    ("stream.capacitylimit", "many", "mode=\"stream\""),
    ("template", "", ""),
    ("lanes", "0", ""),
    ("lane.template", "RSYSLOG_ForwardFormat", ""),
    ("statsname", "", ""),
    ("name", "", ""),
    ("producer", "", ""),
    ("spool.directory", "relative", ""),
    ("spool.maxsize", "1k", "spool.directory=\"/tmp/s1\""),
    ("spool.delay", "0", "spool.directory=\"/tmp/s2\""),
    ("spool.sync", "often", "spool.directory=\"/tmp/s3\""),
    ("deadletter", "relative", ""),
    ("onrefused", "drop", ""),
    ("maxlength", "many", ""),
    ("ack", "replica", ""),
    ("sentinel.master", "", ""),
    ("sentinel.user", "u", ""),
    ("sentinel.password", "p", ""),
    ("sentinel.password.file", "/p", ""),
    ("tls", "perhaps", ""),
    ("tls.cacert", "/of/no/use", ""),
    ("tls.mycert", "/without/its/key", "tls=\"on\""),
    ("tls.myprivkey", "/without/its/certificate", "tls=\"on\""),
    ("tls.servername", "no name", "tls=\"on\""),
    ("use_tls", "perhaps", ""),
    ("ca_cert_bundle", "/of/no/use", ""),
    ("ca_cert_dir", "/of/no/use", ""),
    ("client_cert", "/without/its/key", "use_tls=\"on\""),
    ("client_key", "/without/its/certificate", "use_tls=\"on\""),
    ("sni", "no name", "use_tls=\"on\""),
    ("cluster", "perhaps", ""),
    ("shard", "perhaps", ""),
];

/// The files may come, or be mended, before a connection is made.
#[test]
fn files_of_tls_that_cannot_be_used_are_no_mistake() {
    let scene = Scene::new();
    let empty = scene.write("empty.pem", "nothing\n").display().to_string();
    for words in [
        "tls.cacert=\"/nowhere/ca.pem\"".to_owned(),
        format!("tls.cacert=\"{empty}\""),
        format!("client_cert=\"{empty}\" client_key=\"{empty}\""),
    ] {
        let (good, said) = checked(&[action(&format!("key=\"k\" tls=\"on\" {words}"))]);
        assert!(good, "{said}");
    }
}

#[test]
fn every_parameter_that_is_wrong_is_told_by_its_name_with_what_is_allowed() {
    let mut wrong: Vec<(&str, &str, &str)> = WRONG.to_vec();
    let asked_for = PARAMETERS.iter().filter(|p| p.role == Role::Refused && p.allowed.starts_with("nothing"));
    wrong.extend(asked_for.map(|p| (p.name, "x", "")));
    for parameter in PARAMETERS {
        assert!(wrong.iter().any(|(name, ..)| *name == parameter.name), "no wrong value for {}", parameter.name);
    }
    let actions: Vec<String> = wrong
        .iter()
        .map(|(name, value, more)| {
            let key = if *name == "key" { "" } else { "key=\"k\"" };
            action(&format!("{key} {more} {name}=\"{value}\""))
        })
        .collect();
    let (good, said) = checked(&actions);
    assert!(!good, "it was all fine:\n{said}");
    for (index, (name, value, _)) in wrong.iter().enumerate() {
        // rsyslog adds file and line; the module's own line begins behind the first.
        let line = index + 2;
        let told = said.lines().any(|text| {
            text.contains(&format!("omrust: parameter \"{name}\""))
                && text.contains(find(name).allowed)
                && text.contains(&format!("line {line}"))
        });
        assert!(told, "nothing was said of {name}=\"{value}\" in line {line}:\n{said}");
    }
}

#[test]
fn good_parameters_are_good_and_unknown_ones_are_named() {
    let (good, said) = checked(&[
        action("key=\"k\" name=\"a\""),
        action(
            "key=\"k\" name=\"b\" server=[\"10.0.0.1:7000\"] Lanes=\"16\" lane.template=\"RSYSLOG_ForwardFormat\" push=\"LEFT\"",
        ),
        action(
            "key=\"k\" name=\"c\" spool.directory=\"/var/spool/x\" spool.maxsize=\"2g\" spool.sync=\"interval\" deadletter=\"/var/d\"",
        ),
        action("key=\"k\" name=\"d\" serverpassword.file=\"redis-password\" serveruser=\"me\" onrefused=\"hold\""),
    ]);
    assert!(good, "{said}");
    assert!(!said.contains("omrust"), "{said}");
    let (good, said) = checked(&[action("key=\"k\" serverprot=\"1\"")]);
    assert!(!good && said.contains("serverprot"), "{said}");
    let (good, said) = checked(&[action("key=\"k\" template=\"not_there\"")]);
    assert!(!good && said.contains("not_there"), "{said}");
    let (good, said) = checked(&[action("")]);
    assert!(!good && said.contains("parameter \"key\" is missing"), "{said}");
}

#[test]
fn two_actions_that_would_fight_are_refused() {
    let (good, said) = checked(&[action("key=\"k\""), action("key=\"k\"")]);
    assert!(!good && said.contains("\"producer\""), "{said}");
    let (good, said) = checked(&[
        action("key=\"k\" name=\"a\" spool.directory=\"/var/spool/x\""),
        action("key=\"k\" name=\"b\" spool.directory=\"/var/spool/x\""),
    ]);
    assert!(!good && said.contains("\"spool.directory\" is /var/spool/x, which another action has"), "{said}");
    let (good, said) = checked(&[action("key=\"k\""), action("key=\"other\"")]);
    assert!(good, "{said}");
}

#[test]
fn no_password_is_ever_shown() {
    let (_, said) = checked(&[
        action("key=\"k\" server=\"redis://me:hush@h:x\""),
        action("key=\"k\" serverpassword=\"hush\" serverpassword.file=\"/x\""),
        action("key=\"k\" server=[\"redis://me:hush@h\", \"redis://me:hush@i\"]"),
    ]);
    assert_eq!(said.matches("omrust: parameter").count(), 3, "{said}");
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn a_configuration_of_the_stock_module_works_when_the_word_is_changed() {
    for push in ["", "userpush=\"on\"", "userpush=\"off\""] {
        let scene = Scene::new();
        let redis = Redis::setup(&scene).tcp().password("stock").start();
        let port = redis.port().expect("it listens on TCP");
        let rules = |kind: &str, key: &str| {
            format!(
                "action(type=\"{kind}\" name=\"{kind}\" server=\"127.0.0.1\" serverport=\"{port}\" serverpassword=\"stock\" mode=\"queue\" \
                 key=\"{key}\" template=\"record\" {push})"
            )
        };
        let both = format!("{}\n{}", rules("omhiredis", "stock"), rules("omrust", "ours"));
        let plain = Plain::new(&scene, "module(load=\"omhiredis\")", &both);
        let mut rsyslogd = plain.start();
        plain.send(&Numbered::new("stock", 100), 0..500);
        redis.wait_llen("stock", 500, PATIENCE);
        redis.wait_llen("ours", 500, PATIENCE);
        assert_eq!(redis.list("ours"), redis.list("stock"), "mode=\"queue\" {push}");
        rsyslogd.term();
    }
}

#[test]
fn dynamic_keys_are_confined_to_their_prefix() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let letters = scene.folder("letters");
    let rules = format!(
        "action(type=\"omrust\" name=\"out\" {} dynakey=\"on\" key=\"named\" key.prefix=\"k-\" deadletter=\"{}\")",
        e2e::native::plain::usual(&redis),
        letters.display()
    );
    let plain = Plain::new(&scene, "template(name=\"named\" type=\"string\" string=\"%programname%\")", &rules);
    let mut rsyslogd = plain.start();
    let frames = (0..300).map(|n| format!("<134>Nov 21 10:00:00 e2e {}: dyna {n} x", ["k-a", "k-b", "evil"][n % 3]));
    e2e::rsyslog::send_tcp(plain.port, frames);
    redis.wait_llen("k-a", 100, PATIENCE);
    redis.wait_llen("k-b", 100, PATIENCE);
    plain.counters("out", "dead_letters", 100);
    assert_eq!(redis.llen("evil"), 0, "a sender chose a list");
    let text = std::fs::read_to_string(letters.join("dead-letters.jsonl")).expect("letters");
    assert_eq!(text.lines().count(), 100, "{text}");
    rsyslogd.term();
}

#[test]
fn the_unix_socket_and_the_database_are_found() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let rules = format!(
        "action(type=\"omrust\" name=\"out\" socketpath=\"{}\" db=\"3\" key=\"list\" template=\"record\")",
        redis.socket().display()
    );
    let plain = Plain::new(&scene, "", &rules);
    let mut rsyslogd = plain.start();
    plain.send(&Numbered::new("db", 100), 0..10);
    plain.counters("out", "pushed", 10);
    assert_eq!(redis.llen("list"), 0, "this is database 0");
    redis.cmd(&["SWAPDB", "0", "3"]);
    assert_has(&redis, "list", "db", 0..10);
    rsyslogd.term();
}
