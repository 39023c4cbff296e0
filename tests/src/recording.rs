//! Holds JSON against a recording of it.

use serde_json::Value;

/// Gives all that differs, by place: keys, nulls, types, and the values that are not the same by `same`, which is asked
/// with the key of values that are of one type and not equal.
#[must_use]
pub fn differences(
    place: &str,
    recorded: &Value,
    found: &Value,
    same: &dyn Fn(&str, &Value, &Value) -> bool,
) -> Vec<String> {
    let key = place.rsplit('.').next().unwrap_or_default();
    match (recorded, found) {
        (Value::Object(recorded), Value::Object(found)) => {
            let mut names: Vec<&String> = recorded.keys().chain(found.keys()).collect();
            names.sort_unstable();
            names.dedup();
            let compare = |name: &String| match (recorded.get(name), found.get(name)) {
                (Some(recorded), Some(found)) => differences(&format!("{place}.{name}"), recorded, found, same),
                (Some(_), None) => vec![format!("{place}.{name}: missing")],
                _ => vec![format!("{place}.{name}: not in the recording")],
            };
            names.into_iter().flat_map(compare).collect()
        }
        (Value::Array(recorded), Value::Array(found)) if recorded.len() == found.len() => {
            let pairs = recorded.iter().zip(found).enumerate();
            pairs
                .flat_map(|(at, (recorded, found))| differences(&format!("{place}[{at}]"), recorded, found, same))
                .collect()
        }
        _ if type_of(recorded) == type_of(found) && (recorded == found || same(key, recorded, found)) => Vec::new(),
        _ => vec![format!("{place}: {recorded} became {found}")],
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
