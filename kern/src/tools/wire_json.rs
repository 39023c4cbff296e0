//! Reads a model's arguments strictly: what a human is shown stands for exactly one value, or the model is told.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::Arguments;

/// Largest integer that a double, and so canonical JSON, holds exactly.
const EXACT: u64 = (1 << 53) - 1;
/// Arrays and objects within each other.
const DEPTH: usize = 64;

/// Reads the arguments of a call.
///
/// # Errors
///
/// What is wrong, in words for the model: no JSON, no object, too large, nested too deep, a key given twice, a number
/// that canonical JSON does not hold exactly, half of a surrogate pair.
pub(crate) fn read_arguments(text: &str, limit: usize) -> Result<Arguments, String> {
    if text.len() > limit {
        return Err(format!("the arguments have {} bytes, {limit} are allowed", text.len()));
    }
    // Some providers send an empty text, one sends `null`, for a call without arguments.
    if matches!(text.trim(), "" | "null") {
        return Ok(Map::new());
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).map_err(|error| told(&error))?;
    deserializer.end().map_err(|error| told(&error))?;
    match value {
        Value::Object(arguments) => Ok(arguments),
        _ => Err("the arguments are not a JSON object".to_owned()),
    }
}

/// Checks a value that did not come as a text, by the same rules.
pub(crate) fn check_value(value: &Value) -> Result<(), String> {
    match value {
        Value::Number(number) => exact(number),
        Value::Array(items) => items.iter().try_for_each(check_value),
        Value::Object(fields) => fields.values().try_for_each(check_value),
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

fn told(error: &serde_json::Error) -> String {
    format!("the arguments are not usable JSON: {error}")
}

fn exact(number: &Number) -> Result<(), String> {
    let fits = match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(number), ..) => number <= EXACT,
        (None, Some(number), _) => number.unsigned_abs() <= EXACT,
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact in a double")]
        (None, None, Some(number)) => number.is_finite() && (number.fract() != 0.0 || number.abs() <= EXACT as f64),
        (None, None, None) => false,
    };
    if fits { Ok(()) } else { Err(format!("the number {number} is not exact in JSON: send it as a string")) }
}

/// A value in which every key stands once and every number is exact.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH {
            return Err(E::custom(format_args!("nested deeper than {DEPTH}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

fn number<E: de::Error>(number: Number) -> Result<Value, E> {
    exact(&number).map_err(E::custom)?;
    Ok(Value::Number(number))
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        number(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        number(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        number(Number::from_f64(value).ok_or_else(|| E::custom("a number is not finite"))?)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(deeper)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(deeper)?;
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key:?} is given twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        read_arguments(text, 65_536).expect_err(text)
    }

    #[test]
    fn what_stands_for_one_value_is_read() {
        let read = read_arguments(r#"{"a": [1, -2.5, null, true, "é"], "b": {"c": 9007199254740991}}"#, 65_536);
        assert_eq!(
            Value::Object(read.unwrap()),
            serde_json::json!({"a": [1, -2.5, null, true, "é"], "b": {"c": 9_007_199_254_740_991_i64}})
        );
        for nothing in ["", " ", "{}", "null"] {
            assert!(read_arguments(nothing, 65_536).unwrap().is_empty(), "{nothing:?}");
        }
    }

    #[test]
    fn what_could_stand_for_two_values_is_refused() {
        assert!(refusal(r#"{"a": 1, "a": 2}"#).contains("given twice"));
        assert!(refusal(r#"{"a": {"b": 1, "b": 1}}"#).contains("given twice"));
        assert!(refusal(r#"{"a": 9007199254740992}"#).contains("send it as a string"));
        assert!(refusal(r#"{"a": -9007199254740992}"#).contains("send it as a string"));
        assert!(refusal(r#"{"a": 123456789012345678901234567890}"#).contains("send it as a string"));
        assert!(refusal(r#"{"a": 1e400}"#).contains("out of range"));
        assert!(refusal(r#"{"a": NaN}"#).contains("not usable JSON"));
        assert!(refusal(r#"{"a": "\ud800"}"#).contains("not usable JSON"));
        assert!(refusal("[1]").contains("not a JSON object"));
        assert!(refusal("{} {}").contains("not usable JSON"));
        assert!(refusal(r#"{"a": "#).contains("not usable JSON"));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert!(
            refusal(&format!("{{\"a\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000))).contains("nested deeper")
        );
        let large = format!("{{\"a\": \"{}\"}}", "x".repeat(70_000));
        assert!(refusal(&large).contains("65536 are allowed"));
        assert!(read_arguments(&format!("{{\"a\": {}1{}}}", "[".repeat(63), "]".repeat(63)), 65_536).is_ok());
    }
}
