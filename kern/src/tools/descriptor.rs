//! What is known of a tool without running it.

use serde_json::Value;
use sha2::{Digest, Sha256};

pub use kern_db::PauseType;

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
    /// Who is asked before the body runs.
    pub policy: ToolPolicy,
}

/// What a tool's attributes ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolPolicy {
    /// The pausing flag as it was written. `#[approval]` alone leaves it `None`.
    pub pause: Option<PauseType>,
    /// `#[approval]`, or `log_approval`.
    pub approval: Option<ApprovalPolicy>,
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
            policy: ToolPolicy::default(),
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

impl ToolPolicy {
    /// Makes a policy.
    pub const fn new(pause: Option<PauseType>, approval: Option<ApprovalPolicy>) -> Self {
        Self { pause, approval }
    }
}

/// SHA-256 (hex) of a schema's canonical JSON: the same in every build, however its maps are ordered.
fn schema_hash(parameters: &Value) -> String {
    let digest = Sha256::digest(kern_db::canonical_json(parameters).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
