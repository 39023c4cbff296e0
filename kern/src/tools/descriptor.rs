//! What is known of a tool without running it.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::form::Form;
use super::state::StateType;

pub use kern_db::{Effect, PauseType};

/// A tool's name, description, schema and policy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ToolDescriptor {
    /// `[A-Za-z0-9_-]{1,64}`.
    pub name: String,
    /// What the model reads.
    pub description: String,
    /// `version = "…"`, by default `1`. A paused call only runs on the version it was shown with.
    pub version: String,
    /// JSON Schema of all arguments: an object with `properties`, `required`, `additionalProperties: false`.
    pub parameters: Value,
    /// SHA-256 (hex) of the canonical `parameters`.
    pub schema_hash: String,
    /// With `user_input_fields(…)`: the arguments the user fills, which the model is not asked for.
    pub user_input_fields: Vec<String>,
    /// `#[arg(sensitive)]`: the arguments that displays and notifications leave out.
    pub sensitive: Vec<String>,
    /// `#[state]`: what the agent has to bring with [`AgentBuilder::state`](crate::AgentBuilder::state).
    pub states: Vec<StateType>,
    /// How the tool is called, and what becomes of its result.
    pub options: ToolOptions,
    /// Who is asked before the body runs.
    pub policy: ToolPolicy,
    /// Whether its arguments are a form that the user fills: kern's own pausing tools.
    pub(crate) form: Option<Form>,
    /// The tool that an adapter stands for; behind a slash, the one that that one stands for.
    pub(crate) origin: Option<String>,
    /// Two rules of an adapter and its origin of which none is the stricter one. `build()` refuses them.
    pub(crate) conflict: Option<String>,
}

/// How a tool is called, and what becomes of its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolOptions {
    /// The run ends after this call: the model is not asked again.
    pub stop_after_tool_call: bool,
    /// The result is part of what the run says.
    pub show_result: bool,
    /// The provider holds the model to the schema, where it can.
    pub strict: bool,
    /// How long the body may take.
    pub timeout: Option<Duration>,
}

/// What a tool's attributes ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolPolicy {
    /// The pausing flag as it was written. `#[approval]` alone leaves it `None`.
    pub pause: Option<PauseType>,
    /// `#[approval]`, or `log_approval`.
    pub approval: Option<ApprovalPolicy>,
    /// The other arguments of `#[approval]`.
    pub rules: ApprovalRules,
    /// `effect = "…"`.
    pub effect: Effect,
}

/// Who may decide a required approval, and for how long it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApprovalRules {
    /// `pool = "…"`: who may decide. `None`: anybody but the requester.
    pub pool: Option<Cow<'static, str>>,
    /// `quorum = n`: how many distinct people have to say yes.
    pub quorum: u32,
    /// `expires_in = "…"`: how long somebody may decide.
    pub expires_in: Option<Duration>,
    /// `valid_for = "…"`: how long an approval may be used.
    pub valid_for: Option<Duration>,
    /// `require_reason`: nobody decides without a note.
    pub require_reason: bool,
    /// `allow_self`: the requester may decide, too.
    pub allow_self: bool,
}

/// What `#[approval(…)]` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApprovalPolicy {
    /// An administrator decides before the body runs.
    Required,
    /// A record that nobody can quietly rewrite.
    Audit,
}

impl ToolDescriptor {
    /// Makes a descriptor of a tool without any policy, version `1`.
    pub fn new(name: impl Into<String>, description: impl Into<String>, parameters: Value) -> Self {
        let schema_hash = schema_hash(&parameters);
        Self {
            name: name.into(),
            description: description.into(),
            version: "1".to_owned(),
            parameters,
            schema_hash,
            user_input_fields: Vec::new(),
            sensitive: Vec::new(),
            states: Vec::new(),
            options: ToolOptions::new(),
            policy: ToolPolicy::default(),
            form: None,
            origin: None,
            conflict: None,
        }
    }

    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the policy.
    #[must_use]
    pub fn policy(mut self, policy: ToolPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the arguments that the user fills.
    #[must_use]
    pub fn user_input_fields(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.user_input_fields = fields.into_iter().map(Into::into).collect();
        self
    }
}

impl ToolDescriptor {
    /// Sets how the tool is called, and what becomes of its result.
    #[must_use]
    pub fn options(mut self, options: ToolOptions) -> Self {
        self.options = options;
        self
    }

