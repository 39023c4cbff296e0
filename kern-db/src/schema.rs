//! Checks values against the JSON Schemas that tools are shown with. No I/O.
//!
//! It knows the keywords those schemas are made of, and no others: a schema with a keyword that it does not know is not
//! checked by halves, but not at all. Depth and work are bounded, whatever the schema and the value are.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::digest::canonical;

/// Schemas and values within each other, references included.
const DEPTH: usize = 256;
/// Steps of one check.
const WORK: usize = 200_000;
/// Mistakes that are told at once.
const TOLD: usize = 100;
/// Characters that are told of what a value may be, and of what one form says about it.
const LONGEST: usize = 500;

/// Keywords that say nothing about which values there are.
const ANNOTATIONS: &[&str] =
    &["title", "description", "default", "examples", "readOnly", "writeOnly", "deprecated", "$comment", "$schema"];

/// Why a value does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The schema cannot be checked: what of it, in words.
    Schema(String),
    /// What is wrong with the value: a JSON pointer and words for each mistake.
    Value(Vec<String>),
}

/// Checks a value.
///
/// # Errors
///
/// [`Unfit::Schema`] where the schema asks for something that this does not know, whether or not the value comes to it;
/// [`Unfit::Value`] with every mistake.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), Unfit> {
    let mut known = Known { steps: 0 };
    known.schema(schema, "", 0).map_err(Unfit::Schema)?;
    let mut checking = Checking { root: schema, steps: 0, unfit: None };
    let mistakes = checking.value(schema, value, "", 0);
    if let Some(unfit) = checking.unfit {
        return Err(Unfit::Schema(unfit));
    }
    if mistakes.is_empty() { Ok(()) } else { Err(Unfit::Value(mistakes)) }
}

/// The names of the properties that are marked as secret (`"writeOnly": true`).
pub(crate) fn sensitive(schema: &Value) -> Vec<String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let secret = |schema: &Value| schema.get("writeOnly") == Some(&Value::Bool(true));
    properties.into_iter().flatten().filter(|(_, schema)| secret(schema)).map(|(name, _)| name.clone()).collect()
}

/// The JSON pointer (RFC 6901) to a member.
pub(crate) fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Walks a whole schema before anything is checked with it.
struct Known {
    steps: usize,
}

impl Known {
    fn schema(&mut self, schema: &Value, at: &str, depth: usize) -> Result<(), String> {
        self.steps += 1;
        if depth > DEPTH || self.steps > WORK {
            return Err("it is too large".to_owned());
        }
        let fields = match schema {
            Value::Bool(_) => return Ok(()),
            Value::Object(fields) => fields,
            _ => return Err(format!("{at} is no schema")),
        };
        for (keyword, inner) in fields {
            let here = pointer(at, keyword);
            match keyword.as_str() {
                "type" | "enum" | "const" | "$ref" | "required" | "minimum" | "maximum" | "exclusiveMinimum"
                | "exclusiveMaximum" | "minLength" | "maxLength" | "minItems" | "maxItems" | "uniqueItems"
                | "minProperties" | "maxProperties" => shape(keyword, inner, &here)?,
                "format" => format_of(inner, &here)?,
                "properties" | "$defs" => {
                    for (name, inner) in inner.as_object().ok_or_else(|| broken(&here))? {
                        self.schema(inner, &pointer(&here, name), depth + 1)?;
                    }
                }
                "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                    for (place, inner) in inner.as_array().ok_or_else(|| broken(&here))?.iter().enumerate() {
                        self.schema(inner, &format!("{here}/{place}"), depth + 1)?;
                    }
                }
                "items" | "additionalProperties" => self.schema(inner, &here, depth + 1)?,
                other if ANNOTATIONS.contains(&other) => {}
                other => return Err(format!("{at} has the keyword `{other}`, which this version does not check")),
            }
        }
        Ok(())
    }
}

