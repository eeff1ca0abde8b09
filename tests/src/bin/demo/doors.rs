//! The demo with another door than the pipe: senders, RELP, rsyslogd, the door, a Redis list. Program, Redis and rsyslogd are killed or stopped in the
//! middle, and the verdict comes from the list itself.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::child::Scene;
use e2e::native::door::{Door, KEY};
use e2e::native::rig::{Plan, Queue, Rig};
use e2e::sender::Way;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::screen::Screen;
use crate::show::{Failure, Options};

/// How long Redis stays away.
const AWAY: Duration = Duration::from_millis(1_200);
const ROUND: Duration = Duration::from_millis(20);
/// Those that send.
const RUNS: [&str; 2] = ["a", "b"];

/// Runs it and returns whether the verdict is good.
pub fn run(door: &Door, options: Options, stop: &AtomicBool) -> Result<bool, Failure> {
    let scene = Scene::new();
    let mut screen = Screen::new();
    screen.say(&format!(
        "{} messages: {} senders -> RELP -> rsyslog -> {} -> Redis list {KEY:?}, in {}",
        options.messages,
        RUNS.len(),
        door.name,
        scene.path().display()
    ));
    let redis = vec![("appendonly", "yes"), ("appendfsync", "always")];
    let plan =
        Plan { way: Way::Relp(1000), queue: Queue::Memory { workers: 1, batch: 1024 }, redis, ..Plan::default() };
    let mut rig = Rig::prepare(&plan, door, &scene);
    rig.start_rsyslogd();
    rig.send(&RUNS);
    screen.begin();
    let start = Instant::now();
    let (mut steps, mut back) = ((1..=8).map(|step| options.messages * step / 9).enumerate(), None::<Instant>);
    let mut next = steps.next();
    let mut killed = [0_u32; 2];
    loop {
        std::thread::sleep(ROUND);
        if stop.load(Ordering::Relaxed) {
            return Err(Failure::Interrupted);
        }
        let sent = rig.senders.as_ref().map_or(0, e2e::sender::Senders::done);
        if back.is_some_and(|back| Instant::now() >= back) {
            back = None;
            rig.redis.start();
            screen.event("redis-server started again on its append-only file");
        }
        if let Some((step, from)) = next
            && sent >= from
            && back.is_none()
        {
            next = steps.next();
            if step % 3 == 1 {
                rig.redis.kill9();
                back = Some(Instant::now() + AWAY);
                killed[0] += 1;
                screen.event(&format!("kill -9 redis-server ({}), away for {:.1} s", killed[0], AWAY.as_secs_f64()));
            } else if let Some(program) = program_in(scene.path().to_str().unwrap_or_default()) {
                let _ = kill(program, Signal::SIGKILL);
                killed[1] += 1;
                screen.event(&format!("kill -9 omrust-prog ({}), rsyslogd starts it again", killed[1]));
            } else {
                rig.rsyslogd.restart();
                killed[1] += 1;
                screen.event(&format!("rsyslogd stopped and started again ({})", killed[1]));
            }
        }
        if (sent >= options.messages && next.is_none() && back.is_none()) || start.elapsed() >= options.limit {
            break;
        }
    }
    if back.is_some() {
        rig.redis.start();
    }
    rig.finish();
    let end = Instant::now() + options.limit.saturating_sub(start.elapsed()).max(Duration::from_secs(10));
    while rig.arrived().unwrap_or(0) < rig.sent.count() && Instant::now() < end && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(ROUND);
    }
    let took = start.elapsed();
    rig.rsyslogd.term();
    let verdict = rig.sent.ledger().judge(rig.elements());
    let again = rig.sent.again();
    screen.finish();
    screen.say(&format!("\nverdict after {:.1} s: {verdict}", took.as_secs_f64()));
    if again > 0 {
        screen.say(&format!(
            "  RELP's senders had no answer for {again} of them and sent them again: those may be there twice"
        ));
    }
    let faults = [verdict.lost.count, verdict.doubled.count.saturating_sub(again), verdict.foreign.count];
    let good = faults == [0; 3] && (again > 0 || verdict.misordered.count == 0);
    screen.say(if good { "CLEAN: every message arrived, once and in order" } else { "NOT CLEAN" });
    Ok(good)
}

/// The program behind omprog whose words name the folder.
fn program_in(folder: &str) -> Option<Pid> {
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let words = fs::read(process.path().join("cmdline")).ok()?;
        let words = String::from_utf8_lossy(&words).into_owned();
        let is_it = words.contains("omrust-prog") && words.contains(folder) && !words.contains("rsyslogd");
        process.file_name().to_str()?.parse().ok().filter(|_| is_it).map(Pid::from_raw)
    })
}
