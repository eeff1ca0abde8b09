//! The whole life of a stream against a model of Redis: spool, lane and resume, while processes are killed, the machine
//! loses its power, answers get lost, old writes come late, and Redis goes back to an earlier state.
//!
//! Each byte is a record here. In the end the list holds every byte that was not lost with the machine's power, once, in order.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use delivery::lane::Lane;
use delivery::position::{Epoch, Position};
use delivery::resume::{Resume, resume};
use delivery::spool::{Lanes, Read, Reader, Spool, SpoolConfig, Summer, Sync, Writer};
use proptest::prelude::*;

/// One record: where it stands.
type Place = (Epoch, u64);

/// A push on its way.
#[derive(Debug, Clone)]
struct Push {
    from: Vec<u8>,
    to: Position,
    records: Vec<Place>,
}

/// List and cursor, and what they were at earlier times.
#[derive(Debug, Default)]
struct Redis {
    list: Vec<Place>,
    cursor: Vec<u8>,
    earlier: Vec<(usize, Vec<u8>)>,
    /// What connections that are gone had sent, and nobody has executed yet.
    late: Vec<VecDeque<Push>>,
}

impl Redis {
    /// The compare-and-push.
    fn execute(&mut self, push: &Push) -> bool {
        if push.from != self.cursor {
            return false;
        }
        self.earlier.push((self.list.len(), self.cursor.clone()));
        self.list.extend_from_slice(&push.records);
        self.cursor = push.to.to_string().into_bytes();
        true
    }

    fn go_back(&mut self, steps: usize) {
        for _ in 0..steps {
            // Not to the time before its first cursor: that is a Redis that was emptied, a case of its own.
            let Some((length, cursor)) = self.earlier.pop_if(|(_, cursor)| !cursor.is_empty()) else { return };
            self.list.truncate(length);
            self.cursor = cursor;
        }
    }

    fn execute_late(&mut self, which: usize) {
        if let Some(connection) = self.late.get_mut(which)
            && let Some(push) = connection.pop_front()
        {
            self.execute(&push);
        }
    }
}

/// A running process.
struct Bridge {
    spool: Arc<Spool>,
    writer: Writer,
    reader: Reader,
    summer: Summer,
    lane: Lane,
    connected: bool,
    under_way: VecDeque<Push>,
}

fn config(folder: &Path) -> SpoolConfig {
    SpoolConfig {
        directory: folder.to_owned(),
        bytes_max: 1 << 30,
        segment_bytes: 50,
        sync: Sync::Never,
        retention_bytes: 1 << 30,
        retention: Duration::from_secs(1_000_000),
        lanes: Lanes::default(),
    }
}

impl Bridge {
    fn start(folder: &Path) -> Self {
        let (spool, writer) = Spool::open(config(folder), 1_700_000_000, Instant::now()).expect("open");
        let at = spool.opened();
        let reader = Reader::new(Arc::clone(&spool), at);
        let summer = Summer::new(Arc::clone(&spool));
        let lane = Lane::new(at, 4);
        Self { spool, writer, reader, summer, lane, connected: false, under_way: VecDeque::new() }
    }

    fn append(&mut self, count: u64, written: &mut Vec<Place>) {
        for _ in 0..count {
            let Position { epoch, offset } = self.spool.end();
            let (file, at, _) = self.writer.target().expect("room");
            std::os::unix::fs::FileExt::write_all_at(file, b"x", at).expect("write");
            self.writer.grew(1, Instant::now()).expect("grew");
            written.push((epoch, offset));
        }
    }

    fn connect(&mut self, redis: &Redis) {
        if self.connected {
            return;
        }
        let at = loop {
            let decided = resume(&redis.cursor, &self.spool.held(), self.spool.opened(), self.spool.acked());
            let at = match decided {
                Resume::Continue(at) | Resume::Rewound(at) => at,
                Resume::Lost(..) => panic!("{decided:?} with the cursor {}", String::from_utf8_lossy(&redis.cursor)),
            };
            if self.spool.hold_from(0, at) {
                break at;
            }
        };
        self.lane.resume(&redis.cursor, at);
        self.reader.seek(at);
        self.connected = true;
    }

    /// Sends the next batch. False if there is none.
    fn push(&mut self, most: usize) -> bool {
        if !self.connected || !self.lane.has_room() {
            return false;
        }
        let before = self.reader.at();
        let mut buffer = vec![0; most];
        let (records, to) = match self.reader.read(&mut buffer).expect("read") {
            Read::Bytes(count) => {
                ((0..count as u64).map(|n| (before.epoch, before.offset + n)).collect(), self.reader.at())
            }
            Read::Damaged(_) => panic!("nothing was damaged"),
            Read::Break(next) => (Vec::new(), next),
            Read::End => return false,
        };
        self.under_way.push_back(Push { from: self.lane.tip().to_vec(), to, records });
        let fresh = self.under_way.back().map_or(0, |push| push.records.len() as u64);
        self.lane.sent(to, fresh, 0, Instant::now());
        true
    }

