//! The program: lines from standard input, answers to standard output, until the input ends.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use delivery::dead_letter::{DeadLetters, Reason};
use delivery::position::{Epoch, Position};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{SFlag, fstat};

use crate::adopt;
use crate::fault::{self, Place};
use crate::lines::{Line, Lines};
use crate::logger;
use crate::protocol::{Answer, Protocol, Step};
use crate::session::Session;
use crate::settings::Settings;
use crate::wait::Host;

/// Read at a time. A pipe holds 64 KiB.
const CHUNK: usize = 256 << 10;
/// At the end of the input, how long it may take to hear that Redis is back.
const NEWS: Duration = Duration::from_millis(300);
/// Between two attempts that found no connection.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs until the end of the input.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    let settings = Arc::new(settings);
    // Before any thread: all of them inherit the mask.
    let signals = signals()?;
    let mut session = Session::open(&settings)?;
    logger::name(session.name());
    let stop = Arc::new(AtomicBool::new(false));
    let idle = Arc::new(AtomicBool::new(false));
    let confirm = settings.confirm.unwrap_or_else(is_asked);
    let host = Host::new(confirm, settings.dot, settings.close, Arc::clone(&stop));
    spawn("signals", {
        let (outlet, stop, idle) = (Arc::clone(session.outlet()), Arc::clone(&stop), Arc::clone(&idle));
        move || listen(&signals, || outlet.hup(), &stop, &idle)
    })?;
    let adopter = session.number().map(|number| adopt::start(&settings, number, Arc::clone(&stop))).transpose()?;
    log::info!(
        "{} at {}, {}",
        settings.told_lists(),
        settings.endpoint,
        if confirm { "answers are read" } else { "nobody reads answers" }
    );
    let mut program = Program { settings: &settings, session: &mut session, host, idle, letters: None };
    if program.ready() {
        program.serve()?;
    }
    program.drain();
    let held = session.held();
    session.outlet().stop();
    stop.store(true, Ordering::Relaxed);
    if let Some(adopter) = adopter {
        let _ = adopter.join();
    }
    if held > 0 {
        log::warn!("the input has ended; {held} records are kept for the next start");
    } else if !session.is_drained() {
        log::info!("the input has ended; the spool goes on with the next start");
    } else {
        log::info!("the input has ended");
    }
    Ok(())
}

struct Program<'a> {
    settings: &'a Settings,
    session: &'a mut Session,
    host: Host,
    /// True while there is nothing to do but to wait for input.
    idle: Arc<AtomicBool>,
    letters: Option<DeadLetters>,
}

