//! Approval: decisions that a tool waits for, made by somebody else than the model.

pub(crate) mod answers;
pub(crate) mod outcome;
pub(crate) mod policy;

/// Asks for an administrator's decision before a tool's body runs, or for a record of it.
///
/// It belongs on a function with [`#[tool]`](crate::tools::tool), above or below it. Without `#[tool]` it is an error, so
/// that consent is never lost in silence.
///
/// # Arguments
///
/// | Argument | Meaning |
/// |---|---|
/// | `type = "required"` | the default: the run pauses, and the body only runs after an administrator approved this very call |
/// | `type = "audit"` | the call leaves a record that nobody can quietly rewrite; nobody else has to approve |
/// | `when = …` | says which calls need it |
/// | `pool = "finance"` | who may decide; by default anybody but the requester |
/// | `quorum = 2` | how many distinct people have to approve |
/// | `expires_in = "24h"` | how long somebody may decide |
/// | `valid_for = "1h"` | how long an approval may be used |
/// | `require_reason` | nobody decides without a note |
/// | `allow_self` | the requester may decide, too |
///
/// All but `type` are for `required`: nobody decides an audited call. A duration is a whole number with `ms`, `s`, `m`,
/// `h` or `d`.
///
/// What they ask for is stored with each call, covered by its digest, and decides whatever the code says later. A pool is a
/// list of names in the store, set with [`set_pool`](kern_db::DbExt::set_pool) or `kern pools set`; who is in it counts
/// at each vote, and once more at the last. The token of an identity provider may say that somebody is in it, too, until it
/// expires. `build()` refuses what nobody can satisfy (`policy_unsatisfiable`): a pool that is not in the store, or has fewer
/// members than the quorum, but for [`pool_from_tokens`](crate::AgentBuilder::pool_from_tokens). An approval that nobody
/// decides in time is `expired`, one that is not used in time is void, and in both cases the model is told. Both happen when
/// somebody continues the run, and by themselves where a [`Worker`](crate::worker::Worker) runs.
///
/// With an explicit `requires_confirmation` there are two decisions: the administrator approves, and the user who asked
/// confirms.
///
/// `when` is a Rust expression over the arguments the model fills, which are in scope by reference; `&RunContext` and
/// what the user fills are not. Where it is false, the tool behaves as if it had no `#[approval]`. In doubt the approval
/// is needed: when an argument cannot be read, and when the expression panics. The operators `+ - * <<` are refused in
/// it, because they wrap in release builds, and a wrapped sum would skip the approval: write `a.saturating_add(*b)`, or
/// call a function of your own.
///
/// # Examples
///
/// ```
/// use kern::prelude::*;
/// use kern::tools::{ApprovalPolicy, PauseType};
///
/// /// Permanently delete all data of a user.
/// #[approval]
/// #[tool(requires_confirmation)]
/// async fn delete_user_data(user_id: String) -> String {
///     format!("All data for user {user_id} has been deleted.")
/// }
///
/// /// Refund a payment. Large refunds need an approval.
/// #[approval(when = *cents > 10_000)]
/// #[tool]
/// async fn refund(payment: String, cents: u64) -> String {
///     format!("Refunded {cents} cents of {payment}.")
/// }
///
/// let tools = tools![delete_user_data, refund];
/// let policy = &tools[0].descriptor().policy;
/// assert_eq!(policy.approval, Some(ApprovalPolicy::Required));
/// assert_eq!(policy.pause, Some(PauseType::Confirmation));
/// assert_eq!(tools[1].descriptor().policy.pause, None);
/// ```
#[cfg(feature = "macros")]
pub use kern_macros::approval;

pub use kern_db::{Approval, ApprovalFilter, ApprovalId, ApprovalStatus, ApprovalType, Resolution};
