//! What the two built-in pausing tools share: a list of things to fill in stands in their arguments, and the user's
//! answers are put beside each, so that digest, claim and log cover them.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::ser::Formatter;
use serde_json::{Map, Value};

use super::wire_json::read_value;
use super::{ArgumentError, Arguments, control_flow, feedback};
use crate::run::{RunRequirement, ToolExecution};

/// The mark of a tool whose arguments are a form. Only kern's own tools have it; a tool of the same name has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `get_user_input`: fields to be filled.
    Fields,
    /// `ask_user`: questions with options.
    Questions,
}

impl Form {
    /// The argument that holds the list.
    pub(crate) const fn argument(self) -> &'static str {
        match self {
            Self::Fields => "user_input_fields",
            Self::Questions => "questions",
        }
    }

    /// The key that names an entry of the list.
    const fn name(self) -> &'static str {
        match self {
            Self::Fields => "field_name",
            Self::Questions => "question",
        }
    }

    /// The key that an answer gets beside it.
    pub(crate) const fn answer(self) -> &'static str {
        match self {
            Self::Fields => "value",
            Self::Questions => "selected_options",
        }
    }

    /// Shows the form, with the answers where there are some. The arguments are shown as the model wrote them.
    pub(crate) fn show(self, mut arguments: Arguments, tool: &mut ToolExecution) {
        match self {
            Self::Fields => tool.user_input_schema = control_flow::read(&arguments).ok(),
            Self::Questions => tool.user_feedback_schema = feedback::read(&arguments).ok(),
        }
        self.entries(&mut arguments).for_each(|entry| drop(entry.remove(self.answer())));
        tool.tool_args = Some(arguments);
    }

    /// Puts the answers of a requirement into the arguments. `None`: not all of them are given, and nothing says that
    /// they are. Whether they fit is the tool's own check.
    ///
    /// # Errors
    ///
    /// What is wrong with the form that came back: an answer to something that was not asked, or two to the same; one
    /// that is missing where the form claims to be complete.
    pub(crate) fn answered(
        self,
        mut arguments: Arguments,
        requirement: &RunRequirement,
    ) -> Result<Option<Arguments>, String> {
        let mut given: Map<String, Value> = Map::new();
        for (name, answer) in self.answers(requirement) {
            if !self.entries(&mut arguments).any(|entry| entry.get(self.name()).is_some_and(|asked| *asked == name)) {
                return Err(format!("`{name}` was not asked"));
            }
            if given.insert(name.clone(), read_value(answer)?).is_some() {
                return Err(format!("`{name}` is answered twice"));
            }
        }
        for entry in self.entries(&mut arguments) {
            let name = entry.get(self.name()).and_then(Value::as_str).unwrap_or_default();
            match given.remove(name) {
                Some(answer) => drop(entry.insert(self.answer().to_owned(), answer)),
                None if requirement.tool_execution.answered == Some(true) => {
                    return Err(format!("`{name}` is not answered"));
                }
                None => return Ok(None),
            }
        }
        Ok(Some(arguments))
    }

    /// Reads the list.
    ///
    /// # Errors
    ///
    /// It is missing, empty or too long, something stands beside it, or an entry is not what it has to be.
    pub(super) fn read<T: DeserializeOwned>(self, arguments: &Arguments, most: usize) -> Result<Vec<T>, Errors> {
        let argument = self.argument();
        let at_list = |what: &str| vec![ArgumentError::new(format!("/{argument}"), what)];
        if let Some(other) = arguments.keys().find(|name| *name != argument) {
            return Err(vec![ArgumentError::new("", format!("`{other}` is no argument of this tool"))]);
        }
        let list = arguments.get(argument).ok_or_else(|| at_list("it is missing"))?;
        let list = list.as_array().ok_or_else(|| at_list("it is to be an array"))?;
        if list.is_empty() {
            return Err(at_list("it is empty: there is nothing to ask"));
        }
        if list.len() > most {
            return Err(at_list(&format!("it has {} entries, {most} are allowed", list.len())));
        }
        let (mut read, mut errors) = (Vec::with_capacity(list.len()), Vec::new());
        for (place, entry) in list.iter().enumerate() {
            match T::deserialize(entry) {
                Ok(entry) => read.push(entry),
                Err(error) => errors.push(self.error(place, error)),
            }
        }
        if errors.is_empty() { Ok(read) } else { Err(errors) }
    }

    /// Checks that the entries can be told apart by the people who answer and by their names.
    ///
    /// # Errors
    ///
    /// One for each name that is empty or not the first of its kind.
    pub(super) fn distinct(self, names: &[&str]) -> Result<(), Errors> {
        let errors: Errors = indistinct(names, self.name()).map(|(place, what)| self.error(place, what)).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Checks the answers of a form that was read: none while the form is open, fitting ones for each entry after that.
    ///
    /// # Errors
    ///
    /// One for each entry that the model has answered itself, or whose answer is `wrong`.
    pub(super) fn check<T>(
        self,
        arguments: &Arguments,
        unfilled: &[String],
        entries: &[T],
        wrong: impl Fn(&T) -> Option<String>,
    ) -> Result<(), Errors> {
        let errors: Errors = if unfilled.iter().any(|argument| argument == self.argument()) {
            let list = arguments.get(self.argument()).and_then(Value::as_array).into_iter().flatten();
            let answered = list.enumerate().filter(|(_, entry)| entry.get(self.answer()).is_some());
            answered
                .map(|(place, _)| self.error(place, format!("the user gives `{}`, leave it out", self.answer())))
                .collect()
        } else {
            let wrong = |(place, entry)| wrong(entry).map(|what| self.error(place, what));
            entries.iter().enumerate().filter_map(wrong).collect()
        };
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    pub(super) fn error(self, place: usize, what: impl ToString) -> ArgumentError {
        ArgumentError::new(format!("/{}/{place}", self.argument()), what.to_string())
    }

    fn answers(self, requirement: &RunRequirement) -> Vec<(String, Value)> {
        match self {
            Self::Fields => {
                let fields = requirement.fields().into_iter();
                fields.filter_map(|field| Some((field.name, field.value?))).collect()
            }
            Self::Questions => {
                let questions = requirement.questions().into_iter();
                questions.filter_map(|asked| Some((asked.question, Value::from(asked.selected_options?)))).collect()
            }
        }
    }

    fn entries(self, arguments: &mut Arguments) -> impl Iterator<Item = &mut Map<String, Value>> {
        let list = arguments.get_mut(self.argument()).and_then(Value::as_array_mut);
        list.into_iter().flatten().filter_map(Value::as_object_mut)
    }
}

type Errors = Vec<ArgumentError>;

/// The texts that are empty, or that stand before in the list: a person could not tell which one they answer.
pub(super) fn indistinct<'a>(texts: &'a [&'a str], key: &'a str) -> impl Iterator<Item = (usize, String)> + 'a {
    texts.iter().enumerate().filter_map(move |(place, text)| {
        let text = text.trim();
        if text.is_empty() {
            return Some((place, format!("`{key}` is empty")));
        }
        let twice = texts[..place].iter().any(|before| before.trim() == text);
        twice.then(|| (place, format!("the `{key}` `{text}` is given twice")))
    })
}

/// JSON with a space after each comma and colon, as the reference writes what it tells the model.
pub(crate) fn spaced(value: &Value) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Spaced);
    value.serialize(&mut serializer).expect("a value is written to memory");
    String::from_utf8(text).expect("JSON is UTF-8")
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_spaced_and_stays_the_same_value() {
        let value = serde_json::json!([{ "a": [1, "x, y: z"], "b": {} }, null, []]);
        let text = spaced(&value);
        assert_eq!(text, r#"[{"a": [1, "x, y: z"], "b": {}}, null, []]"#);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
