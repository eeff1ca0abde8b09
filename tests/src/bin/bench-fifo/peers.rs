//! What fifo-bridge is measured against: the smallest loops that do the same job, each in one thread and a process of its own.
//!
//! `plain` is the limit: it reads the pipe and pushes with RPUSH, many values a command. It loses what it holds when it is killed.
//! `reference` is the plainest safe way: splice into a file, read it, EVALSHA of a compare-and-push with every record passed through Lua.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const LUA: &str = "local c=redis.call('GET',KEYS[2]) if c~=ARGV[1] then return {0,c} end \
                   redis.call('RPUSH',KEYS[1],unpack(ARGV,3)) redis.call('SET',KEYS[2],ARGV[2]) return 1";

/// How a peer works.
pub struct Peer<'a> {
    /// Compare and push, through a file.
    pub safe: bool,
    /// The pipe.
    pub fifo: &'a Path,
    /// Redis' socket.
    pub redis: &'a Path,
    /// Folder of the file.
    pub folder: &'a Path,
    /// Batches under way.
    pub depth: usize,
    /// Records in a batch.
    pub batch: usize,
}

struct Pushes {
    stream: UnixStream,
    out: Vec<u8>,
    sha: String,
    position: u64,
    under_way: usize,
}

impl Pushes {
    fn argument(&mut self, bytes: &[u8]) {
        write!(self.out, "${}\r\n", bytes.len()).expect("memory");
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    fn pack(&mut self, safe: bool, records: &[&[u8]], bytes: u64) {
        if safe {
            write!(self.out, "*{}\r\n", 7 + records.len()).expect("memory");
            let (from, to) = (format!("{:024}", self.position), format!("{:024}", self.position + bytes));
            let sha = self.sha.clone();
            for word in ["EVALSHA", &sha, "2", "q", "c", &from, &to] {
                self.argument(word.as_bytes());
            }
        } else {
            write!(self.out, "*{}\r\n", 2 + records.len()).expect("memory");
            self.argument(b"RPUSH");
            self.argument(b"q");
        }
        for record in records {
            self.argument(record);
        }
        self.position += bytes;
        self.under_way += 1;
    }

    fn send(&mut self) {
        self.stream.write_all(&self.out).expect("redis takes it");
        self.out.clear();
    }

    /// Reads replies until `left` are outstanding. Each is one line.
    fn settle(&mut self, left: usize) {
        let mut buffer = [0; 4096];
        while self.under_way > left {
            let count = self.stream.read(&mut buffer).expect("redis answers");
            assert!(count > 0 && !buffer[..count].contains(&b'-'), "redis refused a push");
            self.under_way -= memchr::memchr_iter(b'\n', &buffer[..count]).count();
        }
    }
}

/// Works until it is killed.
pub fn run(peer: &Peer<'_>) {
    let fifo =
        File::options().read(true).write(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(peer.fifo);
    let fifo = fifo.expect("the pipe");
    nix::fcntl::fcntl(&fifo, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20)).expect("a large pipe");
    let spool = File::options().read(true).write(true).create(true).truncate(true).open(peer.folder.join("spool"));
    let spool = spool.expect("a file");
    let mut pushes = Pushes {
        stream: UnixStream::connect(peer.redis).expect("redis"),
        out: Vec::new(),
        sha: String::new(),
        position: 0,
        under_way: 0,
    };
    if peer.safe {
        prepare(&mut pushes);
    }
    std::fs::write(peer.folder.join("ready"), "").expect("a file");
    let (mut window, mut start, mut end, mut end_of_file) = (vec![0u8; 1 << 20], 0, 0, 0u64);
    loop {
        if start > 0 {
            window.copy_within(start..end, 0);
            (start, end) = (0, end - start);
        }
        let room = (window.len() - end).min(64 << 10);
        let came = if peer.safe {
            let mut offset = i64::try_from(end_of_file).expect("a small file");
            let moved = splice(fifo.as_fd(), None, &spool, Some(&mut offset), room, SpliceFFlags::SPLICE_F_NONBLOCK);
            let moved = moved.unwrap_or(0);
            spool.read_exact_at(&mut window[end..end + moved], end_of_file).expect("what was written");
            end_of_file += moved as u64;
            moved
        } else {
            (&fifo).read(&mut window[end..end + room]).unwrap_or(0)
        };
        end += came;
        if came == 0 {
            pushes.settle(0);
            let mut wait = [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut wait, PollTimeout::from(1000u16));
            continue;
        }
        start += push_lines(peer, &mut pushes, &window[start..end]);
    }
}

/// Pushes all whole lines; returns how many bytes they cover.
fn push_lines(peer: &Peer<'_>, pushes: &mut Pushes, bytes: &[u8]) -> usize {
    let (mut records, mut used, mut first) = (Vec::with_capacity(peer.batch), 0, 0);
    for end in memchr::memchr_iter(b'\n', bytes) {
        records.push(&bytes[used..end]);
        used = end + 1;
        if records.len() == peer.batch {
            step(peer, pushes, &mut records, (used - first) as u64);
            first = used;
        }
    }
    if !records.is_empty() {
        step(peer, pushes, &mut records, (used - first) as u64);
    }
    pushes.send();
    used
}

fn step(peer: &Peer<'_>, pushes: &mut Pushes, records: &mut Vec<&[u8]>, bytes: u64) {
    pushes.pack(peer.safe, records, bytes);
    records.clear();
    if pushes.under_way >= peer.depth {
        pushes.send();
        pushes.settle(peer.depth / 2);
    }
}

fn prepare(pushes: &mut Pushes) {
    let script = format!("*3\r\n$6\r\nSCRIPT\r\n$4\r\nLOAD\r\n${}\r\n{LUA}\r\n", LUA.len());
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$24\r\n{:024}\r\n", 0);
    pushes.stream.write_all((script + &set).as_bytes()).expect("redis takes it");
    let mut answer = String::new();
    let mut buffer = [0; 256];
    while !answer.contains("+OK") {
        let count = pushes.stream.read(&mut buffer).expect("redis answers");
        answer.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
    }
    pushes.sha = answer.lines().nth(1).expect("a hash").to_owned();
}
