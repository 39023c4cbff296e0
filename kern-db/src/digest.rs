//! What is shown is what is approved is what runs: canonical JSON and the digests over it.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::sensitive::Salts;

/// Canonical JSON (RFC 8785).
///
/// Everything that reaches it was made by kern or passed a strict reader (`exact` in [`arguments`](crate::arguments), the reader of a model's JSON in `kern`): no number outside the range that
/// doubles hold exactly, so that the text stands for exactly one value.
pub(crate) fn canonical<T: Serialize>(value: &T) -> String {
    let value = serde_json::to_value(value).expect(CANONICAL);
    let mut text = Vec::with_capacity(256);
    write_canonical(&value, &mut text);
    String::from_utf8(text).expect("it is written from strings")
}

const CANONICAL: &str = "kern's own types have string keys and finite numbers";

/// What `serde_jcs` writes, which takes ten times as long for it: each decision has a dozen of such texts.
fn write_canonical(value: &Value, text: &mut Vec<u8>) {
    /// The integers up to this are the doubles of the same digits.
    const EXACT: u64 = 1 << 53;
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            let in_order = |one: &str, other: &str| match one.is_ascii() && other.is_ascii() {
                true => one.cmp(other),
                false => one.encode_utf16().cmp(other.encode_utf16()),
            };
            entries.sort_unstable_by(|(one, _), (other, _)| in_order(one, other));
            text.push(b'{');
            for (place, (key, value)) in entries.into_iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                write_string(key, text);
                text.push(b':');
                write_canonical(value, text);
            }
            text.push(b'}');
        }
        Value::Array(values) => {
            text.push(b'[');
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    text.push(b',');
                }
                write_canonical(value, text);
            }
            text.push(b']');
        }
        Value::String(string) => write_string(string, text),
        Value::Number(number) => match number.as_i64() {
            Some(number) if number.unsigned_abs() <= EXACT => text.extend_from_slice(number.to_string().as_bytes()),
            // Doubles are written as ECMAScript writes them, which is a science.
            _ => text.extend_from_slice(serde_jcs::to_string(number).expect(CANONICAL).as_bytes()),
        },
        Value::Bool(true) => text.extend_from_slice(b"true"),
        Value::Bool(false) => text.extend_from_slice(b"false"),
        Value::Null => text.extend_from_slice(b"null"),
    }
}

/// Escapes only what has to be, and as RFC 8785 says it.
fn write_string(string: &str, text: &mut Vec<u8>) {
    serde_json::to_writer(text, string).expect("memory takes everything");
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

/// Everything that an approver sees of a call beside its arguments and its policy: the fields of the view digest, in its
/// order. What a call does not have is `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViewFields<'a> {
    pub(crate) approval_id: Option<&'a str>,
    pub(crate) version: u32,
    pub(crate) call_digest: &'a str,
    pub(crate) tool_identity: &'a str,
    pub(crate) agent_id: &'a str,
    pub(crate) agent_name: Option<&'a str>,
    pub(crate) session_id: &'a str,
    /// As it is stored, with every link of its chain.
    pub(crate) requester: Option<&'a str>,
    /// The requirement as it was shown, with the descriptions of the tool and of its arguments.
    pub(crate) shown: Option<&'a str>,
    /// Canonical JSON: the names of the sensitive arguments.
    pub(crate) sensitive: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
    pub(crate) source_type: &'a str,
    pub(crate) source_name: Option<&'a str>,
    pub(crate) pause_type: Option<&'a str>,
    pub(crate) approval_type: Option<&'a str>,
    pub(crate) requirement_id: &'a str,
    /// Canonical JSON.
    pub(crate) user_fields: Option<&'a str>,
    /// Canonical JSON.
    pub(crate) unfilled: &'a str,
    pub(crate) argument_limit: Option<i64>,
    /// Where the run stands in a tree of runs.
    pub(crate) place: Option<&'a str>,
    /// Epoch seconds of the row; epoch milliseconds of a call without one.
    pub(crate) created_at: i64,
    pub(crate) expires_at: Option<i64>,
}

