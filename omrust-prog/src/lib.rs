//! omrust-prog: what rsyslog's omprog talks to. It brings records into a Redis list, every record once and in order.
//!
//! [`protocol`] is the conversation as a plain value, [`session`] keeps what was accepted until it is safe and the host knows, [`run`] is the program
//! around them. The C interface is made of [`session`] too.
#![forbid(unsafe_code)]

pub mod adopt;
pub mod check;
pub mod cli;
pub mod estate;
pub mod fault;
pub mod held;
pub mod instance;
pub mod intake;
mod lane;
pub mod lines;
pub mod logger;
pub mod protocol;
pub mod recall;
pub mod run;
mod seat;
pub mod session;
pub mod settings;
pub mod wait;
