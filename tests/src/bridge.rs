//! fifo-bridge as a child of the test: built once, configured privately, watched through its own doors.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::built;
use crate::child::{Guarded, PATIENCE, Scene, until};
use crate::redis::Redis;

/// A stop must not take longer.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The user and the group that own nothing.
pub const NOBODY: u32 = 65_534;

/// The fifo-bridge with fault points.
pub fn binary() -> &'static Path {
    &built::faulty().bridge
}

/// The fifo-bridge as people get it.
pub fn plain_binary() -> &'static Path {
    &built::plain().bridge
}

/// `program` without words, nothing of systemd in its environment, and `runtime` in place of `/run/fifo-bridge`.
pub fn bare_command(program: &Path, runtime: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env("RUNTIME_DIRECTORY", runtime);
    for name in
        ["JOURNAL_STREAM", "NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "CREDENTIALS_DIRECTORY"]
    {
        command.env_remove(name);
    }
    command
}

/// The settings of a [`Bridge`], all paths in the scene. What is not set here keeps its default.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    scene: Scene,
    name: String,
    program: Option<PathBuf>,
    table: toml::Table,
    environment: Vec<(String, String)>,
    unprivileged: bool,
}

impl BridgeConfig {
    /// A name of its own, needed when a scene has several bridges (default: `bridge`). Call it first: paths follow it.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self.private_paths()
    }

    /// Another program than the one with fault points.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_path_buf());
        self
    }

    /// Pushes to this server, by its unix socket and with its password.
    #[must_use]
    pub fn redis(self, redis: &Redis) -> Self {
        let config = self.server(redis.socket());
        match redis.password() {
            Some(password) => config.set("redis.password", password),
            None => config,
        }
    }

    /// Pushes to this unix socket, a proxy's for example.
    #[must_use]
    pub fn server(self, socket: &Path) -> Self {
        self.set("redis.server", text(socket))
    }

    /// Sets `section.key`, for example `.set("batch.records-max", 100)`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl Into<toml::Value>) -> Self {
        settings::dotted::put(&mut self.table, name, value.into()).expect("a setting is named section.key");
        self
    }

    /// Takes a setting out again, so that the default holds.
    #[must_use]
    pub fn unset(mut self, name: &str) -> Self {
        settings::dotted::remove(&mut self.table, name);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it as nobody, who owns its folder. Call it after [`name`](Self::name). A test that is not run by root is nobody already.
    #[must_use]
    pub fn unprivileged(mut self) -> Self {
        if !nix::unistd::geteuid().is_root() {
            return self;
        }
        // The folder of the program may be closed to nobody, and the scene's is.
        let copy = self.scene.file("fifo-bridge");
        if !copy.exists() {
            fs::copy(self.program.as_deref().unwrap_or_else(|| binary()), &copy).expect("cannot copy fifo-bridge");
        }
        fs::set_permissions(self.scene.path(), fs::Permissions::from_mode(0o755)).expect("cannot open the scene");
        chown(self.scene.folder(&self.name), Some(NOBODY), Some(NOBODY)).expect("cannot give the folder away");
        self.unprivileged = true;
        self.program(&copy)
    }

    /// The settings as TOML.
    pub fn toml(&self) -> String {
        toml::to_string(&self.table).expect("settings are TOML")
    }

    fn text(&self, name: &str) -> PathBuf {
        let (section, key) = name.split_once('.').expect("a setting is named section.key");
        self.table[section][key].as_str().expect("a path").into()
    }

    fn private_paths(self) -> Self {
        let name = self.name.clone();
        let run = self.scene.folder(&name);
        let fifo = run.join("pipe");
        let spool = run.join("spool");
        let metrics = self.scene.socket(&format!("{name}/metrics.sock"));
        let status = self.scene.socket(&format!("{name}/status.sock"));
        self.set("fifo.path", text(&fifo))
            .set("spool.directory", text(&spool))
            .set("metrics.listen", text(&metrics))
            .set("metrics.status-socket", text(&status))
    }

    /// Writes the configuration file; nothing is started.
    pub fn prepare(self) -> Bridge {
        let file = self.scene.write(&format!("{}.toml", self.name), self.toml());
        Bridge { config: self, file, child: None }
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> Bridge {
        let mut bridge = self.prepare();
        bridge.start();
        bridge
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

/// A fifo-bridge of this test alone. It ends with the value.
#[derive(Debug)]
pub struct Bridge {
    config: BridgeConfig,
    file: PathBuf,
    child: Option<Guarded>,
}

impl Bridge {
    /// Begins a bridge with a pipe, a spool, a metrics socket and a status socket of its own.
    pub fn config(scene: &Scene) -> BridgeConfig {
        BridgeConfig {
            scene: scene.clone(),
            name: "bridge".to_owned(),
            program: None,
            table: toml::Table::new(),
            environment: Vec::new(),
            unprivileged: false,
        }
        .private_paths()
    }

    /// The pipe.
    pub fn fifo(&self) -> PathBuf {
        self.config.text("fifo.path")
    }

    /// The spool's folder.
    pub fn spool(&self) -> PathBuf {
        self.config.text("spool.directory")
    }

    /// The configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where it says how it is.
    pub fn status_socket(&self) -> PathBuf {
        self.config.text("metrics.status-socket")
    }

    /// Changes the settings and writes the file again; a restart or a HUP reads it.
    pub fn reconfigure(&mut self, change: impl FnOnce(BridgeConfig) -> BridgeConfig) {
        self.config = change(self.config.clone());
        fs::write(&self.file, self.config.toml()).expect("cannot write the configuration");
    }

    /// `fifo-bridge WORDS --config FILE`, not run yet.
    pub fn command(&self, words: &[&str]) -> Command {
        let program = self.config.program.as_deref().unwrap_or_else(|| binary());
        let mut command = bare_command(program, &self.config.scene.file(&self.config.name));
        command.args(words).arg("--config").arg(&self.file);
        if self.config.unprivileged {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.envs(self.config.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `fifo-bridge WORDS --config FILE` to its end, for example `check` or `config`.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("cannot run fifo-bridge")
    }

    /// Starts it and waits until it is ready.
    pub fn start(&mut self) {
        self.launch();
        self.ready();
    }

    /// Starts it and does not wait. One that still runs is killed before: it would keep the pipe.
    pub fn launch(&mut self) {
        self.child = None;
        let command = self.command(&["run"]);
        self.child = Some(self.config.scene.spawn(&self.config.name, command));
    }

    /// Starts it with a fault point that kills it at the `count`th passage, and does not wait.
    pub fn launch_with_fault(&mut self, point: &str, count: u64) {
        self.child = None;
        let mut command = self.command(&["run"]);
        command.env("FIFO_BRIDGE_FAULT", format!("{point}:{count}"));
        self.child = Some(self.config.scene.spawn(&self.config.name, command));
    }

    /// Waits until its pipe is there and its status socket accepts.
    #[track_caller]
    pub fn ready(&mut self) {
        let (fifo, socket) = (self.fifo(), self.config.text("metrics.status-socket"));
        until("fifo-bridge to be ready", PATIENCE, || {
            if let Some(status) = self.child().ended() {
                panic!("fifo-bridge ended at its start ({status}):\n{}", self.stderr());
            }
            let pipe = fs::metadata(&fifo).is_ok_and(|file| file.file_type().is_fifo());
            (pipe && UnixStream::connect(&socket).is_ok()).then_some(())
        });
    }

    /// Its process.
    #[track_caller]
    pub fn child(&mut self) -> &mut Guarded {
        self.child.as_mut().expect("fifo-bridge was not started")
    }

    /// Kills it with SIGKILL.
    pub fn kill9(&mut self) {
        self.child().kill9();
    }

    /// Stops it with SIGTERM; it must leave with 0, and soon.
    #[track_caller]
    pub fn term(&mut self) {
        let status = self.child().term(STOP_LIMIT);
        assert!(status.success(), "fifo-bridge ended with {status} after SIGTERM:\n{}", self.stderr());
    }

    /// SIGHUP: it reads its configuration again.
    #[track_caller]
    pub fn hup(&mut self) {
        self.child().signal(Signal::SIGHUP);
    }

    /// Waits until it ends by itself (or by a fault point).
    #[track_caller]
    pub fn wait_exit(&mut self, limit: Duration) -> ExitStatus {
        self.child().wait(limit)
    }

    /// What it wrote to stderr, all starts together.
    pub fn stderr(&self) -> String {
        self.config.scene.log(&self.config.name)
    }

    /// `fifo-bridge status --json`.
    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        let output = self.run(&["status", "--json"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "fifo-bridge status ended with {}: {said}", output.status);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("fifo-bridge status --json gave no JSON: {e}\n{}", String::from_utf8_lossy(&output.stdout))
        })
    }

    /// The metrics: full name, labels included, to value.
    #[track_caller]
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let text = self.metrics_text();
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a metric: {line:?}"));
                let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line:?}"));
                (name.to_owned(), value)
            })
            .collect()
    }

    /// The counter or gauge of this word, without prefix and suffix.
    #[track_caller]
    pub fn counter(&self, word: &str) -> u64 {
        let (counter, gauge) = (format!("fifo_bridge_{word}_total "), format!("fifo_bridge_{word} "));
        let text = self.metrics_text();
        let value = text.lines().find_map(|line| line.strip_prefix(&counter).or_else(|| line.strip_prefix(&gauge)));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no count of {word} in\n{text}"))
    }

    /// The lines of its log that hold `text`.
    pub fn said(&self, text: &str) -> Vec<String> {
        self.stderr().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// Waits until its log has at least `times` lines that hold `text`.
    #[track_caller]
    pub fn wait_said(&self, text: &str, times: usize) {
        until(&format!("{times} log lines with {text:?}"), PATIENCE, || (self.said(text).len() >= times).then_some(()));
    }

    /// The dead letters, oldest first. A line that a kill cut off is none: its letter follows whole.
    pub fn dead_letters(&self) -> Vec<serde_json::Value> {
        let bytes = fs::read(self.spool().join("dead-letters.jsonl")).unwrap_or_default();
        bytes.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Waits for at least `n` dead letters.
    #[track_caller]
    pub fn wait_letters(&self, n: usize, limit: Duration) {
        until(&format!("{n} dead letters"), limit, || (self.dead_letters().len() >= n).then_some(()));
    }

    /// Bytes of the spool's segments on disk.
    pub fn spool_files(&self) -> u64 {
        let entries = fs::read_dir(self.spool()).into_iter().flatten().flatten();
        let segments = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "seg"));
        segments.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// The body of the Prometheus page.
    #[track_caller]
    pub fn metrics_text(&self) -> String {
        let mut stream = UnixStream::connect(self.config.text("metrics.listen")).expect("no metrics socket");
        stream.set_read_timeout(Some(STOP_LIMIT)).expect("a timeout can be set");
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("cannot ask for metrics");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("cannot read metrics");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.lines().next().is_some_and(|line| line.contains(" 200")), "metrics answered {head}");
        body.to_owned()
    }
}
