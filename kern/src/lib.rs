//! Agents whose tools need a human's consent.

extern crate self as kern;

pub mod approval;
pub mod models;
pub mod prelude;
pub mod run;
pub mod tools;

#[doc(hidden)]
pub mod __private;
