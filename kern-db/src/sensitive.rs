//! Secret arguments: how they enter digests, where they are stored covered, and how they are taken out. No I/O.
//!
//! A digest over a secret would let whoever reads the log try values until one fits. So each property that a tool marks as
//! sensitive enters as the commitment of a random salt and its value; with the salt gone, the commitment says nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::digest::{Fields, canonical, hex, sha256};
use crate::{Error, Result};

/// Bytes of a salt.
const SALT: usize = 32;
/// The key of what stands for a value in the digests, and after its erasure in its place.
const COMMITMENT: &str = "$commitment";

/// The salts of a call's sensitive properties, by name: one for each for as long as the call lives, so that every version of
/// it can be told from every other. A name without a salt was erased: what stands in its place is the commitment itself.
///
/// A property that was ever sensitive stays so: a tool that stops saying it uncovers nothing that is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Salts(BTreeMap<String, Option<String>>);

impl Salts {
    /// Salts for these properties, beside those that there are. `None`: there is nothing to be salted.
    pub(crate) fn fresh(names: Vec<String>, kept: Option<&Self>) -> Option<Self> {
        let mut salts = kept.cloned().unwrap_or_default();
        for name in names {
            salts.0.entry(name).or_insert_with(|| Some(salt()));
        }
        (!salts.0.is_empty()).then_some(salts)
    }

    /// Whether any salt is gone. Such a call is history: it never starts.
    pub(crate) fn is_erased(&self) -> bool {
        self.0.values().any(Option::is_none)
    }

    /// Whether every salt is gone.
    pub(crate) fn is_all_erased(&self) -> bool {
        self.0.values().all(Option::is_none)
    }

    /// The same names, without their salts.
    pub(crate) fn erased(&self) -> Self {
        Self(self.0.keys().map(|name| (name.clone(), None)).collect())
    }

    fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// Puts the commitments in the place of the values, and gives the names of those. A name without a salt stands for
    /// itself.
    fn cover(&self, arguments: &mut Map<String, Value>) -> Vec<String> {
        let mut covered = Vec::new();
        for (name, salt) in &self.0 {
            let Some(value) = arguments.get_mut(name) else { continue };
            if let Some(salt) = salt {
                *value = commitment(name, salt, value);
            }
            covered.push(name.clone());
        }
        covered
    }

    /// Arguments as they enter the digest, with the names of what is covered wherever it is there: canonical JSON, both.
    /// `None`: they are no arguments.
    pub(crate) fn committed(&self, arguments: &str) -> Option<(String, String)> {
        let mut arguments: Map<String, Value> = serde_json::from_str(arguments).ok()?;
        self.cover(&mut arguments);
        Some((canonical(&arguments), canonical(&self.names())))
    }

    /// Arguments without their secrets, and the names of what was taken out.
    pub(crate) fn erase(&self, place: &str, arguments: &str) -> Result<(String, Vec<String>)> {
        let mut arguments: Map<String, Value> =
            serde_json::from_str(arguments).map_err(|error| Error::corrupt(place, error))?;
        let covered = self.cover(&mut arguments);
        Ok((canonical(&arguments), covered))
    }

    /// What an approver is shown of a call, beside its arguments, with its secrets covered: the arguments are where they are.
    pub(crate) fn cover_shown(&self, tool_name: &str, shown: &mut Value) {
        let tools = BTreeMap::from([(tool_name.to_owned(), self.names())]);
        let names = self.names();
        walk(shown, Some(&names), &tools, &|name, value| self.covered(name, value));
    }

    /// What somebody sent along with a decision, with the secrets covered that it brings: the arguments are where they are.
    pub(crate) fn cover_data(&self, data: &mut Value) {
        let cover = |fields: &mut Map<String, Value>| {
            for name in self.0.keys() {
                if let Some(value) = fields.get_mut(name) {
                    *value = self.covered(name, value);
                }
            }
        };
        let Some(fields) = data.as_object_mut() else { return };
        for key in ["edited_args", "values"] {
            if let Some(fields) = fields.get_mut(key).and_then(Value::as_object_mut) {
                cover(fields);
            }
        }
        // Fields to be filled may come flat.
        cover(fields);
    }

    /// What stands for a value. What stands for one already, does.
    fn covered(&self, name: &str, value: &Value) -> Value {
        match self.0.get(name) {
            _ if value.is_null() || is_commitment(value) => value.clone(),
            Some(Some(salt)) => commitment(name, salt, value),
            _ => json!({ "$erased": true }),
        }
    }
}

