//! The files in `rsyslog-conf/` as they are shipped: each is started and delivers records. Only host, port and paths are replaced,
//! by exact strings that must be there, so that the files cannot drift away from the tests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpStream;
use std::ops::Range;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::bridge::Bridge;
use e2e::child::{PATIENCE, Scene, free_port, until};
use e2e::ledger::{Ledger, Verdict};
use e2e::pipe::{Numbered, PipeReader, mkfifo, parse};
use e2e::redis::Redis;
use e2e::rsyslog::{Rsyslogd, RsyslogdSetup, WORK, rsyslogd_n1};
use nix::fcntl::{FcntlArg, fcntl};

// Every configuration file that is shipped. The first two are in each [`Chain`] below.
const REMOTE: &str = "remote-relp.conf";
const CENTRAL: &str = "central-relp-pipe.conf";
/// In place of [`CENTRAL`]; `prog_conf` runs it.
const PROG: &str = "central-omprog.conf";

/// What the kernel writes whole or not at all (`PIPE_BUF`).
const PIPE_BUF: usize = 4096;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn shipped(name: &str) -> PathBuf {
    root().join("rsyslog-conf").join(name)
}

fn text_of(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// A copy of the central file, changed by the sed command that the file itself tells its reader. `word` finds the command.
fn switched(scene: &Scene, word: &str) -> PathBuf {
    let text = text_of(&shipped(CENTRAL));
    let command = text
        .lines()
        .filter_map(|line| line.find("sed -i").map(|at| &line[at..]))
        .find(|command| command.contains(word))
        .unwrap_or_else(|| panic!("{CENTRAL} tells no sed command with {word:?}"));
    let copy = scene.write(CENTRAL, &text);
    let status = Command::new("sh").args(["-c", command]).current_dir(scene.path()).status().expect("cannot run sh");
    assert!(status.success(), "{command}: {status}");
    assert_ne!(text_of(&copy), text, "{command} changed nothing");
    copy
}

/// Which form of the central file is used, and what stands around the shipped files.
struct Plan<'a> {
    central: PathBuf,
    /// Stands before each shipped file, as the settings of a host would.
    before: &'a str,
    /// Changes the sender's file as its comments describe.
    remote: fn(RsyslogdSetup) -> RsyslogdSetup,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self { central: shipped(CENTRAL), before: "", remote: |setup| setup }
    }
}

/// remote rsyslogd -> RELP -> central rsyslogd -> pipe, each rsyslogd with a shipped file and an input to feed it by.
struct Chain {
    remote: RsyslogdSetup,
    central: RsyslogdSetup,
    /// Where the sender and the receiver are fed: TCP ports.
    remote_port: u16,
    central_port: u16,
    /// Every message of the sender's facility that its rules are through with, a line each.
    seen: PathBuf,
    /// What each queue of the central rsyslogd has done, a line each second.
    stats: PathBuf,
}