    /// Sets the arguments that displays and notifications leave out.
    #[must_use]
    pub fn sensitive(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.sensitive = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// Identifies the tool: a permit for one identity enters no body of another.
    pub(crate) fn identity(&self) -> String {
        let policy = (self.policy != ToolPolicy::default()).then(|| self.policy.canonical());
        let origin = self.origin.as_deref().unwrap_or(&self.name);
        kern_db::tool_identity(&self.name, origin, &self.version, &self.schema_hash, policy.as_deref())
    }

    /// The tools that an adapter stands for, if their names are not just its own.
    pub(crate) fn stands_for(&self) -> Option<&str> {
        self.origin.as_deref().filter(|origin| *origin != self.name)
    }

    pub(crate) fn form(mut self, form: Form) -> Self {
        self.form = Some(form);
        self
    }

    /// Sets what the agent has to bring.
    #[must_use]
    pub fn states(mut self, states: impl IntoIterator<Item = StateType>) -> Self {
        self.states = states.into_iter().collect();
        self
    }
}

impl ToolOptions {
    /// Makes the options of a tool that says nothing about itself.
    pub const fn new() -> Self {
        Self { stop_after_tool_call: false, show_result: false, strict: false, timeout: None }
    }

    /// Ends the run after this call. Its result is what the run says, unless [`show_result`](Self::show_result) is set to
    /// `false` afterwards.
    #[must_use]
    pub const fn stop_after_tool_call(mut self, stop: bool) -> Self {
        self.stop_after_tool_call = stop;
        self.show_result = stop;
        self
    }

    /// Makes the result part of what the run says.
    #[must_use]
    pub const fn show_result(mut self, show: bool) -> Self {
        self.show_result = show;
        self
    }

    /// Asks the provider to hold the model to the schema.
    #[must_use]
    pub const fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Sets how long the body may take.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl ToolPolicy {
    /// Makes a policy.
    pub const fn new(pause: Option<PauseType>, approval: Option<ApprovalPolicy>) -> Self {
        Self { pause, approval, rules: ApprovalRules::new(), effect: Effect::Once }
    }

    /// Canonical JSON of everything that the policy asks for.
    fn canonical(&self) -> String {
        let Self { pause, approval, rules, effect } = self;
        let ApprovalRules { pool, quorum, expires_in, valid_for, require_reason, allow_self } = rules;
        let approval = approval.as_ref().map(|approval| match approval {
            ApprovalPolicy::Required => "required",
            ApprovalPolicy::Audit => "audit",
        });
        // As text: nanoseconds are beyond what canonical JSON holds exactly.
        let time = |time: &Option<Duration>| time.map(|time| time.as_nanos().to_string());
        kern_db::canonical_json(&json!({
            "pause": pause,
            "approval": approval,
            "pool": pool,
            "quorum": quorum,
            "expires_in": time(expires_in),
            "valid_for": time(valid_for),
            "require_reason": require_reason,
            "allow_self": allow_self,
            "effect": effect,
        }))
    }

    /// Sets who may decide, and for how long it counts.
    #[must_use]
    pub fn rules(mut self, rules: ApprovalRules) -> Self {
        self.rules = rules;
        self
    }

    /// Sets what is promised about how often the body runs.
    #[must_use]
    pub const fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}

impl ApprovalRules {
    /// Makes the rules of an `#[approval]` without further arguments.
    pub const fn new() -> Self {
        Self { pool: None, quorum: 1, expires_in: None, valid_for: None, require_reason: false, allow_self: false }
    }

    /// Sets who may decide.
    #[must_use]
    pub fn pool(mut self, pool: impl Into<Cow<'static, str>>) -> Self {
        self.pool = Some(pool.into());
        self
    }

    /// Sets how many distinct people have to say yes.
    #[must_use]
    pub const fn quorum(mut self, quorum: u32) -> Self {
        self.quorum = quorum;
        self
    }

    /// Sets how long somebody may decide.
    #[must_use]
    pub const fn expires_in(mut self, time: Duration) -> Self {
        self.expires_in = Some(time);
        self
    }

    /// Sets how long an approval may be used.
    #[must_use]
    pub const fn valid_for(mut self, time: Duration) -> Self {
        self.valid_for = Some(time);
        self
    }

    /// Asks for a note with every decision.
    #[must_use]
    pub const fn require_reason(mut self, required: bool) -> Self {
        self.require_reason = required;
        self
    }

    /// Lets the requester decide, too.
    #[must_use]
    pub const fn allow_self(mut self, allowed: bool) -> Self {
        self.allow_self = allowed;
        self
    }
}

impl Default for ApprovalRules {
    fn default() -> Self {
        Self::new()
    }
}

/// SHA-256 (hex) of a schema's canonical JSON: the same in every build, however its maps are ordered.
fn schema_hash(parameters: &Value) -> String {
    let digest = Sha256::digest(kern_db::canonical_json(parameters).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