fn broken(at: &str) -> String {
    format!("{at} is not what JSON Schema has there")
}

/// Whether a keyword has a value that can be asked.
fn shape(keyword: &str, inner: &Value, at: &str) -> Result<(), String> {
    let types = |name: &Value| name.as_str().is_some_and(|name| TYPES.contains(&name));
    let fits = match keyword {
        "type" => inner.as_array().map_or_else(|| types(inner), |names| names.iter().all(types)),
        "enum" => inner.is_array(),
        "const" => true,
        "$ref" => inner.as_str().is_some_and(|to| to == "#" || to.starts_with("#/")),
        "required" => inner.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "uniqueItems" => inner.is_boolean(),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => inner.is_number(),
        _ => inner.is_u64(),
    };
    if fits { Ok(()) } else { Err(broken(at)) }
}

const TYPES: &[&str] = &["null", "boolean", "object", "array", "number", "integer", "string"];

/// A format, where it can be checked.
fn format_of(inner: &Value, at: &str) -> Result<(), String> {
    let name = inner.as_str().ok_or_else(|| broken(at))?;
    if range_of(name).is_some() || matches!(name, "float" | "double" | "uuid" | "ip" | "ipv4" | "ipv6") {
        return Ok(());
    }
    Err(format!("{at} is `{name}`, a `format` that this version does not check"))
}

/// The least and the greatest integer of a format. Those of 64 bits and more end where exact numbers do.
fn range_of(format: &str) -> Option<(f64, f64)> {
    Some(match format {
        "int8" => (f64::from(i8::MIN), f64::from(i8::MAX)),
        "int16" => (f64::from(i16::MIN), f64::from(i16::MAX)),
        "int32" => (f64::from(i32::MIN), f64::from(i32::MAX)),
        "uint8" => (0.0, f64::from(u8::MAX)),
        "uint16" => (0.0, f64::from(u16::MAX)),
        "uint32" => (0.0, f64::from(u32::MAX)),
        "int64" | "int128" | "int" => (f64::NEG_INFINITY, f64::INFINITY),
        "uint64" | "uint128" | "uint" => (0.0, f64::INFINITY),
        _ => return None,
    })
}

/// One check.
struct Checking<'a> {
    root: &'a Value,
    steps: usize,
    /// Why the schema cannot be checked after all.
    unfit: Option<String>,
}

