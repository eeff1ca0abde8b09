//! What is said of the room is what an append then meets.

use super::*;

/// Appends, reads and releases at random; each append is foretold.
fn foretold(config: &JournalConfig, sizes: usize, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (journal, mut reader) = open(config);
    let (mut appended, mut read, mut refused, mut wrong) = (0, Vec::new(), 0, 0);
    for _ in 0..1_500 {
        match random.u8(..12) {
            0 => read.extend(drain(&mut reader).into_iter().map(|(lsn, _)| lsn)),
            1 if !read.is_empty() => {
                let upto = read.drain(..=random.usize(..read.len())).next_back().expect("one");
                journal.release(upto).expect("release");
            }
            _ => {
                let payload = payload(appended, random.usize(8..sizes));
                let fits = journal.has_room_for(payload.len());
                match journal.append(&payload, 1) {
                    Ok(_) => {
                        assert!(fits, "{} bytes went in, {} were taken", payload.len(), journal.bytes());
                        appended += 1;
                    }
                    Err(AppendError::Full(_)) => {
                        refused += 1;
                        wrong += u32::from(fits);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    assert!(refused > 20 && appended > 100, "{refused} refused, {appended} taken: no test");
    // The size of the spare file that will be used is not looked at.
    assert!(wrong * 50 <= refused, "{wrong} of {refused} were not foretold");
}

#[test]
fn whether_an_append_will_fit_is_known_before() {
    let folder = || super::folder();
    for seed in 0..4 {
        let small = folder();
        foretold(&config(small.path()), 30_000, seed);
        let tiny = folder();
        foretold(&JournalConfig { bytes_max: 256 << 10, ..config(tiny.path()) }, 90_000, seed);
        let large = folder();
        let config = JournalConfig { bytes_max: 16 << 20, segment_bytes: 2 << 20, ..config(large.path()) };
        foretold(&config, 700_000, seed);
    }
}
