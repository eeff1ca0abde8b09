//! One action of the host over several lists, each with an outlet of its own: lanes on the nodes of a cluster, or on several servers.
//!
//! A lane whose server is away spools; the others flow. So each lane has its own connection, cursors, spool (`lane-0`, `lane-1`, ... in
//! the spool's folder) and drainer. Lanes of one server need none of this: a single outlet fills all their lists over one connection.
//!
//! # A batch
//!
//! It is split by lane, the order kept within each. Pushes that need nothing but to be sent go out to all servers before the first
//! answer is waited for. It is done when each of its parts is.
//!
//! # A part is done, another is not
//!
//! The host is told "later" for the whole batch and hands all of it in again, at once or record by record. The worker of a part that was
//! done remembers its records as done, exactly as it does with the records of a single outlet's batch of which some were taken: each that
//! comes is recognised, in order, once. The worker of a part that was turned away remembers its own. Neither knows of the other, and need not:
//! a record always goes to the same lane, and order is kept within lanes only.
//!
//! | the host | the lane that was done | the lane that was turned away |
//! |---|---|---|
//! | hands in all of it again | recognises its part | tries again |
//! | one by one, those that fail again last | recognises each as it comes | lets none overtake one that was turned away |
//! | is turned away again, by this lane or another | remembers what it recognised | remembers |
//! | gives records up | forgets them with the next batch that does not begin with them | the same |
//! | dies | a new life knows nothing: the records come twice if the host has kept the batch | the same, of what its server had got |

mod worker;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

use super::core::lock;
use super::share::Share;
use super::{Health, Outlet, OutletConfig, OutletError};
use crate::counters::Counters;
use crate::journal::frame;
use crate::journal::inspect::{Inspection, Seen};
use crate::journal::{JournalConfig, JournalError};
use crate::link::Endpoint;
use crate::position::Epoch;

pub use self::worker::FanWorker;

/// Where the server of a lane is and how to get in; asked at each connect, so that a password file is read again.
pub type NodeLogin = Arc<dyn Fn(usize) -> Result<Endpoint, String> + Send + Sync>;

/// One action of the host: a single outlet, or one for each lane.
pub struct Fan {
    name: String,
    parts: Vec<Arc<Outlet>>,
    lists: Vec<String>,
    /// The folder of all spools, if there is one.
    folder: Option<PathBuf>,
    /// Nothing keeps the parts from being started.
    clear: AtomicBool,
    /// What was last said about the spool's folder.
    said: Mutex<String>,
    /// The lists were logged.
    told: AtomicBool,
}

impl Fan {
    /// A single outlet, whatever lists its records go into. Opens nothing.
    pub fn single(config: OutletConfig, login: NodeLogin) -> Result<Arc<Self>, OutletError> {
        let (name, list) = (config.name.clone(), config.list.clone());
        let folder = config.journal.as_ref().map(|journal| journal.directory.clone());
        let outlet = Outlet::new(config, Box::new(move || login(0)))?;
        Ok(Arc::new(Self::of(name, vec![outlet], vec![list], folder)))
    }

    /// An outlet for each of the `lists`, lane by lane; a batch's [`Target::Lane`](super::Target::Lane) chooses. Each has its share of the spool's bytes. Opens
    /// nothing.
    pub fn several(config: &OutletConfig, lists: &[String], login: &NodeLogin) -> Result<Arc<Self>, OutletError> {
        let count = lists.len().max(1);
        let part = |(lane, (list, share)): (usize, (&String, Share))| {
            let journal = config.journal.as_ref().map(|journal| JournalConfig {
                directory: lane_folder(&journal.directory, lane),
                bytes_max: journal.bytes_max / count as u64,
                ..journal.clone()
            });
            let dead_letters = config.dead_letters.clone();
            let config = OutletConfig {
                name: format!("{}, lane {lane}", config.name),
                list: list.clone(),
                one_list: true,
                dead_letters: dead_letters.or_else(|| Some(config.journal.as_ref()?.directory.clone())),
                journal,
                ..config.clone()
            };
            let login = Arc::clone(login);
            Outlet::one_of_several(config, Box::new(move || login(lane)), share)
        };
        let parts = lists.iter().zip(Share::several(count)).enumerate().map(part).collect::<Result<Vec<_>, _>>()?;
        let folder = config.journal.as_ref().map(|journal| journal.directory.clone());
        Ok(Arc::new(Self::of(config.name.clone(), parts, lists.to_vec(), folder)))
    }

