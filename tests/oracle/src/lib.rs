//! The transition table of the approval specification as a pure function over one small state.
//!
//! It was written from the table's lines, R1 to R10, R12, R13, T, A1 to A9, U1 to U3, X1 to X12, Z1 and Z2, and not from the
//! code that keeps them, so that both have to be wrong in the same way before a mistake passes. [`explore`] walks every state
//! that a configuration can reach; `tests/properties.rs` drives real stores beside it, step by step.
//!
//! One run, up to three calls, two processes. What people really said, and which bodies were entered, is kept beside the
//! rows ([`state::Facts`]): the invariants are asked about those, and not about the rows that the guards read.

mod invariants;
mod read_back;
pub mod restore;
mod search;
pub mod state;
pub mod step;

pub use invariants::{broken_log, broken_state, broken_step};
pub use search::{Config, Explored, events, explore};

/// Leases end this many ticks after they were given.
pub const LEASE: u8 = 1;
/// How many ticks after its start the lease of a start is no longer renewed.
pub const LONGEST: u8 = 2;
/// How often an idempotent call is started.
pub const ATTEMPTS: u8 = 3;
/// How often a run is recovered.
pub const RECOVERIES: u8 = 3;
