//! Lanes over several servers that know nothing of each other, through rsyslogd with the module.

use delivery::outlet::lane_of;
use e2e::child::{PATIENCE, Scene, until};
use e2e::ledger::Ledger;
use e2e::native::door::module_folder;
use e2e::native::plain::{Plain, QUEUE};
use e2e::redis::Redis;
use e2e::sender::{Job, Senders, Sent, Way};

/// Lanes 0 and 2 are on the first server, 1 and 3 on the second.
const LANES: u32 = 4;
/// Programs, each a stream.
const FIRST: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const SECOND: [&str; 6] = ["g", "h", "i", "j", "k", "l"];

/// Two servers, one of which goes and comes.
struct Shards {
    servers: [Redis; 2],
    plain: Plain,
}

impl Shards {
    fn new(scene: &Scene, spool: bool) -> Self {
        let servers = [0, 1].map(|number| Redis::setup(scene).name(&format!("redis{number}")).aof().start());
        let [one, two] = servers.each_ref().map(|redis| redis.socket().display().to_string());
        let spool = if spool {
            format!("spool.directory=\"{}\" spool.delay=\"200\"", scene.folder("spool").display())
        } else {
            String::new()
        };
        let action = format!(
            "action(name=\"out\" type=\"omrust\" server=[\"{one}\", \"{two}\"] shard=\"on\" lanes=\"{LANES}\" lane.template=\"stream\" \
             key=\"rsyslog\" template=\"record\" timeout=\"400\" connecttimeout=\"400\" {spool} \
             action.resumeRetryCount=\"-1\" action.resumeInterval=\"1\")"
        );
        let before = "template(name=\"stream\" type=\"string\" string=\"%programname%\")";
        // What the queue has goes into the spool before rsyslogd ends.
        let queue = format!("{QUEUE} queue.timeoutShutdown=\"10000\"");
        Self { servers, plain: Plain::with_modules(scene, module_folder(), &queue, before, &action) }
    }

    fn send(&self, runs: &[&str]) -> Senders {
        Senders::start(&Job::new(self.plain.port, Way::Lines, ""), runs)
    }

    /// What the lists of a server have.
    fn length(&self, server: usize) -> usize {
        (0..LANES as usize).filter(|lane| lane % 2 == server).map(|lane| self.servers[server].llen(&list(lane))).sum()
    }

    /// Waits until a server has so many more.
    #[track_caller]
    fn flow(&self, server: usize, more: usize) {
        let goal = self.length(server) + more;
        until("records to arrive", PATIENCE, || (self.length(server) >= goal).then_some(()));
    }

    #[track_caller]
    fn judge(&self, sent: &Sent) {
        let all = usize::try_from(sent.count()).expect("so many fit");
        until("all records", 2 * PATIENCE, || (self.length(0) + self.length(1) >= all).then_some(()));
        for lane in 0..LANES as usize {
            let own = sent.runs.iter().filter(|run| lane_of(run.run.as_bytes(), LANES) as usize == lane);
            let own: Vec<_> = own.collect();
            assert!(!own.is_empty(), "nobody writes to lane {lane}");
            let ledger = own.iter().fold(Ledger::new(), |all, run| all.sent_numbers(&run.run, run.numbers.clone()));
            ledger.judge(self.servers[lane % 2].list(&list(lane))).assert_clean();
            assert_eq!(self.servers[1 - lane % 2].llen(&list(lane)), 0, "each lane is on its own server");
        }
    }
}

fn list(lane: usize) -> String {
    format!("rsyslog:{lane}")
}

/// The lanes of the server that is there flow, and rsyslogd may stop and start.
#[test]
fn of_two_servers_behind_the_module_one_is_killed_and_comes_back() {
    let scene = Scene::new();
    let mut shards = Shards::new(&scene, true);
    let mut rsyslogd = shards.plain.start();
    let senders = shards.send(&FIRST);
    shards.flow(1, 300);
    shards.servers[1].kill9();
    shards.flow(0, 1_000);
    let mut sent = senders.stop();
    shards.plain.statistics.wait(0, "imptcp", "submitted", sent.count());
    rsyslogd.term();
    rsyslogd.start();
    let senders = shards.send(&SECOND);
    shards.flow(0, 500);
    shards.servers[1].start();
    shards.flow(1, 1_000);
    // Once more, the other one.
    shards.servers[0].kill9();
    shards.flow(1, 500);
    shards.servers[0].start();
    shards.flow(0, 300);
    sent.add(senders.stop());
    shards.judge(&sent);
    rsyslogd.term();
}

/// Without a spool the host waits for the server that is away, and hands in again what the other one has.
#[test]
fn of_two_servers_behind_the_module_without_a_spool_one_is_killed_and_comes_back() {
    let scene = Scene::new();
    let mut shards = Shards::new(&scene, false);
    let mut rsyslogd = shards.plain.start();
    let senders = shards.send(&[FIRST, SECOND].concat());
    for away in [1, 0] {
        shards.flow(away, 300);
        shards.servers[away].kill9();
        assert!(senders.try_go_on(1_000, PATIENCE), "rsyslogd takes nothing");
        shards.servers[away].start();
    }
    shards.flow(1, 300);
    shards.judge(&senders.stop());
    rsyslogd.term();
}