impl Chain {
    fn new(scene: &Scene, pipe: &Path, plan: &Plan) -> Self {
        let (relp, remote_port, central_port) = (free_port(), free_port(), free_port());
        let (seen, stats) = (scene.file("seen"), scene.file("stats"));
        let host = |setup: RsyslogdSetup, port: u16| {
            setup
                .text("global(workDirectory=\"@WORK@\")\nmodule(load=\"imptcp\")")
                .text(&format!("input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")"))
                .text(plan.before)
                .listens(port)
        };
        let remote = (plan.remote)(host(Rsyslogd::setup(scene, "remote"), remote_port).file(&shipped(REMOTE)))
            .replace("target=\"central.example.com\"", "target=\"127.0.0.1\"")
            .replace("port=\"20514\"", &format!("port=\"{relp}\""))
            .replace("queue.spoolDirectory=\"/var/spool/rsyslog\"", &format!("queue.spoolDirectory=\"{WORK}\""))
            .text(&format!("local3.* action(type=\"omfile\" file=\"{}\")", plain(&seen)));
        let stats_module =
            format!("module(load=\"impstats\" interval=\"1\" log.syslog=\"off\" log.file=\"{}\")", plain(&stats));
        let central = host(Rsyslogd::setup(scene, "central"), central_port)
            .text(&stats_module)
            .file(&plan.central)
            .replace("/run/fifo-bridge/pipe", plain(pipe))
            .replace("port=\"20514\"", &format!("address=\"127.0.0.1\" port=\"{relp}\""))
            .replace("queue.spoolDirectory=\"/var/spool/rsyslog\"", &format!("queue.spoolDirectory=\"{WORK}\""))
            .replace("/var/log/", &format!("{WORK}/"))
            .listens(relp);
        Self { remote, central, remote_port, central_port, seen, stats }
    }

    /// Waits until the sender's rules are through with so many messages: they are in its queue or further.
    fn until_queued(&self, count: usize) {
        until(&format!("the sender to have queued {count} messages"), PATIENCE, || {
            (lines_in(&self.seen) >= count).then_some(())
        });
    }

    /// Waits until the central server's queue for the pipe has taken so many messages.
    fn until_taken(&self, count: u64) {
        until(&format!("the central server to have taken {count} messages"), PATIENCE, || {
            let text = fs::read_to_string(&self.stats).unwrap_or_default();
            let line = text.lines().rev().find(|line| line.contains("to_pipe queue:"))?;
            let taken = line.split_once(" enqueued=")?.1.split(' ').next()?.parse::<u64>().ok()?;
            (taken >= count).then_some(())
        });
    }
}

fn lines_in(path: &Path) -> usize {
    fs::read(path).unwrap_or_default().split(|&byte| byte == b'\n').count() - 1
}

fn new_pipe(scene: &Scene) -> (PathBuf, PipeReader) {
    let pipe = scene.file("pipe");
    mkfifo(&pipe);
    let reader = PipeReader::open(&pipe);
    // As large as fifo-bridge makes it. It stays so while the reader has it open.
    let file = OpenOptions::new().read(true).write(true).open(&pipe).expect("the pipe opens");
    fcntl(&file, FcntlArg::F_SETPIPE_SZ(1 << 20)).expect("1 MiB is what anybody may ask for");
    (pipe, reader)
}

/// Sends octet-counted frames (RFC 6587), in which any byte may stand. Frames of one call keep their order; imptcp reads two
/// connections side by side.
fn send_frames<F: AsRef<[u8]>>(port: u16, frames: impl IntoIterator<Item = F>) {
    let mut bytes = Vec::new();
    for frame in frames {
        let frame = frame.as_ref();
        write!(bytes, "{} ", frame.len()).expect("memory");
        bytes.extend_from_slice(frame);
    }
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("cannot connect to rsyslogd");
    stream.write_all(&bytes).expect("cannot send to rsyslogd");
}

/// A frame of local3.info with this text after the tag, byte for byte.
fn local3(text: impl AsRef<[u8]>) -> Vec<u8> {
    [b"<158>Nov 21 10:00:00 e2e test:".as_slice(), text.as_ref()].concat()
}

/// Numbered messages of local3.info.
fn numbered(records: &Numbered, numbers: Range<u64>) -> impl Iterator<Item = Vec<u8>> + use<'_> {
    let head = b"~16|6|Nov 21 10:00:00|".len();
    numbers.map(move |n| local3([b" ", &records.element(n)[head..]].concat()))
}

/// What stands before the text of a record: the frame must be whole, and the facility and priority those of local3.info.
fn text_of_record(line: &[u8]) -> &[u8] {
    let mut parts = line.splitn(4, |&byte| byte == b'|');
    let head = (parts.next(), parts.next(), parts.next().map(<[u8]>::len));
    assert_eq!(head, (Some(b"~19".as_slice()), Some(b"6".as_slice()), Some("Nov 21 10:00:00".len())), "{}", show(line));
    parts.next().unwrap_or_else(|| panic!("no record: {}", show(line)))
}

fn show(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(120)].escape_ascii().to_string()
}

