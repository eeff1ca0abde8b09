//! A private rsyslogd, and the syslog frames that it is fed with.

use std::ffi::OsString;
use std::fs;
use std::io::{BufWriter, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cc::slow_sync;
use crate::child::{Guarded, PATIENCE, Scene, listening, until};
use crate::daemon::Daemon;
use crate::host::Host;

pub use crate::host::RSYSLOGD;

/// In a configuration text: the private work directory of this rsyslogd.
pub const WORK: &str = "@WORK@";

/// What an [`Rsyslogd`] is started with.
#[derive(Clone, Debug)]
pub struct RsyslogdSetup {
    scene: Scene,
    name: String,
    program: PathBuf,
    host: Option<Host>,
    modules: Vec<PathBuf>,
    environment: Vec<(&'static str, OsString)>,
    daemon: bool,
    text: String,
    ports: Vec<u16>,
}

impl RsyslogdSetup {
    /// Adds configuration text. [`WORK`] in it stands for the private work directory.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self.text.push('\n');
        self
    }

    /// Adds the text of a configuration file.
    #[must_use]
    pub fn file(self, path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        self.text(&text)
    }

    /// Replaces a part of what was added so far, such as a path or a port; panics if it is not there.
    #[must_use]
    #[track_caller]
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        assert!(self.text.contains(from), "the configuration has no {from:?}:\n{}", self.text);
        self.text = self.text.replace(from, to);
        self
    }

    /// The start waits until it listens on this TCP port.
    #[must_use]
    pub fn listens(mut self, port: u16) -> Self {
        self.ports.push(port);
        self
    }

    /// One more folder to load modules from (`-M`).
    #[must_use]
    pub fn modules(mut self, dir: &Path) -> Self {
        self.modules.push(dir.to_path_buf());
        self
    }

    /// The rsyslogd of this host, with its modules.
    #[must_use]
    pub fn host(mut self, host: &Host) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Takes back what [`host`](Self::host) said: a program that stands in for rsyslogd knows its modules itself.
    #[must_use]
    pub fn without_host(mut self) -> Self {
        self.host = None;
        self.modules.clear();
        self
    }

    /// Each of its syncs takes so many microseconds longer.
    #[must_use]
    pub fn slow_sync(mut self, microseconds: u32) -> Self {
        self.environment.push(("LD_PRELOAD", slow_sync().into()));
        self.environment.push(("SLOW_SYNC_US", microseconds.to_string().into()));
        self
    }

    /// Without `-n`: it goes into the background, as it does without systemd.
    #[must_use]
    pub fn daemon(mut self) -> Self {
        self.daemon = true;
        self
    }

    /// Another rsyslogd than the stock one.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = program.to_path_buf();
        self
    }

    /// The private work directory (queue files, state files).
    pub fn work_dir(&self) -> PathBuf {
        self.scene.folder(&format!("{}-work", self.name))
    }

    /// Writes the configuration file and returns its path.
    pub fn write(&self) -> PathBuf {
        let work = self.work_dir();
        let text = self.text.replace(WORK, work.to_str().expect("a plain path"));
        self.scene.write(&format!("{}.conf", self.name), text)
    }

    /// Starts it and waits until it runs and listens.
    pub fn start(self) -> Rsyslogd {
        let mut rsyslogd = self.prepare();
        rsyslogd.start();
        rsyslogd
    }

    /// Writes the configuration file, but starts nothing yet.
    pub fn prepare(self) -> Rsyslogd {
        let config = self.write();
        let pid_file = self.scene.file(&format!("{}.pid", self.name));
        Rsyslogd { setup: self, config, pid_file, child: None, daemon: None }
    }
}

/// An rsyslogd of this test alone. It ends with the value.
#[derive(Debug)]
pub struct Rsyslogd {
    setup: RsyslogdSetup,
    config: PathBuf,
    pid_file: PathBuf,
    child: Option<Guarded>,
    daemon: Option<Daemon>,
}

impl Rsyslogd {
    /// Begins an rsyslogd with an empty configuration. `name` is unique in the scene.
    pub fn setup(scene: &Scene, name: &str) -> RsyslogdSetup {
        RsyslogdSetup {
            scene: scene.clone(),
            name: name.to_owned(),
            program: RSYSLOGD.into(),
            host: None,
            modules: Vec::new(),
            environment: Vec::new(),
            daemon: false,
            text: String::new(),
            ports: Vec::new(),
        }
    }

