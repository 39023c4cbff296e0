//! Which of the tiers a call belongs to, from its tool's attributes.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kern_db::{CallPolicy, Effect, PauseType, Pool, Tier};

use crate::milliseconds::milliseconds;
use crate::tools::{ApprovalPolicy, ApprovalRules, Arguments, Tool, ToolDescriptor, ToolHandle, ToolPolicy};

/// Who is asked before a call with these arguments runs, and what else its tool's attributes say. `None`: nobody is asked,
/// and no record is kept.
pub(crate) fn policy_of(tool: &ToolHandle, arguments: &Arguments) -> Option<CallPolicy> {
    let ToolPolicy { pause, approval, rules, effect } = &tool.descriptor().policy;
    let approval = approval.as_ref().filter(|approval| match approval {
        ApprovalPolicy::Required => approval_needed(tool.tool(), arguments),
        ApprovalPolicy::Audit => true,
    });
    // A retry, and what is committed with an outcome, need a record of the call: it has one, though nobody is asked.
    let recorded = || (*effect != Effect::Once).then(|| CallPolicy::new(Tier::Audit, None));
    let policy = tier(*pause, approval).or_else(recorded)?.effect(*effect);
    let by_row = matches!(policy.tier, Tier::Required | Tier::TwoStage);
    Some(if by_row { ruled(policy, rules) } else { policy })
}

/// The rules of an approval, for a call that one decides about.
fn ruled(mut policy: CallPolicy, rules: &ApprovalRules) -> CallPolicy {
    let ApprovalRules { pool, quorum, expires_in, valid_for, require_reason, allow_self } = rules;
    policy = policy.quorum(*quorum).require_reason(*require_reason).allow_self(*allow_self);
    if let Some(pool) = pool {
        policy = policy.pool(pool.clone());
    }
    if let Some(time) = expires_in {
        policy = policy.expires_in_ms(milliseconds(*time));
    }
    if let Some(time) = valid_for {
        policy = policy.valid_for_ms(milliseconds(*time));
    }
    policy
}

/// The longest time that canonical JSON holds exactly, in milliseconds: some hundred thousand years.
const LONGEST: u128 = (1 << 53) - 1;

