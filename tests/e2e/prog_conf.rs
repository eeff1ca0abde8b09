//! `rsyslog-conf/central-omprog.conf` as it is shipped: started behind the sender's file, with only host, port and paths replaced.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::ledger::Ledger;
use e2e::native::prog::plain_binary;
use e2e::pipe::Numbered;
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, RsyslogdSetup, WORK, send_tcp};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("rsyslog-conf").join(name)
}

#[test]
fn records_travel_from_the_sender_into_the_list() {
    let scene = Scene::new();
    let mut redis = Redis::setup(&scene).aof().start();
    let (relp, remote_port, central_port) = (free_port(), free_port(), free_port());
    let host = |name: &str, port: u16| -> RsyslogdSetup {
        let setup = Rsyslogd::setup(&scene, name).text("global(workDirectory=\"@WORK@\")\nmodule(load=\"imptcp\")");
        setup.text(&format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")")).listens(port)
    };
    let spool = format!("queue.spoolDirectory=\"{WORK}\"");
    let settings = scene.write(
        "omrust.toml",
        format!(
            "[redis]\nserver = \"{}\"\n[spool]\ndirectory = \"{}\"\n",
            redis.socket().display(),
            scene.file("state").display()
        ),
    );
    let (log, program) = (scene.file("omrust-prog.log"), plain_binary().display().to_string());
    let mut remote = host("remote", remote_port)
        .file(&shipped("remote-relp.conf"))
        .replace("target=\"central.example.com\"", "target=\"127.0.0.1\"")
        .replace("port=\"20514\"", &format!("port=\"{relp}\""))
        .replace("queue.spoolDirectory=\"/var/spool/rsyslog\"", &spool)
        .start();
    let mut central = host("central", central_port)
        .file(&shipped("central-omprog.conf"))
        .replace("/usr/libexec/rsyslog/omrust-prog", &program)
        .replace("/etc/omrust/omrust.toml", settings.to_str().expect("a plain path"))
        .replace("/var/log/omrust-prog.log", log.to_str().expect("a plain path"))
        .replace("port=\"20514\"", &format!("address=\"127.0.0.1\" port=\"{relp}\""))
        .replace("queue.spoolDirectory=\"/var/spool/rsyslog\"", &spool)
        .listens(relp)
        .start();
    let records = Numbered::new("chain", 120);
    let frames = |numbers: std::ops::Range<u64>| -> Vec<Vec<u8>> {
        let local3 = |n| {
            let frame = String::from_utf8(records.syslog(n)).expect("text");
            let behind = frame.split_once('>').expect("a priority").1.to_owned();
            format!("<158>{behind}").into_bytes()
        };
        numbers.map(local3).collect()
    };
    send_tcp(remote_port, frames(0..500));
    redis.wait_llen("rsyslog", 500, PATIENCE);
    central.hup();
    until("the program to connect anew", PATIENCE, || {
        fs::read_to_string(&log).unwrap_or_default().contains("SIGHUP").then_some(())
    });
    redis.kill9();
    send_tcp(remote_port, frames(500..1_000));
    central.restart();
    redis.start();
    send_tcp(remote_port, frames(1_000..1_500));
    redis.wait_llen("rsyslog", 1_500, PATIENCE);
    remote.term();
    central.term();
    Ledger::new().sent_numbers("chain", 0..1_500).judge(redis.list("rsyslog")).assert_clean();
}
