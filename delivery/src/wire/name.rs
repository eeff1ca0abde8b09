//! Looking up names. The system's resolver takes as long as it likes, ten seconds and more while a name server says nothing, and cannot be
//! told to stop. So a thread of its own asks it, and whoever connects waits only while its patience lasts.
//!
//! That thread may outlive the connection, and even whoever wanted it: it touches nothing but this file's own memory. `omrust.so` is linked
//! so that it stays in the process (`omrust/build.rs`).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use super::socket::Socket;
use super::{Patience, read};

/// Enough for the libraries that the resolver may load.
const STACK_BYTES: usize = 512 << 10;

/// What was found; an error without its source, so that many can have it.
type Found = Result<Vec<IpAddr>, (ErrorKind, String)>;

/// A question to the resolver.
struct Lookup {
    found: OnceLock<Found>,
    /// Its peer is closed when the answer is there. A socket, because a wait for one tells of signals too.
    end: Socket,
}

/// Lookups under way. Whoever asks for a name again waits with the others: a silent name server costs one thread for each name.
static UNDER_WAY: Mutex<Vec<(String, Arc<Lookup>)>> = Mutex::new(Vec::new());

/// The addresses of `host`, looked up now, while `patience` lasts. An address is its own answer.
pub fn addresses(host: &str, port: u16, patience: Patience<'_>) -> io::Result<Vec<SocketAddr>> {
    addresses_by(ask_system, host, port, patience)
}

fn addresses_by(ask: fn(&str) -> Found, host: &str, port: u16, patience: Patience<'_>) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let lookup = begin(ask, host)?;
    match read(&lookup.end, &mut [0], patience) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        Err(error) if error.kind() != ErrorKind::TimedOut => return Err(error),
        _ => {
            return Err(io::Error::new(ErrorKind::TimedOut, format!("the name {host} could not be looked up in time")));
        }
    }
    match lookup.found.get() {
        Some(Ok(found)) => Ok(found.iter().map(|address| (*address, port).into()).collect()),
        Some(Err((kind, text))) => Err(io::Error::new(*kind, text.clone())),
        None => Err(io::Error::other(format!("the name {host} could not be looked up"))),
    }
}

/// Joins the lookup that is under way, or begins one.
fn begin(ask: fn(&str) -> Found, host: &str) -> io::Result<Arc<Lookup>> {
    let mut all = lock(&UNDER_WAY);
    if let Some((_, lookup)) = all.iter().find(|(name, _)| name == host) {
        return Ok(lookup.clone());
    }
    let (end, peer) = UnixStream::pair()?;
    let lookup = Arc::new(Lookup { found: OnceLock::new(), end: Socket::new(end.into())? });
    let (name, of_thread, peer) = (host.to_owned(), lookup.clone(), Socket::new(peer.into())?);
    thread::Builder::new().name("resolver".into()).stack_size(STACK_BYTES).spawn(move || {
        let found = ask(&name);
        // Out of the list first: who asks from now on wants to know it anew.
        lock(&UNDER_WAY).retain(|(_, other)| !Arc::ptr_eq(other, &of_thread));
        let _ = of_thread.found.set(found);
        drop(peer);
    })?;
    all.push((host.to_owned(), lookup.clone()));
    Ok(lookup)
}

fn ask_system(host: &str) -> Found {
    match (host, 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) => Err((error.kind(), error.to_string())),
    }
}

/// Nothing panics while it holds one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

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
        let ask =
            |_: &str| -> Found { Ok(vec![IpAddr::from([127, 0, 0, ASKED.fetch_add(1, Ordering::Relaxed) as u8])]) };
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
        static GO_ON: Mutex<bool> = Mutex::new(false);
        let ask = |_: &str| -> Found {
            ASKED.fetch_add(1, Ordering::Relaxed);
            while !*lock(&GO_ON) {
                thread::sleep(Duration::from_millis(1));
            }
            Ok(vec![IpAddr::from([127, 0, 0, 9])])
        };
        let late = addresses_by(ask, "silent.test", 5, patience(Duration::from_millis(20))).expect_err("no answer");
        assert_eq!(late.kind(), ErrorKind::TimedOut);
        assert!(late.to_string().contains("silent.test"), "{late}");
        let stopped = Patience { interrupted: &|| true, ..patience(LONG) };
        addresses_by(ask, "silent.test", 5, stopped).expect_err("it was told to stop");
        let waiting = thread::spawn(move || addresses_by(ask, "silent.test", 5, patience(LONG)));
        *lock(&GO_ON) = true;
        let found = waiting.join().expect("no panic").expect("an address");
        assert_eq!(found, [SocketAddr::from(([127, 0, 0, 9], 5))]);
        assert!(ASKED.load(Ordering::Relaxed) <= 2, "a thread for each who asked");
    }
}
