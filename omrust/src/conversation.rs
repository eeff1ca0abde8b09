//! Conversations of C programs: which there are, and what may be called when. All that `include/omrust.h` promises and that needs no
//! pointer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use delivery::counters::{Counters, get};
use nix::sys::signal::{SigSet, SigmaskHow};
use omrust_prog::session::Session;
use omrust_prog::settings::{self, Settings};

/// Between two attempts that found no connection.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a call did nothing, or not all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Redis and the spool take nothing now.
    Later,
    /// An argument.
    Argument,
    /// No such handle, or it was closed.
    Handle,
    /// The settings.
    Settings,
    /// Not now: begin, message and commit follow each other.
    Order,
    /// Longer than `prog.record-max`.
    TooLarge,
    /// Another thread is in a call with this handle.
    Busy,
    /// The process was forked since the handle was opened.
    Forked,
    /// The system refused something.
    System,
}

type Result<T> = std::result::Result<T, Fault>;

/// Between which calls a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Open,
    /// A commit was answered with [`Fault::Later`].
    Pending,
}

struct Conversation {
    session: Session,
    stage: Stage,
    record_bytes_max: usize,
    pid: u32,
}

/// Numbers of one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Status {
    /// Redis takes pushes.
    pub connected: bool,
    /// Messages that were accepted and are not known to be safe.
    pub held: u64,
    /// Messages, those told apart included.
    pub received: u64,
    /// Messages that Redis has confirmed.
    pub pushed: u64,
    /// Messages that came again and were told apart.
    pub duplicates_suppressed: u64,
    /// Messages that were set aside.
    pub dead_letters: u64,
    /// Messages that went through the spool.
    pub spooled: u64,
    /// Bytes of the spool.
    pub spool_bytes: u64,
}

static NEXT: AtomicU64 = AtomicU64::new(1);
static OPEN: Mutex<Option<HashMap<u64, Arc<Mutex<Conversation>>>>> = Mutex::new(None);
/// Conversations of a parent process: never ended here.
static ABANDONED: Mutex<Vec<Arc<Mutex<Conversation>>>> = Mutex::new(Vec::new());

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

fn table() -> MutexGuard<'static, Option<HashMap<u64, Arc<Mutex<Conversation>>>>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes why the call of this thread fails.
pub fn fail<T>(fault: Fault, text: impl Into<String>) -> Result<T> {
    LAST.with(|last| *last.borrow_mut() = text.into());
    Err(fault)
}

/// Why the last call of this thread failed.
pub fn last_error() -> String {
    LAST.with(|last| last.borrow().clone())
}

/// Opens a conversation with the settings in `text`.
pub fn open_text(text: &str) -> Result<u64> {
    settings::parse(text).or_else(|error| fail(Fault::Settings, error.to_string())).and_then(open)
}

/// Opens a conversation with the settings in the file.
pub fn open_file(path: &Path) -> Result<u64> {
    settings::load(Some(path), &[]).or_else(|error| fail(Fault::Settings, error.to_string())).and_then(open)
}

fn open(settings: Settings) -> Result<u64> {
    let record_bytes_max = settings.record_bytes_max;
    // Threads that begin here take no signal of the host's.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let opened = Session::open(&Arc::new(settings));
    if let Ok(mask) = mask {
        let _ = mask.thread_set_mask();
    }
    let session = opened.or_else(|error| fail(Fault::System, error.to_string()))?;
    if let Some(why) = session.outlet().obstacle() {
        return fail(Fault::System, why);
    }
    let conversation = Conversation { session, stage: Stage::Idle, record_bytes_max, pid: std::process::id() };
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    table().get_or_insert_default().insert(id, Arc::new(Mutex::new(conversation)));
    Ok(id)
}

fn find(id: u64) -> Result<Arc<Mutex<Conversation>>> {
    let found = table().as_ref().and_then(|open| open.get(&id).cloned());
    found.map_or_else(|| fail(Fault::Handle, "no such handle, or it was closed"), Ok)
}

