//! Arguments that a person wrote: what of a resolution changes a call, and whether the call may be changed so. No I/O.

use serde_json::{Map, Number, Value};

use crate::digest::canonical;
use crate::records::approval::{Decision, Resolution};
use crate::records::call::CallRow;
use crate::rules::CallRows;
use crate::schema::{self, Unfit};
use crate::{ApprovalId, Error, PauseType, Result};

/// Bytes of canonical arguments, where the call does not say how many its agent allows.
const LIMIT: u32 = 64 * 1024;
/// Arrays and objects within each other, as for a model's arguments.
const DEPTH: usize = 64;
/// Largest integer that a double, and so canonical JSON, holds exactly.
const EXACT: u64 = (1 << 53) - 1;

/// What a resolution does beside deciding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// Other arguments: canonical JSON, checked against the schema of the call.
    Arguments(String),
    /// The result of a call that another system executes.
    Result(String),
}

/// The keys of `resolution_data` that change a call.
const KEYS: [&str; 3] = ["edited_args", "values", "result"];

/// Reads what a resolution changes, and checks that it may.
///
/// # Errors
///
/// - [`Error::Invalid`]: data that is no object, that changes something while it rejects, that asks for two changes, or
///   for one that the call does not have; values that do not fit, with every mistake.
/// - [`Error::NotEditable`]: there is no schema to check the arguments with, or none that this version can check.
pub(crate) fn change(rows: &CallRows, id: &ApprovalId, resolution: &Resolution) -> Result<Change> {
    let Some(data) = &resolution.data else { return Ok(Change::None) };
    let Some(data) = data.as_object() else { return Err(invalid("resolution_data is a JSON object")) };
    for (_, value) in data.iter().filter(|(key, _)| !KEYS.contains(&key.as_str())) {
        // Kept with the decision, and canonical JSON would keep something else.
        exact(value.clone(), 0).map_err(|what| Error::Invalid(format!("resolution_data: {what}")))?;
    }
    let fills = rows.policy.pause == Some(PauseType::UserInput);
    let fields = fillable(&rows.call);
    let flat = fills && KEYS.iter().all(|key| !data.contains_key(*key) || fields.iter().any(|field| field == key));
    let filled = data.keys().filter(|key| flat && fields.contains(key)).count();
    let given: Vec<&str> = KEYS.into_iter().filter(|key| filled == 0 && data.contains_key(*key)).collect();
    if given.is_empty() && filled == 0 {
        return Ok(Change::None);
    }
    if resolution.approve == Decision::Reject {
        return Err(invalid("a rejection changes nothing: leave `edited_args`, `values` and `result` out of its data"));
    }
    if filled > 0 {
        // All of them have to be fields: what is not is named, and nothing is filled.
        return with_values(&rows.call, id, &fields, data);
    }
    match given[..] {
        ["edited_args"] => {
            let arguments = data["edited_args"].as_object();
            let arguments = arguments.ok_or_else(|| invalid("resolution_data.edited_args is a JSON object"))?;
            checked(&rows.call, id, arguments.clone())
        }
        ["values"] if fills => {
            let values = data["values"].as_object();
            let values = values.ok_or_else(|| invalid("resolution_data.values is a JSON object"))?;
            with_values(&rows.call, id, &fields, values)
        }
        ["values"] => Err(invalid("this call has no fields to fill: to change its arguments, send `edited_args`")),
        ["result"] if rows.policy.pause == Some(PauseType::ExternalExecution) => match &data["result"] {
            Value::String(result) => Ok(Change::Result(result.clone())),
            _ => Err(invalid("resolution_data.result is a text")),
        },
        ["result"] => Err(invalid("only a call that another system executes takes a `result`")),
        _ => Err(invalid("resolution_data holds more than one of `edited_args`, `values` and `result`: send one")),
    }
}

fn invalid(what: &str) -> Error {
    Error::Invalid(what.to_owned())
}

/// The fields that may be filled: those the tool names, or all of its parameters.
fn fillable(call: &CallRow) -> Vec<String> {
    let named = call.user_fields.as_ref().map(|fields| fields.0.clone()).unwrap_or_default();
    if !named.is_empty() {
        return named;
    }
    let known = parameters(call);
    if known.is_none() {
        // What is known of a call without a schema. Nothing is filled without one, and that has to be said.
        return call.unfilled.0.clone();
    }
    let properties = known.and_then(|schema| schema.get("properties").and_then(Value::as_object).cloned());
    properties.into_iter().flatten().map(|(name, _)| name).collect()
}

