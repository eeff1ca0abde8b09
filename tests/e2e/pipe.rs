//! The pipe: what may stand at its path, who holds it, what becomes of it, and rsyslogd at its other end.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use e2e::bridge::{Bridge, NOBODY};
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::ledger::Ledger;
use e2e::pipe::{Numbered, PipeReader, PipeWriter, capacity, mkfifo, parse, peek};
use e2e::rsyslog::{Rsyslogd, send_tcp};
use e2e::stage::{KEY, Stage};

/// A start that must fail: how it ended and what it said last.
fn refused(bridge: &mut Bridge) -> (Option<i32>, String) {
    bridge.launch();
    let status = bridge.wait_exit(PATIENCE);
    (status.code(), bridge.stderr().lines().last().unwrap_or_default().to_owned())
}

fn said(path: &Path, what: &str) -> String {
    format!("fifo-bridge: fifo.path: {} {what}", path.display())
}

#[test]
fn what_is_no_pipe_is_refused_and_left_alone() {
    let scene = Scene::new();
    let mut bridge = Bridge::config(&scene).prepare();
    let fifo = bridge.fifo();
    let is = |what: &str| {
        Some((Some(78), said(&fifo, &format!("is {what}, not a named pipe; remove it or choose another path"))))
    };

    fs::write(&fifo, "somebody's").expect("a file");
    assert_eq!(Some(refused(&mut bridge)), is("a regular file"));
    assert_eq!(fs::read(&fifo).expect("it is still there"), b"somebody's");
    fs::remove_file(&fifo).expect("it can be removed");

    fs::create_dir(&fifo).expect("a folder");
    assert_eq!(Some(refused(&mut bridge)), is("a directory"));
    fs::remove_dir(&fifo).expect("it can be removed");

    drop(UnixListener::bind(&fifo).expect("a socket"));
    assert_eq!(Some(refused(&mut bridge)), is("a device or socket"));
    fs::remove_file(&fifo).expect("it can be removed");

    symlink("/dev/null", &fifo).expect("a link");
    assert_eq!(Some(refused(&mut bridge)), is("a device or socket"));
    fs::remove_file(&fifo).expect("it can be removed");

    symlink(scene.file("nowhere"), &fifo).expect("a link");
    assert_eq!(Some(refused(&mut bridge)), is("a dangling symbolic link"));
    assert!(fifo.is_symlink() && !scene.file("nowhere").exists());
    fs::remove_file(&fifo).expect("it can be removed");

    let file = scene.write("file", "");
    bridge.reconfigure(|bridge| bridge.set("fifo.path", file.join("pipe").to_str().expect("plain")));
    assert_eq!(
        refused(&mut bridge),
        (Some(1), said(&file.join("pipe"), "cannot be looked at: Not a directory (os error 20)"))
    );
    // Nothing was begun: neither a spool nor sockets.
    assert!(!bridge.spool().exists() && !bridge.status_socket().exists());
}

#[test]
fn what_is_not_permitted_is_told() {
    let scene = Scene::new();
    let mut bridge = Bridge::config(&scene).unprivileged().prepare();
    let fifo = bridge.fifo();
    mkfifo(&fifo);
    fs::set_permissions(&fifo, fs::Permissions::from_mode(0o000)).expect("root may");
    let expected = said(&fifo, "cannot be opened for reading and writing: Permission denied (os error 13)");
    assert_eq!(refused(&mut bridge), (Some(1), expected));

    let closed = scene.folder("closed");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).expect("root may");
    let inside = closed.join("pipe");
    bridge.reconfigure(|bridge| bridge.set("fifo.path", inside.to_str().expect("plain")));
    assert_eq!(refused(&mut bridge), (Some(1), said(&inside, "cannot be looked at: Permission denied (os error 13)")));

    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).expect("root may");
    assert_eq!(refused(&mut bridge), (Some(1), said(&inside, "cannot be made: Permission denied (os error 13)")));

    let deeper = closed.join("a/b/pipe");
    bridge.reconfigure(|bridge| bridge.set("fifo.path", deeper.to_str().expect("plain")));
    let expected = said(&deeper, "has no folder and it cannot be made: Permission denied (os error 13)");
    assert_eq!(refused(&mut bridge), (Some(1), expected));
}