/// Whether anybody can ever satisfy what a tool asks for. Who is in a pool of `from_tokens` is not known before they come.
///
/// # Errors
///
/// Why nobody can, and what to write instead.
pub(crate) fn check_satisfiable(
    descriptor: &ToolDescriptor,
    pools: &[Pool],
    from_tokens: &[String],
    takes_writes: bool,
) -> Result<(), String> {
    let ToolPolicy { pause, approval, rules, effect } = &descriptor.policy;
    let ApprovalRules { pool, quorum, expires_in, valid_for, .. } = rules;
    if let Some(why) = &descriptor.conflict {
        return Err(why.clone());
    }
    if *effect == Effect::Transactional && !takes_writes {
        return Err(
            "its `effect` is `transactional`, and the agent's store keeps nothing that a tool writes: give the \
                    agent a database with `.db(SqliteDb::open(\"app.db\").await?)`"
                .to_owned(),
        );
    }
    if *effect != Effect::Once && *pause == Some(PauseType::ExternalExecution) {
        return Err(
            "another system runs it, so that an `effect` can be promised by that one alone: leave it out".to_owned()
        );
    }
    if *approval != Some(ApprovalPolicy::Required) {
        if *rules != ApprovalRules::new() {
            return Err(
                "it has rules for an approval, and nobody is asked for one: make it `ApprovalPolicy::Required`, or \
                        leave the rules out"
                    .to_owned(),
            );
        }
        return Ok(());
    }
    for (name, time) in [("expires_in", expires_in), ("valid_for", valid_for)] {
        let Some(time) = time else { continue };
        if time.as_millis() == 0 {
            return Err(format!("its `{name}` is over at once: give it a time, for example `{name} = \"24h\"`"));
        }
        if time.as_millis() > LONGEST {
            return Err(format!("its `{name}` is longer than a database can count: leave it out for no limit"));
        }
    }
    if *quorum == 0 {
        return Err("its `quorum` is 0: somebody has to decide, write 1 or more".to_owned());
    }
    let Some(name) = pool.as_deref().filter(|name| !from_tokens.iter().any(|other| other == name)) else {
        return Ok(());
    };
    let Some(pool) = pools.iter().find(|pool| pool.name == name) else {
        let known: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        return Err(format!(
            "its pool `{name}` is not in the store ({known}): set it with `db.set_pool(\"{name}\", [\"ann\", \"bob\"]).await?`, \
             or `kern pools set {name} ann bob`; where tokens say who is in it, give the agent \
             `.pool_from_tokens(\"{name}\")`"
        ));
    };
    let members = pool.members.len();
    if u32::try_from(members).is_ok_and(|members| members < *quorum) {
        return Err(format!(
            "its pool `{name}` has {members} {}, and {quorum} of them have to say yes: add people with `kern pools set \
             {name} …`, or lower `quorum`",
            if members == 1 { "member" } else { "members" },
        ));
    }
    Ok(())
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
    use std::time::Duration;

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

    /// A tool of nothing but its policy. `needed`: what its `when` says.
    struct Made {
        descriptor: ToolDescriptor,
        needed: bool,
    }

    impl Tool for Made {
        fn descriptor(&self) -> &ToolDescriptor {
            &self.descriptor
        }

        fn check(&self, _: &Arguments, _: &[String]) -> Result<(), Vec<crate::tools::ArgumentError>> {
            Ok(())
        }

        fn approval_needed(&self, _: &Arguments) -> bool {
            self.needed
        }

        fn call(&self, _: crate::tools::ToolCall) -> crate::tools::ToolFuture {
            Box::pin(async { Ok(crate::tools::ToolOutput::new("")) })
        }
    }

    fn made(policy: ToolPolicy, needed: bool) -> Made {
        let schema = serde_json::json!({ "type": "object" });
        Made { descriptor: ToolDescriptor::new("pay", "Pay.", schema).policy(policy), needed }
    }

    fn handle(policy: ToolPolicy, needed: bool) -> ToolHandle {
        ToolHandle::new(made(policy, needed))
    }

    fn every_rule() -> ApprovalRules {
        let (day, hour) = (Duration::from_secs(86_400), Duration::from_secs(3600));
        ApprovalRules::new()
            .pool("finance")
            .quorum(2)
            .expires_in(day)
            .valid_for(hour)
            .require_reason(true)
            .allow_self(true)
    }

    #[test]
    fn every_argument_of_an_approval_reaches_the_stored_policy() {
        let asks = ToolPolicy::new(None, Some(ApprovalPolicy::Required)).rules(every_rule()).effect(Effect::Idempotent);
        let ruled = CallPolicy::new(Tier::Required, Some(PauseType::Confirmation))
            .pool("finance")
            .quorum(2)
            .expires_in_ms(86_400_000)
            .valid_for_ms(3_600_000)
            .require_reason(true)
            .allow_self(true)
            .effect(Effect::Idempotent);
        assert_eq!(policy_of(&handle(asks.clone(), true), &Arguments::new()), Some(ruled));
        // Nobody decides about this one, so that nothing is asked of whoever would.
        let free = CallPolicy::new(Tier::Audit, None).effect(Effect::Idempotent);
        assert_eq!(policy_of(&handle(asks, false), &Arguments::new()), Some(free));
    }

    #[test]
    fn a_call_that_may_be_started_again_has_a_record_though_nobody_is_asked() {
        let of = |effect| policy_of(&handle(ToolPolicy::new(None, None).effect(effect), true), &Arguments::new());
        assert_eq!(of(Effect::Once), None);
        for effect in [Effect::Idempotent, Effect::Transactional] {
            assert_eq!(of(effect), Some(CallPolicy::new(Tier::Audit, None).effect(effect)));
        }
    }

    #[test]
    fn what_nobody_can_satisfy_is_said_with_what_to_write() {
        let required = |rules| ToolPolicy::new(None, Some(ApprovalPolicy::Required)).rules(rules);
        let pool: Pool = serde_json::from_value(
            serde_json::json!({ "name": "finance", "members": ["ann"], "set_by": null, "set_at_ms": 0 }),
        )
        .expect("a pool");
        let pools = std::slice::from_ref(&pool);
        let check = |policy: ToolPolicy| check_satisfiable(&made(policy, true).descriptor, pools, &[], false);
        let rules = ApprovalRules::new;
        assert_eq!(check(required(rules())), Ok(()));
        assert_eq!(check(required(rules().pool("finance"))), Ok(()));
        assert_eq!(check(required(rules().quorum(9))), Ok(()), "anybody may decide there");
        for (policy, says) in [
            (required(rules().pool("legal")), "`kern pools set legal ann bob`"),
            (required(rules().pool("finance").quorum(2)), "has 1 member, and 2 of them"),
            (required(rules().quorum(0)), "`quorum` is 0"),
            (required(rules().expires_in(Duration::ZERO)), "`expires_in = \"24h\"`"),
            (required(rules().valid_for(Duration::from_micros(1))), "`valid_for = \"24h\"`"),
            (required(rules().valid_for(Duration::MAX)), "longer than a database can count"),
            (ToolPolicy::new(None, None).rules(every_rule()), "nobody is asked for one"),
            (ToolPolicy::new(None, Some(ApprovalPolicy::Audit)).rules(every_rule()), "nobody is asked for one"),
            (required(rules()).effect(Effect::Transactional), "`.db(SqliteDb::open("),
            (
                ToolPolicy::new(Some(PauseType::ExternalExecution), None).effect(Effect::Idempotent),
                "another system runs it",
            ),
        ] {
            let why = check(policy).expect_err(says);
            assert!(why.contains(says), "{why}");
        }
    }
}
