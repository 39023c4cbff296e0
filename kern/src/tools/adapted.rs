//! Adapters: a tool under another name, with another description, another result or a stricter policy.

use std::fmt;
use std::sync::Arc;

use super::call::Admission;
use super::{
    ApprovalPolicy, ApprovalRules, ArgumentError, Arguments, Effect, Probe, Tool, ToolCall, ToolDescriptor, ToolError,
    ToolFuture, ToolHandle, ToolOutput, ToolPolicy,
};

type Wrap = dyn Fn(&Arguments, Outcome) -> Outcome + Send + Sync;
type Outcome = Result<ToolOutput, ToolError>;

/// A tool that stands for another one. It has the version, schema, policy and effect of its origin.
struct Adapted {
    origin: ToolHandle,
    descriptor: ToolDescriptor,
    /// Whether it asks for an approval that the origin's `when` may not waive.
    always_asks: bool,
    wrap: Option<Arc<Wrap>>,
}

impl ToolHandle {
    /// Gives the tool another name. A protected call of it pauses under this name, and its body runs only for a call that
    /// was allowed under this name.
    ///
    /// ```
    /// use kern::prelude::*;
    ///
    /// /// Delete a user.
    /// #[approval]
    /// #[tool]
    /// fn delete_user(user_id: String) -> String {
    ///     format!("deleted {user_id}")
    /// }
    ///
    /// let tool = tools![delete_user].remove(0).renamed("crm_delete_user").described("Delete a user of the CRM.");
    /// assert_eq!(tool.descriptor().name, "crm_delete_user");
    /// assert!(tool.descriptor().policy.approval.is_some());
    /// ```
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.adapted(|descriptor| descriptor.name = name, None, false)
    }

    /// Gives the tool another description.
    #[must_use]
    pub fn described(self, description: impl Into<String>) -> Self {
        let description = description.into();
        self.adapted(|descriptor| descriptor.description = description, None, false)
    }

    /// Changes the result of the tool, or only looks at it. `f` runs after the body, inside the same execution: it sees the
    /// arguments that were decided on and cannot change them, and its result is the recorded one. If it panics, the end of
    /// the call is unknown, as if the body had panicked.
    ///
    /// ```
    /// use kern::prelude::*;
    /// use kern::tools::ToolOutput;
    ///
    /// /// Look up a user.
    /// #[tool]
    /// fn find_user(name: String) -> String {
    ///     format!("user {name}")
    /// }
    ///
    /// let tool = tools![find_user].remove(0).wrapped(|arguments, result| {
    ///     println!("find_user({arguments:?})");
    ///     result.map(|output| ToolOutput::new(output.content.to_uppercase()))
    /// });
    /// assert_eq!(tool.descriptor().name, "find_user");
    /// ```
    #[must_use]
    pub fn wrapped<F>(self, f: F) -> Self
    where
        F: Fn(&Arguments, Result<ToolOutput, ToolError>) -> Result<ToolOutput, ToolError> + Send + Sync + 'static,
    {
        self.adapted(|_| {}, Some(Arc::new(f)), false)
    }

    /// Adds a policy. Of the two the stricter one holds, rule by rule; its `effect` stays that of the tool. `build()` refuses
    /// two rules of which none is the stricter one (`policy_unsatisfiable`).
    #[must_use]
    pub fn policy(self, policy: ToolPolicy) -> Self {
        let always_asks = policy.approval == Some(ApprovalPolicy::Required);
        let change = |descriptor: &mut ToolDescriptor| match stricter(&descriptor.policy, &policy) {
            Ok(policy) => descriptor.policy = policy,
            Err(why) => descriptor.conflict = Some(why),
        };
        self.adapted(change, None, always_asks)
    }

    fn adapted(self, change: impl FnOnce(&mut ToolDescriptor), wrap: Option<Arc<Wrap>>, always_asks: bool) -> Self {
        let mut descriptor = self.descriptor().clone();
        // Names hold no slash, so the names of a chain of adapters are told apart.
        descriptor.origin = Some(match &descriptor.origin {
            Some(origin) => format!("{}/{origin}", descriptor.name),
            None => descriptor.name.clone(),
        });
        change(&mut descriptor);
        Self::new(Adapted { origin: self, descriptor, always_asks, wrap })
    }
}

impl fmt::Debug for Adapted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adapted").field("name", &self.descriptor.name).field("origin", &self.origin).finish()
    }
}

impl Tool for Adapted {
    fn descriptor(&self) -> &ToolDescriptor {
        &self.descriptor
    }

    fn check(&self, arguments: &Arguments, unfilled: &[String]) -> Result<(), Vec<ArgumentError>> {
        self.origin.tool().check(arguments, unfilled)
    }

    fn approval_needed(&self, arguments: &Arguments) -> bool {
        self.always_asks || self.origin.tool().approval_needed(arguments)
    }

