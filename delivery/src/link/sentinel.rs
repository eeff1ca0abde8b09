//! Where the master is: Redis Sentinel is asked at each connect.
//!
//! The Sentinels are asked in turn, the one that answered last first, each within its share of the time. What they name is taken
//! only if it says itself that it is a master. The answer may be old all the same: a master that was cut off from the others still thinks
//! that it is one. Whoever must lose nothing then sets `min-replicas-to-write` and waits for replicas (`docs/DELIVERY.md`).

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Endpoint, Link};
use crate::error::Trouble;
use crate::push::Reply;
use crate::wire::Patience;

/// A connection that lay idle so long asks whether its server is still the master before it is used again: one that was cut off
/// from the others does not know that it is no longer.
const IDLE: Duration = Duration::from_secs(1);

/// What was learnt from the Sentinels: all copies of an endpoint share it.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The Sentinel that answered last.
    answered: usize,
    /// The master that was last found.
    master: Option<(String, u16)>,
}

/// The Sentinels of an endpoint and the name of the master.
#[derive(Debug, Clone)]
pub(super) struct Sentinels {
    pub master: String,
    pub known: Arc<Mutex<Known>>,
}

/// Somebody to whom the Sentinels led: whether that is still right is asked now and then.
pub(super) struct Watch {
    endpoint: Endpoint,
    sentinels: Sentinels,
    master: (String, u16),
    used: Instant,
    moved: bool,
}

/// What a Sentinel says.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Master(String, u16),
    /// It does not watch a master of this name.
    Unknown,
    /// Something else, in words.
    Nothing(String),
}

/// What a server says about itself.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    Master,
    /// It may not be asked. Its answers to pushes will tell.
    Untold,
    /// Something else, in words.
    Other(String),
}

/// The order in which `count` Sentinels are asked.
fn turn(count: usize, answered: usize) -> impl Iterator<Item = usize> {
    let first = if answered < count { answered } else { 0 };
    (0..count).map(move |step| (first + step) % count)
}

/// How long one step may take, of what is `left` for it and `more` steps like it.
fn share(left: Duration, more: usize) -> Duration {
    left / (u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1))
}

/// What the answer to SENTINEL GET-MASTER-ADDR-BY-NAME means.
fn told(answer: Result<Reply, Trouble>) -> Told {
    let text = |reply: &Reply| match reply {
        Reply::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        _ => None,
    };
    match answer {
        Ok(Reply::Nil) => Told::Unknown,
        Ok(Reply::Many(parts)) => match &parts[..] {
            [host, port] => match (text(host), text(port).and_then(|port| port.parse().ok())) {
                (Some(host), Some(port)) if !host.is_empty() && port > 0 => Told::Master(host, port),
                _ => Told::Nothing(format!("names no address: {parts:?}")),
            },
            _ => Told::Nothing(format!("names no address: {parts:?}")),
        },
        Ok(other) => Told::Nothing(format!("gives an answer that makes no sense: {other:?}")),
        Err(Trouble::Answered { code, text, .. }) => Told::Nothing(format!("says {code} {text}").trim_end().to_owned()),
        Err(trouble) => Told::Nothing(trouble.to_string()),
    }
}

/// What the answer to ROLE means.
fn role(answer: Result<Reply, Trouble>) -> Result<Role, Trouble> {
    match answer {
        Ok(Reply::Many(parts)) => match parts.first() {
            Some(Reply::Bytes(word)) if word == b"master" => Ok(Role::Master),
            Some(Reply::Bytes(word)) if word == b"slave" => Ok(Role::Other("a replica".into())),
            Some(Reply::Bytes(word)) => Ok(Role::Other(format!("a {}", String::from_utf8_lossy(word)))),
            _ => Ok(Role::Untold),
        },
        Ok(_) => Ok(Role::Untold),
        // Not permitted, or a server that does not know the command.
        Err(Trouble::Answered { code, .. }) if code == "NOPERM" || code == "ERR" => Ok(Role::Untold),
        Err(trouble) => Err(trouble),
    }
}