#[test]
fn every_shipped_file_is_known_to_these_tests_and_valid_as_it_is() {
    let names: BTreeSet<String> = fs::read_dir(root().join("rsyslog-conf"))
        .expect("rsyslog-conf")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "conf"))
        .collect();
    let known = [REMOTE, CENTRAL, PROG].into_iter().chain(crate::native_conf::FILES).chain(crate::relp_tls::FILES);
    let known = known.map(str::to_owned).collect();
    assert_eq!(names, known, "each file needs a test that runs it");
    let scene = Scene::new();
    // Those with TLS want to see their certificates first.
    for file in
        [shipped(REMOTE), shipped(CENTRAL), shipped(PROG), switched(&scene, "#long"), switched(&scene, "#legacy")]
    {
        rsyslogd_n1(&file).unwrap_or_else(|complaint| panic!("{}: {complaint}", file.display()));
    }
}

/// A configuration text without its comments; the blocks that are shipped commented out count as text.
fn without_comments(text: &str) -> String {
    text.lines()
        .map(|line| line.strip_prefix("#legacy ").or_else(|| line.strip_prefix("#long")).unwrap_or(line))
        .filter(|line| !line.trim_start().starts_with('#'))
        .fold(String::new(), |mut all, line| {
            writeln!(all, "{line}").expect("memory");
            all
        })
}

/// The parameters of each action in a text: name and value as written.
fn actions(text: &str) -> Vec<Vec<(String, String)>> {
    let text = without_comments(text);
    let modern = text.split("action(").skip(1).map(|rest| {
        let inside = rest.split_once(')').expect("an action ends").0;
        let parts: Vec<&str> = inside.split('"').collect();
        parts
            .chunks_exact(2)
            .map(|pair| (pair[0].trim().trim_end_matches('=').to_owned(), pair[1].to_owned()))
            .collect()
    });
    let mut legacy = Vec::new();
    let mut settings: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, value] if name.starts_with("$Action") => settings.push((name.to_owned(), value.to_owned())),
            [selector, target] if selector.contains('.') && target.starts_with(['|', '/', '@', '-']) => {
                legacy.push(settings.clone());
            }
            _ => {}
        }
    }
    modern.chain(legacy).collect()
}

#[test]
fn every_action_retries_for_ever_and_every_queue_spills_before_it_is_full() {
    let mut spilling = 0;
    for (name, count) in
        [(REMOTE, 1), (CENTRAL, 3), (PROG, 1), (crate::relp_tls::FILES[0], 1), (crate::relp_tls::FILES[1], 1)]
    {
        let actions = actions(&text_of(&shipped(name)));
        assert_eq!(actions.len(), count, "{name}: {actions:#?}");
        for action in actions {
            let value = |modern: &str, legacy: &str| {
                let found = action.iter().rev().find(|(key, _)| key == modern || key == legacy);
                found.map(|(_, value)| value.as_str())
            };
            let number = |modern: &str, legacy: &str| -> u32 {
                let value = value(modern, legacy).unwrap_or_else(|| panic!("{name}: no {modern} in {action:?}"));
                value.parse().unwrap_or_else(|e| panic!("{name}: {modern} = {value}: {e}"))
            };
            let retries = value("action.resumeRetryCount", "$ActionResumeRetryCount");
            assert_eq!(retries, Some("-1"), "{name}: an action that gives messages up: {action:?}");
            if value("queue.filename", "$ActionQueueFileName").is_none() {
                assert_eq!(value("name", ""), Some("long"), "{name}: a queue that is lost at a restart: {action:?}");
                continue;
            }
            spilling += 1;
            let size = number("queue.size", "$ActionQueueSize");
            let batch = number("queue.dequeueBatchSize", "$ActionQueueDequeueBatchSize");
            let high = number("queue.highWatermark", "$ActionQueueHighWaterMark");
            let low = number("queue.lowWatermark", "$ActionQueueLowWaterMark");
            assert!(low < high && high + batch + size / 10 <= size, "{name}: {low} {high} {batch} {size}");
            assert_eq!(value("queue.saveOnShutdown", "$ActionQueueSaveOnShutdown"), Some("on"), "{name}");
            assert_eq!(number("queue.workerThreads", "$ActionQueueWorkerThreads"), 1, "{name}");
            assert!(number("queue.timeoutEnqueue", "$ActionQueueTimeoutEnqueue") >= 5_000, "{name}");
            assert!(number("action.resumeInterval", "$ActionResumeInterval") <= 5, "{name}");
            assert!(value("queue.maxDiskSpace", "$ActionQueueMaxDiskSpace").is_some(), "{name}");
        }
    }
    assert_eq!(spilling, 6);
}

