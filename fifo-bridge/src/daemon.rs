//! `fifo-bridge run`: starts the threads, listens to signals, tells systemd, stops.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use delivery::spool::{Spool, Summer, Sync};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use sd_notify::NotifyState;

use crate::cli::Source;
use crate::drainer::Drainer;
use crate::fifo::{Fifo, FifoError};
use crate::pusher::{self, LanePusher};
use crate::settings::Settings;
use crate::shared::Shared;
use crate::{logger, metrics, status};

/// How often the main thread looks around.
const ROUND: Duration = Duration::from_millis(500);
/// How often systemd's status line is renewed.
const STATUS: Duration = Duration::from_secs(10);

/// Why the bridge ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The pipe's path is wrong. For exit status 78.
    #[error(transparent)]
    Fifo(FifoError),
    /// Anything else.
    #[error("{0:#}")]
    Other(#[from] anyhow::Error),
}

/// Runs until SIGTERM or SIGINT.
pub fn run(source: &Source, settings: Settings) -> Result<(), RunError> {
    logger::start(settings.level());
    // Before any thread: all of them inherit the mask, and signals wait in the descriptor.
    let signals = signals()?;
    let inherited: Vec<i32> = sd_notify::listen_fds().map(Iterator::collect).unwrap_or_default();
    let fifo = Fifo::open(&settings.fifo, &inherited).map_err(RunError::Fifo)?;
    let bridge = Bridge::start(settings, fifo)?;
    let outcome = bridge.watch(source, &signals);
    bridge.stop();
    outcome.map_err(RunError::Other)
}

fn signals() -> anyhow::Result<SignalFd> {
    let wanted: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect();
    wanted.thread_block().context("signals cannot be blocked")?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signals cannot be received")
}

struct Bridge {
    shared: Arc<Shared>,
    drainer: JoinHandle<Fifo>,
    pushers: Vec<JoinHandle<()>>,
    status_socket: std::path::PathBuf,
}

impl Bridge {
    fn start(settings: Settings, fifo: Fifo) -> anyhow::Result<Self> {
        let (spool, writer) = Spool::open(settings.spool.clone(), crate::unix_seconds(), Instant::now())
            .map_err(|error| anyhow::anyhow!("{}", crate::chain(&error)))?;
        let listener = metrics::bind(&settings.file.metrics.listen)?;
        let socket = settings.status_socket.clone();
        log::info!(
            "reading {} ({} bytes) into {}, {}",
            fifo.path().display(),
            fifo.capacity(),
            settings.endpoint,
            lists(&settings)
        );
        let fifo_settings = settings.fifo.clone();
        let shared = Arc::new(Shared::new(settings, Arc::clone(&spool))?);
        let pushers = pusher::all(&shared)?;
        let drainer = Drainer::new(fifo, fifo_settings, writer, Arc::clone(&shared));
        let drainer = spawn("drainer", move || drainer.run())?;
        let start = |pusher: LanePusher| spawn(&pusher.thread_name(), move || pusher.run());
        let pushers = pushers.into_iter().map(start).collect::<anyhow::Result<_>>()?;
        if let Some(server) = listener {
            let shared = Arc::clone(&shared);
            spawn("metrics", move || metrics::serve(&server, &shared))?;
        }
        // Last: whoever finds the socket finds a bridge that reads its pipe.
        let asked =
            status::bind(&socket).with_context(|| format!("the status socket {} cannot be made", socket.display()))?;
        let for_status = Arc::clone(&shared);
        spawn("status", move || status::serve(&asked, &for_status))?;
        Ok(Self { shared, drainer, pushers, status_socket: socket })
    }