impl<'a> Checking<'a> {
    /// What is wrong with a value, by one schema.
    fn value(&mut self, schema: &'a Value, value: &Value, at: &str, depth: usize) -> Vec<String> {
        self.steps += 1;
        if depth > DEPTH || self.steps > WORK {
            self.unfit.get_or_insert_with(|| "checking it takes too long".to_owned());
        }
        if self.unfit.is_some() {
            return Vec::new();
        }
        let fields = match schema {
            Value::Bool(true) => return Vec::new(),
            Value::Object(fields) => fields,
            _ => return vec![told(at, "nothing is allowed here")],
        };
        let mut mistakes = Vec::new();
        if let Some(allowed) = fields.get("type") {
            let names: Vec<&str> = match allowed {
                Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                name => name.as_str().into_iter().collect(),
            };
            if !names.iter().any(|name| is_of(name, value)) {
                // What is of another type has no properties or items to look at.
                return vec![told(at, &format!("expected {}, found {}", names.join(" or "), type_of(value)))];
            }
        }
        if let Some(allowed) = fields.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            mistakes.push(told(at, &format!("expected one of {}", listed(allowed))));
        }
        if let Some(only) = fields.get("const")
            && only != value
        {
            mistakes.push(told(at, &format!("expected {}", shortened(canonical(only).chars()))));
        }
        if let Some(to) = fields.get("$ref").and_then(Value::as_str) {
            match self.root.pointer(to.strip_prefix('#').unwrap_or_default()) {
                Some(schema) => mistakes.extend(self.value(schema, value, at, depth + 1)),
                None => self.unfit = Some(format!("`{to}` leads nowhere in it")),
            }
        }
        for schema in list(fields, "allOf") {
            mistakes.extend(self.value(schema, value, at, depth + 1));
        }
        mistakes.extend(self.forms(fields, "anyOf", value, at, depth));
        mistakes.extend(self.forms(fields, "oneOf", value, at, depth));
        match value {
            Value::Number(_) => mistakes.extend(number(fields, value).map(|what| told(at, &what))),
            Value::String(text) => mistakes.extend(string(fields, text).map(|what| told(at, &what))),
            Value::Array(items) => mistakes.extend(self.items(fields, items, at, depth)),
            Value::Object(members) => mistakes.extend(self.members(fields, members, at, depth)),
            Value::Null | Value::Bool(_) => {}
        }
        mistakes.truncate(TOLD);
        mistakes
    }

    /// `anyOf`, `oneOf`.
    fn forms(
        &mut self,
        fields: &'a Map<String, Value>,
        keyword: &str,
        value: &Value,
        at: &str,
        depth: usize,
    ) -> Vec<String> {
        if !fields.contains_key(keyword) {
            return Vec::new();
        }
        let (mut fitting, mut closest): (usize, Option<Vec<String>>) = (0, None);
        for schema in list(fields, keyword) {
            let mistakes = self.value(schema, value, at, depth + 1);
            if mistakes.is_empty() {
                fitting += 1;
            } else if closest.as_ref().is_none_or(|closest| mistakes.len() < closest.len()) {
                closest = Some(mistakes);
            }
        }
        match (fitting, keyword) {
            (0, _) => {
                // Forms within forms would repeat themselves without end.
                let closest = shortened(closest.unwrap_or_default().join("; ").chars());
                vec![told(at, &format!("fits none of the forms it may have; the closest says: {closest}"))]
            }
            (1, _) | (_, "anyOf") => Vec::new(),
            _ => vec![told(at, "fits more than one of the forms of which it has to have one")],
        }
    }

    fn items(&mut self, fields: &'a Map<String, Value>, items: &[Value], at: &str, depth: usize) -> Vec<String> {
        let mut mistakes = Vec::new();
        mistakes.extend(counted(fields, "Items", items.len(), "items").map(|what| told(at, &what)));
        if fields.get("uniqueItems") == Some(&Value::Bool(true)) {
            let mut seen = HashSet::new();
            if !items.iter().all(|item| seen.insert(canonical(item))) {
                mistakes.push(told(at, "has an item twice"));
            }
        }
        let first: Vec<&Value> = list(fields, "prefixItems").collect();
        for (place, item) in items.iter().enumerate() {
            let Some(schema) = first.get(place).copied().or_else(|| fields.get("items")) else { break };
            if mistakes.len() >= TOLD {
                break;
            }
            mistakes.extend(self.value(schema, item, &format!("{at}/{place}"), depth + 1));
        }
        mistakes
    }

    fn members(
        &mut self,
        fields: &'a Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> Vec<String> {
        let mut mistakes = Vec::new();
        mistakes.extend(counted(fields, "Properties", members.len(), "properties").map(|what| told(at, &what)));
        for name in list(fields, "required").filter_map(Value::as_str) {
            if mistakes.len() < TOLD && !members.contains_key(name) {
                mistakes.push(told(&pointer(at, name), "missing, it is required"));
            }
        }
        let properties = fields.get("properties").and_then(Value::as_object);
        for (name, member) in members {
            if mistakes.len() >= TOLD {
                break;
            }
            let here = pointer(at, name);
            match properties.and_then(|properties| properties.get(name)).or_else(|| fields.get("additionalProperties"))
            {
                Some(Value::Bool(false)) => mistakes.push(told(&here, "unknown, there is no such property")),
                Some(schema) => mistakes.extend(self.value(schema, member, &here, depth + 1)),
                None => {}
            }
        }
        mistakes
    }
}