#[test]
fn the_legacy_block_says_the_same_as_the_modern_one() {
    let actions = actions(&text_of(&shipped(CENTRAL)));
    let [modern, _, legacy] = &actions[..] else { panic!("{actions:#?}") };
    let queue =
        |key: &str| key.strip_prefix("queue.").or_else(|| key.strip_prefix("$ActionQueue")).map(str::to_lowercase);
    let of = |action: &[(String, String)]| -> BTreeSet<(String, String)> {
        let pairs = action.iter().filter_map(|(key, value)| Some((queue(key)?, value.clone())));
        pairs.filter(|(key, _)| key != "spooldirectory").collect()
    };
    assert_eq!(of(modern), of(legacy));
    let tail = without_comments(&text_of(&shipped(CENTRAL)));
    let tail = tail.split_once("pipe;bridge").expect("the legacy line").1;
    for reset in ["$ActionResumeInterval 30", "$ActionResumeRetryCount 0"] {
        assert!(tail.contains(reset), "the actions after the legacy block would inherit its {reset:?}");
    }
}

/// Texts that a sender must be able to send, each as it arrives.
const TEXTS: [&str; 8] = [
    " a plain text",
    "no blank before it",
    "  two blanks before it, one after ",
    " a|b|c ~19|6|Nov 21 10:00:00|not a record of its own",
    " {\"json\": \"[1, 2]\"} 100% \\n",
    " gr\u{fc}n \u{20ac} \u{1f600}",
    " [x@1 y=\"z\"] looks like structured data",
    " ",
];

fn records_travel(plan: &Plan) {
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let chain = Chain::new(&scene, &pipe, plan);
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    let local0 = b"<134>Nov 21 10:00:00 e2e test: local0 is not for the list".to_vec();
    send_frames(chain.remote_port, std::iter::once(local0).chain(TEXTS.map(local3)));
    let texts: Vec<Vec<u8>> = reader.lines(TEXTS.len()).iter().map(|line| text_of_record(line).to_vec()).collect();
    assert_eq!(texts, TEXTS.map(|text| text.as_bytes().to_vec()), "a text changed on its way");
    let records = Numbered::new("chain", 120);
    send_frames(chain.remote_port, numbered(&records, 0..500));
    let mut lines = reader.lines(500);
    central.hup();
    central.restart();
    send_frames(chain.remote_port, numbered(&records, 500..1_000));
    lines.extend(reader.lines(500));
    Ledger::new().sent_numbers("chain", 0..1_000).judge(&lines).assert_clean();
    remote.term();
    // The central server's own messages go the same way.
    send_frames(chain.central_port, [local3(" from the central server itself")]);
    assert_eq!(text_of_record(&reader.lines(1)[0]), b" from the central server itself");
    central.term();
}

#[test]
fn records_travel_from_the_sender_into_the_pipe() {
    records_travel(&Plan::default());
}

#[test]
fn records_travel_by_the_legacy_form_too() {
    let scene = Scene::new();
    records_travel(&Plan { central: switched(&scene, "#legacy"), ..Plan::default() });
}