/// What each of them said, those that said the same together.
#[derive(Default)]
struct Said(Vec<(String, Vec<String>)>);

impl Said {
    fn add(&mut self, who: String, what: String) {
        match self.0.iter_mut().find(|(text, _)| *text == what) {
            Some((_, sentinels)) => sentinels.push(who),
            None => self.0.push((what, vec![who])),
        }
    }

    fn text(&self, master: &str) -> String {
        let mut text = format!("no master of {master:?} is found");
        for (at, (what, who)) in self.0.iter().enumerate() {
            let _ = write!(text, "{} sentinel {}: {what}", if at == 0 { ":" } else { ";" }, who.join(", "));
        }
        text
    }
}

/// Finds the master, connects to it and logs in.
pub(super) fn connect(endpoint: &Endpoint, sentinels: &Sentinels, patience: Patience<'_>) -> Result<Link, Trouble> {
    let all: Vec<Endpoint> = endpoint.each().collect();
    let mut said = Said::default();
    let mut refusal = None;
    let answered = sentinels.known().answered;
    let mut tried: Vec<(String, u16)> = Vec::new();
    for (step, index) in turn(all.len(), answered).enumerate() {
        // One more share is the master's.
        let (host, port) = match ask(&all[index], &sentinels.master, slice(patience, all.len() - step)) {
            Told::Master(host, port) => (host, port),
            Told::Unknown => {
                said.add(all[index].to_string(), "it watches no master of this name".into());
                continue;
            }
            Told::Nothing(text) => {
                said.add(all[index].to_string(), text);
                continue;
            }
        };
        if tried.contains(&(host.clone(), port)) {
            continue;
        }
        let master = endpoint.at_master(&host, port);
        match enter(&master, slice(patience, all.len() - step - 1)) {
            Ok((link, Role::Master | Role::Untold)) => {
                sentinels.found(index, &host, port);
                let watch = Watch {
                    endpoint: endpoint.clone(),
                    sentinels: sentinels.clone(),
                    master: (host, port),
                    used: Instant::now(),
                    moved: false,
                };
                return Ok(Link { watch: Some(Box::new(watch)), ..link });
            }
            Ok((_, Role::Other(what))) => {
                said.add(all[index].to_string(), format!("it names {master}, which is {what}"));
            }
            Err(trouble) => {
                said.add(all[index].to_string(), format!("it names {master}: {trouble}"));
                // The server's own word, a wrong password for example, tells more than what follows from it.
                refusal = refusal.or(matches!(trouble, Trouble::Answered { .. }).then_some(trouble));
            }
        }
        tried.push((host, port));
    }
    let text = said.text(&sentinels.master);
    Err(match refusal {
        Some(Trouble::Answered { code, .. }) => Trouble::Answered { code, text, connecting: true },
        _ => Trouble::Away { text },
    })
}

/// Asks one Sentinel where the master is.
fn ask(sentinel: &Endpoint, master: &str, patience: Patience<'_>) -> Told {
    let answer = Link::connect_to(sentinel, patience)
        .and_then(|mut link| link.ask_within(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master], patience));
    told(answer)
}

/// Connects to a server, logs in and asks what it is.
fn enter(server: &Endpoint, patience: Patience<'_>) -> Result<(Link, Role), Trouble> {
    let mut link = Link::connect_to(server, patience)?;
    let role = role(link.ask_within(&["ROLE"], patience))?;
    Ok((link, role))
}

