//! A proxy before Redis that has faults on demand. Threads only.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::child::Scene;

/// How often a waiting thread looks whether the mode has changed.
const TICK: Duration = Duration::from_millis(20);

/// What the proxy does with the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// Requests reach Redis, its replies are dropped; so long after the first dropped one the connection is cut.
    SwallowReplies(Duration),
    /// So many bytes of requests, counted from here on, still reach Redis; then the connection is cut in the middle.
    CutRequest(u64),
    /// So many bytes of replies, counted from here on, still come back; then the connection is cut in the middle.
    CutReply(u64),
    /// Each block of replies is held back for so long.
    DelayReplies(Duration),
    /// Connections that exist are cut, new ones are closed at once.
    Refuse,
}

/// The proxy; it ends with the value.
#[derive(Debug)]
pub struct Proxy {
    address: Address,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

#[derive(Debug)]
struct Shared {
    redis: Behind,
    /// Ports that are other ones in what comes back.
    renamed: Vec<(u16, u16)>,
    state: Mutex<State>,
}

/// What stands behind the proxy.
#[derive(Debug)]
enum Behind {
    Unix(PathBuf),
    Tcp(u16),
}

impl Behind {
    // What is asked of a socket here is the same for both kinds.
    fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Unix(path) => UnixStream::connect(path),
            Self::Tcp(port) => Ok(UnixStream::from(OwnedFd::from(TcpStream::connect(("127.0.0.1", *port))?))),
        }
    }
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// The mode goes back to `Pass` when its fault has happened.
    once: bool,
    /// Bytes that may still pass, for `CutRequest` and `CutReply`.
    budget: u64,
    stopping: bool,
    connections: u64,
    /// Requests of connections up to this number are kept back.
    held: u64,
    faults: u64,
    open: Vec<(u64, UnixStream, UnixStream)>,
}

impl Proxy {
    /// A proxy in front of the socket `redis`, in the mode [`Mode::Pass`].
    pub fn start(scene: &Scene, redis: &Path) -> Self {
        let socket = scene.socket("proxy.sock");
        let listener = UnixListener::bind(&socket).expect("cannot listen");
        Self::run(Address::Unix(socket), Behind::Unix(redis.into()), Vec::new(), move || Ok(listener.accept()?.0))
    }

    /// The same on a TCP port of 127.0.0.1, for clients that know nothing else.
    pub fn start_tcp(port: u16, redis: &Path) -> Self {
        Self::on_port(port, Behind::Unix(redis.into()), Vec::new())
    }

    /// The same in front of the TCP port `redis` of 127.0.0.1, for what is spoken there: TLS.
    pub fn between(port: u16, redis: u16) -> Self {
        Self::on_port(port, Behind::Tcp(redis), Vec::new())
    }

    /// The same in front of a Sentinel: of the ports that it names, the first of each pair becomes the second.
    pub fn renaming(port: u16, sentinel: u16, renamed: &[(u16, u16)]) -> Self {
        Self::on_port(port, Behind::Tcp(sentinel), renamed.to_vec())
    }

    fn on_port(port: u16, redis: Behind, renamed: Vec<(u16, u16)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("cannot listen");
        let next = move || Ok(UnixStream::from(OwnedFd::from(listener.accept()?.0)));
        Self::run(Address::Tcp(port), redis, renamed, next)
    }

    fn run(
        address: Address,
        redis: Behind,
        renamed: Vec<(u16, u16)>,
        next: impl FnMut() -> io::Result<UnixStream> + Send + 'static,
    ) -> Self {
        let state = State {
            mode: Mode::Pass,
            once: false,
            budget: 0,
            stopping: false,
            connections: 0,
            held: 0,
            faults: 0,
            open: Vec::new(),
        };
        let shared = Arc::new(Shared { redis, renamed, state: Mutex::new(state) });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&shared, next)
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens, if that is a unix socket.
    pub fn socket(&self) -> &Path {
        match &self.address {
            Address::Unix(socket) => socket,
            Address::Tcp(port) => panic!("it listens on the port {port}"),
        }
    }

