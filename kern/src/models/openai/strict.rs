//! Schemas as the strict mode of OpenAI takes them: a part of JSON Schema.
//!
//! What it does not take is left out of what is sent, never of what is checked: kern reads the arguments of every call
//! itself.

use serde_json::{Map, Value, json};

/// Keywords that go as they are. Bounds and formats are not among them: which of them are taken differs between models
/// and servers, and one that is not taken is an error for the whole request.
const SENT: &[&str] = &["type", "title", "description", "enum", "const"];

/// Keywords that add to what an object or a list may hold. Without them another schema would be left.
const NOT_SENDABLE: &[&str] =
    &["allOf", "prefixItems", "patternProperties", "dependentSchemas", "unevaluatedProperties"];

/// How many references lead into one another at most, where they are written out.
const DEPTH: usize = 16;

/// Gives the schema of a tool's arguments as the strict mode takes it: every object closed, all its properties required.
///
/// An optional argument stays nullable. One with a default has to be given by the model, which is told the default.
/// `None`: the schema has a part that the strict mode has no words for, such as a map with any keys.
pub(super) fn strict_schema(parameters: &Value) -> Option<Value> {
    if parameters["type"] != "object" {
        return None;
    }
    let nothing = Map::new();
    let definitions = match parameters.get("$defs") {
        None => &nothing,
        Some(definitions) => definitions.as_object()?,
    };
    let schemas = Schemas { definitions };
    let mut strict = schemas.strict(parameters, DEPTH)?;
    if !definitions.is_empty() {
        strict.insert("$defs".to_owned(), schemas.all(definitions, DEPTH)?.into());
    }
    Some(strict.into())
}

struct Schemas<'a> {
    definitions: &'a Map<String, Value>,
}

impl Schemas<'_> {
    fn strict(&self, schema: &Value, depth: usize) -> Option<Map<String, Value>> {
        let depth = depth.checked_sub(1)?;
        let schema = schema.as_object()?;
        let mut strict = match schema.get("$ref") {
            Some(reference) => self.referred(reference.as_str()?, has_words(schema), depth)?,
            None => self.plain(schema, depth)?,
        };
        if let Some(description) = schema.get("description") {
            strict.insert("description".to_owned(), description.clone());
        }
        if let Some(default) = schema.get("default").filter(|default| !default.is_null()) {
            let text = strict.get("description").and_then(Value::as_str).unwrap_or_default();
            let text = format!("{text}\n\nDefault: {default}");
            strict.insert("description".to_owned(), text.trim_start().into());
        }
        Some(strict)
    }

    /// A reference may have nothing beside it. Where something is said there, its schema is written out.
    fn referred(&self, reference: &str, write_out: bool, depth: usize) -> Option<Map<String, Value>> {
        let target = self.definitions.get(reference.strip_prefix("#/$defs/")?)?;
        if write_out {
            return self.strict(target, depth);
        }
        Some(Map::from_iter([("$ref".to_owned(), reference.into())]))
    }

    fn plain(&self, schema: &Map<String, Value>, depth: usize) -> Option<Map<String, Value>> {
        if NOT_SENDABLE.iter().any(|keyword| schema.contains_key(*keyword)) {
            return None;
        }
        let sent = schema.iter().filter(|(keyword, _)| SENT.contains(&keyword.as_str()));
        let mut strict: Map<_, _> = sent.map(|(keyword, value)| (keyword.clone(), value.clone())).collect();
        let is = |kind: &str| match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().any(|one| one == kind),
            one => one.is_some_and(|one| one == kind),
        };
        if is("object") {
            if schema.get("additionalProperties").is_some_and(|others| *others != false) {
                return None;
            }
            let properties = match schema.get("properties") {
                None => Map::new(),
                Some(properties) => self.all(properties.as_object()?, depth)?,
            };
            strict.insert("required".to_owned(), properties.keys().cloned().collect());
            strict.insert("properties".to_owned(), properties.into());
            strict.insert("additionalProperties".to_owned(), false.into());
        }
        if is("array") {
            strict.insert("items".to_owned(), self.strict(schema.get("items")?, depth)?.into());
        }
        match (schema.get("anyOf"), schema.get("oneOf")) {
            (None, None) if ["type", "enum", "const"].iter().any(|keyword| schema.contains_key(*keyword)) => {}
            // Nothing is said of the value, so that it may be anything.
            (None, None) => return None,
            (Some(_), Some(_)) => return None,
            // Some schemas have properties of their own beside the choices. They hold for all of them.
            _ if is("object") || is("array") => return None,
            (Some(choices), None) | (None, Some(choices)) => {
                let choices = choices.as_array()?.iter().map(|choice| self.strict(choice, depth).map(Value::Object));
                strict.insert("anyOf".to_owned(), json!(choices.collect::<Option<Vec<_>>>()?));
            }
        }
        Some(strict)
    }

    fn all(&self, schemas: &Map<String, Value>, depth: usize) -> Option<Map<String, Value>> {
        schemas.iter().map(|(name, schema)| Some((name.clone(), self.strict(schema, depth)?.into()))).collect()
    }
}

