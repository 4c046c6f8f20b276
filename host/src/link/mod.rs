//! This node's one session with its manager, which the node dials and keeps up.
//!
//! ```text
//!  manager ──Welcome, Desired, LogRequest──▶ session ──▶ artifacts (registry), supervisor, logs
//!          ◀──Register, Heartbeat, Status, LogChunk──      ◀── board
//!          ──TransferRequest──▶ session ──▶ transfers ══Transfer, a stream of its own══▶ labelling
//! ```
//! Everything said is a level: after a lost link all of it is said again, and while it is lost the node goes
//! on with what it knows.

pub(crate) mod backoff;
mod logs;
mod session;
mod transfers;

pub(crate) use session::Link;