fn parameters(call: &CallRow) -> Option<Value> {
    serde_json::from_str(call.parameters.as_deref()?).ok()
}

fn with_values(call: &CallRow, id: &ApprovalId, fields: &[String], values: &Map<String, Value>) -> Result<Change> {
    if call.parameters.is_some()
        && let Some(other) = values.keys().find(|name| !fields.contains(name))
    {
        let what = format!("`{other}` is not to be filled: the fields are `{}`", fields.join("`, `"));
        return Err(Error::Invalid(what));
    }
    let mut arguments: Map<String, Value> =
        serde_json::from_str(&call.arguments).map_err(|error| Error::corrupt("calls.arguments", error))?;
    arguments.extend(values.clone());
    checked(call, id, arguments)
}

/// The arguments as they are kept, if the call may have them.
fn checked(call: &CallRow, id: &ApprovalId, arguments: Map<String, Value>) -> Result<Change> {
    let not_editable = |why: String| Error::NotEditable { id: id.clone(), why };
    let Some(schema) = parameters(call) else {
        return Err(not_editable("the kern that asked for it stored no schema".to_owned()));
    };
    let arguments =
        exact(Value::Object(arguments), 0).map_err(|what| Error::Invalid(format!("the arguments: {what}")))?;
    let text = canonical(&arguments);
    let limit = call.argument_limit.unwrap_or(LIMIT);
    if text.len() as u64 > u64::from(limit) {
        return Err(Error::Invalid(format!("the arguments have {} bytes, {limit} are allowed", text.len())));
    }
    match schema::check(&schema, &arguments) {
        Ok(()) => {}
        Err(Unfit::Schema(what)) => return Err(not_editable(format!("its schema cannot be checked: {what}"))),
        Err(Unfit::Value(mistakes)) => {
            let what = format!("the arguments do not fit the tool `{}`. {}", call.tool_name, mistakes.join("; "));
            return Err(Error::Invalid(what));
        }
    }
    // What is there already is no edit. It is only decided on.
    if text == call.arguments && call.unfilled.0.is_empty() {
        return Ok(Change::None);
    }
    Ok(Change::Arguments(text))
}

/// The value as canonical JSON gives it back, where `1.0` and `1` are one.
fn exact(value: Value, depth: usize) -> Result<Value, String> {
    let deeper = |depth: usize| match depth {
        DEPTH => Err(format!("nested deeper than {DEPTH}")),
        depth => Ok(depth + 1),
    };
    Ok(match value {
        Value::Number(number) => Value::Number(exact_number(number)?),
        Value::Array(items) => {
            let depth = deeper(depth)?;
            Value::Array(items.into_iter().map(|item| exact(item, depth)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let depth = deeper(depth)?;
            let member = |(name, value)| Ok::<_, String>((name, exact(value, depth)?));
            Value::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

fn exact_number(number: Number) -> Result<Number, String> {
    let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
    let exact = match (whole, number.as_f64()) {
        (Some(whole), _) => (whole <= EXACT).then(|| number.clone()),
        (None, Some(double)) if double.fract() != 0.0 => double.is_finite().then(|| number.clone()),
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact in a double")]
        #[expect(clippy::cast_possible_truncation, reason = "the double is whole, and not larger than that")]
        (None, Some(double)) => (double.abs() <= EXACT as f64).then(|| Number::from(double as i64)),
        (None, None) => None,
    };
    exact.ok_or_else(|| format!("the number {number} is not exact in JSON: send it as a string"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_is_kept_as_canonical_json_gives_it_back() {
        for (given, kept) in [(json!(1.0), json!(1)), (json!(-0.0), json!(0)), (json!([0.5, -3e2]), json!([0.5, -300]))]
        {
            let read = exact(given, 0).expect("it is exact");
            assert_eq!(read, kept);
            assert_eq!(serde_json::from_str::<Value>(&canonical(&read)).expect("it is JSON"), read);
        }
        for inexact in [json!(9_007_199_254_740_992_u64), json!(i64::MIN), json!({ "x": [1e300] }), json!(u64::MAX)] {
            assert!(exact(inexact.clone(), 0).is_err(), "{inexact}");
        }
    }

    #[test]
    fn depth_is_bounded_as_it_is_for_a_model() {
        let nested = |depth| (0..depth).fold(Value::Null, |inner, _| json!([inner]));
        assert!(exact(nested(64), 0).is_ok());
        assert!(exact(nested(65), 0).is_err());
    }
}