#[test]
fn a_missing_pipe_is_made_as_the_settings_say() {
    let scene = Scene::new();
    for (name, mode, owner, group, expected) in [
        ("a", "0622", "nobody", "nogroup", (0o622, NOBODY, NOBODY)),
        ("b", "0666", "12345", "12346", (0o666, 12345, 12346)),
        ("c", "0600", "", "", (0o600, nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw())),
    ] {
        let fifo = scene.file(&format!("{name}-made/deep/pipe"));
        let config =
            Bridge::config(&scene).name(name).set("fifo.path", fifo.to_str().expect("plain")).set("fifo.mode", mode);
        let mut bridge = config.set("fifo.owner", owner).set("fifo.group", group).start();
        let meta = fs::metadata(&fifo).expect("it was made");
        assert!(meta.file_type().is_fifo());
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), expected, "{name}");
        assert_eq!(bridge.said(&format!("made the pipe {}", fifo.display())).len(), 1);
        bridge.term();
        // It stays, and its next start takes it as it is.
        bridge.reconfigure(|bridge| bridge.set("fifo.mode", "0644"));
        bridge.start();
        assert_eq!(fs::metadata(&fifo).expect("it is there").mode() & 0o7777, expected.0, "{name}");
        bridge.term();
    }
    for key in ["fifo.owner", "fifo.group"] {
        let mut bridge = Bridge::config(&scene).name("nobody").set(key, "no-such-name").prepare();
        let expected = format!("fifo-bridge: {key}: there is no \"no-such-name\" on this machine");
        assert_eq!(refused(&mut bridge), (Some(78), expected));
        assert!(!bridge.fifo().exists());
    }
}

#[test]
fn a_link_to_a_pipe_is_followed() {
    let scene = Scene::new();
    mkfifo(&scene.file("real"));
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    symlink(scene.file("real"), stage.bridge.fifo()).expect("a link");
    stage.redis.start();
    stage.bridge.start();
    PipeWriter::open(&scene.file("real")).write_all((0..10).map(|n| stage.records.record(n)));
    stage.redis.wait_llen(KEY, 10, PATIENCE);
    Ledger::new().sent(&stage.records, 0..10).judge(stage.redis.list(KEY)).assert_clean();
    stage.rest();
}

#[test]
fn a_second_bridge_on_one_pipe_is_refused() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge);
    let fifo = stage.bridge.fifo();
    let config = Bridge::config(&stage.scene).name("second").redis(&stage.redis);
    let mut second = config.set("fifo.path", fifo.to_str().expect("plain")).prepare();
    let expected = said(&fifo, "is read by another process already; one bridge per pipe");
    assert_eq!(refused(&mut second), (Some(1), expected));
    PipeWriter::open(&fifo).write_all((0..10).map(|n| stage.records.record(n)));
    stage.redis.wait_llen(KEY, 10, PATIENCE);
    stage.bridge.term();
    // The lock goes with the process.
    second.start();
    second.kill9();
    second.start();
}

#[test]
fn the_pipe_is_raised_to_one_mebibyte() {
    let scene = Scene::new();
    let mut bridge = Bridge::config(&scene).prepare();
    mkfifo(&bridge.fifo());
    let holder = PipeWriter::open(&bridge.fifo());
    assert_eq!(capacity(&bridge.fifo()), 65_536);
    bridge.start();
    assert_eq!(capacity(&bridge.fifo()), 1 << 20);
    assert!(bridge.stderr().contains(&format!("reading {} (1048576 bytes) into ", bridge.fifo().display())));
    bridge.term();
    drop(holder);
}

#[test]
fn a_size_that_is_refused_costs_only_a_line() {
    let scene = Scene::new();
    let most: i64 = fs::read_to_string("/proc/sys/fs/pipe-max-size").expect("Linux").trim().parse().expect("a number");
    let wanted = most * 2;
    let mut bridge = Bridge::config(&scene).unprivileged().set("fifo.pipe-size", wanted).start();
    let expected = format!(
        "keeps 65536 bytes: {wanted} were refused (EPERM: Operation not permitted); see fs.pipe-max-size in proc(5)"
    );
    assert_eq!(bridge.said(&expected).len(), 1, "{}", bridge.stderr());
    assert_eq!(capacity(&bridge.fifo()), 65_536);
    bridge.term();
}