    /// Changes the mode, for open connections too.
    pub fn set(&self, mode: Mode) {
        self.change(mode, false);
    }

    /// Changes the mode until its fault has happened once; then everything passes again.
    pub fn once(&self, mode: Mode) {
        assert!(
            matches!(mode, Mode::SwallowReplies(_) | Mode::CutRequest(_) | Mode::CutReply(_)),
            "{mode:?} has no end of its own"
        );
        self.change(mode, true);
    }

    fn change(&self, mode: Mode, once: bool) {
        let mut state = self.shared.lock();
        (state.mode, state.once) = (mode, once);
        match mode {
            Mode::CutRequest(bytes) | Mode::CutReply(bytes) => state.budget = bytes,
            Mode::Refuse => state.cut_all(),
            Mode::Pass | Mode::SwallowReplies(_) | Mode::DelayReplies(_) => {}
        }
    }

    /// The mode it is in now.
    pub fn mode(&self) -> Mode {
        self.shared.lock().mode
    }

    /// Cuts all connections that are open.
    pub fn cut(&self) {
        self.shared.lock().cut_all();
    }

    /// Keeps back the requests of the connections that are open now; later ones are not touched.
    pub fn hold(&self) {
        let mut state = self.shared.lock();
        state.held = state.connections;
    }

    /// Gives Redis what was kept back, also of connections whose client has gone: late writes of the dead.
    pub fn release(&self) {
        self.shared.lock().held = 0;
    }

    /// Connections accepted so far, refused ones included.
    pub fn connections(&self) -> u64 {
        self.shared.lock().connections
    }

    /// Faults so far: connections whose replies were swallowed, or whose request was cut.
    pub fn faults(&self) -> u64 {
        self.shared.lock().faults
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.stopping = true;
            state.cut_all();
        }
        // Wakes the acceptor.
        match &self.address {
            Address::Unix(socket) => drop(UnixStream::connect(socket)),
            Address::Tcp(port) => drop(TcpStream::connect(("127.0.0.1", *port))),
        }
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cut_all(&mut self) {
        for (_, client, redis) in self.open.drain(..) {
            cut(&client, &redis);
        }
    }

    fn fault(&mut self) {
        self.faults += 1;
        if self.once {
            (self.mode, self.once) = (Mode::Pass, false);
        }
    }
}

fn cut(a: &UnixStream, b: &UnixStream) {
    let _ = a.shutdown(Shutdown::Both);
    let _ = b.shutdown(Shutdown::Both);
}

fn accept(shared: &Arc<Shared>, mut next: impl FnMut() -> io::Result<UnixStream>) {
    let mut threads = Vec::new();
    loop {
        let Ok(client) = next() else { continue };
        let redis = shared.redis.connect(); // may wait, so not under the lock
        let mut state = shared.lock();
        if state.stopping {
            break;
        }
        state.connections += 1;
        if state.mode == Mode::Refuse {
            continue;
        }
        let Ok(redis) = redis else { continue };
        for stream in [&client, &redis] {
            stream.set_read_timeout(Some(TICK)).expect("a timeout can be set");
        }
        let copy = |stream: &UnixStream| stream.try_clone().expect("a stream can be cloned");
        let id = state.connections;
        state.open.push((id, copy(&client), copy(&redis)));
        drop(state);
        for way in [Way::Requests, Way::Replies] {
            let (shared, client, redis) = (Arc::clone(shared), copy(&client), copy(&redis));
            threads.push(thread::spawn(move || {
                match way {
                    Way::Requests => requests(&shared, id, &client, &redis),
                    Way::Replies => replies(&shared, &redis, &client),
                }
                cut(&client, &redis);
                shared.lock().open.retain(|(other, ..)| *other != id);
            }));
        }
    }
    for thread in threads {
        let _ = thread.join();
    }
}

