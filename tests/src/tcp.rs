//! A sender over plain TCP: rsyslogd gives no answer, so what it has read when it is killed is gone.

use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::child::PATIENCE;
use crate::sender::{Job, Talk, Way};

/// How long a blocked sender does not look whether it should end.
const LOOK: Duration = Duration::from_millis(50);

/// Sends the records of `job`, until all are sent or it is told to stop.
pub fn send(job: &Job, talk: &Talk) {
    let mut stream = TcpStream::connect(("127.0.0.1", job.port)).expect("cannot connect to rsyslogd");
    stream.set_write_timeout(Some(LOOK)).expect("a timeout can be set");
    let (mut out, mut message) = (Vec::new(), Vec::new());
    let mut next = job.numbers.start;
    while next < job.numbers.end && !talk.stopping() {
        out.clear();
        let end = job.numbers.end.min(next + job.pace.burst);
        for n in next..end {
            if job.way == Way::Octets {
                message.clear();
                job.message(n, &mut message);
                write!(out, "{} ", message.len()).expect("memory");
                out.extend_from_slice(&message);
            } else {
                job.message(n, &mut out);
                out.push(b'\n');
            }
        }
        write_whole(&mut stream, &out, talk);
        talk.sent.fetch_add(end - next, Ordering::Relaxed);
        next = end;
        if !job.pace.pause.is_zero() {
            std::thread::sleep(job.pace.pause);
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// All of it, also when it is time to end: half a record would be a record of its own.
fn write_whole(stream: &mut TcpStream, mut rest: &[u8], talk: &Talk) {
    let mut late: Option<Instant> = None;
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(taken) => rest = &rest[taken..],
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
                if talk.stopping() {
                    let since = *late.get_or_insert_with(Instant::now);
                    assert!(since.elapsed() < PATIENCE, "rsyslogd takes nothing for {PATIENCE:?}");
                }
            }
            Err(e) => panic!("cannot send to rsyslogd: {e}"),
        }
    }
}
