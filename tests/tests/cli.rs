//! The command `kern` as a process of its own, on real files and on a real pseudo terminal.

#![allow(clippy::unwrap_used, reason = "what a store or a process answers otherwise is what a test shows")]

#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/commands.rs"]
mod commands;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/erasing.rs"]
mod erasing;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/pools.rs"]
mod pools;
#[path = "cli/prompts.rs"]
mod prompts;
#[path = "cli/showing.rs"]
mod showing;
#[path = "cli/watching.rs"]
mod watching;
