//! Which of the tiers a call belongs to, from its tool's attributes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kern_db::{CallPolicy, PauseType, Tier};

use crate::tools::{ApprovalPolicy, Arguments, Tool, ToolPolicy};

/// Who is asked before a call with these arguments runs. `None`: nobody, and no record is kept.
pub(crate) fn policy_of(tool: &dyn Tool, arguments: &Arguments) -> Option<CallPolicy> {
    let ToolPolicy { pause, approval, .. } = &tool.descriptor().policy;
    let approval = approval.as_ref().filter(|approval| match approval {
        ApprovalPolicy::Required => approval_needed(tool, arguments),
        ApprovalPolicy::Audit => true,
    });
    tier(*pause, approval)
}

/// The pausing flag and the approval, as they meet.
fn tier(pause: Option<PauseType>, approval: Option<&ApprovalPolicy>) -> Option<CallPolicy> {
    Some(match (approval, pause) {
        (None, None) => return None,
        (None, Some(pause)) => CallPolicy::new(Tier::User, Some(pause)),
        // The administrator's decision is the confirmation: the user is not asked as well.
        (Some(ApprovalPolicy::Required), None) => CallPolicy::new(Tier::Required, Some(PauseType::Confirmation)),
        (Some(ApprovalPolicy::Required), Some(PauseType::Confirmation)) => {
            CallPolicy::new(Tier::TwoStage, Some(PauseType::Confirmation))
        }
        (Some(ApprovalPolicy::Required), Some(pause)) => CallPolicy::new(Tier::Required, Some(pause)),
        (Some(ApprovalPolicy::Audit), None) => CallPolicy::new(Tier::Audit, None),
        (Some(ApprovalPolicy::Audit), Some(pause)) => CallPolicy::new(Tier::User, Some(pause)).record(true),
    })
}

/// `when = …`. Whatever goes wrong in it means that the approval is needed.
pub(crate) fn approval_needed(tool: &dyn Tool, arguments: &Arguments) -> bool {
    catch_unwind(AssertUnwindSafe(|| tool.approval_needed(arguments))).unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_meeting_of_flag_and_approval_has_its_tier() {
        use ApprovalPolicy::{Audit, Required};
        use PauseType::{Confirmation, ExternalExecution, UserInput};
        let tier_of = |pause, approval: Option<ApprovalPolicy>| tier(pause, approval.as_ref());
        let policy = |tier, pause| Some(CallPolicy::new(tier, pause));

        assert_eq!(tier_of(None, None), None);
        assert_eq!(tier_of(Some(Confirmation), None), policy(Tier::User, Some(Confirmation)));
        assert_eq!(tier_of(Some(UserInput), None), policy(Tier::User, Some(UserInput)));
        assert_eq!(tier_of(None, Some(Required)), policy(Tier::Required, Some(Confirmation)));
        assert_eq!(tier_of(Some(Confirmation), Some(Required)), policy(Tier::TwoStage, Some(Confirmation)));
        assert_eq!(tier_of(Some(UserInput), Some(Required)), policy(Tier::Required, Some(UserInput)));
        assert_eq!(tier_of(Some(ExternalExecution), Some(Required)), policy(Tier::Required, Some(ExternalExecution)));
        assert_eq!(tier_of(None, Some(Audit)), policy(Tier::Audit, None));
        let recorded = CallPolicy::new(Tier::User, Some(Confirmation)).record(true);
        assert_eq!(tier_of(Some(Confirmation), Some(Audit)), Some(recorded));
    }
}
