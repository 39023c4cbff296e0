//! Arguments of a tool: from Rust types to one JSON Schema, and from JSON to the types.

use std::fmt;
use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde_json::{Map, Value, json};

use super::locate::locate;
use super::{ArgumentError, Arguments};

/// A type that a tool can take as an argument.
///
/// It is implemented for everything that is `Deserialize` and `JsonSchema`; derive these two (from `serde` and from
/// `schemars` 1) for a type of one's own. A type that can be made from nothing, as `Option` can, is optional.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a tool: it has no JSON Schema, or cannot be read from JSON",
    label = "not an argument the model could fill",
    note = "derive both for it: `#[derive(serde::Deserialize, schemars::JsonSchema)]` (schemars 1)"
)]
pub trait ToolArg: Sized {
    #[doc(hidden)]
    fn __schema(generator: &mut SchemaGenerator) -> Schema;

    #[doc(hidden)]
    fn __decode(value: Option<Value>) -> Result<Self, String>;

    #[doc(hidden)]
    fn __locate(value: Value, reason: &str) -> Vec<String>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + JsonSchema> ToolArg for T {
    fn __schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }

    fn __decode(value: Option<Value>) -> Result<Self, String> {
        match value {
            Some(value) => T::deserialize(value).map_err(|error| error.to_string()),
            None => T::deserialize(Missing).map_err(|Absent| Absent.to_string()),
        }
    }

    fn __locate(value: Value, reason: &str) -> Vec<String> {
        locate::<T>(value, reason)
    }
}

/// One parameter of a tool. The bound on its type was used up when it was made ([`arg`]), so that a type without a
/// schema is one error and not one for each place that touches the parameter.
pub struct Arg<T> {
    name: &'static str,
    docs: &'static [&'static str],
    sensitive: bool,
    default: Option<Fallback<T>>,
    schema: fn(&mut SchemaGenerator) -> Schema,
    decode: fn(Option<Value>) -> Result<T, String>,
    locate: fn(Value, &str) -> Vec<String>,
}

/// Makes a parameter of its name, the lines of its documentation, and what `#[arg(…)]` says of it.
pub const fn arg<T: ToolArg>(
    name: &'static str,
    docs: &'static [&'static str],
    sensitive: bool,
    default: Option<Fallback<T>>,
) -> Arg<T> {
    Arg { name, docs, sensitive, default, schema: T::__schema, decode: T::__decode, locate: T::__locate }
}

/// What an absent argument is.
///
/// Where the value can be written as JSON and read back, it is made once and kept: it is in the schema that a paused call
/// is bound to, so what somebody approved is what the body gets, also if the expression gives something else by then.
/// Any other value is made anew for each call.
pub struct Fallback<T> {
    make: fn() -> T,
    json: fn(&T) -> Option<Value>,
    kept: OnceLock<Option<Value>>,
}

/// Makes a default of its expression, and of what is known of writing it as JSON ([`IsShown`], [`IsOpaque`]).
pub const fn fallback<T>(make: fn() -> T, json: fn(&T) -> Option<Value>) -> Fallback<T> {
    Fallback { make, json, kept: OnceLock::new() }
}

/// A type that a string literal after `default =` is converted to. It is implemented for everything that is
/// `From<&'static str>`.
#[diagnostic::on_unimplemented(
    message = "a string cannot be the default of a `{Self}`",
    label = "not a `{Self}`",
    note = "write an expression of this type, or implement `From<&'static str>` for it"
)]
pub trait FromText: Sized {
    #[doc(hidden)]
    fn __from_text(text: &'static str) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T: From<&'static str>> FromText for T {
    fn __from_text(text: &'static str) -> Self {
        Self::from(text)
    }
}

/// Converts the string literal after `default =`.
pub fn text<T: FromText>(text: &'static str) -> T {
    T::__from_text(text)
}

/// Can the default be in the schema? Chosen first.
pub trait IsShown {
    #[doc(hidden)]
    fn __kern_json(&self) -> Option<Value>;
}

impl<T: Serialize> IsShown for T {
    fn __kern_json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

/// Anything else.
pub trait IsOpaque {
    #[doc(hidden)]
    fn __kern_json(&self) -> Option<Value> {
        None
    }
}

impl<T> IsOpaque for &T {}

impl<T> Arg<T> {
    /// Reads the argument for a `when` that does not name it. `None`: it is missing or of another type.
    pub fn peek(&self, arguments: &Arguments) -> Option<T> {
        self.read(arguments.get(self.name).cloned()).ok()
    }

    /// Reads the argument for a `when` that names it. `None`, too: it is absent, and its default is made anew for the body,
    /// which may get another value than the one that was judged.
    pub fn judge(&self, arguments: &Arguments) -> Option<T> {
        let made_anew = self.default.is_some() && self.kept().is_none();
        if made_anew && !arguments.contains_key(self.name) { None } else { self.peek(arguments) }
    }

    /// Takes the argument out of a call that may run.
    ///
    /// # Errors
    ///
    /// The argument is missing, or of another type.
    pub fn take(&self, arguments: &mut Arguments) -> Result<T, ArgumentError> {
        self.read(arguments.remove(self.name)).map_err(|message| ArgumentError::new(pointer(self.name), message))
    }

    fn read(&self, value: Option<Value>) -> Result<T, String> {
        match (value, &self.default) {
            (None, Some(default)) => match self.kept() {
                Some(json) => (self.decode)(Some(json.clone())),
                None => Ok((default.make)()),
            },
            (value, _) => (self.decode)(value),
        }
    }

    /// The default as JSON, if it can be read back.
    fn kept(&self) -> Option<&Value> {
        let default = self.default.as_ref()?;
        let make = || (default.json)(&(default.make)()).filter(|json| (self.decode)(Some(json.clone())).is_ok());
        default.kept.get_or_init(make).as_ref()
    }
}

/// A parameter whose type is forgotten.
pub trait AnyArg: Sync {
    /// Its name in JSON.
    fn name(&self) -> &'static str;
    /// The lines of its documentation.
    fn docs(&self) -> &'static [&'static str];
    /// `#[arg(sensitive)]`: displays and notifications leave it out.
    fn sensitive(&self) -> bool;
    /// What it is when it is absent, where that can be said in JSON.
    fn default(&self) -> Option<&Value>;
    /// The schema of its type. A named type goes to the generator's definitions.
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;
    /// Reads a value of its type and forgets it again.
    ///
    /// # Errors
    ///
    /// What is wrong with the value and where, or that there has to be one.
    fn check(&self, value: Option<&Value>) -> Result<(), ArgumentError>;
}

impl<T> AnyArg for Arg<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn docs(&self) -> &'static [&'static str] {
        self.docs
    }