    /// Redis executes the oldest push, and its answer arrives.
    fn answer(&mut self, redis: &mut Redis) {
        let Some(push) = self.under_way.pop_front() else { return };
        if redis.execute(&push) {
            self.lane.taken(Instant::now());
            self.spool.release(0, self.lane.acked(), Instant::now()).expect("release");
        } else {
            self.disconnect(redis, 0);
        }
    }

    /// The connection breaks. So many pushes have been executed; what follows may come late.
    fn disconnect(&mut self, redis: &mut Redis, executed: usize) {
        for _ in 0..executed {
            if let Some(push) = self.under_way.pop_front() {
                redis.execute(&push);
            }
        }
        redis.late.push(std::mem::take(&mut self.under_way));
        if self.connected {
            self.lane.lost();
        }
        self.connected = false;
    }
}

#[derive(Debug, Clone)]
enum Op {
    Append(u64),
    Connect,
    Push(usize),
    Answer(usize),
    /// The connection breaks after so many pushes.
    Disconnect(usize),
    /// An old connection's next write is executed after all.
    Late(usize),
    /// The process is killed after so many pushes.
    Kill(usize),
    /// The machine loses its power, and the last so many bytes are lost with it.
    Power(u64),
    /// Redis is so many pushes younger.
    GoBack(usize),
    Mark,
    /// Checksums are made of what waits.
    Sum,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (1..120u64).prop_map(Op::Append),
        4 => Just(Op::Connect),
        8 => (1..80usize).prop_map(Op::Push),
        6 => (1..5usize).prop_map(Op::Answer),
        2 => (0..5usize).prop_map(Op::Disconnect),
        2 => (0..8usize).prop_map(Op::Late),
        2 => (0..5usize).prop_map(Op::Kill),
        1 => (0..130u64).prop_map(Op::Power),
        1 => (0..6usize).prop_map(Op::GoBack),
        1 => Just(Op::Mark),
        3 => Just(Op::Sum),
    ];
    proptest::collection::vec(op, 1..80)
}

/// Takes the last `bytes` of the stream's last epoch off the disk.
fn lose(folder: &Path, mut bytes: u64, end: Position, written: &mut Vec<Place>, lost: &mut Vec<Place>) {
    let mut segments: Vec<_> = std::fs::read_dir(folder)
        .expect("list")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&end.epoch.to_string()) && name.ends_with(".seg")
        })
        .collect();
    segments.sort();
    for path in segments.into_iter().rev() {
        let size = std::fs::metadata(&path).expect("metadata").len();
        let gone = size.min(bytes);
        let file = std::fs::File::options().write(true).open(path).expect("open");
        file.set_len(size - gone).expect("cut");
        bytes -= gone;
        for _ in 0..gone {
            lost.push(written.pop().expect("written"));
        }
    }
}

fn live(ops: Vec<Op>) {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder");
    let mut redis = Redis::default();
    let mut bridge = Bridge::start(folder.path());
    let (mut written, mut lost) = (Vec::new(), Vec::new());
    for op in ops {
        match op {
            Op::Append(count) => bridge.append(count, &mut written),
            Op::Connect => bridge.connect(&redis),
            Op::Push(most) => {
                bridge.push(most);
            }
            Op::Answer(count) => (0..count).for_each(|_| bridge.answer(&mut redis)),
            Op::Disconnect(executed) => bridge.disconnect(&mut redis, executed),
            Op::Late(which) => redis.execute_late(which),
            Op::Kill(executed) => {
                bridge.disconnect(&mut redis, executed);
                drop(bridge);
                bridge = Bridge::start(folder.path());
            }
            Op::Power(bytes) => {
                bridge.disconnect(&mut redis, 0);
                let end = bridge.spool.end();
                drop(bridge);
                lose(folder.path(), bytes, end, &mut written, &mut lost);
                std::fs::write(folder.path().join("boot"), "another run of the machine\n").expect("write");
                bridge = Bridge::start(folder.path());
            }
            Op::GoBack(steps) => {
                bridge.disconnect(&mut redis, 0);
                redis.go_back(steps);
            }
            Op::Mark => bridge.spool.write_mark().expect("mark"),
            Op::Sum => bridge.summer.round().expect("sums"),
        }
    }
    // Everything calms down.
    bridge.disconnect(&mut redis, 0);
    loop {
        bridge.connect(&redis);
        while bridge.push(64) {}
        if bridge.under_way.is_empty() && bridge.connected {
            break;
        }
        while !bridge.under_way.is_empty() {
            bridge.answer(&mut redis);
        }
    }
    assert!(redis.list.is_sorted_by(|a, b| a < b), "doubled or out of order");
    let missing: Vec<_> = written.iter().filter(|place| redis.list.binary_search(place).is_err()).collect();
    assert!(missing.is_empty(), "lost: {} of {}, first {:?}", missing.len(), written.len(), missing[0]);
    let foreign = redis.list.iter().filter(|place| !written.contains(place) && !lost.contains(place)).count();
    assert_eq!(foreign, 0, "records that nobody wrote");
    assert_eq!(bridge.spool.bytes_after(bridge.lane.acked()), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_record_once_and_in_order(ops in ops()) {
        live(ops);
    }
}