fn told(at: &str, what: &str) -> String {
    format!("{}: {what}", if at.is_empty() { "the arguments" } else { at })
}

fn list<'a>(fields: &'a Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    fields.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

fn listed(values: &[Value]) -> String {
    let texts = values.iter().enumerate().map(|(place, value)| match place {
        0 => canonical(value),
        _ => format!(", {}", canonical(value)),
    });
    // No more of them than are told: a list may be long, and a value may miss it in many places.
    let mut text = String::new();
    for next in texts {
        text.push_str(&next);
        if text.len() > 4 * LONGEST {
            break;
        }
    }
    shortened(text.chars())
}

/// As much of a text as is told of it.
fn shortened(mut characters: impl Iterator<Item = char>) -> String {
    let mut text: String = characters.by_ref().take(LONGEST).collect();
    if characters.next().is_some() {
        text.push('…');
    }
    text
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "string" => value.is_string(),
        _ => false,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// What is wrong with a number by the bounds it has.
fn number(fields: &Map<String, Value>, value: &Value) -> Option<String> {
    // Every number here is one that a double holds exactly.
    let number = value.as_f64()?;
    let bound = |keyword: &str| fields.get(keyword).and_then(Value::as_f64);
    let range = fields.get("format").and_then(Value::as_str).and_then(range_of);
    if range.is_some_and(|(least, greatest)| number < least || number > greatest) {
        return Some(format!("{value} is no {}", fields["format"].as_str().unwrap_or_default()));
    }
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        return Some(format!("{value} is less than {least}"));
    }
    if let Some(greatest) = bound("maximum").filter(|greatest| number > *greatest) {
        return Some(format!("{value} is more than {greatest}"));
    }
    if let Some(bound) = bound("exclusiveMinimum").filter(|bound| number <= *bound) {
        return Some(format!("{value} is not more than {bound}"));
    }
    if let Some(bound) = bound("exclusiveMaximum").filter(|bound| number >= *bound) {
        return Some(format!("{value} is not less than {bound}"));
    }
    None
}

/// What is wrong with a text by its length and its format.
fn string(fields: &Map<String, Value>, text: &str) -> Option<String> {
    if let Some(what) = counted(fields, "Length", text.chars().count(), "characters") {
        return Some(what);
    }
    let fits = match fields.get("format").and_then(Value::as_str)? {
        "uuid" => uuid::Uuid::try_parse(text).is_ok(),
        "ip" => text.parse::<std::net::IpAddr>().is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        // A format of numbers says nothing about a text.
        _ => true,
    };
    (!fits).then(|| format!("is no {}", fields["format"].as_str().unwrap_or_default()))
}

