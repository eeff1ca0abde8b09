//! scratch
#![allow(clippy::all, clippy::pedantic, clippy::print_stdout, missing_docs)]
use e2e::native::{door, faults, rig::Queue, scenario::Scenario};
use e2e::sender::Way;
fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    let n: usize = std::env::args().nth(2).and_then(|w| w.parse().ok()).unwrap_or(1);
    let d = if std::env::var_os("CTL").is_some() { door::OMHIREDIS } else { door::OMRUST };
    let mem = Queue::Memory { workers: 1, batch: 1024 };
    let all: Vec<(&str, Scenario)> = vec![
        ("kill-spool", faults::redis_killed_plainly(true)),
        ("kill-bare", faults::redis_killed_plainly(false)),
        ("swallow-spool", faults::replies_swallowed(true)),
        ("swallow-bare", faults::replies_swallowed(false)),
        ("still-spool", faults::redis_stands_still(true)),
        ("still-bare", faults::redis_stands_still(false)),
        ("oom-spool", faults::out_of_memory(true)),
        ("oom-bare", faults::out_of_memory(false)),
        ("ro-spool", faults::read_only(true)),
        ("ro-bare", faults::read_only(false)),
        ("type-spool", faults::wrong_type()),
        ("pw-spool", faults::wrong_password(true)),
        ("pw-bare", faults::wrong_password(false)),
        ("stop-spool", faults::stopped_in_an_outage(Way::Lines)),
        ("stoprelp-spool", faults::stopped_in_an_outage(Way::Relp(1000))),
        ("stopstill-spool", faults::stopped_while_redis_stands_still()),
        ("rk-spool", faults::rsyslogd_killed(Queue::Direct, true)),
        ("rk-bare", faults::rsyslogd_killed(Queue::Direct, false)),
        ("both-spool", faults::both_killed()),
        ("full-spool", faults::spool_full()),
        ("w11-spool", faults::workers_and_batches(1, 1)),
        ("w21-spool", faults::workers_and_batches(2, 1)),
        ("w4128-spool", faults::workers_and_batches(4, 128)),
        ("w21024-spool", faults::workers_and_batches(2, 1024)),
        ("w44096-spool", faults::workers_and_batches(4, 4096)),
        ("w14096-spool", faults::workers_and_batches(1, 4096)),
        ("bg-spool", faults::in_the_background()),
    ];
    let _ = mem;
    for _ in 0..n {
        for (name, s) in &all {
            if !word.split(',').any(|w| name.contains(w)) {
                continue;
            }
            let t = std::time::Instant::now();
            let r = std::panic::catch_unwind(|| s.run(&d));
            match r {
                Ok(o) => {
                    println!(
                        "{name}: clean={} {o} lines={} [{:.1?}]",
                        o.is_clean(),
                        o.messages.lines().count(),
                        t.elapsed()
                    );
                    if std::env::var_os("M").is_some() || !o.is_clean() {
                        println!(
                            "{}",
                            o.messages.lines().filter(|l| l.contains("omrust")).take(40).collect::<Vec<_>>().join("\n")
                        );
                    }
                }
                Err(_) => println!("{name}: PANIC"),
            }
        }
    }
}
