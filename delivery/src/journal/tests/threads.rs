//! Many threads at once.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

use super::*;

#[test]
fn each_appender_keeps_its_order_and_none_is_lost() {
    const EACH: u64 = 300;
    for sync in [Sync::Always, Sync::Interval(Duration::from_millis(1)), Sync::Never] {
        let folder = folder();
        let config = JournalConfig { sync, bytes_max: 64 << 20, segment_bytes: 128 << 10, ..config(folder.path()) };
        let (journal, mut reader) = open(&config);
        let left = AtomicU64::new(8);
        let mut seen: HashMap<u64, u64> = HashMap::new();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (journal, left) = (&journal, &left);
                scope.spawn(move || {
                    let mut last = Lsn(0);
                    for index in 0..EACH {
                        let bytes = payload(thread << 32 | index, 100 + (index as usize * 37) % 900);
                        let lsn = journal.append(&bytes, 1).expect("room");
                        assert!(lsn > last && journal.end() >= lsn);
                        last = lsn;
                    }
                    left.fetch_sub(1, Relaxed);
                    journal.nudge();
                });
            }
            let mut last = Lsn(0);
            let mut total = 0;
            loop {
                let ended = left.load(Relaxed) == 0;
                for (lsn, number) in drain(&mut reader) {
                    assert!(lsn > last);
                    last = lsn;
                    let next = seen.entry(number >> 32).or_default();
                    assert_eq!(number & 0xffff_ffff, *next, "thread {}", number >> 32);
                    *next += 1;
                    total += 1;
                    journal.release(lsn).expect("release");
                }
                if ended {
                    break;
                }
                journal.wait(last, Duration::from_secs(60));
            }
            assert_eq!(total, 8 * EACH);
        });
        assert!(journal.is_empty());
        assert_eq!(lost(&journal), (0, 0));
    }
}

#[test]
fn some_fail_and_the_others_are_all_there() {
    // Of a full journal each gets an answer; what was answered with a number is there, the rest is not.
    let folder = folder();
    let config = JournalConfig { bytes_max: 600_000, ..config(folder.path()) };
    let (journal, mut reader) = open(&config);
    let taken: Mutex<Vec<u64>> = Mutex::default();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (journal, taken) = (&journal, &taken);
            scope.spawn(move || {
                for index in 0..60 {
                    let number = thread << 32 | index;
                    match journal.append(&payload(number, 3000), 1) {
                        Ok(_) => locked(taken).push(number),
                        Err(AppendError::Full(_)) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    let mut taken = taken.into_inner().expect("no panic");
    let mut read = numbers(&mut reader);
    assert!((100..360).contains(&read.len()), "{}", read.len());
    taken.sort_unstable();
    read.sort_unstable();
    assert_eq!(read, taken);
}
