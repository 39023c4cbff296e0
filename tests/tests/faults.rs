//! The fault suite: processes killed at every place in the life of a call, at random, and stores that fail at every call.
//!
//! A tenth of the counts by default; `KERN_FAULTS=full` asks for all of them. Every figure is printed.

#![allow(clippy::unwrap_used, reason = "what a store or a process answers otherwise is what a test shows")]

#[cfg(feature = "postgres")]
#[path = "faults/chaos.rs"]
mod chaos;
#[path = "faults/checkpoints.rs"]
mod checkpoints;
#[path = "faults/claims.rs"]
mod claims;
#[path = "faults/clock.rs"]
mod clock;
#[path = "faults/crash_points.rs"]
mod crash_points;
#[path = "faults/endings.rs"]
mod endings;
#[path = "faults/killed.rs"]
mod killed;
#[path = "faults/lost_owners.rs"]
mod lost_owners;
#[path = "faults/no_means_no.rs"]
mod no_means_no;
#[path = "faults/races.rs"]
mod races;
#[path = "faults/store_fails.rs"]
mod store_fails;

/// The program whose processes are killed.
const PROGRAM: &str = env!("CARGO_BIN_EXE_kern-fault-worker");
