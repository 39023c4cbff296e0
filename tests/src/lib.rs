//! What the tests of this package share.

pub mod children;
pub mod folder;
pub mod gates;
pub mod ledger;
pub mod replay;
pub mod store;
pub mod tools;
