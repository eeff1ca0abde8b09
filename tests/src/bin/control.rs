//! Runs the stock module through all faults.
#![expect(clippy::print_stdout, reason = "it prints figures")]
use e2e::native::{door, faults};
fn main() {
    let word = std::env::args().nth(1).unwrap_or_default();
    let d = if std::env::args().nth(2).is_some() { door::OMRUST } else { door::OMHIREDIS };
    for s in faults::all() {
        if !s.name.contains(&word) {
            continue;
        }
        let t = std::time::Instant::now();
        let name = s.name;
        let r = std::panic::catch_unwind(|| s.run(&d));
        match r {
            Ok(o) => {
                println!("{name}: clean={} {o} [{:.1?}]", o.is_clean(), t.elapsed());
                if std::env::var_os("M").is_some() {
                    println!("{}", o.messages);
                }
            }
            Err(_) => println!("{name}: PANIC"),
        }
    }
}
