//! The journal against a plain model of it, over kills, power losses and failing disks.

use std::io::ErrorKind;

use proptest::prelude::*;

use super::faults::{Durable, Plan};
use super::*;

#[derive(Debug, Clone)]
enum Op {
    /// Appends a frame of so many bytes.
    Append(usize),
    /// Appends one while the disk fails: so many steps succeed before.
    Fail { write: bool, after: usize, part: usize, full: bool },
    /// Reads so many frames on.
    Read(usize),
    /// Releases so many of those that were read.
    Release(usize),
    /// The process ends and another one begins.
    Reopen,
    /// It is killed.
    Kill,
    /// The power goes.
    PowerCut(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let fail = (any::<bool>(), 0..6usize, 0..5000usize, any::<bool>());
    let op = prop_oneof![
        8 => (8..6000usize).prop_map(Op::Append),
        1 => (20_000..90_000usize).prop_map(Op::Append),
        2 => fail.prop_map(|(write, after, part, full)| Op::Fail { write, after, part, full }),
        5 => (0..12usize).prop_map(Op::Read),
        5 => (0..12usize).prop_map(Op::Release),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        1 => any::<u64>().prop_map(Op::PowerCut),
    ];
    proptest::collection::vec(op, 1..60)
}

/// What of a folder another folder gets.
type Leave<'a> = dyn Fn(&Durable, &Path, &Path) -> Durable + 'a;

struct Stand {
    folder: tempfile::TempDir,
    config: JournalConfig,
    disk: disk::Disk,
    /// `None` only while it is being opened again.
    open: Option<(Arc<Journal>, Reader)>,
    /// Numbers of all frames that were acknowledged, oldest first.
    taken: Vec<u64>,
    /// So many of them were released.
    released: usize,
    /// What was read in this life and not released.
    held: Vec<Lsn>,
    /// Index of the next frame to be read; in a new life it is not known: frames may come again.
    next: Option<usize>,
    /// The last append failed, and nothing was written since: a power loss may bring it back.
    doubtful: bool,
    /// So many frames may be told as lost that were not: they were drained and their file was freed while the disk was too full for
    /// the mark, so another life misses them. See [`Journal::release`].
    unmarked: u64,
    appended: u64,
}

impl Stand {
    fn new(sync: Sync, bytes_max: u64) -> Self {
        let folder = folder();
        let disk = disk::Disk::default();
        *locked(&disk.faults.durable) = Some(Durable::default());
        let config = JournalConfig { bytes_max, sync, ..config(folder.path()) };
        let open = Some(recovery::open(config.clone(), NOW, disk.clone()).expect("open"));
        let (taken, held, next) = (Vec::new(), Vec::new(), Some(0));
        let (released, doubtful, unmarked, appended) = (0, false, 0, 0);
        Self { folder, config, disk, open, taken, released, held, next, doubtful, unmarked, appended }
    }

    fn journal(&self) -> Arc<Journal> {
        Arc::clone(&self.open.as_ref().expect("it is open").0)
    }

    fn append(&mut self, len: usize) -> Result<(), AppendError> {
        self.appended += 1;
        let journal = self.journal();
        let answer = journal.append(&payload(self.appended, len), 1);
        self.doubtful &= matches!(answer, Err(AppendError::TooLarge { .. }));
        match &answer {
            Ok(_) => self.taken.push(self.appended),
            Err(AppendError::Failed { .. }) => self.doubtful = true,
            Err(_) => {}
        }
        assert!(journal.bytes() <= self.config.bytes_max, "{} of {}", journal.bytes(), self.config.bytes_max);
        answer.map(drop)
    }

    fn read(&mut self, most: usize) {
        let (_, reader) = self.open.as_mut().expect("it is open");
        for _ in 0..most {
            let Some(frame) = reader.next().expect("read") else {
                let at_end = self.next.is_none_or(|next| next == self.taken.len());
                assert!(at_end, "{:?} of {:?} is missing", self.next, self.taken);
                assert!(self.next.is_some() || self.released == self.taken.len(), "nothing comes, {:?}", self.taken);
                self.next = Some(self.taken.len());
                return;
            };
            let number = number(frame.payload);
            let index = self.taken.binary_search(&number).expect("only what was acknowledged comes out");
            match self.next {
                Some(next) => assert_eq!(index, next, "order"),
                None => assert!(index <= self.released, "{index} comes first, released are {}", self.released),
            }
            self.next = Some(index + 1);
            self.held.push(frame.lsn);
        }
    }