fn has_words(schema: &Map<String, Value>) -> bool {
    schema.contains_key("description") || schema.get("default").is_some_and(|default| !default.is_null())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::{JsonSchema, schema_for};
    use serde::Deserialize;

    use super::*;

    /// The schema of a type as a tool's arguments have it: with its definitions beside it.
    fn sent<T: JsonSchema>() -> Option<Value> {
        strict_schema(schema_for!(T).as_value())
    }

    /// What the strict mode demands of every schema in it, as its errors tell it.
    fn assert_taken(schema: &Value) {
        let schema = schema.as_object().expect("a schema is an object");
        for keyword in schema.keys() {
            let taken = SENT.contains(&keyword.as_str())
                || ["properties", "required", "additionalProperties", "items", "anyOf", "$ref", "$defs"]
                    .contains(&keyword.as_str());
            assert!(taken, "{keyword}");
        }
        if schema.contains_key("$ref") {
            assert_eq!(schema.len(), 1, "a reference has nothing beside it");
            return;
        }
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            assert_eq!(schema["additionalProperties"], false);
            let mut required: Vec<_> = schema["required"].as_array().unwrap().iter().collect();
            let mut names: Vec<Value> = properties.keys().map(|name| name.as_str().into()).collect();
            required.sort_by_key(|name| name.as_str());
            names.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            assert_eq!(required, names.iter().collect::<Vec<_>>());
            properties.values().for_each(assert_taken);
        }
        schema.get("items").into_iter().for_each(assert_taken);
        schema.get("anyOf").and_then(Value::as_array).into_iter().flatten().for_each(assert_taken);
        schema.get("$defs").and_then(Value::as_object).into_iter().flat_map(Map::values).for_each(assert_taken);
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Refund {
        /// Which payment.
        payment: String,
        cents: u64,
        note: Option<String>,
        #[serde(default = "euro")]
        currency: String,
        /// To whom.
        to: Address,
        copies: Option<Address>,
        kind: Kind,
        lines: Vec<Line>,
    }

    fn euro() -> String {
        "EUR".to_owned()
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Address {
        #[schemars(email)]
        mail: String,
        street: Option<String>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    enum Kind {
        /// All of it.
        Full,
        /// Some of it.
        Partial,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(tag = "type")]
    #[allow(dead_code)]
    enum Line {
        Text { text: String },
        Item { count: u8, inside: Vec<Line> },
    }

    #[test]
    fn every_property_is_required_and_every_object_closed() {
        let strict = sent::<Refund>().unwrap();
        assert_taken(&strict);
        let property = |name: &str| &strict["properties"][name];
        assert_eq!(*property("cents"), json!({ "type": "integer" }), "bounds and formats are not sent");
        assert_eq!(*property("note"), json!({ "type": ["string", "null"] }), "what is optional stays nullable");
        assert_eq!(*property("currency"), json!({ "type": "string", "description": "Default: \"EUR\"" }));
        assert_eq!(property("payment")["description"], "Which payment.");
        assert_eq!(property("to")["description"], "To whom.");
        assert_eq!(
            property("to")["properties"]["mail"],
            json!({ "type": "string" }),
            "written out for its description"
        );
        assert_eq!(*property("copies"), json!({ "anyOf": [{ "$ref": "#/$defs/Address" }, { "type": "null" }] }));
        assert_eq!(strict["$defs"]["Address"]["required"].as_array().unwrap().len(), 2);
        let kinds = strict["$defs"]["Kind"]["anyOf"].as_array().unwrap();
        assert_eq!(kinds.len(), 2, "`oneOf` is not taken: {kinds:?}");
        assert_eq!(strict["$defs"]["Line"]["anyOf"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_schema_that_is_strict_already_stays_as_it_is() {
        for schema in [
            json!({ "type": "object", "properties": {}, "required": [], "additionalProperties": false }),
            sent::<Refund>().unwrap(),
        ] {
            assert_eq!(strict_schema(&schema), Some(schema));
        }
    }

    #[test]
    fn a_schema_that_says_more_than_strict_mode_can_is_not_made_another_one() {
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct Anything {
            value: Value,
        }
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct Labels {
            labels: BTreeMap<String, String>,
        }
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct Pair {
            pair: (u8, String),
        }
        #[derive(Deserialize, JsonSchema)]
        #[allow(dead_code)]
        struct Flat {
            name: String,
            #[serde(flatten)]
            line: Line,
        }
        assert_eq!(sent::<Anything>(), None);
        assert_eq!(sent::<Labels>(), None);
        assert_eq!(sent::<Pair>(), None);
        assert_eq!(sent::<Flat>(), None);
        assert_eq!(sent::<String>(), None, "the arguments are an object");
        let referring = |reference: &str| {
            json!({ "type": "object", "properties": { "a": { "$ref": reference, "description": "x" } },
                    "$defs": { "A": { "$ref": "#/$defs/A", "description": "x" }, "B": true } })
        };
        for reference in ["#/$defs/A", "#/$defs/B", "#/$defs/C", "#", "other.json"] {
            assert_eq!(strict_schema(&referring(reference)), None, "{reference}");
        }
    }
}
