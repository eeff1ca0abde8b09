//! TLS against a server in this process, whose bytes are under the test's hand.

use std::cell::Cell;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::super::socket::Socket;
use super::super::{Broken, Patience, Session, Wire};
use crate::push::Reply;

type Peer = StreamOwned<ServerConnection, UnixStream>;

/// What both sides need.
fn sides() -> (Session, Arc<ServerConfig>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let made = rcgen::generate_simple_self_signed(["redis.test".to_owned()]).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a root");
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let client = client.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let server = server.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).expect("a server");
    let name = ServerName::try_from("redis.test").expect("a name");
    (Session { config: Arc::new(client.with_no_client_auth()), name }, Arc::new(server))
}

fn pair() -> (Wire, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (Wire::new(Socket::new(ours.into()).expect("a socket")), theirs)
}

fn long() -> Patience<'static> {
    Patience::of(Duration::from_secs(60))
}

/// A wire that has shaken hands, and what is behind it.
fn secured() -> (Wire, Peer) {
    let (session, server) = sides();
    let (mut wire, theirs) = pair();
    let peer = std::thread::spawn(move || {
        let mut peer = StreamOwned::new(ServerConnection::new(server).expect("a server"), theirs);
        peer.conn.complete_io(&mut peer.sock).expect("a handshake");
        peer
    });
    wire.secure(&session, long()).expect("a handshake");
    (wire, peer.join().expect("it did"))
}

#[test]
fn what_is_sent_arrives_and_replies_come_one_by_one() {
    let (mut wire, mut peer) = secured();
    wire.send(b"hello", long()).expect("sent");
    let mut got = [0; 5];
    peer.read_exact(&mut got).expect("received");
    assert_eq!(&got, b"hello");
    peer.write_all(b":1\r\n:2\r\n$3\r\na").expect("written");
    assert_eq!(wire.receive(long()).expect("a reply"), Reply::Number(1));
    assert!(wire.is_alive());
    assert_eq!(wire.receive(long()).expect("a reply"), Reply::Number(2));
    peer.write_all(b"bc\r\n").expect("written");
    assert_eq!(wire.receive(long()).expect("a reply"), Reply::Bytes(b"abc".to_vec()));
}

#[test]
fn large_sends_and_large_replies_pass_whole() {
    let (mut wire, mut peer) = secured();
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let echo: JoinHandle<Peer> = std::thread::spawn({
        let length = bytes.len();
        move || {
            let mut got = vec![0; length];
            peer.read_exact(&mut got).expect("received");
            peer.write_all(format!("${length}\r\n").as_bytes()).expect("written");
            peer.write_all(&got).expect("written");
            peer.write_all(b"\r\n").expect("written");
            peer
        }
    });
    wire.send(&bytes, long()).expect("sent");
    assert_eq!(wire.receive(long()).expect("a reply"), Reply::Bytes(bytes));
    drop(echo.join().expect("it did"));
}

#[test]
fn a_closed_connection_is_seen_without_a_wait() {
    // With a goodbye.
    let (mut wire, mut peer) = secured();
    assert!(wire.is_alive());
    peer.conn.send_close_notify();
    peer.conn.complete_io(&mut peer.sock).expect("sent");
    assert!(!wire.is_alive());
    // Without.
    let (mut wire, peer) = secured();
    drop(peer.sock);
    assert!(!wire.is_alive());
    // An answer that nobody has read yet.
    let (mut wire, mut peer) = secured();
    peer.write_all(b":7\r\n").expect("written");
    assert!(wire.is_alive());
    assert_eq!(wire.receive(long()).expect("a reply"), Reply::Number(7));
    assert!(wire.is_alive());
}

#[test]
fn an_end_in_the_middle_of_a_reply_is_no_reply() {
    let (mut wire, mut peer) = secured();
    peer.write_all(b"$10\r\nabc").expect("written");
    drop(peer);
    match wire.receive(long()) {
        Err(Broken::Io(error)) => assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_end_is_told_to_the_peer() {
    let (wire, mut peer) = secured();
    drop(wire);
    let mut rest = Vec::new();
    assert_eq!(peer.read_to_end(&mut rest).expect("a clean end"), 0);
}

/// Somebody who asks to end after so many waits.
fn impatient(asked: &Cell<u32>) -> impl Fn() -> bool {
    move || {
        asked.set(asked.get() + 1);
        asked.get() >= 2
    }
}

#[test]
fn each_wait_ends_when_somebody_says_so() {
    let asked = Cell::new(0);
    let interrupted = impatient(&asked);
    let patience = Patience { deadline: Instant::now() + Duration::from_secs(3600), interrupted: &interrupted };
    // Nobody answers the handshake.
    let (session, _) = sides();
    let (mut wire, _silent) = pair();
    assert_eq!(wire.secure(&session, patience).expect_err("nobody answers").kind(), ErrorKind::TimedOut);
    // Nobody answers a command.
    asked.set(0);
    let (mut wire, _peer) = secured();
    assert!(matches!(wire.receive(patience), Err(Broken::Io(error)) if error.kind() == ErrorKind::TimedOut));
    assert_eq!(asked.get(), 2);
    // Nobody reads.
    asked.set(0);
    assert_eq!(wire.send(&vec![0; 64 << 20], patience).expect_err("nobody reads").kind(), ErrorKind::TimedOut);
}

#[test]
fn a_handshake_that_drips_ends_at_the_deadline() {
    let (session, _) = sides();
    let (mut wire, mut slow) = pair();
    let patience = Patience::of(Duration::from_millis(400));
    let dripping = std::thread::spawn(move || {
        // The beginning of a record that says it is long, and then a byte at a time.
        slow.write_all(&[22, 3, 3, 64, 0]).expect("written");
        while slow.write_all(&[2]).is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(wire.secure(&session, patience).expect_err("it never ends").kind(), ErrorKind::TimedOut);
    drop(wire);
    dripping.join().expect("it ended");
}
