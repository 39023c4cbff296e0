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

/// Takes a value that did not come as a text, by the same rules.
pub(crate) fn read_value(value: Value) -> Result<Value, String> {
    read_nested(value, 0)
}

fn read_nested(value: Value, depth: usize) -> Result<Value, String> {
    if depth > DEPTH {
        return Err(format!("a value is nested deeper than {DEPTH}"));
    }
    Ok(match value {
        Value::Number(number) => Value::Number(canonical(number)?),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| read_nested(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let read = |(name, value)| Ok::<_, String>((name, read_nested(value, depth + 1)?));
            Value::Object(fields.into_iter().map(read).collect::<Result<_, _>>()?)
        }
        other => other,
    })
}

fn told(error: &serde_json::Error) -> String {
    format!("the arguments are not usable JSON: {error}")
}

/// Gives a number as it comes back from canonical JSON, where `1.0`, `1e0` and `1` are one: what `when` is asked about
/// has to be what the body gets.
fn canonical(number: Number) -> Result<Number, String> {
    let exact = match (number.as_u64(), number.as_i64(), number.as_f64()) {
        (Some(whole), ..) => (whole <= EXACT).then(|| number.clone()),
        (None, Some(whole), _) => (whole.unsigned_abs() <= EXACT).then(|| number.clone()),
        (None, None, Some(double)) if double.fract() != 0.0 => double.is_finite().then(|| number.clone()),
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact in a double")]
        #[expect(clippy::cast_possible_truncation, reason = "the double is whole, and not larger than that")]
        (None, None, Some(double)) => (double.abs() <= EXACT as f64).then(|| Number::from(double as i64)),
        (None, None, None) => None,
    };
    exact.ok_or_else(|| format!("the number {number} is not exact in JSON: send it as a string"))
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
    Ok(Value::Number(canonical(number).map_err(E::custom)?))
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
    fn a_number_is_read_as_canonical_json_gives_it_back() {
        let texts = ["1", "1.0", "1e0", "10e-1", "-0", "-0.0", "0.5", "5e-1", "-3e2", "9007199254740991.0", "1e-7"];
        for text in texts {
            let read = Value::Object(read_arguments(&format!("{{\"a\": {text}}}"), 64).unwrap());
            let canonical = kern_db::canonical_json(&read);
            assert_eq!(Value::Object(read_arguments(&canonical, 64).unwrap()), read, "{text} as {canonical}");
            assert_eq!(serde_json::from_str::<Value>(&canonical).unwrap(), read, "{text} as {canonical}");
            let given = read_value(serde_json::from_str(&format!("{{\"a\": {text}}}")).unwrap()).unwrap();
            assert_eq!(given, read, "{text}");
        }
        assert!(read_value(serde_json::json!([9_007_199_254_740_992_u64])).is_err());
        assert!(read_value(serde_json::json!({ "a": 1e300 })).is_err());
        let deep = (0..100).fold(Value::Null, |value, _| Value::Array(vec![value]));
        assert!(read_value(deep).unwrap_err().contains("nested deeper"));
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
