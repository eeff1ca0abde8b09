//! One action of rsyslog's: its settings and its outlet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use delivery::counters::Counters;
use delivery::journal::{JournalConfig, SEGMENT_BYTES};
use delivery::link::Topology;
use delivery::outlet::{Fan, FanWorker, NodeLogin, OutletConfig};

use crate::messages::Route;
use crate::settings::{Key, Settings};

/// One action of rsyslog's.
pub struct Action {
    settings: Settings,
    route: Route,
    outlet: Arc<Fan>,
    stopping: AtomicBool,
}

impl Action {
    /// Checks everything and opens nothing: rsyslogd has not forked yet. `before_connect` is called whenever a connection is about to
    /// be made, and no batch waits longer than `patience` for Redis: a host that does not tell when it ends must not wait for us.
    pub fn new(settings: Settings, patience: Duration, before_connect: fn()) -> Result<Self, String> {
        let (route, list) = match &settings.key {
            Key::List(list) if settings.lanes > 1 => (Route::Lanes(settings.lanes), list.clone()),
            Key::List(list) => (Route::One, list.clone()),
            Key::Template { prefix, .. } => (Route::Named(prefix.clone()), String::new()),
        };
        let config = OutletConfig {
            name: settings.name.clone(),
            producer: settings.producer.clone(),
            one_list: matches!(route, Route::One),
            list,
            lanes: settings.lanes,
            mode: settings.mode.clone(),
            timeout: settings.timeout.min(patience),
            delay: settings.spool.as_ref().map_or(settings.timeout, |spool| spool.delay),
            journal: settings.spool.as_ref().map(|spool| JournalConfig {
                directory: spool.directory.clone(),
                bytes_max: spool.bytes_max,
                segment_bytes: SEGMENT_BYTES,
                sync: spool.sync,
            }),
            dead_letters: settings.dead_letters.clone(),
            on_refused: settings.on_refused,
            max_length: settings.max_length,
            look_for_answers: true,
            ..OutletConfig::default()
        };
        let lists = settings.lists()?;
        let outlet = match settings.server.topology() {
            Topology::Cluster | Topology::Shards if settings.lanes > 1 => {
                Fan::several(&config, &lists, &login(&settings, before_connect)?)
            }
            _ => Fan::single(config, login(&settings, before_connect)?),
        };
        let outlet = outlet.map_err(|error| error.to_string())?;
        Ok(Self { settings, route, outlet, stopping: AtomicBool::new(false) })
    }

    /// Opens what has to be open. rsyslogd has forked. May be called again.
    pub fn start(&self) {
        if let Err(error) = self.outlet.start() {
            log::error!("{}: {error}", self.settings.name);
        }
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How a message finds its list.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// What it counts.
    pub fn counters(&self) -> &Arc<Counters> {
        self.outlet.counters()
    }

    /// A worker of its own for one of rsyslog's threads.
    pub fn worker(&self) -> FanWorker {
        self.outlet.worker()
    }

    /// All connections are made anew.
    pub fn hup(&self) {
        self.outlet.hup();
    }

    /// Ends everything.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
        self.outlet.stop();
    }

    /// True once it is to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// What `settings` would fight over with this action, if anything.
    pub fn clash(&self, settings: &Settings) -> Option<String> {
        let ours = &self.settings;
        let folder = |settings: &Settings| settings.spool.as_ref().map(|spool| spool.directory.clone());
        if let (Some(folder), true) = (folder(ours), folder(ours) == folder(settings)) {
            return Some(format!(
                "parameter \"spool.directory\" is {}, which another action has; allowed is a folder for each action",
                folder.display()
            ));
        }
        let named = |key: &Key| matches!(key, Key::Template { .. });
        let overlap = ours.key == settings.key || named(&ours.key) || named(&settings.key);
        let same_server = ours.server.addresses == settings.server.addresses
            && ours.server.sentinel.as_ref().map(|sentinel| &sentinel.master)
                == settings.server.sentinel.as_ref().map(|sentinel| &sentinel.master)
            && (ours.server.port, ours.server.db) == (settings.server.port, settings.server.db);
        (overlap && same_server && ours.producer == settings.producer).then(|| {
            format!(
                "parameter \"producer\" is {:?}, and so is that of another action that fills the same list; give each action a \"name\" or a \"producer\"",
                settings.producer
            )
        })
    }
}

/// How the server of each lane is reached.
fn login(settings: &Settings, before_connect: fn()) -> Result<NodeLogin, String> {
    let endpoint = settings.server.endpoint(settings.timeout).map_err(|why| format!("server {why}"))?;
    let server = settings.server.clone();
    Ok(Arc::new(move |lane| {
        before_connect();
        Ok(server.login(&endpoint)?.for_lane(lane))
    }))
}