/// `view_digest` of the approval specification.
pub(crate) fn view_digest(view: ViewFields<'_>) -> String {
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    Fields::new("kern/view/v1")
        .optional(view.approval_id)
        .number(i64::from(view.version))
        .text(view.call_digest)
        .text(view.tool_identity)
        .text(view.agent_id)
        .optional(view.agent_name)
        .text(view.session_id)
        .optional(view.requester)
        .optional(view.shown)
        .optional(view.sensitive)
        .optional(view.context)
        .text(view.source_type)
        .optional(view.source_name)
        .optional(view.pause_type)
        .optional(view.approval_type)
        .text(view.requirement_id)
        .optional(view.user_fields)
        .text(view.unfilled)
        .optional(number(view.argument_limit).as_deref())
        .optional(view.place)
        .number(view.created_at)
        .optional(number(view.expires_at).as_deref())
        .finish()
}

/// The digest of the columns that a row shows and that a later generation of its call cannot recompute from the call.
pub(crate) fn shown_digest(
    requirements: Option<&str>,
    context: Option<&str>,
    sensitive: Option<&str>,
    policy: &str,
) -> String {
    let fields = Fields::new("kern/shown/v1").optional(requirements).optional(context).optional(sensitive);
    fields.text(policy).finish()
}

/// `policy_digest`: what was asked of whom, and what they were shown.
pub(crate) fn policy_digest(
    approval_id: Option<&str>,
    call_digest: &str,
    requester: Option<&str>,
    policy: &str,
    view_digest: &str,
) -> String {
    Fields::new("kern/policy/v2")
        .optional(approval_id)
        .text(call_digest)
        .optional(requester)
        .text(policy)
        .text(view_digest)
        .finish()
}

/// Identifies a tool: a permit of one tool enters no other one.
///
/// `origin` is the name of the tool that an adapter stands for, and the tool's own name where it is none. `policy` is the
/// canonical JSON of what its attributes ask for; `None` where they ask for nothing.
#[doc(hidden)]
#[must_use]
pub fn tool_identity(name: &str, origin: &str, version: &str, schema_hash: &str, policy: Option<&str>) -> String {
    let policy = policy.map_or_else(|| "-".to_owned(), sha256);
    Fields::new("kern/tool/v1").text(name).text(origin).text(version).text(schema_hash).text(&policy).finish()
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_boundary_between_fields_cannot_be_moved() {
        let one = Fields::new("d").text("ab").text("c").finish();
        let other = Fields::new("d").text("a").text("bc").finish();
        assert_ne!(one, other);
        assert_ne!(Fields::new("d").optional(None).finish(), Fields::new("d").optional(Some("")).finish());
    }

    /// Any JSON, as deep as it gets here.
    fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("JSON has finite numbers", |number| {
                serde_json::Number::from_f64(number).map(Value::Number)
            }),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest::proptest! {
        #[test]
        fn canonical_text_of_any_json_is_that_of_serde_jcs(value in any_json()) {
            proptest::prop_assert_eq!(canonical(&value), serde_jcs::to_string(&value).expect(CANONICAL));
        }
    }

    #[test]
    fn canonical_text_is_that_of_serde_jcs() {
        let text: String = (0..0x300).chain([0xd7ff, 0xe000, 0xffff, 0x1_0000]).filter_map(char::from_u32).collect();
        let mut map = serde_json::Map::new();
        for key in text.chars() {
            map.insert(key.to_string(), json!([null, true, false, {}, [], { "b": key.to_string(), "a": 1 }]));
        }
        let numbers = json!([
            0,
            -1,
            1.5,
            -0.0,
            1.0,
            1e21,
            1e-7,
            123456789012345680000.0,
            9_007_199_254_740_991_i64,
            9_007_199_254_740_992_i64,
            9_007_199_254_740_993_i64,
            -9_007_199_254_740_993_i64,
            i64::MIN,
            i64::MAX,
            u64::MAX
        ]);
        let actor = crate::records::principal::Actor::from(&crate::Principal::unverified("bob"));
        for value in [Value::Object(map), numbers, json!(text), json!(actor)] {
            assert_eq!(canonical(&value), serde_jcs::to_string(&value).expect(CANONICAL));
        }
        assert_eq!(canonical(&actor), serde_jcs::to_string(&actor).expect(CANONICAL));
    }

    #[test]
    fn canonical_text_sorts_keys_and_keeps_the_ends_of_the_exact_integers() {
        let value = serde_json::json!({ "b": 9_007_199_254_740_991_i64, "a": [1.5, -9_007_199_254_740_991_i64, "ü"] });
        assert_eq!(canonical(&value), r#"{"a":[1.5,-9007199254740991,"ü"],"b":9007199254740991}"#);
    }
}