    fn of(name: String, parts: Vec<Arc<Outlet>>, lists: Vec<String>, folder: Option<PathBuf>) -> Self {
        Self {
            name,
            parts,
            lists,
            folder,
            clear: AtomicBool::new(false),
            said: Mutex::default(),
            told: AtomicBool::new(false),
        }
    }

    /// Opens the spools and starts the threads that drain them. May be called again, and by several threads.
    ///
    /// A spool that another number of lanes, or other lists, have left behind is not touched: until it is empty when this is called, nothing
    /// is opened and every batch is turned away.
    pub fn start(&self) -> Result<(), OutletError> {
        if !self.look() {
            return Ok(());
        }
        if self.parts.len() > 1 && !self.told.swap(true, Relaxed) {
            log::info!("{}: lanes in the lists {}", self.name, self.lists.join(", "));
        }
        self.parts.iter().try_for_each(|part| part.start())?;
        // Only now: whoever commits before has no spool yet.
        self.clear.store(true, Relaxed);
        Ok(())
    }

    /// True if batches may be taken. If not, [`start`](Self::start) looks again.
    pub fn is_clear(&self) -> bool {
        self.clear.load(Relaxed)
    }

    /// Why batches may not be taken, as it was logged.
    pub fn obstacle(&self) -> Option<String> {
        (!self.is_clear()).then(|| lock(&self.said).clone())
    }

    /// True if the spool's folder holds nothing of another number of lanes.
    fn look(&self) -> bool {
        let Some(folder) = self.folder.as_ref().filter(|_| !self.is_clear()) else { return true };
        let mut said = lock(&self.said);
        if self.is_clear() {
            return true;
        }
        let held = match leftovers(folder, &self.lists) {
            Ok(held) => held,
            Err(error @ JournalError::InUse { .. }) => Some(error.to_string()),
            // The parts themselves say what is wrong with their folders.
            Err(_) => None,
        };
        let Some(text) = held else { return true };
        if *said != text {
            log::error!("{}: nothing is taken: {text}", self.name);
            *said = text;
        }
        false
    }

    /// A worker with a slot of each lane. It connects when it has something to do.
    pub fn worker(self: &Arc<Self>) -> FanWorker {
        FanWorker::new(Arc::clone(self), self.parts.iter().map(Outlet::worker))
    }

    /// How many lanes have an outlet of their own.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The epoch of this life of a lane.
    pub fn epoch(&self, lane: usize) -> Epoch {
        self.parts[lane.min(self.parts.len() - 1)].epoch()
    }

    /// All connections are made anew, the login is read again.
    pub fn hup(&self) {
        self.parts.iter().for_each(|part| part.hup());
    }

    /// Ends everything that runs. What is in the spools stays there for the next life.
    pub fn stop(&self) {
        // All are told before the first is waited for.
        self.parts.iter().for_each(|part| part.ask_to_stop());
        self.parts.iter().for_each(|part| part.stop());
    }

    /// Records that wait in the spools; `None` if one is not open.
    pub fn waiting(&self) -> Option<u64> {
        self.parts.iter().map(|part| part.waiting()).sum()
    }

    /// What has happened so far, all lanes together.
    pub fn counters(&self) -> &Arc<Counters> {
        self.parts[0].counters()
    }

