//! The thread that brings one lane of the spool into its Redis list.
//!
//! It keeps several batches under way and never decides whether a push ran: on any refusal, error or lost connection it forgets what is
//! under way, connects again, reads the cursor and goes on from there.
//!
//! `connect` gets a connection and finds the place to go on, `serve` pushes, `trouble` is what happens when something goes wrong.

mod connect;
mod serve;
mod trouble;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use delivery::dead_letter::DeadLetters;
use delivery::lane::Lane;
use delivery::link::{Endpoint, Unconfirmed};
use delivery::position::Position;
use delivery::push::Names;
use delivery::resume::Lost;
use delivery::retry::Backoff;
use delivery::spool::Sync;

use crate::batcher::{Batch, Batcher, Park};
use crate::gate::Gate;
use crate::settings::Settings;
use crate::shared::Shared;

/// How long the pusher sleeps when there is nothing to do.
const IDLE: Duration = Duration::from_secs(1);
/// How long a stop may go on pushing what is in the spool.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often a pause looks up.
const SLICE: Duration = Duration::from_millis(200);

/// Spool to Redis: one lane.
pub struct LanePusher {
    shared: Arc<Shared>,
    settings: Arc<Settings>,
    generation: u64,
    /// Which lane it is.
    number: usize,
    /// The lane's list and cursor.
    names: Names,
    /// Where they are, without the login.
    endpoint: Endpoint,
    batcher: Batcher,
    lane: Lane,
    /// Records of the batches under way, for the number of replies to each.
    under_way: VecDeque<usize>,
    /// Those that were answered and have to be confirmed, with the length of the list.
    unconfirmed: Unconfirmed<(usize, u64)>,
    /// Packed commands that were not sent yet.
    out: Vec<u8>,
    /// A batch whose commands are the last in `out`, while the lane has no room for it.
    staged: Option<Batch>,
    /// Closed while the list is too long.
    gate: Gate,
    backoff: Backoff,
    connections: u64,
    /// Redis has confirmed the lane's position, by its cursor or by an answer.
    confirmed: bool,
    /// Only a push that is taken ends the trouble.
    needs_proof: bool,
    /// Only a batch that is packed ends the trouble.
    held: bool,
    /// What goes to the dead letters next: Redis refused it.
    park: Option<Park>,
    /// The class of the trouble that was last logged.
    said: Option<String>,
    lost_said: Option<(Lost, Instant)>,
    /// When a record that is too large was last mentioned in the log.
    large_said: Option<Instant>,
    policy_said: Option<String>,
    down_since: Option<Instant>,
    kept_house: Instant,
}

/// The pushers of all lanes, about to start at the beginning of the spool.
pub fn all(shared: &Arc<Shared>) -> anyhow::Result<Vec<LanePusher>> {
    let (settings, _) = shared.settings();
    let spool = &shared.spool;
    let at = spool.held().first().map_or(spool.opened(), |span| Position { epoch: span.epoch, offset: span.start });
    let (folder, durable) = (&settings.dead_letter_directory, settings.spool.sync != Sync::Never);
    let pusher = |(number, names): (usize, &Names)| {
        // With several lanes each knows its own letters only: they are not parked in the order of the stream.
        let list = settings.splitter.map(|_| names.list.as_str());
        let letters = DeadLetters::open_for(folder, durable, list)
            .with_context(|| format!("the dead letters in {} cannot be opened", folder.display()))?
            .of(&settings.mode);
        let batcher = Batcher::new(spool, letters, Arc::clone(&shared.counters), (&settings, number), at);
        Ok(LanePusher::new(Arc::clone(shared), number, batcher, at))
    };
    settings.lanes.iter().enumerate().map(pusher).collect()
}

impl LanePusher {
    /// A pusher that is about to start.
    pub fn new(shared: Arc<Shared>, number: usize, batcher: Batcher, at: Position) -> Self {
        let (settings, generation) = shared.settings();
        let names = settings.lanes[number].clone();
        let endpoint = settings.endpoint.for_lane(number).for_list(&names.list);
        let lane = Lane::new(at, settings.file.queue.in_flight);
        let gate = Gate::new(&settings, number, &names.list);
        Self {
            shared,
            settings,
            generation,
            number,
            names,
            endpoint,
            batcher,
            lane,
            under_way: VecDeque::new(),
            unconfirmed: Unconfirmed::default(),
            out: Vec::new(),
            staged: None,
            gate,
            backoff: Backoff::default(),
            connections: 0,
            confirmed: false,
            needs_proof: false,
            held: false,
            park: None,
            said: None,
            lost_said: None,
            large_said: None,
            policy_said: None,
            down_since: None,
            kept_house: Instant::now(),
        }
    }

    /// What its thread is called.
    pub fn thread_name(&self) -> String {
        if self.settings.splitter.is_some() { format!("pusher-{}", self.number) } else { "pusher".into() }
    }

    /// Works until it is told to stop and has pushed what there is, or cannot.
    pub fn run(mut self) {
        let mut farewell: Option<Instant> = None;
        loop {
            if self.shared.stopping() {
                let until = *farewell.get_or_insert_with(|| Instant::now() + FAREWELL);
                if Instant::now() >= until || self.shared.lanes[self.number].health().stopped {
                    break;
                }
            }
            let setback = match self.connect() {
                Ok(mut link) => match self.serve(&mut link, farewell) {
                    Ok(()) => break,
                    Err(setback) => setback,
                },
                Err(setback) => setback,
            };
            self.suffer(setback);
            if self.shared.stopping() && self.down_since.is_some() {
                // Everything is safe in the spool; the next start brings it.
                break;
            }
        }
        self.keep_house(Instant::now());
        if let Err(error) = self.shared.spool.write_mark() {
            log::warn!("{}", crate::chain(&error));
        }
    }
}