/// The patience for one step of `more` and itself.
fn slice(patience: Patience<'_>, more: usize) -> Patience<'_> {
    let now = Instant::now();
    Patience { deadline: now + share(patience.deadline.saturating_duration_since(now), more), ..patience }
}

impl Sentinels {
    pub fn new(master: &str) -> Self {
        Self { master: master.to_owned(), known: Arc::default() }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A master was found. One line per change.
    fn found(&self, sentinel: usize, host: &str, port: u16) {
        let mut known = self.known();
        known.answered = sentinel;
        if known.master.as_ref().is_some_and(|(was, at)| was == host && *at == port) {
            return;
        }
        known.master = Some((host.to_owned(), port));
        drop(known);
        log::info!("the master of {} is now {host}:{port}", self.master);
    }
}

impl Watch {
    /// True if another server was found to be the master: the connection is of no more use.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// The connection is about to be used. After a pause: is it still the master's? If nobody knows, it is.
    pub fn still_right(&mut self, patience: Patience<'_>) -> Result<(), Trouble> {
        let idle = self.used.elapsed();
        self.used = Instant::now();
        if idle < IDLE {
            return Ok(());
        }
        let all: Vec<Endpoint> = self.endpoint.each().collect();
        let answered = self.sentinels.known().answered;
        for (step, index) in turn(all.len(), answered).enumerate() {
            // The push has to fit in as well.
            if let Told::Master(host, port) =
                ask(&all[index], &self.sentinels.master, slice(patience, 1 + all.len() - step))
            {
                self.sentinels.known().answered = index;
                if (host.as_str(), port) == (self.master.0.as_str(), self.master.1) {
                    return Ok(());
                }
                self.moved = true;
                let text = format!(
                    "the master of {} is now {host}:{port}, no longer {}:{}",
                    self.sentinels.master, self.master.0, self.master.1
                );
                return Err(Trouble::Away { text });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Reply {
        Reply::Bytes(text.as_bytes().to_vec())
    }

    fn answered(code: &str) -> Result<Reply, Trouble> {
        Err(Trouble::Answered { code: code.into(), text: "why".into(), connecting: true })
    }

    #[test]
    fn the_one_that_answered_last_is_asked_first_and_each_once() {
        assert_eq!(turn(3, 1).collect::<Vec<_>>(), [1, 2, 0]);
        assert_eq!(turn(1, 0).collect::<Vec<_>>(), [0]);
        // Fewer than there were.
        assert_eq!(turn(2, 5).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn the_time_is_shared() {
        let second = Duration::from_secs(1);
        assert_eq!(share(second, 0), second);
        assert_eq!(share(second, 3), second / 4);
    }

    #[test]
    fn what_a_sentinel_says() {
        let many = |parts: &[Reply]| told(Ok(Reply::Many(parts.to_vec())));
        assert_eq!(many(&[bytes("h"), bytes("6379")]), Told::Master("h".into(), 6379));
        assert_eq!(told(Ok(Reply::Nil)), Told::Unknown);
        for parts in [&[bytes("h"), bytes("0")][..], &[bytes(""), bytes("1")], &[bytes("h")], &[bytes("h"), Reply::Nil]]
        {
            assert!(matches!(many(parts), Told::Nothing(_)), "{parts:?}");
        }
        assert_eq!(told(answered("WRONGPASS")), Told::Nothing("says WRONGPASS why".into()));
        assert_eq!(told(Err(Trouble::Away { text: "gone".into() })), Told::Nothing("gone".into()));
        assert!(matches!(told(Ok(Reply::Status)), Told::Nothing(_)));
    }

    #[test]
    fn who_does_not_tell_its_role_is_believed_and_a_replica_is_not() {
        let of = |word: &str| role(Ok(Reply::Many(vec![bytes(word), Reply::Number(0)])));
        assert_eq!(of("master"), Ok(Role::Master));
        assert_eq!(of("slave"), Ok(Role::Other("a replica".into())));
        assert_eq!(of("sentinel"), Ok(Role::Other("a sentinel".into())));
        assert_eq!(role(answered("NOPERM")), Ok(Role::Untold));
        assert!(role(answered("LOADING")).is_err());
    }

    #[test]
    fn those_that_say_the_same_are_told_together() {
        let mut said = Said::default();
        for (who, what) in [("a:1", "no"), ("b:1", "perhaps"), ("c:1", "no")] {
            said.add(who.into(), what.into());
        }
        assert_eq!(said.text("m"), "no master of \"m\" is found: sentinel a:1, c:1: no; sentinel b:1: perhaps");
    }
}
