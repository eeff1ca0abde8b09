//! The spool against a plain model of it.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    /// Appends so many bytes, as far as there is room.
    Append(u64),
    /// Reads so many bytes on.
    Read(usize),
    /// Confirms so many hundredths of what was read.
    Release(u64),
    /// Redis goes back by so many hundredths of what is held and confirmed.
    Rewind(u64),
    /// The process is killed and starts again.
    Reopen,
    /// The machine restarts.
    Reboot,
    /// The disk refuses an append.
    Refused,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (1..400u64).prop_map(Op::Append),
        5 => (1..600usize).prop_map(Op::Read),
        4 => (0..=100u64).prop_map(Op::Release),
        1 => (0..=100u64).prop_map(Op::Rewind),
        2 => Just(Op::Reopen),
        1 => Just(Op::Reboot),
        1 => Just(Op::Refused),
    ];
    proptest::collection::vec(op, 1..60)
}

fn configs() -> impl Strategy<Value = SpoolConfig> {
    let sync = prop_oneof![
        1 => Just(Sync::Always),
        2 => Just(Sync::Interval(Duration::from_secs(1))),
        4 => Just(Sync::Never),
    ];
    (1..200u64, 1..2_000u64, sync, 0..1_000u64, prop_oneof![Just(0), Just(1_000)]).prop_map(
        |(segment_bytes, bytes_max, sync, retention_bytes, retention)| SpoolConfig {
            directory: PathBuf::new(),
            bytes_max,
            segment_bytes,
            sync,
            retention_bytes,
            retention: Duration::from_secs(retention),
            lanes: Lanes::default(),
        },
    )
}

/// The stream as it should be: the length of each epoch, oldest first. Byte N of an epoch is `byte(N)`.
struct Model {
    lengths: Vec<(Epoch, u64)>,
    acked: Position,
    reader: Position,
}

impl Model {
    fn end(&self) -> Position {
        let (epoch, length) = *self.lengths.last().expect("an epoch");
        at(epoch, length)
    }

    /// Stretches from `from` to the end, without empty ones.
    fn behind(&self, from: Position) -> Vec<(Position, Vec<u8>)> {
        let stretches = self.lengths.iter().filter(|(epoch, _)| *epoch >= from.epoch).map(|(epoch, length)| {
            let start = if *epoch == from.epoch { from.offset } else { 0 };
            (at(*epoch, start), bytes(start..*length))
        });
        stretches.filter(|(_, bytes)| !bytes.is_empty()).collect()
    }

    /// The position so many bytes before `until`, counted over all epochs, not before `first`.
    fn back(&self, until: Position, mut bytes: u64, first: Position) -> Position {
        let mut place = until;
        for (epoch, length) in self.lengths.iter().rev().filter(|(epoch, _)| *epoch <= until.epoch) {
            if *epoch != place.epoch {
                place = at(*epoch, *length);
            }
            if bytes <= place.offset {
                return at(*epoch, place.offset - bytes).max(first);
            }
            bytes -= place.offset;
        }
        first
    }
}

fn check(spool: &Arc<Spool>, model: &Model, folder: &Path) {
    assert_eq!(spool.end(), model.end());
    // Everything that is not confirmed can be read, and it is what was written.
    let mut read = read_all(spool, model.acked);
    read.retain(|(_, bytes)| !bytes.is_empty());
    let wanted = model.behind(model.acked);
    assert_eq!(read, wanted, "behind {}", model.acked);
    assert_eq!(spool.bytes_after(model.acked), wanted.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    assert_eq!(spool.wait(0, model.acked, Duration::ZERO), !wanted.is_empty());
    // Nothing that is on disk was ever changed, and it is what is said to be there.
    let mut total = 0;
    for (path, size) in segments_on_disk(folder) {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let (epoch, start) = name.split_once('-').expect("two parts");
        let (epoch, start): (u64, u64) =
            (u64::from_str_radix(epoch, 16).expect("hex"), start.parse().expect("decimal"));
        assert_eq!(std::fs::read(&path).expect("read"), bytes(start..start + size), "{epoch:x} {start}");
        total += size;
    }
    assert_eq!(spool.bytes(), total);
}

fn run(mut config: SpoolConfig, ops: Vec<Op>) {
    // In memory where there is such a place: the disk's own pace would be most of the time.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory).expect("a folder") } else { folder() };
    folder.path().clone_into(&mut config.directory);
    let (mut spool, mut writer) = open(&config);
    let start = spool.opened();
    let mut model = Model { lengths: vec![(start.epoch, 0)], acked: start, reader: start };
    let mut reader = Reader::new(Arc::clone(&spool), start);
    for op in ops {
        match op {
            Op::Append(count) => {
                let before = spool.end().offset;
                match append(&mut writer, count) {
                    Ok(()) => assert_eq!(spool.end().offset, before + count),
                    Err(NoRoom::Full { bytes, bytes_max }) => {
                        assert_eq!(bytes, bytes_max);
                        assert!(
                            !model.behind(model.acked).is_empty() || before < spool.end().offset,
                            "full of nothing"
                        );
                    }
                    Err(NoRoom::Broken(error)) => panic!("{error}"),
                }
                model.lengths.last_mut().expect("an epoch").1 = spool.end().offset;
            }
            Op::Read(count) => {
                let mut buffer = vec![0; count];
                let from = reader.at();
                match reader.read(&mut buffer).expect("read") {
                    Read::Bytes(count) => {
                        assert_eq!(buffer[..count], bytes(from.offset..from.offset + count as u64));
                    }
                    Read::Damaged(_) => panic!("nothing was damaged"),
                    Read::End => assert!(model.behind(from).is_empty(), "an end at {from}"),
                    Read::Break(next) => assert_eq!(model.behind(from)[0].0, next, "a break at {from}"),
                }
                model.reader = reader.at();
            }
            Op::Release(hundredths) => {
                let between = spool.bytes_after(model.acked) - spool.bytes_after(model.reader);
                let position = model.back(model.reader, between - between * hundredths / 100, model.acked);
                model.acked = position;
                spool.release(0, position, Instant::now()).expect("release");
            }
            Op::Rewind(hundredths) => {
                let held = spool.held();
                let first = at(held[0].epoch, held[0].start);
                let confirmed = spool.bytes_after(first) - spool.bytes_after(model.acked);
                let position = model.back(model.acked, confirmed * hundredths / 100, first);
                (model.acked, model.reader) = (position, position);
                spool.release(0, position, Instant::now()).expect("release");
                reader.seek(position);
            }
            Op::Reopen | Op::Reboot => {
                if let Op::Reboot = op {
                    reboot(folder.path());
                }
                drop((reader, writer, spool));
                (spool, writer) = open(&config);
                let opened = spool.opened();
                if let Op::Reboot = op {
                    assert_eq!(opened.offset, 0);
                    model.lengths.push((opened.epoch, 0));
                }
                // What the cursor in Redis says.
                spool.release(0, model.acked, Instant::now()).expect("release");
                model.reader = model.acked;
                reader = Reader::new(Arc::clone(&spool), model.acked);
            }
            Op::Refused => {
                writer.refused(io::ErrorKind::StorageFull.into());
            }
        }
        check(&spool, &model, folder.path());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does(config in configs(), ops in ops()) {
        run(config, ops);
    }
}
