//! What went wrong with Redis, and what the caller has to do about it.

use std::fmt;

/// What the caller has to do. There is no other reason to look inside an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Come back later, with a growing pause; nothing is lost meanwhile.
    RetryLater,
    /// Redis will never take this record into this list as things stand: hold the lane or park the record.
    Poison,
    /// A person is needed: our own script failed in a way that repeating cannot mend.
    StopLane,
}

/// An answer or a failure of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No connection, or it broke: the fate of what was under way is unknown.
    Away {
        /// What the system said.
        text: String,
    },
    /// There is no connection, for there is no trust: TLS was not agreed upon, or what it takes is not there. Nothing was sent.
    Insecure {
        /// Stays the same while the reason does.
        class: &'static str,
        /// What is wrong, where, and what to do.
        text: String,
    },
    /// Redis answered with an error. Nothing of the push was kept.
    Answered {
        /// The first word of the answer, `OOM` for example.
        code: String,
        /// The rest of it.
        text: String,
        /// True while connecting (login, database, cursor), false for a push.
        connecting: bool,
    },
    /// Redis has it, and those who are to have it as well have not confirmed it in time: it may or may not survive.
    Unconfirmed {
        /// Who has and who has not.
        text: String,
    },
    /// Redis answered something that this program does not understand.
    Confused {
        /// What was expected and what came.
        text: String,
    },
}

/// Error words after which the same push succeeds later, without a person touching the list.
const LATER: [&str; 15] = [
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "OOM",
    "READONLY",
    "UNBLOCKED",
    "MISCONF",
    "NOREPLICAS",
    "NOAUTH",
    "WRONGPASS",
    "UNKILLABLE",
    "MOVED",
    "ASK",
];

/// What a node of a cluster means that does not serve a list, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// Another node serves it: a new connection finds it, at once.
    Moved,
    /// It is being moved, which takes a moment: the same again a few milliseconds later.
    Wait,
}

impl Trouble {
    /// The answer of a node of a cluster that sends the caller elsewhere. Nothing was kept of what was sent.
    pub fn redirect(&self) -> Option<Redirect> {
        match self {
            Self::Answered { code, .. } if code == "MOVED" => Some(Redirect::Moved),
            Self::Answered { code, .. } if code == "ASK" || code == "TRYAGAIN" => Some(Redirect::Wait),
            _ => None,
        }
    }

    /// What the caller has to do.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Away { .. } | Self::Insecure { .. } | Self::Unconfirmed { .. } => Disposition::RetryLater,
            Self::Answered { code, connecting, .. } => {
                if *connecting || LATER.contains(&code.as_str()) {
                    Disposition::RetryLater
                } else if code == "WRONGTYPE" || code == "NOPERM" {
                    Disposition::Poison
                } else {
                    Disposition::StopLane
                }
            }
            Self::Confused { .. } => Disposition::StopLane,
        }
    }

    /// True if the server is no master any more. Whoever can find out which one is, should do so at once.
    pub fn is_demotion(&self) -> bool {
        matches!(self, Self::Answered { code, .. } if code == "READONLY" || code == "UNBLOCKED")
    }

    /// A word that stays the same while the situation does: one log line per change of it.
    pub fn class(&self) -> &str {
        match self {
            Self::Away { .. } => "away",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Insecure { class, .. } => class,
            Self::Answered { code, .. } => code,
            Self::Confused { .. } => "confused",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away { text } | Self::Insecure { text, .. } | Self::Unconfirmed { text } => write!(f, "{text}"),
            Self::Answered { code, text, .. } if text.is_empty() => write!(f, "redis answered {code}"),
            Self::Answered { code, text, .. } => write!(f, "redis answered {code} {text}"),
            Self::Confused { text } => write!(f, "redis gave an answer that makes no sense here: {text}"),
        }
    }
}

impl std::error::Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: &str, connecting: bool) -> Disposition {
        Trouble::Answered { code: code.into(), text: String::new(), connecting }.disposition()
    }

    #[test]
    fn every_answer_of_redis_has_its_meaning() {
        for code in LATER {
            assert_eq!(answered(code, false), Disposition::RetryLater, "{code}");
        }
        assert_eq!(answered("WRONGTYPE", false), Disposition::Poison);
        assert_eq!(answered("NOPERM", false), Disposition::Poison);
        assert_eq!(answered("ERR", false), Disposition::StopLane);
        assert_eq!(answered("NOPERM", true), Disposition::RetryLater);
        assert_eq!(answered("ERR", true), Disposition::RetryLater);
        assert_eq!(Trouble::Away { text: String::new() }.disposition(), Disposition::RetryLater);
    }

    #[test]
    fn a_cluster_sends_elsewhere_or_asks_for_patience() {
        let of = |code: &str| Trouble::Answered { code: code.into(), text: String::new(), connecting: true }.redirect();
        assert_eq!(of("MOVED"), Some(Redirect::Moved));
        assert_eq!((of("ASK"), of("TRYAGAIN")), (Some(Redirect::Wait), Some(Redirect::Wait)));
        assert_eq!((of("CLUSTERDOWN"), of("OOM")), (None, None));
    }
}
