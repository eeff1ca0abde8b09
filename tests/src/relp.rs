//! A RELP sender: what rsyslogd has not answered for is sent again, over a new connection if need be.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::child::PATIENCE;
use crate::sender::{Job, Talk};

/// How long it waits between two attempts to connect, and how long it does not look whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Transaction numbers are at most so large.
const NUMBER_MAX: u64 = 999_999_999;

/// Bytes that may wait for the socket.
const OUT_MAX: usize = 256 << 10;

/// Sends the records of `job` with at most `window` under way, until all are answered for; told to stop, it sends no new ones.
pub fn send(job: &Job, window: usize, talk: &Talk) {
    let mut state =
        State { job, window, talk, acked: job.numbers.start, seen: job.numbers.start, last: Instant::now() };
    loop {
        match state.session() {
            Ok(()) => return,
            // Told to end and without an answer for long: whoever asked will see what was not answered for.
            Err(_) if talk.stopping() && state.last.elapsed() > PATIENCE => return,
            Err(_) => std::thread::sleep(LOOK),
        }
    }
}

struct State<'a> {
    job: &'a Job,
    window: usize,
    talk: &'a Talk,
    /// Everything before this number is answered for.
    acked: u64,
    /// Everything before this number was sent at least once.
    seen: u64,
    /// When the last answer came.
    last: Instant,
}

impl State<'_> {
    /// One connection. `Ok`: all is done.
    fn session(&mut self) -> io::Result<()> {
        let mut wire = Wire::open(self.job.port)?;
        // Numbers under way; an answer takes its number out, in whatever order answers come.
        let mut under_way: VecDeque<(u64, bool)> = VecDeque::new();
        let mut next = self.acked;
        let mut message = Vec::new();
        let mut burst = 0;
        loop {
            let end = if self.talk.stopping() { self.seen } else { self.job.numbers.end };
            if under_way.is_empty() && next >= end {
                return wire.close();
            }
            if self.talk.stopping() && self.last.elapsed() > PATIENCE {
                return Err(ErrorKind::TimedOut.into());
            }
            while next < end && under_way.len() < self.window && wire.waiting() < OUT_MAX {
                message.clear();
                self.job.message(next, &mut message);
                let number = wire.command("syslog", &message);
                under_way.push_back((number, false));
                if next < self.seen {
                    self.talk.again.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.seen += 1;
                    self.talk.sent.fetch_add(1, Ordering::Relaxed);
                }
                next += 1;
                burst += 1;
                if burst >= self.job.pace.burst && !self.job.pace.pause.is_zero() {
                    burst = 0;
                    std::thread::sleep(self.job.pace.pause);
                    break;
                }
            }
            let full = under_way.len() >= self.window || next >= end;
            wire.turn(full)?;
            while let Some((number, status)) = wire.answer()? {
                if status != 200 {
                    return Err(io::Error::other(format!("rsyslogd answered {status}")));
                }
                self.last = Instant::now();
                let Some(place) = under_way.iter_mut().find(|(under_way, _)| *under_way == number) else {
                    return Err(io::Error::other(format!("an answer to {number}, which is not under way")));
                };
                place.1 = true;
                while under_way.front().is_some_and(|(_, answered)| *answered) {
                    under_way.pop_front();
                    self.acked += 1;
                }
                self.talk.acked.store(self.acked - self.job.numbers.start, Ordering::Relaxed);
            }
        }
    }
}

/// The frames of one connection.
struct Wire {
    stream: TcpStream,
    number: u64,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    parsed: usize,
}

