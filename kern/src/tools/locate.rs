//! Where inside of an argument the mistake is, for the model to mend.
//!
//! This reader decides nothing: it is asked only after the argument was refused, and is believed only where it refuses for
//! the same reason.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer as _,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Map, Value};

/// The way to the place that is being read: unescaped keys and indices.
type Path = RefCell<Vec<String>>;

/// Reads the value once more, with an eye on the way. Gives the keys and indices on the way to the place that was refused
/// for this reason; none, if it is refused for another or not at all.
pub(super) fn locate<T: DeserializeOwned>(value: Value, reason: &str) -> Vec<String> {
    let path = Path::default();
    match T::deserialize(Located { value, path: &path }) {
        Err(error) if error.to_string() == reason => path.into_inner(),
        _ => Vec::new(),
    }
}

/// A value, and the way to it. What is read without a mistake leaves the way as it was.
struct Located<'p> {
    value: Value,
    path: &'p Path,
}

impl Located<'_> {
    /// Reads what is inside, one step further.
    fn step<T>(path: &Path, step: String, read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        path.borrow_mut().push(step);
        let read = read()?;
        path.borrow_mut().pop();
        Ok(read)
    }
}

impl<'de> Deserializer<'de> for Located<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let path = self.path;
        match self.value {
            Value::Array(items) => {
                let mut items = Items { items: items.into_iter(), index: 0, path };
                let value = visitor.visit_seq(&mut items)?;
                match items.items.len() {
                    0 => Ok(value),
                    more => Err(Error::invalid_length(items.index + more, &"fewer elements in array")),
                }
            }
            Value::Object(fields) => {
                let mut fields = Fields { fields: fields.into_iter(), value: None, path };
                let value = visitor.visit_map(&mut fields)?;
                match fields.fields.len() {
                    0 => Ok(value),
                    more => Err(Error::invalid_length(more, &"fewer elements in map")),
                }
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => visitor.visit_enum(Variant { fields, path: self.path }),
            other => other.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Items<'p> {
    items: std::vec::IntoIter<Value>,
    index: usize,
    path: &'p Path,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(value) = self.items.next() else { return Ok(None) };
        let (step, path) = (self.index.to_string(), self.path);
        self.index += 1;
        Located::step(path, step, || seed.deserialize(Located { value, path })).map(Some)
    }
}

struct Fields<'p> {
    fields: serde_json::map::IntoIter,
    value: Option<(String, Value)>,
    path: &'p Path,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((key, value)) = self.fields.next() else { return Ok(None) };
        self.value = Some((key.clone(), value));
        // Keys are read by `serde_json` itself, which knows of numbers that are written as strings.
        let alone = Value::Object(Map::from_iter([(key, Value::Null)]));
        alone.deserialize_map(Key(seed)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (step, value) = self.value.take().ok_or_else(|| Error::custom("a value before its key"))?;
        let path = self.path;
        Located::step(path, step, || seed.deserialize(Located { value, path }))
    }
}

/// Reads the key of an object that has one.
struct Key<S>(S);

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Key<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<S::Value, A::Error> {
        let key = map.next_key_seed(self.0)?.ok_or_else(|| A::Error::custom("no key"))?;
        map.next_value::<IgnoredAny>()?;
        Ok(key)
    }
}

/// A variant as JSON writes it: an object of its name and what is in it.
struct Variant<'p> {
    fields: Map<String, Value>,
    path: &'p Path,
}

struct Inside<'p> {
    name: String,
    value: Value,
    path: &'p Path,
}

impl<'de, 'p> EnumAccess<'de> for Variant<'p> {
    type Error = Error;
    type Variant = Inside<'p>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Inside<'p>), Error> {
        let mut fields = self.fields.into_iter();
        let (Some((name, value)), None) = (fields.next(), fields.next()) else {
            return Err(Error::custom("not one variant"));
        };
        let variant = seed.deserialize(name.clone().into_deserializer())?;
        Ok((variant, Inside { name, value, path: self.path }))
    }
}

impl Inside<'_> {
    fn read<T>(self, read: impl FnOnce(Located<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let Self { name, value, path } = self;
        Located::step(path, name, || read(Located { value, path }))
    }
}

impl<'de> VariantAccess<'de> for Inside<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        self.read(|inside| <()>::deserialize(inside))
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.read(|inside| seed.deserialize(inside))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.read(|inside| inside.deserialize_any(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        self.read(|inside| inside.deserialize_any(visitor))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Order {
        id: u8,
        items: Vec<Item>,
        note: Option<Note>,
        #[serde(default)]
        by_number: BTreeMap<u8, (u8, bool)>,
        #[serde(default)]
        kind: Kind,
    }

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Item {
        price: f64,
        name: String,
    }

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Note(String);

    #[derive(Debug, Default, PartialEq, Deserialize, Serialize)]
    enum Kind {
        #[default]
        Plain,
        Gift(Item),
        Pair(u8, u8),
        Named {
            name: String,
        },
    }

    fn place(value: Value) -> Option<String> {
        let reason = serde_json::from_value::<Order>(value.clone()).err()?.to_string();
        Some(locate::<Order>(value, &reason).join("/"))
    }

    #[test]
    fn the_place_of_a_mistake_is_found_at_any_depth() {
        let right = json!({
            "id": 1,
            "items": [{ "price": 1, "name": "a" }, { "price": 1.5, "name": "b" }],
            "note": "n",
            "by_number": { "7": [1, true] },
            "kind": { "Gift": { "price": 0, "name": "c" } },
        });
        assert_eq!(place(right.clone()), None);
        for (pointer, wrong, expected) in [
            ("/id", json!("1"), "id"),
            ("/id", json!(256), "id"),
            ("/items", json!({}), "items"),
            ("/items/1", json!(null), "items/1"),
            ("/items/1/price", json!("1"), "items/1/price"),
            ("/items/0/name", json!([1]), "items/0/name"),
            ("/items/0", json!({ "price": 1 }), "items/0"),
            ("/items/0", json!({ "price": 1, "name": "a", "more": 1 }), "items/0"),
            ("/note", json!(["n"]), "note"),
            ("/by_number", json!({ "seven": [1, true] }), "by_number"),
            ("/by_number/7", json!([1]), "by_number/7"),
            ("/by_number/7", json!([1, true, 2]), "by_number/7"),
            ("/by_number/7/1", json!(0), "by_number/7/1"),
            ("/kind", json!("Gift"), "kind"),
            ("/kind", json!("Other"), "kind"),
            ("/kind", json!({ "Gift": { "price": 1 } }), "kind/Gift"),
            ("/kind", json!({ "Gift": { "price": 1, "name": 2 } }), "kind/Gift/name"),
            ("/kind", json!({ "Pair": [1, -1] }), "kind/Pair/1"),
            ("/kind", json!({ "Named": { "name": 0 } }), "kind/Named/name"),
        ] {
            let mut value = right.clone();
            *value.pointer_mut(pointer).expect("the place is there") = wrong.clone();
            assert_eq!(place(value).as_deref(), Some(expected), "{pointer} = {wrong}");
        }
    }

    #[test]
    fn what_this_reader_takes_or_refuses_for_another_reason_has_no_place() {
        assert_eq!(locate::<Order>(json!({ "id": "1" }), "another reason"), Vec::<String>::new());
        assert_eq!(locate::<u8>(json!(1), "any"), Vec::<String>::new());
    }
}