fn with<T>(id: u64, call: impl FnOnce(&mut Conversation) -> Result<T>) -> Result<T> {
    let conversation = find(id)?;
    let mut conversation = match conversation.try_lock() {
        Ok(conversation) => conversation,
        Err(TryLockError::WouldBlock) => return fail(Fault::Busy, "another thread is in a call with this handle"),
        Err(TryLockError::Poisoned(_)) => return fail(Fault::System, "an earlier call ended in an internal error"),
    };
    if conversation.pid != std::process::id() {
        return fail(Fault::Forked, "the process was forked: this handle is the parent's");
    }
    call(&mut conversation)
}

/// Begins a transaction.
pub fn begin(id: u64) -> Result<()> {
    with(id, |conversation| match conversation.stage {
        Stage::Idle => {
            conversation.stage = Stage::Open;
            Ok(())
        }
        Stage::Open => fail(Fault::Order, "a transaction is open"),
        Stage::Pending => fail(Fault::Order, "the last transaction is not committed: commit it again"),
    })
}

/// A message of the open transaction. From here on it is kept.
pub fn message(id: u64, bytes: &[u8]) -> Result<()> {
    with(id, |conversation| {
        if conversation.stage != Stage::Open {
            return fail(Fault::Order, "no transaction is open");
        }
        if bytes.len() > conversation.record_bytes_max {
            let (length, most) = (bytes.len(), conversation.record_bytes_max);
            return fail(Fault::TooLarge, format!("{length} bytes; prog.record-max is {most}"));
        }
        conversation.session.message(bytes);
        conversation.session.deferred();
        Ok(())
    })
}

/// Makes the open transaction safe, within `wait`.
pub fn commit(id: u64, wait: Duration) -> Result<()> {
    with(id, |conversation| {
        if conversation.stage == Stage::Idle {
            return fail(Fault::Order, "no transaction is open");
        }
        if settle(&mut conversation.session, wait) {
            conversation.session.answered(true);
            conversation.stage = Stage::Idle;
            return Ok(());
        }
        conversation.stage = Stage::Pending;
        let held = conversation.session.held();
        let why = conversation.session.health().last_error;
        fail(Fault::Later, format!("{held} messages wait: {why}"))
    })
}

fn settle(session: &mut Session, wait: Duration) -> bool {
    let end = Instant::now() + wait;
    loop {
        if session.settle(&|| Instant::now() >= end) {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(PAUSE.min(wait));
    }
}

/// Numbers of now.
pub fn status(id: u64) -> Result<Status> {
    with(id, |conversation| {
        let session = &conversation.session;
        let counters: &Counters = session.counters();
        Ok(Status {
            connected: session.health().connected,
            held: session.held() as u64,
            received: get(&counters.received),
            pushed: get(&counters.pushed),
            duplicates_suppressed: get(&counters.duplicates_suppressed),
            dead_letters: get(&counters.dead_letters),
            spooled: get(&counters.spooled),
            spool_bytes: get(&counters.spool_bytes),
        })
    })
}

/// Ends a conversation. What is held is brought away within `wait`; [`Fault::Later`] says that something is left, which
/// the next one that is opened with the same folder brings away.
pub fn close(id: u64, wait: Duration) -> Result<()> {
    let left = with(id, |conversation| {
        let session = &mut conversation.session;
        let safe = session.held() == 0 || settle(session, wait);
        if safe {
            session.answered(true);
        }
        session.outlet().stop();
        Ok(if safe { 0 } else { session.held() })
    });
    let left = match left {
        Err(Fault::Busy) => return Err(Fault::Busy),
        Err(Fault::Handle) => return Err(Fault::Handle),
        // The parent's connections and locks are left to the parent.
        Err(Fault::Forked) => {
            let left = table().as_mut().and_then(|open| open.remove(&id));
            ABANDONED.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
            return Err(Fault::Forked);
        }
        left => left,
    };
    if let Some(open) = table().as_mut() {
        open.remove(&id);
    }
    match left? {
        0 => Ok(()),
        left => fail(Fault::Later, format!("{left} messages are kept for the next time")),
    }
}