/// What is wrong with a count by `min…` and `max…`.
fn counted(fields: &Map<String, Value>, of: &str, count: usize, what: &str) -> Option<String> {
    let count = count as u64;
    let bound = |end: &str| fields.get(&format!("{end}{of}")).and_then(Value::as_u64);
    if let Some(least) = bound("min").filter(|least| count < *least) {
        return Some(format!("has {count} {what}, at least {least} are asked for"));
    }
    let most = bound("max").filter(|most| count > *most)?;
    Some(format!("has {count} {what}, {most} are allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fits(schema: &Value, value: Value) {
        assert_eq!(check(schema, &value), Ok(()), "{value}");
    }

    #[track_caller]
    fn mistakes(schema: &Value, value: Value) -> Vec<String> {
        match check(schema, &value) {
            Err(Unfit::Value(mistakes)) => mistakes,
            other => panic!("{value}: {other:?}"),
        }
    }

    fn payment() -> Value {
        json!({
            "type": "object",
            "properties": {
                "to": { "type": "string", "minLength": 2, "maxLength": 5 },
                "cents": { "type": "integer", "format": "uint32", "minimum": 1 },
                "kind": { "enum": ["gift", "refund"] },
                "note": { "type": ["string", "null"], "default": null },
                "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 2, "uniqueItems": true },
                "a/b~c": { "const": true },
            },
            "required": ["to", "cents"],
            "additionalProperties": false,
        })
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        fits(&payment(), json!({ "to": "ann", "cents": 1 }));
        fits(&payment(), json!({ "to": "ann", "cents": 9, "kind": "gift", "note": null, "tags": ["x", "y"] }));
        let found = mistakes(
            &payment(),
            json!({ "to": "a", "kind": "loan", "note": 1, "tags": ["x", "x", 3], "a/b~c": 0, "more": 1 }),
        );
        let expected = [
            "/cents: missing",
            "/a~1b~0c: expected true",
            "/kind: expected one of \"gift\", \"refund\"",
            "/more: unknown",
            "/note: expected string or null, found number",
            "/tags: has 3 items, 2 are allowed",
            "/tags: has an item twice",
            "/tags/2: expected string",
            "/to: has 1 characters, at least 2",
        ];
        for expected in expected {
            assert!(found.iter().any(|found| found.starts_with(expected)), "{expected} in {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        assert!(mistakes(&payment(), json!([]))[0].starts_with("the arguments: expected object"));
    }

    #[test]
    fn integers_have_the_range_of_their_format() {
        for (format, least, greatest) in
            [("int8", -128, 127), ("uint8", 0, 255), ("int16", -32768, 32767), ("uint32", 0, 4_294_967_295_i64)]
        {
            let schema = json!({ "type": "integer", "format": format });
            fits(&schema, json!(least));
            fits(&schema, json!(greatest));
            mistakes(&schema, json!(least - 1));
            mistakes(&schema, json!(greatest + 1));
        }
        let schema = json!({ "type": "integer", "format": "uint64", "minimum": 0 });
        mistakes(&schema, json!(-1));
        mistakes(&schema, json!(0.5));
        fits(&schema, json!(9_007_199_254_740_991_i64));
        let open = json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "format": "double" });
        fits(&open, json!(0.5));
        mistakes(&open, json!(0));
        mistakes(&open, json!(1));
        mistakes(&json!({ "maximum": 3 }), json!(4));
    }

    #[test]
    fn forms_and_references_are_followed() {
        let schema = json!({
            "$defs": {
                "Tree": { "type": "object", "properties": { "left": { "anyOf": [{ "$ref": "#/$defs/Tree" }, { "type": "null" }] } },
                          "additionalProperties": false },
            },
            "$ref": "#/$defs/Tree",
        });
        fits(&schema, json!({ "left": { "left": null } }));
        let found = mistakes(&schema, json!({ "left": { "left": { "right": 1 } } }));
        assert!(found[0].contains("/left/left/right: unknown"), "{found:?}");
        let one = json!({ "oneOf": [{ "type": "integer" }, { "minimum": 5 }] });
        fits(&one, json!(1));
        mistakes(&one, json!(7));
        mistakes(&one, json!(1.5));
        let all = json!({ "allOf": [{ "minimum": 1 }, { "maximum": 2 }] });
        fits(&all, json!(2));
        mistakes(&all, json!(3));
        let pair =
            json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "integer" }], "items": false });
        fits(&pair, json!(["x", 1]));
        mistakes(&pair, json!(["x", 1, 2]));
        mistakes(&pair, json!([1, "x"]));
        fits(&json!({ "additionalProperties": { "type": "integer" }, "minProperties": 1 }), json!({ "x": 1 }));
        mistakes(&json!({ "additionalProperties": { "type": "integer" } }), json!({ "x": "y" }));
        fits(&json!({ "type": "string", "format": "uuid" }), json!("018f5f3e-0000-7000-8000-000000000000"));
        mistakes(&json!({ "type": "string", "format": "uuid" }), json!("nobody"));
        mistakes(&json!({ "type": "string", "format": "ipv4" }), json!("1.2.3"));
        mistakes(&json!(false), json!(1));
    }

    #[test]
    fn a_schema_that_asks_for_more_than_is_known_is_not_checked_by_halves() {
        for (schema, named) in [
            (json!({ "pattern": "^a" }), "`pattern`"),
            (json!({ "properties": { "x": { "not": {} } } }), "`not`"),
            (json!({ "$defs": { "Unused": { "if": true } } }), "`if`"),
            (json!({ "items": { "patternProperties": {} } }), "`patternProperties`"),
            (json!({ "anyOf": [{ "unevaluatedProperties": false }] }), "`unevaluatedProperties`"),
            (json!({ "type": "string", "format": "date-time" }), "`date-time`"),
            (json!({ "multipleOf": 2 }), "`multipleOf`"),
            (json!({ "type": "text" }), "/type"),
            (json!({ "$ref": "https://example.org/schema" }), "/$ref"),
            (json!({ "$ref": "#/$defs/None" }), "leads nowhere"),
            (json!({ "minLength": -1 }), "/minLength"),
            (json!({ "properties": 3 }), "/properties"),
            (json!(3), "no schema"),
        ] {
            // The value passes by everything that is known.
            match check(&schema, &json!({})) {
                Err(Unfit::Schema(what)) => assert!(what.contains(named), "{named} in {what}"),
                other => panic!("{schema}: {other:?}"),
            }
        }
    }

    #[test]
    fn depth_and_work_are_bounded() {
        let endless = json!({ "$defs": { "A": { "$ref": "#/$defs/A" } }, "$ref": "#/$defs/A" });
        assert!(matches!(check(&endless, &json!(1)), Err(Unfit::Schema(_))));
        // Each reference is followed twice: a value of no size would take 2^n steps.
        let mut definitions = Map::new();
        for place in 0..40 {
            let to = json!({ "$ref": format!("#/$defs/D{}", place + 1) });
            definitions.insert(format!("D{place}"), json!({ "allOf": [to, to] }));
        }
        definitions.insert("D40".to_owned(), json!(true));
        let doubling = json!({ "$defs": definitions, "$ref": "#/$defs/D0" });
        assert!(matches!(check(&doubling, &json!(1)), Err(Unfit::Schema(_))));
        let deep = (0..1000).fold(json!(true), |inner, _| json!({ "items": inner }));
        assert!(matches!(check(&deep, &json!([])), Err(Unfit::Schema(_))));
        let many: Vec<Value> = (0..1000).map(Value::from).collect();
        assert_eq!(mistakes(&json!({ "items": { "type": "string" } }), json!(many)).len(), TOLD);
    }

    #[test]
    fn what_is_said_of_a_value_is_bounded_whatever_the_schema_lists() {
        let countries: Vec<Value> =
            (0..5000).map(|number| json!(format!("country number {number} {}", "x".repeat(99)))).collect();
        let many: Vec<Value> = (0..30_000).map(Value::from).collect();
        let members: Map<String, Value> = (0..9000).map(|number| (number.to_string(), json!(number))).collect();
        let listed = json!({ "enum": countries });
        for found in [
            mistakes(&json!({ "items": listed }), json!(many)),
            mistakes(&json!({ "prefixItems": [listed, listed] }), json!([1, 2])),
            mistakes(&json!({ "additionalProperties": listed }), Value::Object(members)),
            mistakes(&json!({ "items": { "anyOf": [listed, { "const": countries }] } }), json!(many)),
            mistakes(&json!({ "required": countries }), json!({})),
        ] {
            assert!((1..=TOLD).contains(&found.len()), "{}", found.len());
            assert!(found.iter().all(|mistake| mistake.chars().count() <= 2 * LONGEST), "{}", found[0].len());
        }
    }

    #[test]
    fn what_is_secret_is_named() {
        let schema = json!({ "properties": { "key": { "writeOnly": true }, "open": { "writeOnly": false }, "x": {} } });
        assert_eq!(sensitive(&schema), ["key"]);
    }
}