/// What was written to the old pipe and to the new one, each in its order.
fn both(records: &Numbered, old: u64, others: &Numbered, new: u64) -> Ledger {
    Ledger::new().sent(records, 0..old).sent(others, 0..new)
}

#[test]
fn a_pipe_that_is_replaced_is_read_on_while_it_has_a_writer() {
    // Small files, so that the bridge has to cut often; the pipes are not written in step.
    let mut stage =
        Stage::new(|redis| redis, |bridge| bridge.set("spool.segment-size", "64k").set("batch.records-max", 500));
    let fifo = stage.bridge.fifo();
    let (old, new) = (Numbered::new("old", 1001), Numbered::new("new", 1003));
    let mut first = PipeWriter::open(&fifo);
    first.write_all((0..500).map(|n| old.record(n)));
    fs::remove_file(&fifo).expect("somebody removes it");
    mkfifo(&fifo);
    let mut second = PipeWriter::open(&fifo);
    second.write_all((0..60).map(|n| new.record(n)));
    first.write_all((500..1000).map(|n| old.record(n)));
    stage.bridge.wait_said("was replaced; both are read while the old one has a writer", 1);
    std::thread::scope(|threads| {
        threads.spawn(|| first.write_all((1000..10_000).map(|n| old.record(n))));
        threads.spawn(|| second.write_all((60..10_000).map(|n| new.record(n))));
    });
    stage.redis.wait_llen(KEY, 20_000, PATIENCE);
    // One that stays silent for long does not disturb the other.
    second.write_all((10_000..12_000).map(|n| new.record(n)));
    stage.redis.wait_llen(KEY, 22_000, PATIENCE);
    first.write(&old.record(10_000));
    drop(first);
    stage.bridge.wait_said("nobody writes to the replaced pipe any more", 1);
    second.write(&new.record(12_000));
    stage.redis.wait_llen(KEY, 22_002, PATIENCE);
    stage.rest();
    both(&old, 10_001, &new, 12_001).judge(stage.redis.list(KEY)).assert_clean();
    assert!(stage.bridge.dead_letters().is_empty(), "{:?}", stage.bridge.dead_letters());
    assert_eq!(capacity(&fifo), 1 << 20);
    stage.bridge.term();
}

#[test]
fn a_line_that_a_replaced_pipe_left_open_is_not_glued_to_the_new_one() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let fifo = stage.bridge.fifo();
    let mut first = PipeWriter::open(&fifo);
    first.write(&stage.records.record(0));
    first.try_write(b"~16|6|Nov 21 10:00:00|half a rec").expect("there is room");
    fs::remove_file(&fifo).expect("somebody removes it");
    mkfifo(&fifo);
    drop(first);
    stage.bridge.wait_said("nobody writes to the replaced pipe any more", 1);
    PipeWriter::open(&fifo).write(&stage.records.record(1));
    stage.redis.wait_llen(KEY, 2, PATIENCE);
    stage.rest();
    let list = stage.redis.list(KEY);
    // It has a frame, so it is taken for a whole record: that it is not, nobody can tell.
    let expected = [stage.records.element(0), b"~16|6|Nov 21 10:00:00|half a rec".to_vec(), stage.records.element(1)];
    Ledger::new().sent_exactly(expected).judge(list).assert_clean();
}

#[test]
fn a_pipe_that_is_replaced_twice_loses_nobody() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let fifo = stage.bridge.fifo();
    let runs = ["one", "two", "three"].map(|run| Numbered::new(run, 100));
    let mut writers = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        if index > 0 {
            fs::remove_file(&fifo).expect("somebody removes it");
            mkfifo(&fifo);
            stage.bridge.wait_said("was replaced; both are read", index);
        }
        let mut writer = PipeWriter::open(&fifo);
        writer.write_all((0..100).map(|n| run.record(n)));
        writers.push(writer);
    }
    for (writer, run) in writers.iter_mut().zip(&runs) {
        writer.write_all((100..200).map(|n| run.record(n)));
    }
    stage.redis.wait_llen(KEY, 600, PATIENCE);
    stage.rest();
    let ledger = runs.iter().fold(Ledger::new(), |ledger, run| ledger.sent(run, 0..200));
    ledger.judge(stage.redis.list(KEY)).assert_clean();
}

