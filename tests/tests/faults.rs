//! The fault suite: processes killed at every place in the life of a call, at random, and stores that fail at every call.
//!
//! A tenth of the counts by default; `KERN_FAULTS=full` asks for all of them. Every figure is printed.

#![allow(clippy::unwrap_used, reason = "what a store or a process answers otherwise is what a test shows")]

#[path = "faults/crash_points.rs"]
mod crash_points;
#[path = "faults/endings.rs"]
mod endings;