impl Program<'_> {
    /// Says OK when there is somewhere to put records. False if the input ended before.
    fn ready(&mut self) -> bool {
        self.host.owe();
        fault::pass(Place::BeforeReady);
        while !self.session.is_clear() {
            if self.host.tick() || self.host.is_ending() || self.host.is_worn() {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        // What an earlier life has left comes first. Without a spool nothing can be done before Redis answers.
        while self.session.held() > 0 || self.settings.spool.is_none() {
            let host = &self.host;
            let good = if self.session.held() > 0 {
                self.session.settle(&|| host.tick())
            } else {
                self.session.probe(&|| host.tick())
            };
            if good || self.host.is_worn() {
                break;
            }
            if self.host.tick() || self.host.is_ending() {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        if self.session.held() == 0 {
            self.session.answered(true);
        }
        self.host.answer(Answer::Ok.line());
        true
    }

    /// Lines, until there are no more.
    fn serve(&mut self) -> anyhow::Result<()> {
        let mut protocol = Protocol::new(self.settings.marks.clone());
        let mut lines = Lines::new(self.settings.record_bytes_max, CHUNK);
        loop {
            while let Some(line) = lines.next_line() {
                self.line(&mut protocol, &line);
            }
            if !self.host.confirms() {
                // Nobody waits: whatever has come together goes together.
                self.settle_all();
            }
            if self.read(&mut lines)? == 0 {
                break;
            }
        }
        self.rest(&lines);
        Ok(())
    }

    /// More bytes; 0 at the end.
    fn read(&mut self, lines: &mut Lines) -> anyhow::Result<usize> {
        let stdin = std::io::stdin();
        loop {
            if self.host.is_ending() && !has_input() {
                // Somebody wants us to end: what is in the pipe is taken, what comes later is not waited for.
                return Ok(0);
            }
            self.idle.store(true, Ordering::Release);
            let read = nix::unistd::read(stdin.as_fd(), lines.space());
            self.idle.store(false, Ordering::Release);
            match read {
                Ok(bytes) => {
                    lines.filled(bytes);
                    return Ok(bytes);
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("standard input cannot be read"),
            }
        }
    }

    fn line(&mut self, protocol: &mut Protocol, line: &Line<'_>) {
        let step = match line {
            Line::Whole(line) => {
                let step = protocol.line(line);
                if matches!(step, Step::Keep(_) | Step::KeepAndSettle) {
                    self.session.message(line);
                }
                step
            }
            Line::Part { bytes, last } => {
                self.park(Reason::TooLong, "longer than prog.record-max", bytes);
                match (last, protocol.is_open()) {
                    (false, _) => return,
                    (true, true) => Step::Keep(Answer::Defer),
                    (true, false) => Step::KeepAndSettle,
                }
            }
        };
        if !self.host.confirms() {
            return;
        }
        match step {
            Step::Answer(answer) => {
                self.host.answer(answer.line());
                fault::pass(Place::AfterBegin);
            }
            Step::Keep(answer) => {
                fault::pass(Place::BeforeDefer);
                self.host.answer(answer.line());
                self.session.deferred();
                fault::pass(Place::AfterDefer);
            }
            Step::KeepAndSettle | Step::Settle => {
                self.host.owe();
                let safe = self.settle();
                fault::pass(Place::BeforeOk);
                self.host.answer(protocol.settled(safe).line());
                if !self.host.is_ending() || safe {
                    self.session.answered(safe);
                }
                fault::pass(Place::AfterOk);
            }
        }
    }

    /// Makes everything safe while rsyslog waits. False when its patience or ours ends.
    fn settle(&mut self) -> bool {
        loop {
            let host = &self.host;
            if self.session.settle(&|| host.tick()) {
                return true;
            }
            if self.host.tick() || self.host.is_worn() || self.host.owed() >= self.settings.patience {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The same when nobody waits: until it is done, or the end.
    fn settle_all(&mut self) {
        while self.session.held() > 0 {
            let host = &self.host;
            if self.session.settle(&|| host.tick()) {
                self.session.answered(true);
                return;
            }
            if self.host.tick() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// What stands behind the last LF.
    fn rest(&mut self, lines: &Lines) {
        let (rest, cut) = lines.rest();
        if rest.is_empty() && !cut {
            return;
        }
        if self.host.confirms() || cut {
            // rsyslog was not answered and hands the message in again: this may be a part of it.
            self.park(Reason::Torn, "the input ended before the line did", rest);
        } else {
            self.session.message(rest);
        }
    }

    /// The input has ended: brings away what can be brought away in time.
    fn drain(&mut self) {
        self.host.end();
        while self.session.held() > 0 {
            let host = &self.host;
            if self.session.settle(&|| host.tick()) {
                break;
            }
            if self.host.tick() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        if !self.host.confirms() {
            self.session.answered(true);
        }
        // Redis that is away is not waited for. That it is back may not be known yet.
        let since = Instant::now();
        while !self.session.is_drained()
            && (self.session.health().connected || since.elapsed() < NEWS)
            && !self.host.tick()
        {
            std::thread::sleep(PAUSE);
        }
    }

    fn park(&mut self, reason: Reason, detail: &str, record: &[u8]) {
        let folder = &self.settings.dead_letter_directory;
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let nanos =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        let end = Position { epoch: Epoch(u64::from(std::process::id())), offset: nanos };
        let parked = match &mut self.letters {
            Some(letters) => Ok(letters),
            none => DeadLetters::open(folder, true).map(|letters| none.insert(letters.of(&self.settings.mode))),
        }
        .and_then(|letters| letters.write(reason, &self.settings.key, detail, (end, record), seconds));
        let counters = self.session.counters();
        delivery::counters::add(&counters.dead_letters, 1);
        match parked {
            Ok(_) => log::warn!("{} bytes are a dead letter: {detail}", record.len()),
            Err(error) => log::error!("{} bytes could not be parked in {}: {error}", record.len(), folder.display()),
        }
    }
}

/// With `confirmMessages="on"` standard output is a pipe that is not the one of the log.
fn is_asked() -> bool {
    let (Ok(out), Ok(err)) = (fstat(std::io::stdout()), fstat(std::io::stderr())) else { return false };
    let pipe = SFlag::from_bits_truncate(out.st_mode).contains(SFlag::S_IFIFO)
        && SFlag::from_bits_truncate(out.st_mode) & SFlag::S_IFMT == SFlag::S_IFIFO;
    pipe && (out.st_dev, out.st_ino) != (err.st_dev, err.st_ino)
}

fn has_input() -> bool {
    let stdin = std::io::stdin();
    let mut sources = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    poll(&mut sources, PollTimeout::ZERO).is_ok_and(|n| n > 0)
        && sources[0].revents().is_some_and(|events| events.contains(PollFlags::POLLIN))
}

fn signals() -> anyhow::Result<SignalFd> {
    let wanted: SigSet =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2].into_iter().collect();
    wanted.thread_block().context("signals cannot be blocked")?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC).context("signals cannot be received")
}

/// Whatever `hup.signal` is: connections are made anew. SIGTERM, which `signalOnClose` sends before the input ends, ends.
fn listen(signals: &SignalFd, hup: impl Fn(), stop: &AtomicBool, idle: &AtomicBool) {
    loop {
        let Ok(Some(signal)) = signals.read_signal() else { return };
        match Signal::try_from(i32::try_from(signal.ssi_signo).unwrap_or(0)) {
            Ok(Signal::SIGTERM | Signal::SIGINT) => {
                stop.store(true, Ordering::Relaxed);
                // The main thread sees it, or it waits for input in vain: then all that is left is in the intake and in the spool.
                let mut looks = 0;
                while looks < 3 {
                    std::thread::sleep(PAUSE);
                    looks = if idle.load(Ordering::Acquire) && !has_input() { looks + 1 } else { 0 };
                }
                log::info!("asked to end");
                std::process::exit(0);
            }
            Ok(signal) => {
                log::info!("{signal}: connecting anew");
                hup();
            }
            Err(_) => {}
        }
    }
}

pub(crate) fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<std::thread::JoinHandle<T>> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(body);
    thread.with_context(|| format!("the thread {name} cannot be started"))
}
