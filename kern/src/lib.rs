//! Agents whose tools need a human's consent.

extern crate self as kern;

pub mod agent;
pub mod approval;
mod error;
pub mod models;
pub mod prelude;
pub mod run;
pub mod tools;

/// Stores: `SqliteDb`, `InMemoryDb`, and the trait they share.
pub mod db {
    pub use kern_db::*;

    /// The documents' path of `SqliteDb`.
    #[cfg(feature = "sqlite")]
    pub mod sqlite {
        pub use kern_db::{SqliteDb, SqliteDbBuilder};
    }
}

#[doc(hidden)]
pub mod __private;

pub use agent::{Agent, AgentBuilder};
pub use error::{Error, Result};
