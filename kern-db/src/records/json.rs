//! Stored JSON that goes out as JSON again, without values made of it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A text of JSON, looked at as closely as if a value was made of it. What is not in the order that kern writes, or names a key
/// twice, was written by somebody else: then it is what the value says.
#[derive(Debug)]
pub(crate) struct Text<'a>(Cow<'a, RawValue>);

impl<'a> Text<'a> {
    pub(crate) fn any(text: &'a str) -> serde_json::Result<Self> {
        let Seen { is_ordered, .. } = serde_json::from_str(text)?;
        Self::of(text, is_ordered, || serde_json::from_str::<Value>(text))
    }

    pub(crate) fn object(text: &'a str) -> serde_json::Result<Self> {
        match serde_json::from_str(text)? {
            Seen { is_ordered, is_object: true } => Self::of(text, is_ordered, || serde_json::from_str::<Value>(text)),
            // For the error's sake.
            Seen { .. } => Self::of(text, false, || serde_json::from_str::<Map<String, Value>>(text)),
        }
    }

    fn of<V: Serialize>(
        text: &'a str,
        is_ordered: bool,
        value: impl FnOnce() -> serde_json::Result<V>,
    ) -> serde_json::Result<Self> {
        Ok(Self(match is_ordered {
            true => Cow::Borrowed(serde_json::from_str(text)?),
            false => Cow::Owned(serde_json::value::to_raw_value(&value()?)?),
        }))
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// What was seen of a value.
#[derive(Clone, Copy)]
struct Seen {
    is_object: bool,
    /// Whether the keys of every object are in order, and none is there twice.
    is_ordered: bool,
}

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

const PLAIN: Seen = Seen { is_object: false, is_ordered: true };

impl<'de> Visitor<'de> for Look {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        // A value may write it another way.
        Ok(Seen { is_ordered: false, ..PLAIN })
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(PLAIN)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Seen, A::Error> {
        let mut is_ordered = true;
        while let Some(item) = items.next_element::<Seen>()? {
            is_ordered &= item.is_ordered;
        }
        Ok(Seen { is_object: false, is_ordered })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Seen, A::Error> {
        let mut is_ordered = true;
        let mut last: Option<Key<'de>> = None;
        while let Some(key) = fields.next_key::<Key<'de>>()? {
            is_ordered &= last.is_none_or(|last| last.0 < key.0);
            is_ordered &= fields.next_value::<Seen>()?.is_ordered;
            last = Some(key);
        }
        Ok(Seen { is_object: true, is_ordered })
    }
}

/// A key, borrowed where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyLook)
    }
}

struct KeyLook;

impl<'de> Visitor<'de> for KeyLook {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(key)))
    }

    fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(key.to_owned())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_through_is_what_a_value_says() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1e2",
            "99999999999999999999",
            "\"a\\u0000\\n\\ud83d\\ude00\"",
            "[]",
            "{}",
            r#"{"a":1,"b":[{"c":"d"}]}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            r#"[{"x":{"b":1,"a":2}}]"#,
            r#"{"a\u0062":1,"ac":2}"#,
        ] {
            let value: Value = serde_json::from_str(text).expect("it is JSON");
            let through = Text::any(text).expect("it is JSON");
            let through: Value = serde_json::from_str(through.0.get()).expect("it stays JSON");
            assert_eq!(through, value, "{text}");
            assert_eq!(Text::object(text).is_ok(), value.is_object(), "{text}");
        }
        assert_eq!(Text::any(r#"{"a":1,"a":2}"#).expect("it is JSON").0.get(), r#"{"a":2}"#);
    }

    #[test]
    fn what_is_no_value_does_not_go_through() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in ["", "{", "{} x", "\"\\ud800\"", "1e999", "nan", "{'a':1}", "[1,]", &deep] {
            let value = serde_json::from_str::<Value>(text).expect_err("it is none");
            let through = Text::any(text).expect_err("it is none");
            assert_eq!(through.to_string(), value.to_string(), "{text}");
        }
    }
}