    /// Signals, watchdog, syncing, until the end.
    fn watch(&self, source: &Source, signals: &SignalFd) -> anyhow::Result<()> {
        tell(&[NotifyState::Ready]);
        let watchdog = sd_notify::watchdog_enabled().map(|limit| limit / 2);
        let sync = match self.shared.spool.config().sync {
            Sync::Interval(interval) => Some(interval),
            Sync::Always | Sync::Never => None,
        };
        let round = [Some(ROUND), watchdog, sync].into_iter().flatten().min().unwrap_or(ROUND);
        let (mut beats, mut told, mut synced) = (self.shared.beats(), None::<Instant>, Instant::now());
        let mut alive = Instant::now();
        let (mut summer, mut covered) = (Summer::new(Arc::clone(&self.shared.spool)), Instant::now());
        loop {
            let mut sources = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(round).unwrap_or(PollTimeout::MAX);
            // An error means a signal that is not ours; the loop looks again.
            let _ = poll(&mut sources, timeout);
            while let Ok(Some(signal)) = signals.read_signal() {
                match Signal::try_from(i32::try_from(signal.ssi_signo).unwrap_or(0)) {
                    Ok(Signal::SIGHUP) => self.reload(source),
                    Ok(signal) => {
                        log::info!("{signal}: stopping");
                        return Ok(());
                    }
                    Err(_) => {}
                }
            }
            anyhow::ensure!(
                !self.drainer.is_finished() && !self.pushers.iter().any(JoinHandle::is_finished),
                "a thread of the bridge ended"
            );
            if sync.is_some_and(|interval| synced.elapsed() >= interval) {
                synced = Instant::now();
                if let Err(error) = self.shared.spool.sync_now() {
                    log::error!("{}", crate::chain(&error));
                }
            }
            if covered.elapsed() >= ROUND {
                covered = Instant::now();
                if let Err(error) = summer.round() {
                    log::debug!("no checksums for what waits: {}", crate::chain(&error));
                }
            }
            let now = self.shared.beats();
            if now.iter().zip(&beats).all(|(now, then)| now != then) {
                (beats, alive) = (now, Instant::now());
            }
            if let Some(limit) = watchdog
                && alive.elapsed() < limit * 2
            {
                tell(&[NotifyState::Watchdog]);
            }
            if told.is_none_or(|told: Instant| told.elapsed() >= STATUS) {
                told = Some(Instant::now());
                tell(&[NotifyState::Status(&self.line())]);
            }
        }
    }

    /// One line for `systemctl status`.
    fn line(&self) -> String {
        use delivery::counters::get;
        let (counters, health) = (&self.shared.counters, self.shared.health());
        let state = if health.connected { "redis takes records" } else { "redis is away" };
        format!(
            "{state}; {} pushed, {} bytes in the spool, {} dead letters",
            get(&counters.pushed),
            get(&counters.spool_bytes),
            get(&counters.dead_letters)
        )
    }

    fn reload(&self, source: &Source) {
        let reloading: Vec<NotifyState<'_>> =
            [Some(NotifyState::Reloading), NotifyState::monotonic_usec_now().ok()].into_iter().flatten().collect();
        tell(&reloading);
        match source.load() {
            Ok(fresh) => {
                let (current, _) = self.shared.settings();
                let fixed = current.fixed_differences(&fresh);
                if fixed.is_empty() {
                    log::set_max_level(fresh.level());
                    self.shared.reload(fresh);
                } else {
                    log::error!("nothing was reloaded: {} need a restart", fixed.join(", "));
                }
            }
            Err(error) => log::error!("nothing was reloaded, the old settings stay: {error}"),
        }
        tell(&[NotifyState::Ready]);
    }

    fn stop(self) {
        tell(&[NotifyState::Stopping]);
        self.shared.stop();
        // The pipe stays open until the pusher is done: nothing may be lost with its last reader.
        let fifo = self.drainer.join();
        let pushed: Vec<_> = self.pushers.into_iter().map(JoinHandle::join).collect();
        if pushed.iter().any(Result::is_err) || fifo.is_err() {
            log::error!("a thread of the bridge had panicked");
        }
        if let Err(error) = self.shared.spool.sync_now() {
            log::error!("{}", crate::chain(&error));
        }
        let _ = std::fs::remove_file(&self.status_socket);
        let left =
            self.shared.spool.acked().map_or_else(|| self.shared.spool.bytes(), |at| self.shared.spool.bytes_after(at));
        log::info!("stopped; {left} bytes wait in the spool for the next start");
    }
}

/// The lists, for the log.
fn lists(settings: &Settings) -> String {
    match settings.lanes.as_slice() {
        [only] => format!("list {:?}", only.list),
        [first, .., last] => format!("lists {:?} to {:?}", first.list, last.list),
        [] => String::new(),
    }
}

fn spawn<T: Send + 'static>(name: &str, body: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<JoinHandle<T>> {
    Builder::new().name(name.into()).spawn(body).with_context(|| format!("the thread {name} cannot be started"))
}

fn tell(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(states);
}
