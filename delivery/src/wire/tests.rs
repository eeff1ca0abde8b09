//! The socket against peers that drip, close or say nothing.

use super::*;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use std::cell::Cell;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};

fn pair() -> (Wire, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (Wire::new(Socket::new(ours.into()).expect("a socket")), theirs)
}

#[test]
fn replies_come_one_by_one_however_they_arrive() {
    let (mut wire, mut peer) = pair();
    let patience = Patience::of(Duration::from_secs(60));
    wire.send(b"hello", patience).expect("sent");
    let mut got = [0; 5];
    peer.read_exact(&mut got).expect("received");
    peer.write_all(b":1\r\n:2\r\n$3\r\na").expect("written");
    assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(1));
    assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(2));
    peer.write_all(b"bc\r\n").expect("written");
    assert_eq!(wire.receive(patience).expect("a reply"), Reply::Bytes(b"abc".to_vec()));
    drop(peer);
    assert!(matches!(wire.receive(patience), Err(Broken::Io(_))));
}

#[test]
fn a_closed_connection_is_seen_without_a_wait() {
    let (mut wire, mut peer) = pair();
    assert!(wire.is_alive());
    peer.write_all(b":1\r\n").expect("written");
    assert!(wire.is_alive());
    let (mut wire, peer) = pair();
    drop(peer);
    assert!(!wire.is_alive());
}

#[test]
fn a_wait_ends_when_somebody_says_so() {
    let (mut wire, _peer) = pair();
    let asked = Cell::new(0);
    let interrupted = || {
        asked.set(asked.get() + 1);
        asked.get() == 2
    };
    let patience = Patience { deadline: Instant::now() + Duration::from_secs(3600), interrupted: &interrupted };
    assert!(matches!(wire.receive(patience), Err(Broken::Io(error)) if error.kind() == ErrorKind::TimedOut));
    assert_eq!(asked.get(), 2);
    let full = vec![0; 64 << 20];
    asked.set(0);
    assert_eq!(wire.send(&full, patience).expect_err("nobody reads").kind(), ErrorKind::TimedOut);
}

#[test]
fn connecting_to_one_who_accepts_nothing_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let _listener = UnixListener::bind(&path).expect("a listener");
    let mut held = Vec::new();
    // Somewhere within this many the backlog is full.
    let error = loop {
        match Wire::unix(&path, Patience::of(Duration::from_millis(20))) {
            Ok(wire) => held.push(wire),
            Err(error) => break error,
        }
        assert!(held.len() < 100_000, "the backlog has no end");
    };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn connecting_ends_when_somebody_says_so() {
    let asked = Cell::new(0);
    let interrupted = || {
        asked.set(asked.get() + 1);
        asked.get() >= 3
    };
    let patience = Patience { deadline: Instant::now() + Duration::from_secs(3600), interrupted: &interrupted };
    let late = |what: &str, outcome: io::Result<Wire>| match outcome {
        Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut, "{what}: {error}"),
        Ok(_) => panic!("{what}: somebody answers"),
    };
    let of = || Patience::of(Duration::from_secs(60));
    // Nobody accepts: the backlog of each is full at some time.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("s");
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path).expect("a path")).expect("bound");
    rustix::net::listen(&socket, 0).expect("listens");
    let _held = Wire::unix(&path, of()).expect("the first is taken");
    late("unix", Wire::unix(&path, patience));
    assert_eq!(asked.get(), 3);

    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&socket, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).expect("bound");
    rustix::net::listen(&socket, 0).expect("listens");
    let listener = TcpListener::from(socket);
    let port = listener.local_addr().expect("an address").port();
    let _held = Wire::tcp("127.0.0.1", port, of()).expect("the first is taken");
    asked.set(0);
    late("tcp", Wire::tcp("127.0.0.1", port, patience));
    assert_eq!(asked.get(), 3);
}

#[test]
fn a_host_is_tried_at_each_of_its_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("an address").port();
    // localhost may be ::1 first, where nobody listens.
    Wire::tcp("localhost", port, Patience::of(Duration::from_secs(60))).expect("a connection");
    drop(listener);
    assert!(Wire::tcp("localhost", port, Patience::of(Duration::from_secs(60))).is_err());
}

#[test]
fn no_address_uses_up_the_time_of_the_next() {
    let deaf = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
    rustix::net::bind(&deaf, &std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 0)).expect("bound");
    rustix::net::listen(&deaf, 0).expect("listens");
    let deaf = TcpListener::from(deaf);
    let address = deaf.local_addr().expect("an address");
    let _held =
        Wire::tcp("127.0.0.1", address.port(), Patience::of(Duration::from_secs(60))).expect("the first is taken");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let open = listener.local_addr().expect("an address");
    Socket::any(vec![address, open], Patience::of(Duration::from_secs(2))).expect("the second answers");
}

#[test]
fn long_replies_come_whole_and_leave_no_long_buffer() {
    let (mut wire, mut peer) = pair();
    let patience = Patience::of(Duration::from_secs(60));
    let long = vec![b'x'; 5 * READ_BYTES + 7];
    let writer = std::thread::spawn({
        let long = long.clone();
        move || {
            for _ in 0..3 {
                peer.write_all(b":1\r\n").expect("written");
                peer.write_all(format!("${}\r\n", long.len()).as_bytes()).expect("written");
                peer.write_all(&long).expect("written");
                peer.write_all(b"\r\n:2\r\n").expect("written");
            }
            peer
        }
    });
    for _ in 0..3 {
        assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(1));
        assert_eq!(wire.receive(patience).expect("a reply"), Reply::Bytes(long.clone()));
        assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(2));
    }
    let mut peer = writer.join().expect("it wrote");
    peer.write_all(b":3\r\n").expect("written");
    assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(3));
    assert_eq!(wire.buffer.bytes.len(), READ_BYTES);
}

#[test]
fn many_short_replies_pass_through_the_buffer_in_order() {
    let (mut wire, mut peer) = pair();
    let patience = Patience::of(Duration::from_secs(60));
    let writer = std::thread::spawn(move || {
        for number in 0..50_000 {
            peer.write_all(format!(":{number}\r\n").as_bytes()).expect("written");
        }
    });
    for number in 0..50_000 {
        assert_eq!(wire.receive(patience).expect("a reply"), Reply::Number(number));
    }
    writer.join().expect("it wrote");
    assert_eq!(wire.buffer.bytes.len(), READ_BYTES);
}