#[derive(Clone, Copy)]
enum Way {
    Requests,
    Replies,
}

/// What a read gave.
enum Got {
    Bytes(usize),
    Nothing,
    End,
}

fn read(mut from: &UnixStream, block: &mut [u8]) -> Got {
    match from.read(block) {
        Ok(0) => Got::End,
        Ok(n) => Got::Bytes(n),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {
            Got::Nothing
        }
        Err(_) => Got::End,
    }
}

fn requests(shared: &Shared, id: u64, client: &UnixStream, mut redis: &UnixStream) {
    let mut block = vec![0; 64 * 1024];
    let mut kept = Vec::new();
    loop {
        let got = read(client, &mut block);
        let (held, stopping) = {
            let state = shared.lock();
            (id <= state.held, state.stopping)
        };
        if !held && !kept.is_empty() && redis.write_all(&std::mem::take(&mut kept)).is_err() {
            return;
        }
        let n = match got {
            Got::Bytes(n) if held => {
                kept.extend_from_slice(&block[..n]);
                continue;
            }
            Got::Bytes(n) => n,
            Got::Nothing => continue,
            Got::End if held && !stopping => {
                thread::sleep(TICK);
                continue;
            }
            Got::End => return,
        };
        let (pass, last) = {
            let mut state = shared.lock();
            if matches!(state.mode, Mode::CutRequest(_)) {
                let pass = (n as u64).min(state.budget);
                state.budget -= pass;
                let last = pass < n as u64;
                if last {
                    state.fault();
                }
                (pass as usize, last)
            } else {
                (n, false)
            }
        };
        if redis.write_all(&block[..pass]).is_err() || last {
            return;
        }
    }
}

fn replies(shared: &Shared, redis: &UnixStream, mut client: &UnixStream) {
    let mut block = vec![0; 64 * 1024];
    // Once a reply is swallowed the stream is out of step, so it stays so until the cut.
    let mut cut_at: Option<Instant> = None;
    loop {
        if cut_at.is_some_and(|at| Instant::now() >= at) {
            return;
        }
        let n = match read(redis, &mut block) {
            Got::Bytes(n) => n,
            Got::Nothing => continue,
            Got::End => return,
        };
        if cut_at.is_some() {
            continue;
        }
        let (mode, pass) = {
            let mut state = shared.lock();
            let mode = state.mode;
            let pass = if matches!(mode, Mode::CutReply(_)) { (n as u64).min(state.budget) as usize } else { n };
            if matches!(mode, Mode::CutReply(_)) {
                state.budget -= pass as u64;
            }
            if matches!(mode, Mode::SwallowReplies(_)) || pass < n {
                state.fault();
            }
            (mode, pass)
        };
        match mode {
            Mode::SwallowReplies(after) => {
                cut_at = Some(Instant::now() + after);
                continue;
            }
            Mode::DelayReplies(by) => thread::sleep(by),
            Mode::Pass | Mode::CutRequest(_) | Mode::CutReply(_) | Mode::Refuse => {}
        }
        if client.write_all(&rename(&shared.renamed, &block[..pass])).is_err() || pass < n {
            return;
        }
    }
}

/// The bytes with other ports, where they are a whole word of the answer. A Sentinel's answer is short and comes in one piece.
fn rename<'a>(ports: &[(u16, u16)], bytes: &'a [u8]) -> Cow<'a, [u8]> {
    let Ok(text) = std::str::from_utf8(bytes) else { return bytes.into() };
    let word = |port: u16| format!("$5\r\n{port}\r\n");
    let with = |text: String, (from, to): &(u16, u16)| text.replace(&word(*from), &word(*to));
    if ports.is_empty() { bytes.into() } else { ports.iter().fold(text.to_owned(), with).into_bytes().into() }
}
