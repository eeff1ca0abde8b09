//! The programs that log: numbered messages over TCP, at a steady rate.

use std::io::{self, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How many senders there are. Each has a connection and an order of its own.
pub const SENDERS: u64 = 4;

/// At most so many messages in one write.
const BURST: u64 = 500;
/// Some 5000 messages, half of what the remote rsyslog keeps in memory.
const INSIDE_BYTES_MAX: u64 = 500_000;
/// How often a sender looks at the clock.
const TICK: Duration = Duration::from_millis(5);

/// What rsyslog and everybody behind it calls sender 0, 1, ...
pub fn name(sender: u64) -> String {
    format!("web{}", sender + 1)
}

/// How many of all `messages` this sender sends.
pub fn share(messages: u64, sender: u64) -> u64 {
    messages / SENDERS + u64::from(sender < messages % SENDERS)
}

/// Message `n` of a sender. A record carries it behind its third `|`.
pub fn message(sender: &str, n: u64) -> String {
    format!("{sender} {n} order {n:08} is paid, the customer gets a mail and the stock is counted")
}

/// The same as a syslog frame, local3.info. Returns how many bytes it will have in the pipe.
fn frame(sender: &str, n: u64, out: &mut Vec<u8>) -> u64 {
    let text = message(sender, n);
    // Writing to a Vec cannot fail.
    let _ = writeln!(out, "<158>Nov 21 10:00:00 {sender} shop: {text}");
    ("~19|6|Nov 21 10:00:00| \n".len() + text.len()) as u64
}

/// What the senders and their owner tell each other.
#[derive(Debug, Default)]
struct Talk {
    sent: AtomicU64,
    /// Bytes that the messages sent will have in the pipe.
    bytes: AtomicU64,
    hold: AtomicBool,
}

/// All senders at work. They end with the value.
#[derive(Debug)]
pub struct Senders {
    talk: Arc<Talk>,
    streams: Vec<TcpStream>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Senders {
    /// Sends `messages` in all to this port of 127.0.0.1, at `rate` a second in all (0: as fast as they are taken).
    pub fn start(port: u16, messages: u64, rate: u64) -> io::Result<Self> {
        let mut senders = Self { talk: Arc::default(), streams: Vec::new(), threads: Vec::new() };
        let begin = Instant::now();
        for sender in 0..SENDERS {
            let stream = TcpStream::connect(("127.0.0.1", port))?;
            senders.streams.push(stream.try_clone()?);
            let talk = Arc::clone(&senders.talk);
            let job = Job { name: name(sender), share: share(messages, sender), rate, begin };
            senders.threads.push(std::thread::spawn(move || job.run(stream, &talk)));
        }
        Ok(senders)
    }

    /// Messages that the sockets have taken.
    pub fn sent(&self) -> u64 {
        self.talk.sent.load(Ordering::Relaxed)
    }

    /// How many of the messages sent have come out of rsyslog, by their bytes.
    pub fn through(&self, through: u64) -> u64 {
        let (sent, bytes) = (self.sent(), self.talk.bytes.load(Ordering::Relaxed));
        sent.min(sent * through / bytes.max(1))
    }

    /// Has them wait while rsyslog has more than it keeps in memory: what it writes to disk loses its order. `through` is
    /// how many bytes have come out of rsyslog.
    pub fn hold_back(&self, through: u64) {
        let inside = self.talk.bytes.load(Ordering::Relaxed).saturating_sub(through);
        self.talk.hold.store(inside > INSIDE_BYTES_MAX, Ordering::Relaxed);
    }

    /// An error if a sender could not go on.
    pub fn check(&mut self) -> io::Result<()> {
        let (ended, at_work) = std::mem::take(&mut self.threads).into_iter().partition(JoinHandle::is_finished);
        self.threads = at_work;
        for thread in ended {
            thread.join().map_err(|_| io::Error::other("a sender panicked"))??;
        }
        Ok(())
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        for stream in &self.streams {
            // One that is closed already needs nothing.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

struct Job {
    name: String,
    share: u64,
    /// A second, of all senders together.
    rate: u64,
    begin: Instant,
}

impl Job {
    /// How many messages should be sent by now.
    fn due(&self) -> u64 {
        match self.rate {
            0 => self.share,
            rate => self.begin.elapsed().as_micros() as u64 * rate / (SENDERS * 1_000_000),
        }
    }

    fn run(&self, mut stream: TcpStream, talk: &Talk) -> io::Result<()> {
        let mut next = 0;
        let mut out = Vec::new();
        while next < self.share {
            let due = self.due();
            let end = due.min(self.share).min(next + BURST);
            if next >= end || talk.hold.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                continue;
            }
            out.clear();
            let bytes: u64 = (next..end).map(|n| frame(&self.name, n, &mut out)).sum();
            talk.bytes.fetch_add(bytes, Ordering::Relaxed);
            stream.write_all(&out)?;
            talk.sent.fetch_add(end - next, Ordering::Relaxed);
            next = end;
        }
        stream.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_shares_add_up() {
        for messages in [0, 1, 3, 4, 1_000_003] {
            assert_eq!((0..SENDERS).map(|sender| share(messages, sender)).sum::<u64>(), messages);
        }
    }

    #[test]
    fn everything_is_sent_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut senders = Senders::start(port, 1_001, 0).expect("they connect");
        for _ in 0..SENDERS {
            let mut text = String::new();
            listener.accept().and_then(|(mut stream, _)| stream.read_to_string(&mut text)).expect("messages");
            let name = text.split(' ').nth(3).expect("a host").to_owned();
            let expected = if name == "web1" { 251 } else { 250 };
            assert_eq!(text.lines().count(), expected, "{name}");
            for (n, line) in (0..).zip(text.lines()) {
                assert!(line.starts_with("<158>") && line.ends_with(&message(&name, n)), "{line}");
            }
        }
        while !senders.threads.is_empty() {
            senders.check().expect("all went well");
        }
        assert_eq!(senders.sent(), 1_001);
    }

    #[test]
    fn they_wait_while_too_much_is_on_its_way() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let reader = std::thread::spawn(move || {
            let ends = (0..SENDERS).map(|_| listener.accept().expect("a sender").0);
            for mut end in ends.collect::<Vec<_>>() {
                end.read_to_end(&mut Vec::new()).expect("messages");
            }
        });
        let mut senders = Senders::start(port, 20_000, 50_000).expect("they connect");
        for _ in 0..400 {
            senders.hold_back(0);
            std::thread::sleep(TICK / 5);
        }
        let held = senders.sent();
        assert!(held < 10_000, "they did not wait: {held} in 0.4 s");
        while senders.sent() < 20_000 {
            senders.hold_back(u64::MAX);
            senders.check().expect("all goes well");
            std::thread::sleep(TICK);
        }
        reader.join().expect("the reader");
    }

    #[test]
    fn dropping_them_ends_them() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        // Nobody reads: the sockets fill up and the senders block.
        let senders = Senders::start(port, 10_000_000, 0).expect("they connect");
        drop(senders);
    }
}