impl Wire {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut wire = Self { stream, number: 0, out: Vec::new(), written: 0, input: Vec::new(), parsed: 0 };
        wire.command("open", b"relp_version=0\nrelp_software=e2e,1\ncommands=syslog");
        let start = Instant::now();
        loop {
            wire.turn(true)?;
            match wire.answer()? {
                Some((1, 200)) => return Ok(wire),
                Some(other) => return Err(io::Error::other(format!("{other:?} is no answer to open"))),
                None if start.elapsed() > PATIENCE => return Err(ErrorKind::TimedOut.into()),
                None => {}
            }
        }
    }

    /// Bytes that wait for the socket.
    fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Appends a frame; its number.
    fn command(&mut self, name: &str, data: &[u8]) -> u64 {
        self.number = self.number % NUMBER_MAX + 1;
        write!(self.out, "{} {name} {}", self.number, data.len()).expect("memory");
        if !data.is_empty() {
            self.out.push(b' ');
            self.out.extend_from_slice(data);
        }
        self.out.push(b'\n');
        self.number
    }

    /// Moves bytes both ways. With `wait` and nothing to do it waits for a while.
    fn turn(&mut self, wait: bool) -> io::Result<()> {
        let mut events = PollFlags::POLLIN;
        if self.waiting() > 0 {
            events |= PollFlags::POLLOUT;
        }
        let limit = if wait { PollTimeout::try_from(LOOK).expect("it fits") } else { PollTimeout::ZERO };
        let mut fds = [PollFd::new(self.stream.as_fd(), events)];
        match poll(&mut fds, limit) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(taken) => self.written += taken,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let mut block = [0; 16 << 10];
        match self.stream.read(&mut block) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(taken) => {
                self.input.extend_from_slice(&block[..taken]);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// The next answer that is there: number and status.
    fn answer(&mut self) -> io::Result<Option<(u64, u32)>> {
        loop {
            let rest = &self.input[self.parsed..];
            let Some(frame) = Frame::parse(rest)? else {
                self.input.drain(..self.parsed);
                self.parsed = 0;
                return Ok(None);
            };
            let answer = (frame.command == "rsp").then_some((frame.number, frame.status));
            let closing = frame.command == "serverclose";
            self.parsed += frame.length;
            if closing {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            if answer.is_some() {
                return Ok(answer);
            }
        }
    }

    /// Says good-bye. Nobody needs the answer.
    fn close(mut self) -> io::Result<()> {
        self.command("close", b"");
        self.turn(true).or(Ok(()))
    }
}

struct Frame {
    number: u64,
    command: String,
    /// The number at the beginning of the data, 0 if there is none.
    status: u32,
    length: usize,
}

impl Frame {
    /// `NUMBER COMMAND LENGTH[ DATA]LF`
    fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let bad = || io::Error::other(format!("no RELP frame: {}", bytes[..bytes.len().min(60)].escape_ascii()));
        // The head ends at the blank before the data, or at the LF where there is none.
        let mut at = 0;
        let mut words = [""; 3];
        for (index, word) in words.iter_mut().enumerate() {
            let Some(end) = bytes[at..].iter().position(|&byte| byte == b' ' || byte == b'\n') else {
                return if bytes.len() - at > 40 { Err(bad()) } else { Ok(None) };
            };
            *word = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| bad())?;
            at += end + usize::from(index < 2);
        }
        let [number, command, length] = words;
        let length: usize = length.parse().map_err(|_| bad())?;
        let number = number.parse().map_err(|_| bad())?;
        let data = if length == 0 { at } else { at + 1 };
        let end = data + length;
        if bytes.len() < end + 1 {
            return Ok(None);
        }
        if bytes[end] != b'\n' {
            return Err(bad());
        }
        let status = bytes[data..end].split(|byte| !byte.is_ascii_digit()).next();
        let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0);
        Ok(Some(Self { number, command: command.to_owned(), status, length: end + 1 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_where_they_end() {
        let text = b"2 rsp 6 200 OK\n0 serverclose 0\n";
        let first = Frame::parse(text).expect("good").expect("whole");
        assert_eq!((first.number, first.command.as_str(), first.status, first.length), (2, "rsp", 200, 15));
        let second = Frame::parse(&text[first.length..]).expect("good").expect("whole");
        assert_eq!((second.number, second.command.as_str(), second.length), (0, "serverclose", 16));
        for cut in 0..15 {
            assert!(Frame::parse(&text[..cut]).expect("good so far").is_none(), "{cut}");
        }
        assert!(Frame::parse(b"x rsp 0\n").is_err());
        assert!(Frame::parse(b"1 rsp 2 abc\n").is_err());
    }
}