    /// Starts it and waits until it runs and listens.
    pub fn start(&mut self) {
        self.launch();
        self.ready();
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) {
        let _ = fs::remove_file(&self.pid_file);
        let setup = &self.setup;
        let mut command = setup.host.as_ref().map_or_else(|| Command::new(&setup.program), Host::command);
        if !setup.daemon {
            command.arg("-n");
        }
        command.arg("-f").arg(&self.config).arg("-i").arg(&self.pid_file);
        match &setup.host {
            Some(host) => _ = command.arg("-M").arg(host.module_path(&setup.modules)),
            None if !setup.modules.is_empty() => _ = command.arg("-M").arg(join(&setup.modules)),
            None => {}
        }
        command.envs(setup.environment.iter().map(|(name, value)| (name, value)));
        self.child = Some(setup.scene.spawn(&setup.name, command));
        self.daemon = None;
    }

    /// Waits until it runs and listens.
    pub fn ready(&mut self) {
        until(&format!("rsyslogd {} to run and listen", self.setup.name), PATIENCE, || {
            if let Some(status) = self.child().ended().filter(|status| !self.setup.daemon || !status.success()) {
                panic!("rsyslogd {} ended at its start ({status}):\n{}", self.setup.name, self.log());
            }
            let pid: u32 = fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?;
            if self.setup.daemon && self.daemon.is_none() {
                self.daemon = Some(Daemon::new(&self.setup.name, pid));
            }
            self.setup.ports.iter().all(|&port| listening(port)).then_some(())
        });
    }

    /// Its process, where it is not a daemon.
    pub fn child(&mut self) -> &mut Guarded {
        self.child.as_mut().expect("rsyslogd is not running")
    }

    /// Its process id.
    pub fn pid(&mut self) -> u32 {
        match &self.daemon {
            Some(daemon) => daemon.pid(),
            None => self.child().pid(),
        }
    }

    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The private work directory.
    pub fn work_dir(&self) -> PathBuf {
        self.setup.work_dir()
    }

    /// What it wrote to stderr, all starts together.
    pub fn log(&self) -> String {
        self.setup.scene.log(&self.setup.name)
    }

    /// Sends it a signal.
    pub fn signal(&mut self, signal: Signal) {
        match &mut self.daemon {
            Some(daemon) => daemon.signal(signal),
            None => self.child().signal(signal),
        }
    }

    /// SIGHUP: it closes its files and pipes.
    pub fn hup(&mut self) {
        self.signal(Signal::SIGHUP);
    }

    /// SIGTERM, then waits until it has ended.
    pub fn term(&mut self) {
        assert!(self.try_term(PATIENCE), "rsyslogd {} does not end", self.setup.name);
    }

    /// SIGTERM. Whether it has ended within this time.
    pub fn try_term(&mut self, limit: Duration) -> bool {
        self.signal(Signal::SIGTERM);
        let start = Instant::now();
        while !self.ended() {
            if start.elapsed() >= limit {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        match &self.daemon {
            Some(daemon) => daemon.ended(),
            None => self.child().ended().is_some(),
        }
    }

    /// Kills it with SIGKILL.
    pub fn kill9(&mut self) {
        match &mut self.daemon {
            Some(daemon) => daemon.kill9(),
            None => self.child().kill9(),
        }
    }

    /// A clean stop and a new start with the same configuration and work directory.
    pub fn restart(&mut self) {
        self.term();
        self.start();
    }
}

fn join(folders: &[PathBuf]) -> OsString {
    folders.iter().map(|dir| dir.as_os_str()).collect::<Vec<_>>().join(":".as_ref())
}

/// Has rsyslogd check a configuration (`-N1`); gives back what it complained about.
pub fn rsyslogd_n1(config: &Path) -> Result<(), String> {
    let output = Command::new(RSYSLOGD)
        .args(["-N1", "-f"])
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {RSYSLOGD}: {e}. This test needs it; it is never skipped."));
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Sends each line as one LF-framed syslog message over one TCP connection (imptcp, imtcp), then closes it.
pub fn send_tcp<L: AsRef<[u8]>>(port: u16, lines: impl IntoIterator<Item = L>) {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("cannot connect to rsyslogd");
    let mut out = BufWriter::with_capacity(64 * 1024, stream);
    for line in lines {
        out.write_all(line.as_ref()).and_then(|()| out.write_all(b"\n")).expect("cannot send to rsyslogd");
    }
    out.flush().expect("cannot send to rsyslogd");
}
