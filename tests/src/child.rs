//! Children that do not outlive their test, the folder they live in, and waiting for facts.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Long enough for anything that works, on a slow machine too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A socket's path must fit into `sockaddr_un` (108 bytes with the closing NUL).
const SOCKET_PATH_MAX: usize = 107;

/// Polls `look` until it finds something. Panics with `what` it waited for when `limit` has passed.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "gave up after {limit:?} waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The private folder of one test and the logs of the children in it. Clones are handles on the same scene.
///
/// When the last handle goes while its test is panicking, the end of each log is printed.
/// `E2E_KEEP=1` in the environment leaves the folder of a failed test in place.
#[derive(Clone, Debug)]
pub struct Scene(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: Option<TempDir>,
    path: PathBuf,
    logs: Mutex<Vec<PathBuf>>,
}

impl Scene {
    /// Makes an empty folder with a short path.
    #[expect(clippy::new_without_default, reason = "it makes a folder on disk")]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("e2e-").tempdir_in("/tmp").expect("cannot make a folder in /tmp");
        let path = dir.path().to_path_buf();
        Self(Arc::new(Inner { dir: Some(dir), path, logs: Mutex::default() }))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The path of `name` in the folder; nothing is created.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }

    /// The path of a unix socket: like [`Scene::file`], and short enough for the kernel.
    pub fn socket(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        assert!(path.as_os_str().len() <= SOCKET_PATH_MAX, "too long for a unix socket: {}", path.display());
        path
    }

    /// Makes the folder `name` (if it is missing) and returns its path.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        path
    }

    /// Writes the file `name` and returns its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
        path
    }

    /// The log of the child `name`: what it wrote to stdout and stderr, all its starts together.
    pub fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path(name)).unwrap_or_default()).into_owned()
    }

    /// Where the log of the child `name` is.
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.log"))
    }

    /// Adds a file to those whose end is printed when the test fails.
    pub fn watch_log(&self, path: PathBuf) {
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if !logs.contains(&path) {
            logs.push(path);
        }
    }

    /// Starts `command` as the child `name`. Its input is empty, its stdout and stderr go to the log of that name.
    pub fn spawn(&self, name: &str, mut command: Command) -> Guarded {
        let path = self.log_path(name);
        let log = OpenOptions::new().create(true).append(true).open(&path).expect("cannot open a log");
        self.watch_log(path);
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("cannot clone a log's handle")).stderr(log);
        let child = start(&mut command).unwrap_or_else(|e| {
            panic!("cannot start {name}: {program}: {e}. This test needs it; it is never skipped.")
        });
        Guarded { name: name.to_owned(), child }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut text = String::new();
        for path in self.logs.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let bytes = fs::read(&*path).unwrap_or_default();
            let whole = String::from_utf8_lossy(&bytes);
            let lines: Vec<&str> = whole.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            let _ = writeln!(text, "--- {} (last {} of {} lines)", path.display(), tail.len(), lines.len());
            for line in tail {
                let _ = writeln!(text, "{line}");
            }
        }
        report(&text);
        if std::env::var_os("E2E_KEEP").is_some()
            && let Some(dir) = self.dir.take()
        {
            report(&format!("--- kept: {}\n", dir.keep().display()));
        }
    }
}

#[expect(clippy::print_stderr, reason = "the logs of a failed test are for the person who reads its output")]
fn report(text: &str) {
    eprint!("{text}");
}

/// A child that is killed (SIGKILL) and reaped when it goes out of scope.
#[derive(Debug)]
pub struct Guarded {
    name: String,
    child: Child,
}

impl Guarded {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The processor time that it has used. The kernel counts in hundredths of a second.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let (_, behind_name) = stat.rsplit_once(')').expect("a name in parentheses");
        let words: Vec<&str> = behind_name.split_ascii_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|&word: &usize| words[word].parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Its resident memory in bytes.
    #[track_caller]
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|e| panic!("cannot ask for {}: {e}", self.name))
    }

    /// Sends `signal`. Panics if the child has ended: a test that signals it believes that it runs.
    #[track_caller]
    pub fn signal(&mut self, signal: Signal) {
        if let Some(status) = self.ended() {
            panic!("{} has ended ({status}), {signal} cannot be sent", self.name);
        }
        let pid = i32::try_from(self.child.id()).expect("process ids are positive i32");
        kill(Pid::from_raw(pid), signal).unwrap_or_else(|e| panic!("cannot send {signal} to {}: {e}", self.name));
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        until(&what, limit, || self.ended())
    }

    /// SIGTERM, then waits until it has ended.
    #[track_caller]
    pub fn term(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(limit)
    }

    /// SIGKILL, then reaps it. Fine if it has ended already.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGSTOP: it stands still but keeps its sockets.
    #[track_caller]
    pub fn stop(&mut self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT after [`Guarded::stop`].
    #[track_caller]
    pub fn cont(&mut self) {
        self.signal(Signal::SIGCONT);
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Starts a program. One that was just written may be held open by the child of another thread that has not come to its exec yet:
/// that is waited for.
pub fn start(command: &mut Command) -> std::io::Result<Child> {
    let begin = Instant::now();
    loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            started => return started,
        }
    }
}

/// Runs a command to its end. The error has what it said, or that it took longer than `limit`.
pub fn run(mut command: Command, limit: Duration) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let words = command.get_args().last().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    let what = format!("{program} ... {words}");
    let output = tempfile::tempfile().map_err(|e| format!("no temporary file: {e}"))?;
    let handle = || output.try_clone().map_err(|e| format!("no temporary file: {e}"));
    command.stdin(Stdio::null()).stdout(handle()?).stderr(handle()?);
    let child = start(&mut command).map_err(|e| format!("cannot start {program}: {e}"))?;
    let mut child = Guarded { name: program, child };
    let start = Instant::now();
    let status = loop {
        match child.ended() {
            Some(status) => break status,
            None if start.elapsed() >= limit => return Err(format!("{what} took longer than {} s", limit.as_secs())),
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let mut said = Vec::new();
    let read = (&output).seek(SeekFrom::Start(0)).and_then(|_| (&output).read_to_end(&mut said));
    read.map_err(|e| format!("cannot read what {what} said: {e}"))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    if status.success() { Ok(said) } else { Err(format!("{what}: {status}: {}", last_lines(&said))) }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

/// A TCP port on 127.0.0.1 that nobody uses, never given twice by this process.
///
/// It lies below the range that the kernel hands out by itself, so that no outgoing connection takes it meanwhile.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..1000 {
        let port = fastrand::u16(20_000..32_000);
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.push(port);
            return port;
        }
    }
    panic!("no free TCP port between 20000 and 32000");
}

/// Whether somebody listens on the TCP port (any address), read from `/proc` and so without a connection.
pub fn listening(port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
        fs::read_to_string(table).unwrap_or_default().lines().skip(1).any(|line| {
            let mut words = line.split_ascii_whitespace().skip(1);
            let local = words.next().unwrap_or_default();
            let state = words.nth(1).unwrap_or_default();
            local.ends_with(&wanted) && state == "0A" // LISTEN
        })
    })
}
