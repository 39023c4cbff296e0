//! The contract of every store: each line of the transition table, each invariant that a store can hold alone.
//!
//! A test is a function over a [`Store`]. Lists at the end of each module say on which stores it runs: a test that is
//! on no list does not compile without a warning.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

/// Runs tests on every store, and after each of them replays the audit log against the tables (I12).
macro_rules! on_each_store {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let store = kern_tests::steps::Store::on_a_file().await;
                super::$name(&store).await;
                kern_tests::history::check(&*store).await;
            })+
        }

        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let store = kern_tests::steps::Store::in_memory();
                super::$name(&store).await;
                kern_tests::history::check(&*store).await;
            })+
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let store = kern_tests::steps::Store::on_postgres().await;
                super::$name(&store).await;
                kern_tests::history::check(&*store).await;
            })+
        }
    };
}

/// Runs tests that reach into the file behind kern's back.
macro_rules! on_a_file {
    ($($name:ident),+ $(,)?) => {
        mod file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let store = kern_tests::steps::Store::on_a_file().await;
                super::$name(&store).await;
            })+
        }
    };
}

#[path = "contract/approvals.rs"]
mod approvals;
#[path = "contract/asked_again.rs"]
mod asked_again;
#[path = "contract/attacks.rs"]
mod attacks;
#[path = "contract/audit.rs"]
mod audit;
#[path = "contract/binding.rs"]
mod binding;
#[path = "contract/checkpoints.rs"]
mod checkpoints;
#[path = "contract/claims.rs"]
mod claims;
#[path = "contract/clock.rs"]
mod clock;
#[path = "contract/deliveries.rs"]
mod deliveries;
#[path = "contract/edits.rs"]
mod edits;
#[path = "contract/effects.rs"]
mod effects;
#[path = "contract/erasure.rs"]
mod erasure;
#[path = "contract/executions.rs"]
mod executions;
#[path = "contract/history.rs"]
mod history;
#[path = "contract/keys.rs"]
mod keys;
#[path = "contract/lists.rs"]
mod lists;
#[path = "contract/never.rs"]
mod never;
#[path = "contract/policies.rs"]
mod policies;
#[path = "contract/pools.rs"]
mod pools;
#[path = "contract/requester.rs"]
mod requester;
#[path = "contract/requests.rs"]
mod requests;
#[path = "contract/restore.rs"]
mod restore;
#[path = "contract/resuming.rs"]
mod resuming;
#[path = "contract/run_again.rs"]
mod run_again;
#[path = "contract/runs.rs"]
mod runs;
#[path = "contract/schedules.rs"]
mod schedules;
#[path = "contract/second_look.rs"]
mod second_look;
#[path = "contract/sessions.rs"]
mod sessions;
#[path = "contract/sweeping.rs"]
mod sweeping;
#[path = "contract/together.rs"]
mod together;
#[path = "contract/view.rs"]
mod view;
#[path = "contract/votes.rs"]
mod votes;
#[path = "contract/writes.rs"]
mod writes;