/// A fresh random salt.
pub(crate) fn salt() -> String {
    let mut bytes = [0; SALT];
    getrandom::fill(&mut bytes).expect("an operating system gives random bytes");
    hex(&bytes)
}

fn commitment(name: &str, salt: &str, value: &Value) -> Value {
    let hash = Fields::new("kern/sensitive/v1").text(name).text(salt).text(&canonical(value)).finish();
    json!({ COMMITMENT: hash })
}

/// Whether a value stands for one that is covered.
pub(crate) fn is_commitment(value: &Value) -> bool {
    let hash = value.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.get(COMMITMENT)?.as_str());
    hash.is_some_and(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The digest of a snapshot. One that holds secrets has a salt, so that what is left of it after their erasure does not let
/// them be guessed by its older digests.
pub(crate) fn snapshot_digest(snapshot: &str, salt: Option<&str>) -> String {
    match salt {
        None => sha256(snapshot),
        Some(salt) => Fields::new("kern/snapshot/v1").text(salt).text(snapshot).finish(),
    }
}

/// The tools whose calls have secrets, with their names.
pub(crate) type Secrets = BTreeMap<String, BTreeSet<String>>;

/// Adds the secrets of a call.
pub(crate) fn add_secrets(secrets: &mut Secrets, tool_name: &str, salts: &Salts) {
    secrets.entry(tool_name.to_owned()).or_default().extend(salts.names());
}

/// A snapshot without the secrets of these tools' calls, wherever it has their arguments: in the calls, in the messages, in
/// what was asked of people. What was said in free text, and what the tools gave, stays.
///
/// # Errors
///
/// [`Error::Corrupt`]: it is no JSON.
pub(crate) fn erase_snapshot(snapshot: &str, secrets: &Secrets) -> Result<String> {
    let mut value: Value = serde_json::from_str(snapshot).map_err(|error| Error::corrupt("runs.snapshot", error))?;
    walk(&mut value, None, secrets, &|_, _| json!({ "$erased": true }));
    Ok(value.to_string())
}

/// Replaces the secrets in everything that is about a call of these tools. `names` are those of the tool that the value
/// belongs to.
fn walk(value: &mut Value, names: Option<&BTreeSet<String>>, tools: &Secrets, replace: &dyn Fn(&str, &Value) -> Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, names, tools, replace)),
        Value::Object(fields) => {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            let tool = text(fields.get("tool_name"))
                .or_else(|| text(fields.get("name").filter(|_| fields.contains_key("arguments"))))
                .or_else(|| text(fields.get("tool_execution").and_then(|call| call.get("tool_name"))));
            let names = match &tool {
                Some(tool) => tools.get(tool),
                None => names,
            };
            let calls = fields.get("tool_calls").and_then(Value::as_array);
            let asks = calls.into_iter().flatten().any(|call| {
                call.pointer("/function/name").and_then(Value::as_str).is_some_and(|name| tools.contains_key(name))
            });
            for (key, value) in fields {
                match (key.as_str(), names) {
                    ("tool_args" | "arguments", Some(names)) => hide(value, names, replace),
                    ("user_input_schema", Some(names)) => hide_fields(value, names, replace),
                    // Whatever a provider keeps there, it may be the same arguments once more.
                    ("model_provider_data", _) if asks => *value = Value::Null,
                    _ => walk(value, names, tools, replace),
                }
            }
        }
        _ => {}
    }
}

/// Replaces the secrets in arguments, which may be a text.
fn hide(value: &mut Value, names: &BTreeSet<String>, replace: &dyn Fn(&str, &Value) -> Value) {
    match value {
        Value::Object(fields) => {
            for name in names {
                if let Some(value) = fields.get_mut(name) {
                    *value = replace(name, value);
                }
            }
        }
        Value::String(text) => {
            // What is no object may hold anything.
            let mut fields = serde_json::from_str(text).unwrap_or_else(|_| json!({}));
            hide(&mut fields, names, replace);
            *text = fields.to_string();
        }
        Value::Null => {}
        other => *other = json!({}),
    }
}