    fn release(&mut self, most: usize) {
        let count = most.min(self.held.len());
        let Some(lsn) = self.held.drain(..count).next_back() else { return };
        self.journal().release(lsn).expect("release");
        let next = self.next.expect("something was read");
        self.released = self.released.max(next - self.held.len());
        assert!(self.journal().released() >= lsn);
    }

    /// Frames that were freed and that the mark does not know as drained.
    fn freed_without_mark(&self) -> u64 {
        let journal = self.journal();
        let state = locked(&journal.state);
        let oldest = state.segments.front().map_or(state.end, |first| first.before);
        oldest.lsn.saturating_sub(state.marked.lsn)
    }

    /// Nothing was lost, and nothing is told as lost but what cannot be known better.
    fn check_lost(&self, at: &dyn std::fmt::Debug) {
        let (frames, records) = lost(&self.journal());
        assert!(
            frames <= self.unmarked && records <= self.unmarked,
            "{frames}, {records} of {}: {at:?}",
            self.unmarked
        );
    }

    /// Another life, in the folder that `leave` makes of this one.
    fn again(&mut self, leave: Option<&Leave<'_>>) {
        self.unmarked = self.freed_without_mark();
        if let Some(leave) = leave {
            let folder = folder();
            let durable = locked(&self.disk.faults.durable).take().expect("it is kept");
            let durable = leave(&durable, self.folder.path(), folder.path());
            self.open = None;
            (self.folder, self.disk) = (folder, disk::Disk::default());
            *locked(&self.disk.faults.durable) = Some(durable);
            self.folder.path().clone_into(&mut self.config.directory);
        }
        self.open = None;
        self.open = Some(recovery::open(self.config.clone(), NOW, self.disk.clone()).expect("open"));
        (self.held, self.next) = (Vec::new(), None);
        self.check_lost(&"at the start");
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Append(len) => drop(self.append(*len)),
            Op::Fail { write, after, part, full } => {
                let kind = if *full { ErrorKind::StorageFull } else { ErrorKind::Other };
                let times = 1 + part % 4;
                *locked(&self.disk.faults.plan) = match write {
                    true => Plan { write: Some((*after, *part, kind)), ..Plan::default() },
                    false => Plan { sync: Some((*after, times, kind)), ..Plan::default() },
                };
                let _ = self.append(700);
                *locked(&self.disk.faults.plan) = Plan::default();
                locked(&self.journal().writer).forget_failure();
            }
            Op::Read(most) => self.read(*most),
            Op::Release(most) => self.release(*most),
            Op::Reopen => self.again(None),
            Op::Kill => self.again(Some(&|durable, from, to| durable.copy(from, to))),
            Op::PowerCut(seed) => {
                if self.config.sync == Sync::Always && !self.doubtful {
                    let chance = fastrand::Rng::with_seed(*seed);
                    let chance = std::cell::RefCell::new(chance);
                    self.again(Some(&|durable, from, to| {
                        durable.cut_power(from, to, &mut || chance.borrow_mut().bool())
                    }));
                }
            }
        }
        self.check_lost(op);
    }
}

fn run(sync: Sync, bytes_max: u64, ops: &[Op]) {
    let mut stand = Stand::new(sync, bytes_max);
    for op in ops {
        stand.run(op);
    }
    stand.read(usize::MAX);
    stand.release(usize::MAX);
    assert!(stand.journal().is_empty());
    stand.append(100).expect("all is drained");
    stand.read(usize::MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_what_the_model_does(
        sync in prop_oneof![3 => Just(Sync::Always), 1 => Just(Sync::Never), 1 => Just(Sync::Interval(Duration::ZERO))],
        bytes_max in 100_000..800_000u64,
        ops in ops(),
    ) {
        run(sync, bytes_max, &ops);
    }
}
