//! What the tests of this package share.

#![allow(clippy::missing_errors_doc, reason = "a helper of a test hands on what the test is about")]

pub mod bare;
pub mod certificate;
pub mod children;
pub mod command;
pub mod custom;
#[cfg(feature = "postgres")]
pub mod drive;
pub mod faults;
pub mod filled;
pub mod folder;
pub mod gates;
pub mod history;
pub mod http;
pub mod ledger;
pub mod no_mark;
pub mod obedient;
pub mod place;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod receiver;
pub mod recorded;
pub mod recording;
pub mod replay;
pub mod scale;
pub mod steps;
pub mod store;
pub mod tools;