#[test]
fn records_travel_from_the_sender_into_the_list() {
    let scene = Scene::new();
    let redis = Redis::setup(&scene).start();
    let mut bridge = Bridge::config(&scene).redis(&redis).start();
    let chain = Chain::new(&scene, &bridge.fifo(), &Plan::default());
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    let records = Numbered::new("list", 120);
    send_frames(chain.remote_port, numbered(&records, 0..1_000));
    until("1000 records in the list", PATIENCE, || (redis.llen("rsyslog") >= 500).then_some(()));
    central.hup();
    central.restart();
    send_frames(chain.remote_port, numbered(&records, 1_000..2_000));
    until("2000 records in the list", PATIENCE, || (redis.llen("rsyslog") >= 2_000).then_some(()));
    Ledger::new().sent_numbers("list", 0..2_000).judge(redis.list("rsyslog")).assert_clean();
    remote.term();
    central.term();
    bridge.term();
}

/// Frames of up to 8 KiB that a hostile or broken sender could send: whatever grows when it is escaped, and forged records.
fn hostile() -> Vec<Vec<u8>> {
    let forged = b"\r\n~19|6|Nov 21 10:00:00|forged\n\0~19|6|Nov 21 10:00:00|forged\n";
    let everything: Vec<u8> = (0..=255).collect();
    let mut frames = Vec::new();
    for filling in
        [&b"\x7f"[..], b"\x01", b"\0", b"\n", b"\r\n", b"\x1b[2J", b"\x80\x9f\xa0\xff", b"#", b"a", forged, &everything]
    {
        // Around the limits of the template, of the pipe, and of a message.
        for len in [900, 1_000, 1_024, 3_899, 3_901, 4_000, 4_001, 4_072, 4_073, 4_096, 8_000] {
            frames.push(local3(filling.iter().copied().cycle().take(len).collect::<Vec<u8>>()));
        }
    }
    frames.push(
        b"<158>1 2026-11-21T10:00:00Z e2e \n~19|6|x| \n [a b=\"\n~19|6|Nov 21 10:00:00|forged\"] \n~19|6|".to_vec(),
    );
    frames
}

fn nothing_is_torn_or_forged(before: &str) {
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let chain = Chain::new(&scene, &pipe, &Plan { before, ..Plan::default() });
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    let mut frames = hostile();
    frames.push(local3(" the end"));
    send_frames(chain.remote_port, &frames);
    let lines = reader.lines(frames.len());
    let longest = lines.iter().map(Vec::len).max().expect("lines") + 1;
    assert!(longest <= PIPE_BUF, "a line of {longest} bytes");
    assert_eq!(longest, 4_023, "{CENTRAL} says that this is the longest");
    for line in &lines {
        text_of_record(line);
        assert!(!line.iter().any(u8::is_ascii_control), "a control character in {}", show(line));
    }
    // As many records as messages: the last message is the last record.
    let last = text_of_record(&lines[frames.len() - 1]);
    assert!(last == b" the end", "more records than messages, the last one read is {}", show(last));
    remote.term();
    central.term();
}

#[test]
fn no_sender_can_tear_or_forge_a_record() {
    nothing_is_torn_or_forged("");
}

#[test]
fn no_sender_can_tear_or_forge_a_record_when_rsyslog_does_not_escape() {
    nothing_is_torn_or_forged("global(parser.escapeControlCharactersOnReceive=\"off\")");
}

#[test]
fn the_long_block_keeps_whole_what_the_template_cuts() {
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let plan = Plan { central: switched(&scene, "#long"), ..Plan::default() };
    let chain = Chain::new(&scene, &pipe, &plan);
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    let (fits, long) = (format!(" {}", "f".repeat(3_999)), format!(" {}", "l".repeat(6_000)));
    send_frames(chain.remote_port, [local3(&fits), local3(&long)]);
    let lines = reader.lines(2);
    assert_eq!(text_of_record(&lines[0]), fits.as_bytes());
    assert_eq!(text_of_record(&lines[1]), &long.as_bytes()[..4_000]);
    let kept = central.work_dir().join("fifo-bridge-long.log");
    until("the whole message in the file", PATIENCE, || (lines_in(&kept) > 0).then_some(()));
    let kept = text_of(&kept);
    assert!(kept.contains(long.trim_start()) && !kept.contains("fff"), "{kept}");
    remote.term();
    central.term();
}