    /// How it is: the worst of all lanes.
    pub fn health(&self) -> Health {
        let all: Vec<Health> = self.parts.iter().map(|part| part.health()).collect();
        let last = all.iter().max_by_key(|health| health.last_error_time).cloned().unwrap_or_default();
        Health {
            connected: all.iter().all(|health| health.connected),
            spooling: all.iter().any(|health| health.spooling),
            stopped: all.iter().any(|health| health.stopped),
            held_back: all
                .iter()
                .map(|health| health.held_back.clone())
                .find(|why| !why.is_empty())
                .unwrap_or_default(),
            ..last
        }
    }
}

impl Drop for Fan {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folder of a lane's spool.
fn lane_folder(folder: &Path, lane: usize) -> PathBuf {
    folder.join(format!("lane-{lane}"))
}

/// What waits in `folder` and was put there for other lists or another number of lanes, if anything. Whoever goes on past it would let later
/// records overtake. If there is nothing, the lists are noted.
fn leftovers(folder: &Path, lists: &[String]) -> Result<Option<String>, JournalError> {
    let noted = std::fs::read_to_string(folder.join(LISTS)).ok();
    let now = lists.join("\n");
    let changed = noted.as_ref().is_some_and(|noted| *noted != now);
    let mut found = Vec::new();
    if lists.len() > 1 {
        found.extend(waiting(folder)?.map(|(records, list)| (folder.to_owned(), records, list)));
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(lane) = name.strip_prefix("lane-").and_then(|lane| lane.parse::<usize>().ok()) else { continue };
        let ours = lists.get(lane).filter(|_| lists.len() > 1 && !changed);
        if let Some((records, list)) = waiting(&path)?
            && ours.is_none_or(|ours| *ours != list)
        {
            found.push((path, records, list));
        }
    }
    let Some((path, records, list)) = found.first() else {
        if lists.len() > 1 && noted.as_ref() != Some(&now) {
            note(folder, &now).map_err(|source| JournalError::Io {
                what: "cannot note the lanes in",
                path: folder.to_owned(),
                source,
            })?;
        }
        return Ok(None);
    };
    Ok(Some(format!(
        "the spool {} holds {records} records for the list {list:?}, of another number of lanes or another key; start with the \
         earlier settings until it is empty, or replay it",
        path.display()
    )))
}

/// The file in the spool's folder that names the lists of the lanes, a line each.
const LISTS: &str = "lanes";

/// Durable before the first frame is: an older note beside newer frames would say that they are of other lanes.
fn note(folder: &Path, lists: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let fresh = folder.join("lanes.new");
    std::fs::write(&fresh, lists)?;
    std::fs::File::open(&fresh)?.sync_all()?;
    std::fs::rename(fresh, folder.join(LISTS))?;
    std::fs::File::open(folder)?.sync_all()
}

/// How many records wait in the journal in `folder`, and the list of the first of them.
fn waiting(folder: &Path) -> Result<Option<(u64, String)>, JournalError> {
    if !folder.is_dir() || !Inspection::is_here(folder)? {
        return Ok(None);
    }
    let journal = Inspection::open(folder)?;
    let records = journal.summary().records;
    if records == 0 {
        return Ok(None);
    }
    let mut list = None;
    let walked = journal.walk(|seen| match seen {
        Seen::Frame { frame, waits: true } => {
            let first =
                frame::Batch::decode(frame.payload).ok().and_then(|batch| Some(batch.parts.first()?.list.into()));
            list = Some(first.unwrap_or_default());
            Err(Found::First)
        }
        _ => Ok(()),
    });
    match walked {
        Err(Found::Broken(error)) => Err(error),
        Ok(()) | Err(Found::First) => Ok(list.map(|list: String| (records, list))),
    }
}

/// Why a walk ended early.
enum Found {
    First,
    Broken(JournalError),
}

impl From<JournalError> for Found {
    fn from(error: JournalError) -> Self {
        Self::Broken(error)
    }
}