/// Replaces the secrets among fields that somebody filled.
fn hide_fields(value: &mut Value, names: &BTreeSet<String>, replace: &dyn Fn(&str, &Value) -> Value) {
    for field in value.as_array_mut().into_iter().flatten() {
        let Some(name) = field.get("name").and_then(Value::as_str).filter(|name| names.contains(*name)) else {
            continue;
        };
        let name = name.to_owned();
        if let Some(value) = field.get_mut("value").filter(|value| !value.is_null()) {
            *value = replace(&name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salts() -> Salts {
        Salts::fresh(vec!["key".to_owned()], None).unwrap()
    }

    #[test]
    fn a_commitment_stands_for_one_value_under_one_name_and_salt() {
        let all = [
            commitment("key", "a", &json!("1")),
            commitment("key", "a", &json!(1)),
            commitment("key", "b", &json!("1")),
            commitment("kex", "a", &json!("1")),
        ];
        assert!(all.iter().all(is_commitment));
        assert!(all.iter().enumerate().all(|(place, one)| !all[..place].contains(one)));
        assert_eq!(commitment("key", "a", &json!("1")), all[0]);
    }

    #[test]
    fn no_two_salts_are_alike_and_those_that_there_are_stay() {
        let one = salts();
        assert_ne!(one, salts());
        let more = Salts::fresh(vec!["key".to_owned(), "pin".to_owned()], Some(&one)).unwrap();
        assert_eq!((more.0["key"].clone(), more.0.len()), (one.0["key"].clone(), 2));
        assert!(Salts::fresh(Vec::new(), None).is_none());
        // What was secret once stays so.
        assert_eq!(Salts::fresh(Vec::new(), Some(&one)), Some(one));
    }

    #[test]
    fn erased_arguments_enter_a_digest_as_the_values_did() {
        let one = salts();
        let before = one.committed(r#"{"id":7,"key":"hunter2"}"#).unwrap();
        let (erased, names) = one.erase("here", r#"{"id":7,"key":"hunter2"}"#).unwrap();
        assert_eq!(names, ["key"]);
        assert!(!erased.contains("hunter2"));
        assert_eq!(one.erased().committed(&erased), Some(before));
        // Without the secret it is another kind of digest all the same: that there is one cannot be taken back.
        assert_eq!(one.committed(r#"{"id":7}"#), Some((r#"{"id":7}"#.to_owned(), r#"["key"]"#.to_owned())));
        assert!(one.committed("x").is_none());
    }

    #[test]
    fn a_snapshot_keeps_everything_but_the_secrets_of_these_tools() {
        let arguments = json!({ "id": 7, "key": "hunter2" });
        let snapshot = json!({
            "messages": [
                { "role": "user", "content": "go" },
                {
                    "tool_calls": [
                        { "id": "1", "function": { "name": "login", "arguments": arguments.to_string() } },
                        { "id": "2", "function": { "name": "other", "arguments": "{\"key\":\"kept\"}" } },
                        { "id": "3", "function": { "name": "login", "arguments": "{\"key\":\"hunter2" } },
                    ],
                    "model_provider_data": { "again": "hunter2" },
                },
                { "tool_name": "login", "tool_args": arguments, "content": "done" },
            ],
            "tools": [{ "tool_name": "login", "tool_args": arguments, "user_input_schema": [
                { "name": "key", "value": "hunter2" }, { "name": "id", "value": 7 },
            ] }],
            "requirements": [{
                "tool_execution": { "tool_name": "login", "tool_args": arguments },
                "user_input_schema": [{ "name": "key", "value": "hunter2" }],
            }],
            "open": { "calls": [{ "tool_name": "login", "kind": { "plain": { "arguments": arguments } } }] },
        });
        let secrets = Secrets::from([("login".to_owned(), BTreeSet::from(["key".to_owned()]))]);
        let erased = erase_snapshot(&snapshot.to_string(), &secrets).unwrap();
        assert!(!erased.contains("hunter2"), "{erased}");
        let erased: Value = serde_json::from_str(&erased).unwrap();
        assert_eq!(erased["tools"][0]["tool_args"], json!({ "id": 7, "key": { "$erased": true } }));
        assert_eq!(erased["tools"][0]["user_input_schema"][1]["value"], 7);
        assert_eq!(erased["messages"][1]["tool_calls"][1], snapshot["messages"][1]["tool_calls"][1]);
        assert_eq!(erased["messages"][2]["content"], "done");
    }

    #[test]
    fn what_is_sent_along_and_what_is_shown_holds_no_secret() {
        let one = salts();
        let mut data = json!({ "edited_args": { "key": "hunter2", "id": 1 }, "key": "hunter2", "note": "ok" });
        one.cover_data(&mut data);
        assert!(!data.to_string().contains("hunter2"));
        assert_eq!((&data["edited_args"]["id"], &data["note"]), (&json!(1), &json!("ok")));
        let mut shown = json!([{ "tool_execution": { "tool_name": "login", "tool_args": { "key": "hunter2" } } }]);
        one.cover_shown("login", &mut shown);
        assert!(!shown.to_string().contains("hunter2"));
        let once = shown.clone();
        one.cover_shown("login", &mut shown);
        assert_eq!(shown, once);
    }
}