/// The central server is away and more comes than fits in memory; perhaps the sender is stopped and started meanwhile.
fn the_central_server_is_away(plan: &Plan, stop: bool) -> Verdict {
    const SENT: usize = 15_000;
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let chain = Chain::new(&scene, &pipe, plan);
    let mut remote = chain.remote.clone().start();
    let records = Numbered::new("spill", 120);
    send_frames(chain.remote_port, numbered(&records, 0..SENT as u64));
    chain.until_queued(SENT);
    let spilled = || {
        let files = fs::read_dir(remote.work_dir()).expect("the work folder").map(|entry| entry.expect("an entry"));
        let files = files.filter(|entry| entry.file_name().to_string_lossy().starts_with("bridge_relp.0"));
        files.map(|entry| entry.metadata().map_or(0, |file| file.len())).sum::<u64>()
    };
    until("the sender's queue to spill", PATIENCE, || (spilled() > 0).then_some(()));
    if stop {
        remote.term();
    }
    let mut central = chain.central.clone().start();
    if stop {
        remote.start();
    }
    let verdict = judge_until_complete(&mut reader, "spill", SENT);
    remote.term();
    central.term();
    verdict
}

/// Reads until each of so many messages of a run has come, and judges all that came by then.
#[track_caller]
fn judge_until_complete(reader: &mut PipeReader, run: &str, count: usize) -> Verdict {
    let mut ledger = Ledger::new().sent_numbers(run, 0..count as u64);
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        let line = reader.line(PATIENCE).unwrap_or_else(|| panic!("no more lines, and {}", ledger.verdict()));
        ledger.found(&line);
        seen.extend(parse(&line).map(|(_, n)| n));
    }
    ledger.verdict()
}

/// Nothing lost or foreign, and no more than `doubled` twice.
#[track_caller]
fn assert_complete(verdict: &Verdict, doubled: u64) {
    assert_eq!((verdict.lost.count, verdict.foreign.count), (0, 0), "{verdict}");
    assert!(verdict.doubled.count <= doubled, "{verdict}");
}

// Order is not kept over a spill, and rsyslog sends the message twice that found the central server away, once from memory
// and once from disk: docs/RSYSLOG.md, "What remains".

#[test]
fn the_sender_spills_to_disk_while_the_central_server_is_away() {
    assert_complete(&the_central_server_is_away(&Plan::default(), false), 2);
}

#[test]
fn the_sender_loses_nothing_when_it_is_stopped_while_the_central_server_is_away() {
    assert_complete(&the_central_server_is_away(&Plan::default(), true), 2);
}

/// The sender's file, changed as its comment on order says.
fn disk(setup: RsyslogdSetup) -> RsyslogdSetup {
    setup
        .replace("    queue.type=\"LinkedList\"\n", "    queue.type=\"Disk\"\n")
        .replace("    queue.highWatermark=\"10000\"\n", "")
        .replace("    queue.lowWatermark=\"2000\"\n", "")
        .replace("    queue.size=\"20000\"\n", "    queue.size=\"2000000\"\n")
}

#[test]
fn a_disk_queue_keeps_the_order_over_an_outage() {
    let verdict = the_central_server_is_away(&Plan { remote: disk, ..Plan::default() }, false);
    assert_complete(&verdict, 1);
    assert_eq!(verdict.misordered.count, 0, "{verdict}");
}

#[test]
fn a_disk_queue_moves_the_batch_in_work_to_its_end_at_a_stop() {
    let verdict = the_central_server_is_away(&Plan { remote: disk, ..Plan::default() }, true);
    assert_complete(&verdict, 1);
    assert!(verdict.misordered.count <= 32, "{verdict}");
}

