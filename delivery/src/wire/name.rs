//! Looking up names. The system's resolver takes as long as it likes, ten seconds and more while a name server says nothing, and cannot be
//! told to stop. So a thread of its own asks it, and whoever connects waits only while its patience lasts.
//!
//! That thread may outlive the connection, and even whoever wanted it: it touches nothing but this file's own memory. `omrust.so` is linked
//! so that it stays in the process (`omrust/build.rs`). A process that was forked meanwhile has no such thread, and begins anew.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, SigmaskHow};

use super::socket::Socket;
use super::{Patience, read};

/// Enough for the libraries that the resolver may load.
const STACK_BYTES: usize = 512 << 10;
/// So long an answer is kept that came when nobody waited any more. Where lookups take longer than connecting may, nobody would ever have one.
const KEPT: Duration = Duration::from_secs(10);

/// What was found, and an error as many can have it.
type Found = Result<Vec<SocketAddr>, (ErrorKind, String)>;

/// A question to the resolver.
struct Lookup {
    host: String,
    /// The process that asked.
    process: u32,
    found: OnceLock<(Instant, Found)>,
    /// Its peer is closed when the answer is there. A socket, because a wait for one tells of signals too.
    end: Socket,
}

impl Lookup {
    /// Whether the next who asks for the name should have this one's answer.
    fn is_of_use(&self) -> bool {
        self.found.get().is_none_or(|(when, found)| found.is_ok() && when.elapsed() < KEPT)
    }
}

/// Lookups whose answer nobody has taken. Whoever asks for a name again waits with the others: a silent name server costs one thread for each
/// name.
static OPEN: Mutex<Vec<Arc<Lookup>>> = Mutex::new(Vec::new());

/// The addresses of `host`, looked up now, while `patience` lasts. An address is its own answer.
pub fn addresses(host: &str, port: u16, patience: Patience<'_>) -> io::Result<Vec<SocketAddr>> {
    addresses_by(ask_system, host, port, patience)
}

fn addresses_by(ask: fn(&str) -> Found, host: &str, port: u16, patience: Patience<'_>) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let lookup = begin(ask, host, patience)?;
    let waited = read(&lookup.end, &mut [0], patience);
    if lookup.found.get().is_none() && matches!(&waited, Err(error) if error.kind() == ErrorKind::TimedOut) {
        return Err(late(host));
    }
    lock(patience, host)?.retain(|other| !Arc::ptr_eq(other, &lookup));
    match lookup.found.get() {
        Some((_, Ok(found))) => {
            let with_port = |address: &SocketAddr| {
                let mut address = *address;
                address.set_port(port);
                address
            };
            Ok(found.iter().map(with_port).collect())
        }
        Some((_, Err((kind, text)))) => Err(io::Error::new(*kind, text.clone())),
        None => Err(io::Error::other(format!("the name {host} could not be looked up"))),
    }
}

/// Joins the lookup that is open, or begins one.
fn begin(ask: fn(&str) -> Found, host: &str, patience: Patience<'_>) -> io::Result<Arc<Lookup>> {
    let mut open = lock(patience, host)?;
    let process = std::process::id();
    open.retain(|lookup| lookup.process == process && (lookup.host != host || lookup.is_of_use()));
    if let Some(lookup) = open.iter().find(|lookup| lookup.host == host) {
        return Ok(lookup.clone());
    }
    let (end, peer) = UnixStream::pair()?;
    let (end, peer) = (Socket::new(end.into())?, Socket::new(peer.into())?);
    let lookup = Arc::new(Lookup { host: host.to_owned(), process, found: OnceLock::new(), end });
    let of_thread = lookup.clone();
    let work = move || {
        let found = ask(&of_thread.host);
        let _ = of_thread.found.set((Instant::now(), found));
        // A process that was forked meanwhile has the peer as well.
        peer.shut();
    };
    // Signals are for the threads of the host.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let made = thread::Builder::new().name("resolver".into()).stack_size(STACK_BYTES).spawn(work);
    mask.thread_set_mask()?;
    made.map_err(|error| io::Error::new(error.kind(), format!("no thread to look up the name {host}: {error}")))?;
    open.push(lookup.clone());
    Ok(lookup)
}

fn ask_system(host: &str) -> Found {
    match (host, 0).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err((error.kind(), error.to_string())),
    }
}

fn late(host: &str) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, format!("the name {host} could not be looked up in time"))
}

