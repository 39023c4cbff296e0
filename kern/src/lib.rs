//! Agents whose tools need a human's consent.

extern crate self as kern;

pub mod models;
pub mod run;
pub mod tools;

#[doc(hidden)]
pub mod __private;