#[test]
fn a_pipe_that_is_removed_is_made_again() {
    let stage = Stage::new(|redis| redis, |bridge| bridge.set("fifo.mode", "0622"));
    let fifo = stage.bridge.fifo();
    let mut first = PipeWriter::open(&fifo);
    first.write_all((0..100).map(|n| stage.records.record(n)));
    fs::remove_file(&fifo).expect("somebody removes it");
    stage.bridge.wait_said("was gone and was made again", 1);
    stage.bridge.wait_said("was replaced; both are read", 1);
    assert_eq!(fs::metadata(&fifo).expect("it is there").mode() & 0o7777, 0o622);
    let other = Numbered::new("other", 100);
    PipeWriter::open(&fifo).write_all((0..100).map(|n| other.record(n)));
    first.write_all((100..200).map(|n| stage.records.record(n)));
    stage.redis.wait_llen(KEY, 300, PATIENCE);
    stage.rest();
    both(&stage.records, 200, &other, 100).judge(stage.redis.list(KEY)).assert_clean();
}

#[test]
fn something_else_at_the_path_does_not_disturb() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let fifo = stage.bridge.fifo();
    let mut first = PipeWriter::open(&fifo);
    fs::remove_file(&fifo).expect("somebody removes it");
    fs::write(&fifo, "a file").expect("and puts a file there");
    // It looks at the path once a second.
    let age = || stage.bridge.status()["uptime_seconds"].as_u64().expect("a number");
    let (start, mut written) = (age(), 0);
    while age() < start + 3 {
        first.write(&stage.records.record(written));
        written += 1;
    }
    stage.redis.wait_llen(KEY, usize::try_from(written).expect("few"), PATIENCE);
    assert_eq!(fs::read(&fifo).expect("it is still there"), b"a file");
    stage.rest();
    Ledger::new().sent(&stage.records, 0..written).judge(stage.redis.list(KEY)).assert_clean();
}