#[test]
fn the_central_server_keeps_over_a_restart_what_the_pipe_does_not_take() {
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let chain = Chain::new(&scene, &pipe, &Plan::default());
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    let records = Numbered::new("full", 200);
    // A pipe of 1 MiB takes some 5000 of them.
    send_frames(chain.remote_port, numbered(&records, 0..9_000));
    chain.until_taken(9_000);
    central.restart();
    // The batch in work comes at the end: docs/RSYSLOG.md, "Order".
    assert_complete(&judge_until_complete(&mut reader, "full", 9_000), 0);
    remote.term();
    central.term();
}

#[test]
fn equal_messages_all_arrive_though_the_host_reduces_them() {
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let chain = Chain::new(&scene, &pipe, &Plan { before: "$RepeatedMsgReduction on", ..Plan::default() });
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    let mut frames = vec![local3(" the same"); 50];
    frames.push(local3(" the end"));
    send_frames(chain.remote_port, &frames);
    let lines = reader.lines(51);
    let texts: Vec<&[u8]> = lines.iter().map(|line| text_of_record(line)).collect();
    assert!(texts[..50].iter().all(|text| text == b" the same") && texts[50] == b" the end", "{:?}", show(texts[1]));
    remote.term();
    central.term();
}

#[test]
fn a_busy_program_may_have_a_socket_of_its_own() {
    const LINE: &str = "input(type=\"imuxsock\" socket=\"/run/yourapp/log\")";
    assert!(text_of(&root().join("rsyslog-conf/README.md")).contains(LINE), "the README does not tell {LINE}");
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let mut chain = Chain::new(&scene, &pipe, &Plan::default());
    let socket = scene.socket("app");
    chain.remote = chain
        .remote
        .text("module(load=\"imuxsock\" sysSock.use=\"off\")")
        .text(LINE)
        .replace("/run/yourapp/log", plain(&socket));
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    let program = UnixDatagram::unbound().expect("a socket");
    until("the program's socket", PATIENCE, || program.connect(&socket).ok());
    for n in 0..200 {
        program.send(format!("<158>Nov 21 10:00:00 app: own {n} text").as_bytes()).expect("rsyslogd takes it");
    }
    Ledger::new().sent_numbers("own", 0..200).judge(reader.lines(200)).assert_clean();
    remote.term();
    central.term();
}

#[test]
fn escapes_instead_of_blanks_work_as_the_page_says() {
    let page = text_of(&root().join("docs/RSYSLOG.md"));
    let block = page.split("### Escapes instead of blanks").nth(1).expect("the section");
    let mut lines = block.lines().filter_map(|line| line.strip_prefix("    "));
    let mut next = |begin: &str| {
        lines.find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("no line with {begin:?} in the section"))
    };
    let (escaped, bridge, set) =
        (next("template(name=\"bridge_text\""), next("template(name=\"bridge\""), next("set "));
    let shipped_text = text_of(&shipped(CENTRAL));
    let template = shipped_text.split_once("template(name=\"bridge\"").expect("the template").1;
    let template = format!("template(name=\"bridge\"{}", template.split_once("\\n\")").expect("its end").0) + "\\n\")";
    let changed = shipped_text
        .replace(&template, &format!("{escaped}\n{bridge}"))
        .replace("    local3.* action(", &format!("    {set}\n    local3.* action("));
    let scene = Scene::new();
    let (pipe, mut reader) = new_pipe(&scene);
    let plan = Plan {
        central: scene.write("escapes.conf", changed),
        before: "global(parser.escapeControlCharactersOnReceive=\"off\")",
        ..Plan::default()
    };
    let chain = Chain::new(&scene, &pipe, &plan);
    let mut central = chain.central.clone().start();
    let mut remote = chain.remote.clone().start();
    send_frames(chain.remote_port, [local3(" one\ntwo\x7f"), local3([0x7f; 7_000])]);
    let lines = reader.lines(2);
    assert_eq!(text_of_record(&lines[0]), b" one#010two#127");
    assert_eq!(text_of_record(&lines[1]), "#127".repeat(1_000).as_bytes());
    remote.term();
    central.term();
}
