//! What the tests of this package share.

pub mod history;
pub mod replay;
pub mod steps;
