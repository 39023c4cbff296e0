//! What is shown is what is approved is what runs: canonical JSON and the digests over it.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::sensitive::Salts;

/// Canonical JSON (RFC 8785).
///
/// Everything that reaches it was made by kern or passed a strict reader (`exact` in [`arguments`](crate::arguments), the reader of a model's JSON in `kern`): no number outside the range that
/// doubles hold exactly, so that the text stands for exactly one value.
pub(crate) fn canonical<T: Serialize>(value: &T) -> String {
    serde_jcs::to_string(value).expect("kern's own types have string keys and finite numbers")
}

/// A SHA-256 over fields that each carry their length, so that no two lists of fields give the same bytes.
pub(crate) struct Fields(Sha256);

impl Fields {
    pub(crate) fn new(domain: &str) -> Self {
        Self(Sha256::new()).text(domain)
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(crate) fn number(self, number: i64) -> Self {
        self.text(&number.to_string())
    }

    /// An absent value differs from every present one.
    pub(crate) fn optional(self, text: Option<&str>) -> Self {
        match text {
            None => self.text("-"),
            Some(text) => self.text("+").text(text),
        }
    }

    pub(crate) fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

/// SHA-256 (hex) of one text.
pub(crate) fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// What names a call: the fields of the call digest, in its order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallFields<'a> {
    pub(crate) run_id: &'a str,
    pub(crate) turn: u32,
    pub(crate) index: u32,
    pub(crate) tool_call_id: &'a str,
    pub(crate) tool_name: &'a str,
    pub(crate) tool_version: &'a str,
    pub(crate) schema_hash: &'a str,
    /// Canonical JSON.
    pub(crate) arguments: &'a str,
}

/// `call_digest` of the approval specification.
///
/// Where secrets are covered by commitments, the digest is of another kind and names them: whoever changes rows cannot make
/// a commitment pass for an argument, nor an argument for a commitment.
pub(crate) fn call_digest(call: CallFields<'_>, salts: Option<&Salts>) -> String {
    let committed = salts.and_then(|salts| salts.committed(call.arguments));
    let (kind, arguments) = match &committed {
        None => ("kern/call/v1", call.arguments),
        Some((arguments, _)) => ("kern/call/v2", arguments.as_str()),
    };
    let fields = Fields::new(kind)
        .text(call.run_id)
        .number(i64::from(call.turn))
        .number(i64::from(call.index))
        .text(call.tool_call_id)
        .text(call.tool_name)
        .text(call.tool_version)
        .text(call.schema_hash)
        .text(arguments);
    match &committed {
        None => fields.finish(),
        Some((_, names)) => fields.text(names).finish(),
    }
}

/// `policy_digest`: what was asked of whom. It also covers what the approver was shown beside the arguments.
pub(crate) fn policy_digest(
    approval_id: Option<&str>,
    call_digest: &str,
    requester: Option<&str>,
    policy: &str,
    requirements: Option<&str>,
) -> String {
    Fields::new("kern/policy/v1")
        .optional(approval_id)
        .text(call_digest)
        .optional(requester)
        .text(policy)
        .optional(requirements)
        .finish()
}

/// The key for the other side's deduplication: the same on every attempt and generation of a call.
pub(crate) fn idempotency_key(run_id: &str, turn: u32, index: u32, decided_digest: &str) -> String {
    let hash = Fields::new("kern/idempotency/v1")
        .text(run_id)
        .number(i64::from(turn))
        .number(i64::from(index))
        .text(decided_digest)
        .finish();
    format!("kern:{hash}")
}

/// What is said when an API key is made, in the order of its digest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyFields<'a> {
    pub(crate) id: &'a str,
    pub(crate) secret_hash: &'a str,
    pub(crate) subject: &'a str,
    /// Canonical JSON, as the row has it.
    pub(crate) scopes: &'a str,
    /// Canonical JSON, as the row has it.
    pub(crate) created_by: Option<&'a str>,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: Option<i64>,
}

/// What the audit log keeps of a key that was made: no column of its row changes unseen.
pub(crate) fn key_digest(key: KeyFields<'_>) -> String {
    Fields::new("kern/key/v1")
        .text(key.id)
        .text(key.secret_hash)
        .text(key.subject)
        .text(key.scopes)
        .optional(key.created_by)
        .number(key.created_at_ms)
        .optional(key.expires_at_ms.map(|at| at.to_string()).as_deref())
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_between_fields_cannot_be_moved() {
        let one = Fields::new("d").text("ab").text("c").finish();
        let other = Fields::new("d").text("a").text("bc").finish();
        assert_ne!(one, other);
        assert_ne!(Fields::new("d").optional(None).finish(), Fields::new("d").optional(Some("")).finish());
    }

    #[test]
    fn canonical_text_sorts_keys_and_keeps_the_ends_of_the_exact_integers() {
        let value = serde_json::json!({ "b": 9_007_199_254_740_991_i64, "a": [1.5, -9_007_199_254_740_991_i64, "ü"] });
        assert_eq!(canonical(&value), r#"{"a":[1.5,-9007199254740991,"ü"],"b":9007199254740991}"#);
    }
}