    fn probe(&self) -> Option<Probe> {
        self.origin.tool().probe()
    }

    fn call(&self, call: ToolCall) -> ToolFuture {
        let admission = Admission::new(call, self);
        let (origin, wrap) = (self.origin.clone(), self.wrap.clone());
        Box::pin(async move {
            let call = admission.readdress(origin.descriptor())?;
            let Some(wrap) = wrap else { return origin.tool().call(call).await };
            let (arguments, writes) = (call.arguments().clone(), call.context().writes.clone());
            let result = origin.tool().call(call).await;
            // A body that failed writes nothing, whatever its result is turned into.
            if let (Err(_), Some(writes)) = (&result, &writes) {
                drop(writes.take());
            }
            wrap(&arguments, result)
        })
    }
}

/// The stricter one of two policies, rule by rule.
///
/// # Errors
///
/// Two rules of which none is the stricter one.
fn stricter(own: &ToolPolicy, added: &ToolPolicy) -> Result<ToolPolicy, String> {
    let pause = match (own.pause, added.pause) {
        (Some(own), Some(added)) if own != added => {
            return Err("two policies pause it in different ways: a tool pauses in one way".to_owned());
        }
        (own, added) => own.or(added),
    };
    let approval = match (&own.approval, &added.approval) {
        (Some(ApprovalPolicy::Required), _) | (_, Some(ApprovalPolicy::Required)) => Some(ApprovalPolicy::Required),
        (own, added) => own.clone().or_else(|| added.clone()),
    };
    if added.effect != own.effect && added.effect != Effect::Once {
        return Err("an adapter cannot change the `effect` of a tool: it is a property of the body".to_owned());
    }
    let (one, other) = (&own.rules, &added.rules);
    let pool = match (&one.pool, &other.pool) {
        (Some(one), Some(other)) if one != other => {
            return Err(format!("two policies name the pools `{one}` and `{other}`: none is the stricter one"));
        }
        (one, other) => one.clone().or_else(|| other.clone()),
    };
    let shorter = |one: Option<_>, other: Option<_>| one.into_iter().chain(other).min();
    let asks = |policy: &ToolPolicy| policy.approval == Some(ApprovalPolicy::Required);
    // A policy without a question does not forbid that the requester decides.
    let allow_self = match (asks(own), asks(added)) {
        (true, true) => one.allow_self && other.allow_self,
        (true, false) => one.allow_self,
        (false, _) => other.allow_self,
    };
    let rules = ApprovalRules {
        pool,
        quorum: one.quorum.max(other.quorum),
        expires_in: shorter(one.expires_in, other.expires_in),
        valid_for: shorter(one.valid_for, other.valid_for),
        require_reason: one.require_reason || other.require_reason,
        allow_self,
    };
    Ok(ToolPolicy { pause, approval, rules, effect: own.effect })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tools::PauseType;

    fn required(rules: ApprovalRules) -> ToolPolicy {
        ToolPolicy::new(None, Some(ApprovalPolicy::Required)).rules(rules)
    }

    #[test]
    fn of_two_policies_the_stricter_rule_holds_in_either_order() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        let one = required(ApprovalRules::new().quorum(2).expires_in(day).allow_self(true));
        let other = required(ApprovalRules::new().pool("finance").expires_in(hour).valid_for(day).require_reason(true));
        let both = required(
            ApprovalRules::new().pool("finance").quorum(2).expires_in(hour).valid_for(day).require_reason(true),
        );
        assert_eq!(stricter(&one, &other), Ok(both.clone()));
        assert_eq!(stricter(&other, &one), Ok(both));
        let audit = ToolPolicy::new(Some(PauseType::Confirmation), Some(ApprovalPolicy::Audit));
        for (one, other) in [(&one, &audit), (&audit, &one)] {
            let both = stricter(one, other).expect("they fit");
            assert_eq!(both.approval, Some(ApprovalPolicy::Required));
            assert_eq!(both.pause, Some(PauseType::Confirmation));
            assert_eq!((both.rules.quorum, both.rules.allow_self), (2, true));
        }
    }

    #[test]
    fn policies_of_which_none_is_stricter_are_named() {
        let pool = |name: &'static str| required(ApprovalRules::new().pool(name));
        assert!(stricter(&pool("finance"), &pool("legal")).expect_err("two pools").contains("`legal`"));
        let pause = |pause| ToolPolicy::new(Some(pause), None);
        assert!(stricter(&pause(PauseType::Confirmation), &pause(PauseType::UserInput)).is_err());
        let idempotent = ToolPolicy::new(None, None).effect(Effect::Idempotent);
        assert!(stricter(&ToolPolicy::default(), &idempotent).is_err());
        assert_eq!(stricter(&idempotent, &ToolPolicy::default()), Ok(idempotent.clone()));
    }
}
