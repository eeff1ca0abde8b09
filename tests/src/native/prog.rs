//! omrust-prog behind rsyslog's omprog, as a door; and alone, in a conversation.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::built;
use crate::child::{PATIENCE, Scene, start, until};
use crate::native::door::{ACTION, Door, KEY, Place};

/// The program with fault points.
pub fn binary() -> &'static Path {
    &built::faulty().program
}

/// The program as people get it.
pub fn plain_binary() -> &'static Path {
    &built::plain().program
}

/// The program behind omprog, with answers and transactions.
pub const OMPROG: Door = Door {
    name: "omrust-prog",
    load: "module(load=\"omprog\")",
    modules: Vec::new,
    action: |place| action(place, "confirmMessages=\"on\" useTransactions=\"on\""),
    control: false,
};

/// With answers, a record at a time.
pub const OMPROG_SINGLE: Door = Door {
    name: "omrust-prog without transactions",
    action: |place| action(place, "confirmMessages=\"on\" useTransactions=\"off\""),
    ..OMPROG
};

/// Without answers: what is in the pipe is lost if the program is killed, and nothing else ever.
pub const OMPROG_DEAF: Door = Door {
    name: "omrust-prog without answers",
    action: |place| action(place, "confirmMessages=\"off\" useTransactions=\"on\""),
    ..OMPROG
};

/// One program for all workers.
pub const OMPROG_SHARED: Door = Door {
    name: "omrust-prog for all workers",
    action: |place| action(place, "confirmMessages=\"on\" useTransactions=\"on\" forceSingleInstance=\"on\""),
    ..OMPROG
};

/// In a fault: the action's own folder.
pub const FOLDER: &str = "@FOLDER@";

/// The action. Words of `more` that omprog does not know are settings of the program, and some are both; `fault` is its place to die.
fn action(place: &Place, mode: &str) -> String {
    let mut toml = format!("[redis]\nserver = \"127.0.0.1\"\nport = {}\n", place.port);
    if let Some(password) = place.password {
        writeln!(toml, "password = \"{password}\"").expect("memory");
    }
    let (mut redis, mut queue, mut stream, mut spool, mut prog, mut words, mut fault) =
        (String::new(), String::new(), String::new(), String::new(), String::new(), String::new(), None);
    for word in place.more.split_ascii_whitespace() {
        let (name, value) = word.split_once('=').expect("NAME=\"VALUE\"");
        let value = value.trim_matches('"');
        match name {
            "timeout" => writeln!(redis, "timeout-ms = {value}"),
            "cluster" => writeln!(redis, "cluster = true"),
            "ack" => writeln!(redis, "ack = \"{value}\""),
            "lanes" => writeln!(queue, "lanes = {value}"),
            // The run, with the template of the tests.
            "lane.template" => writeln!(queue, "lane-field = \"word:4\""),
            "connecttimeout" => writeln!(redis, "connect-timeout-ms = {value}"),
            "maxlength" => writeln!(queue, "max-length = {value}"),
            "tls" => writeln!(redis, "tls.enabled = {}", value == "on"),
            "tls.cacert" => writeln!(redis, "tls.ca-cert = \"{value}\""),
            "tls.mycert" => writeln!(redis, "tls.cert = \"{value}\""),
            "tls.myprivkey" => writeln!(redis, "tls.key = \"{value}\""),
            "mode" => writeln!(queue, "mode = \"{value}\""),
            "stream.field" => writeln!(stream, "field = \"{value}\""),
            "stream.maxlen" => writeln!(stream, "maxlen = {value}"),
            // What it does anyway.
            "onrefused" => {
                assert_eq!(value, "hold");
                Ok(())
            }
            "serveruser" => writeln!(redis, "user = \"{value}\""),
            "serverpassword" => writeln!(redis, "password = \"{value}\""),
            "serverpassword.file" => writeln!(redis, "password-file = \"{value}\""),
            "spool.delay" => writeln!(spool, "delay-ms = {value}"),
            // The smallest that there is.
            "spool.maxsize" => writeln!(spool, "maxsize = \"4m\""),
            "patience" => writeln!(prog, "patience-seconds = {value}"),
            "beginTransactionMark" | "commitTransactionMark" | "closeTimeout" => {
                let key = match name {
                    "beginTransactionMark" => format!("begin-mark = \"{value}\""),
                    "commitTransactionMark" => format!("commit-mark = \"{value}\""),
                    _ => format!("close-timeout-ms = {value}"),
                };
                writeln!(prog, "{key}").and_then(|()| write!(words, " {word}"))
            }
            "fault" => {
                fault = Some(value.replace(FOLDER, place.folder.to_str().expect("a plain path")));
                Ok(())
            }
            _ => write!(words, " {word}"),
        }
        .expect("memory");
    }
    let state = place.spool.unwrap_or(place.folder).display();
    match place.spool {
        Some(_) => writeln!(spool, "directory = \"{state}\""),
        None => writeln!(prog, "state-directory = \"{state}\""),
    }
    .expect("memory");
    write!(
        toml,
        "{redis}[queue]\nkey = \"{KEY}\"\nproducer = \"p\"\n{queue}[stream]\n{stream}[spool]\n{spool}[prog]\n{prog}"
    )
    .expect("memory");
    let config = place.folder.join("omrust.toml");
    fs::write(&config, toml).expect("cannot write the settings");
    let fault = fault.map(|fault| format!("/usr/bin/env OMRUST_PROG_FAULT={fault} ")).unwrap_or_default();
    format!(
        "action(name=\"{ACTION}\" type=\"omprog\" binary=\"{fault}{} --config {}\" template=\"line\" {mode} \
         output=\"{}\" action.resumeRetryCount=\"-1\" action.resumeInterval=\"{}\"{words})",
        binary().display(),
        config.display(),
        place.folder.join("omrust-prog.log").display(),
        place.resume
    )
}