    fn sensitive(&self) -> bool {
        self.sensitive
    }

    fn default(&self) -> Option<&Value> {
        self.kept()
    }

    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }

    fn check(&self, value: Option<&Value>) -> Result<(), ArgumentError> {
        self.read(value.cloned()).map(drop).map_err(|message| {
            let steps = value.map(|value| (self.locate)(value.clone(), &message)).unwrap_or_default();
            let place = pointer(self.name) + &steps.iter().map(|step| pointer(step)).collect::<String>();
            ArgumentError::new(place, message)
        })
    }
}

impl<T> fmt::Debug for Arg<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Arg").field(&self.name).finish()
    }
}

/// Assembles the schema of all arguments: always an object that says which properties it has, which of them are
/// required, and that there are no others.
pub fn object_schema(args: &[&dyn AnyArg]) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut properties = Map::new();
    let mut required = Vec::new();
    for arg in args {
        let mut schema = arg.schema(&mut generator);
        let description = doc_text(arg.docs());
        if !description.is_empty() {
            schema.insert("description".to_owned(), description.into());
        }
        if let Some(default) = arg.default() {
            schema.insert("default".to_owned(), default.clone());
        }
        if arg.sensitive() {
            // JSON Schema's own word for "not to be shown": it is stored with the tool, so that whoever shows a call knows.
            schema.insert("writeOnly".to_owned(), true.into());
        }
        properties.insert(arg.name().to_owned(), schema.to_value());
        if arg.check(None).is_err() {
            required.push(arg.name());
        }
    }
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    let definitions = generator.take_definitions(true);
    if !definitions.is_empty() {
        object["$defs"] = Value::Object(definitions);
    }
    object
}

/// Checks all arguments, and names every problem at once: first of the parameters in their order, then what is no
/// parameter.
///
/// # Errors
///
/// One error for each argument that is missing, unknown or of another type.
pub fn check(args: &[&dyn AnyArg], arguments: &Arguments, unfilled: &[String]) -> Result<(), Vec<ArgumentError>> {
    let mut errors = Vec::new();
    for arg in args {
        let value = arguments.get(arg.name());
        if value.is_none() && unfilled.iter().any(|name| name == arg.name()) {
            continue;
        }
        errors.extend(arg.check(value).err());
    }
    for name in arguments.keys() {
        if !args.iter().any(|arg| arg.name() == name) {
            errors.push(unknown(name));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Refuses what is left when every parameter was taken.
///
/// # Errors
///
/// The first argument that no parameter took.
pub fn nothing_left(arguments: &Arguments) -> Result<(), ArgumentError> {
    arguments.keys().next().map_or(Ok(()), |name| Err(unknown(name)))
}

fn unknown(name: &str) -> ArgumentError {
    ArgumentError::new(pointer(name), "unknown argument, the tool has no such parameter")
}

/// One step of a JSON pointer (RFC 6901): a property, or an index.
fn pointer(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// The text of a doc comment: `///` lines lose the indentation they share, `/** */` blocks their indentation and the
/// stars in front of their lines.
pub fn doc_text(docs: &[&str]) -> String {
    let indent = docs
        .iter()
        .filter(|doc| !doc.contains('\n') && !doc.trim().is_empty())
        .map(|doc| doc.len() - doc.trim_start().len())
        .min()
        .unwrap_or(0);
    let mut text = String::new();
    for doc in docs {
        if doc.contains('\n') {
            let starred = doc.lines().skip(1).all(|line| line.trim().is_empty() || line.trim().starts_with('*'));
            for line in doc.lines().map(str::trim) {
                text.push_str(if starred { line.trim_start_matches('*').trim_start() } else { line });
                text.push('\n');
            }
        } else {
            text.push_str(doc.get(indent..).unwrap_or_default().trim_end());
            text.push('\n');
        }
    }
    text.trim().to_owned()
}

/// An argument that is not there, as serde's derive sees a missing field: only an `Option` can be made of it.
struct Missing;

#[derive(Debug)]
struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("missing, the argument is required")
    }
}

impl std::error::Error for Absent {}

impl serde::de::Error for Absent {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for Missing {
    type Error = Absent;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Absent> {
        Err(Absent::custom(""))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Absent> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