/// Nothing panics while it holds the list, and nobody holds it long; but a process may have been forked while another thread did.
fn lock(patience: Patience<'_>, host: &str) -> io::Result<MutexGuard<'static, Vec<Arc<Lookup>>>> {
    loop {
        match OPEN.try_lock() {
            Ok(list) => return Ok(list),
            Err(TryLockError::Poisoned(list)) => return Ok(list.into_inner()),
            Err(TryLockError::WouldBlock) if patience.is_over() => return Err(late(host)),
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, SocketAddrV6};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    fn patience(limit: Duration) -> Patience<'static> {
        Patience { deadline: Instant::now() + limit, interrupted: &|| false }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn an_address_is_its_own_answer() {
        for (text, address) in [("127.0.0.1", "127.0.0.1:5"), ("::1", "[::1]:5")] {
            let none = |_: &str| -> Found { unreachable!("nobody has to be asked") };
            let found = addresses_by(none, text, 5, patience(Duration::ZERO)).expect("an address");
            assert_eq!(found, [address.parse().expect("an address")]);
        }
    }

    #[test]
    fn a_name_is_looked_up_each_time() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let ask = |_: &str| -> Found {
            Ok(vec![SocketAddr::from(([127, 0, 0, ASKED.fetch_add(1, Ordering::Relaxed) as u8], 0))])
        };
        for last in 0..3 {
            let found = addresses_by(ask, "changes.test", 5, patience(LONG)).expect("an address");
            assert_eq!(found, [SocketAddr::from(([127, 0, 0, last], 5))]);
        }
    }

    #[test]
    fn what_the_system_says_is_kept() {
        let ask = |_: &str| -> Found { Err((ErrorKind::NotFound, "no such name".into())) };
        let error = addresses_by(ask, "missing.test", 5, patience(LONG)).expect_err("no address");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotFound, "no such name"));
    }

    /// The resolver says nothing: callers leave, later ones join the one that is under way, and all of them have its answer in the end.
    #[test]
    fn nobody_waits_longer_than_he_wants() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static GO_ON: AtomicBool = AtomicBool::new(false);
        let ask = |_: &str| -> Found {
            ASKED.fetch_add(1, Ordering::Relaxed);
            while !GO_ON.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 9], 0))])
        };
        let late = addresses_by(ask, "silent.test", 5, patience(Duration::from_millis(20))).expect_err("no answer");
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        assert!(late.to_string().contains("silent.test"), "{late}");
        let stopped = Patience { interrupted: &|| true, ..patience(LONG) };
        addresses_by(ask, "silent.test", 5, stopped).expect_err("it was told to stop");
        let waiting = thread::spawn(move || addresses_by(ask, "silent.test", 5, patience(LONG)));
        GO_ON.store(true, Ordering::Relaxed);
        let found = waiting.join().expect("no panic").expect("an address");
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 9], 5))]);
        assert!(ASKED.load(Ordering::Relaxed) <= 2, "a thread for each who asked");
    }

    /// The resolver is slower than connecting may be: its answer is there at the next attempt.
    #[test]
    fn an_answer_that_comes_late_is_kept_for_the_next() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static GO_ON: AtomicBool = AtomicBool::new(false);
        let ask = |_: &str| -> Found {
            while !GO_ON.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(vec![SocketAddr::from(([127, 0, 0, 1 + ASKED.fetch_add(1, Ordering::Relaxed) as u8], 0))])
        };
        addresses_by(ask, "slow.test", 5, patience(Duration::from_millis(1))).expect_err("no answer yet");
        GO_ON.store(true, Ordering::Relaxed);
        while ASKED.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        for last in [1, 2] {
            let found = addresses_by(ask, "slow.test", 5, patience(LONG)).expect("an address");
            assert_eq!(found, [SocketAddr::from(([127, 0, 0, last], 5))]);
        }
    }

    #[test]
    fn an_address_keeps_its_interface() {
        let ask = |_: &str| -> Found { Ok(vec![SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 3).into()]) };
        let found = addresses_by(ask, "::1%three", 5, patience(LONG)).expect("an address");
        assert_eq!(found, [SocketAddrV6::new(Ipv6Addr::LOCALHOST, 5, 0, 3).into()]);
    }

    /// What a process finds that was forked during a lookup: the entry, and no thread.
    #[test]
    fn a_lookup_of_another_process_is_none() {
        let (end, _peer) = UnixStream::pair().expect("a pair");
        let end = Socket::new(end.into()).expect("a socket");
        let (host, found) = ("forked.test".to_owned(), OnceLock::new());
        let other = Lookup { host, process: std::process::id() + 1, found, end };
        lock(patience(LONG), "").expect("the list").push(Arc::new(other));
        let ask = |_: &str| -> Found { Ok(vec![SocketAddr::from(([127, 0, 0, 7], 0))]) };
        let found = addresses_by(ask, "forked.test", 5, patience(LONG)).expect("an address");
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 7], 5))]);
    }
}