/// The program as the child of a test that speaks in rsyslog's place.
#[derive(Debug)]
pub struct Talk {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Talk {
    /// Starts it with these settings and nothing of the environment's.
    pub fn start(scene: &Scene, toml: &str, words: &[&str]) -> Self {
        Self::start_in(binary(), scene, toml, words, &[])
    }

    /// The same by another name, which leads to it.
    pub fn start_as(program: &Path, scene: &Scene, toml: &str, words: &[&str]) -> Self {
        Self::start_in(program, scene, toml, words, &[])
    }

    /// The same with variables.
    pub fn start_in(program: &Path, scene: &Scene, toml: &str, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let config = scene.write(&format!("{}.toml", fastrand::u64(..)), toml);
        let log = scene.log_path("omrust-prog");
        scene.watch_log(log.clone());
        let stderr = fs::OpenOptions::new().create(true).append(true).open(&log).expect("cannot open a log");
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(config)
            .args(words)
            .env_remove("CREDENTIALS_DIRECTORY")
            .envs(variables.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = start(&mut command).expect("cannot start omrust-prog");
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().expect("a pipe")));
        Self { child, input, output, log }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes these bytes.
    #[track_caller]
    pub fn put(&mut self, bytes: &[u8]) {
        self.input.as_mut().expect("it is open").write_all(bytes).expect("it reads");
    }

    /// True if it has said something that was not read.
    fn speaks(&self, limit: Duration) -> bool {
        let mut sources = [PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).expect("not so long");
        !self.output.buffer().is_empty() || poll(&mut sources, limit).expect("it can be asked") > 0
    }

    /// The next answer, without dots and LF.
    #[track_caller]
    pub fn answer(&mut self) -> String {
        self.answer_within(PATIENCE)
    }

    /// The same with a limit.
    #[track_caller]
    pub fn answer_within(&mut self, limit: Duration) -> String {
        let start = Instant::now();
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            assert!(start.elapsed() < limit, "no answer within {limit:?}, but {}", line.escape_ascii());
            if self.speaks(Duration::from_millis(20)) {
                let mut byte = [0];
                assert_eq!(self.output.read(&mut byte).expect("it can be read"), 1, "it has ended");
                line.push(byte[0]);
            }
        }
        String::from_utf8(line).expect("text").trim_start_matches('.').trim_end().to_owned()
    }

    /// Waits until it has written so many dots, and nothing else.
    #[track_caller]
    pub fn dots(&mut self, count: usize) {
        let mut dots = vec![0; count];
        let start = Instant::now();
        for dot in &mut dots {
            while !self.speaks(Duration::from_millis(20)) {
                assert!(start.elapsed() < PATIENCE, "it gives no sign of life");
            }
            self.output.read_exact(std::slice::from_mut(dot)).expect("it can be read");
        }
        assert_eq!(dots, vec![b'.'; count], "{}", dots.escape_ascii());
    }

    /// Writes a line and gives the answer.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.put(line.as_bytes());
        self.put(b"\n");
        self.answer()
    }

    /// Writes a line and gives the answer; `None` if it ends instead.
    pub fn try_ask(&mut self, line: &str) -> Option<String> {
        let input = self.input.as_mut().expect("it is open");
        input.write_all(line.as_bytes()).and_then(|()| input.write_all(b"\n")).ok()?;
        self.try_answer()
    }

    /// The next answer; `None` if it ends instead.
    pub fn try_answer(&mut self) -> Option<String> {
        let mut answer = String::new();
        self.output.read_line(&mut answer).ok()?;
        answer.ends_with('\n').then(|| answer.trim_start_matches('.').trim_end().to_owned())
    }

    /// A transaction of these records; gives the answer to its commit.
    #[track_caller]
    pub fn transaction(&mut self, records: &[&str]) -> String {
        assert_eq!(self.ask("BEGIN TRANSACTION"), "OK");
        for record in records {
            assert_eq!(self.ask(record), "DEFER_COMMIT");
        }
        self.ask("COMMIT TRANSACTION")
    }

    /// Ends the input and waits for its end. What it says then is nothing.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        drop(self.input.take());
        let status = self.wait();
        let mut rest = String::new();
        self.output.read_line(&mut rest).expect("it can be read");
        assert_eq!(rest.trim_start_matches('.'), "", "it has nothing to say behind the end of its input");
        status
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        until("omrust-prog to end", PATIENCE, || self.child.try_wait().expect("it can be asked"))
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Any signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    /// What it has logged, all lives together.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.kill9();
    }
}