/// `fifo-bridge run`, with the FIFO `held` open as descriptor 3 as systemd hands it over.
fn handed_over(bridge: &Bridge, held: &Path) -> Command {
    let plain = bridge.command(&["run"]);
    let mut command = Command::new("sh");
    command.args(["-c", r#"fifo=$1; shift; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<>"$fifo""#, "sh"]).arg(held);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[test]
fn a_pipe_from_systemd_is_taken_over_and_outlives_the_bridge() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    stage.redis.start();
    let fifo = stage.bridge.fifo();
    mkfifo(&fifo);
    // What systemd does: it holds the pipe, whoever comes and goes.
    let systemd = PipeReader::open(&fifo);
    let records = stage.records.clone();
    let taken_over = format!("took over the pipe {} from systemd", fifo.display());
    let mut written = 0;
    for round in 1..=3 {
        PipeWriter::open(&fifo).write_all((written..written + 500).map(|n| records.record(n)));
        written += 500;
        let mut child = stage.scene.spawn("bridge", handed_over(&stage.bridge, &fifo));
        stage.redis.wait_llen(KEY, usize::try_from(written).expect("few"), PATIENCE);
        assert_eq!(stage.bridge.said(&taken_over).len(), round);
        assert_eq!(capacity(&fifo), 1 << 20);
        PipeWriter::open(&fifo).write_all((written..written + 500).map(|n| records.record(n)));
        child.kill9();
        written += 500;
    }
    stage.bridge.start();
    stage.redis.wait_llen(KEY, usize::try_from(written).expect("few"), PATIENCE);
    stage.rest();
    Ledger::new().sent(&records, 0..written).judge(stage.redis.list(KEY)).assert_clean();
    drop(systemd);
}

#[test]
fn what_systemd_hands_over_beside_the_pipe_is_ignored() {
    let mut stage = Stage::prepare(|redis| redis, |bridge| bridge);
    stage.redis.start();
    let other = stage.scene.write("file", "");
    let _child = stage.scene.spawn("bridge", handed_over(&stage.bridge, &other));
    until("the pipe", PATIENCE, || stage.bridge.status_socket().exists().then_some(()));
    assert!(stage.bridge.said("from systemd").is_empty());
    PipeWriter::open(&stage.bridge.fifo()).write(&stage.records.record(0));
    stage.redis.wait_llen(KEY, 1, PATIENCE);
}

/// A stock rsyslogd: TCP in, ompipe out, one worker.
fn rsyslogd(scene: &Scene, port: u16, fifo: &Path) -> Rsyslogd {
    Rsyslogd::setup(scene, "central")
        .text(
            r#"
            global(workDirectory="@WORK@")
            module(load="imptcp")
            template(name="bridge" type="string"
                     string="~%syslogfacility%|%syslogpriority%|%timegenerated%|%msg:1:3900:escape-cc%\n")
            input(type="imptcp" address="127.0.0.1" port="PORT" ruleset="in")
            ruleset(name="in" queue.type="LinkedList" queue.workerThreads="1") {
                action(type="ompipe" pipe="PIPE" template="bridge" action.resumeRetryCount="-1" action.resumeInterval="1")
            }"#,
        )
        .replace("PORT", &port.to_string())
        .replace("PIPE", fifo.to_str().expect("a plain path"))
        .listens(port)
        .start()
}

/// Sends until rsyslogd is gone.
fn send_until_broken(port: u16, records: &Numbered, most: u64) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    for n in 0..most {
        let mut frame = records.syslog(n);
        frame.push(b'\n');
        if stream.write_all(&frame).is_err() {
            return;
        }
    }
}

/// The records of `run` in the list, which must be the first ones, without a hole; how many.
fn first_ones(list: &[Vec<u8>], run: &str) -> u64 {
    list.iter().filter(|element| parse(element).is_some_and(|(name, _)| name == run)).count() as u64
}

#[test]
fn rsyslogd_comes_and_goes_while_the_bridge_runs() {
    let stage = Stage::new(|redis| redis, |bridge| bridge);
    let port = free_port();
    let mut rsyslogd = rsyslogd(&stage.scene, port, &stage.bridge.fifo());
    let runs = ["hup", "restart", "killed", "after"].map(|run| Numbered::new(run, 120));
    let [hup, restart, killed, after] = &runs;
    std::thread::scope(|threads| {
        let sender = threads.spawn(|| send_tcp(port, (0..20_000).map(|n| hup.syslog(n))));
        while !sender.is_finished() {
            rsyslogd.hup();
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    stage.redis.wait_llen(KEY, 20_000, PATIENCE);
    send_tcp(port, (0..5_000).map(|n| restart.syslog(n)));
    stage.redis.wait_llen(KEY, 22_000, PATIENCE);
    rsyslogd.restart();
    std::thread::scope(|threads| {
        threads.spawn(|| send_until_broken(port, killed, 1_000_000));
        stage.redis.wait_llen(KEY, 27_000, PATIENCE);
        rsyslogd.kill9();
    });
    rsyslogd.start();
    send_tcp(port, (0..1_000).map(|n| after.syslog(n)));
    until("the last record", PATIENCE, || (first_ones(&stage.redis.list(KEY), "after") == 1_000).then_some(()));
    stage.rest();
    let list = stage.redis.list(KEY);
    // What rsyslogd had in memory when it was stopped or killed is its own loss: the end of a run, and no hole in it.
    let [kept, survived] = ["restart", "killed"].map(|run| first_ones(&list, run));
    assert!(survived >= 1_000 && kept >= 2_000, "{kept} {survived}");
    let ledger = Ledger::new().sent_numbers("hup", 0..20_000).sent_numbers("after", 0..1_000);
    ledger.sent_numbers("restart", 0..kept).sent_numbers("killed", 0..survived).judge(list).assert_clean();
    assert!(stage.bridge.dead_letters().is_empty());
}

#[test]
fn rsyslogd_comes_and_goes_while_the_bridge_is_down() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge);
    let fifo = stage.bridge.fifo();
    let port = free_port();
    let mut rsyslogd = rsyslogd(&stage.scene, port, &fifo);
    let records = Numbered::new("down", 120);
    send_tcp(port, (0..100).map(|n| records.syslog(n)));
    stage.redis.wait_llen(KEY, 100, PATIENCE);
    stage.rest();
    // systemd, or whoever else keeps the pipe open.
    let holder = PipeReader::open(&fifo);
    stage.bridge.kill9();
    let lines = || lines_of(&peek(&fifo)).len();
    send_tcp(port, (100..2_100).map(|n| records.syslog(n)));
    until("2 000 records in the pipe", PATIENCE, || (lines() == 2_000).then_some(()));
    rsyslogd.hup();
    send_tcp(port, (2_100..2_600).map(|n| records.syslog(n)));
    until("2 500 records in the pipe", PATIENCE, || (lines() == 2_500).then_some(()));
    rsyslogd.restart();
    std::thread::scope(|threads| {
        threads.spawn(|| send_until_broken(port, &Numbered::new("killed", 120), 1_000_000));
        until("some more records in the pipe", PATIENCE, || (lines() >= 3_500).then_some(()));
        rsyslogd.kill9();
    });
    let reached = peek(&fifo);
    assert_eq!(capacity(&fifo), 1 << 20);
    stage.bridge.start();
    stage.redis.wait_llen(KEY, 100 + lines_of(&reached).len(), PATIENCE);
    stage.rest();
    let list = stage.redis.list(KEY);
    Ledger::new().sent_exactly(lines_of(&reached)).judge(&list[100..]).assert_clean();
    Ledger::new().sent_numbers("down", 0..100).judge(&list[..100]).assert_clean();
    drop(holder);
}

fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    assert_eq!(lines.pop(), Some(&b""[..]), "ompipe writes whole lines");
    lines
}

#[test]
fn a_stop_with_data_everywhere_loses_nothing() {
    let mut stage = Stage::prepare(
        |redis| redis,
        |bridge| bridge.set("spool.maxsize", "256k").set("spool.segment-size", "64k").set("frame.record-max", "64k"),
    );
    stage.bridge.start();
    let fifo = stage.bridge.fifo();
    let mut writer = PipeWriter::open(&fifo);
    let mut written = 0;
    // Redis is away: the spool fills, then the pipe.
    until("a full spool and data in the pipe", PATIENCE, || {
        while writer.try_write(&stage.records.record(written)).is_some() {
            written += 1;
        }
        (!stage.bridge.said("the spool is full: 262144 of 262144 bytes").is_empty()).then_some(())
    });
    assert_eq!(stage.bridge.spool_files(), 256 << 10);
    assert!(!peek(&fifo).is_empty());
    stage.bridge.term();
    assert!(stage.bridge.stderr().ends_with("stopped; 262144 bytes wait in the spool for the next start\n"));
    stage.redis.start();
    stage.bridge.start();
    stage.redis.wait_llen(KEY, usize::try_from(written).expect("few"), PATIENCE);
    stage.rest();
    Ledger::new().sent(&stage.records, 0..written).judge(stage.redis.list(KEY)).assert_clean();
}

#[test]
fn a_stop_takes_what_nobody_else_would_hold() {
    let mut stage = Stage::new(|redis| redis, |bridge| bridge.set("batch.linger-ms", 200));
    let mut written = 0;
    for _ in 0..10 {
        // The writer closes the pipe: what is in it goes with the bridge, unless the bridge takes it along.
        let mut writer = PipeWriter::open(&stage.bridge.fifo());
        for _ in 0..3 {
            writer.write_all((written..written + 20).map(|n| stage.records.record(n)));
            written += 20;
            std::thread::sleep(Duration::from_millis(fastrand::u64(0..10)));
        }
        drop(writer);
        stage.bridge.term();
        stage.bridge.start();
    }
    stage.redis.wait_llen(KEY, usize::try_from(written).expect("few"), PATIENCE);
    stage.rest();
    Ledger::new().sent(&stage.records, 0..written).judge(stage.redis.list(KEY)).assert_clean();
}
