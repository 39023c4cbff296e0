//! The grammar of an attribute's arguments: `flag`, `key = value`, `key("a", "b")`, and what to say of a key that does
//! not exist.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, Ident, Lit, LitBool, LitStr, Token, token};

use crate::errors::Errors;

/// One argument. The key keeps its span, because "given twice" points at the second key.
pub(crate) struct Argument {
    pub(crate) key: Ident,
    pub(crate) value: Value,
}

/// What stands after a key.
pub(crate) enum Value {
    /// Nothing.
    Absent,
    /// `= value`
    Assigned(Box<Expr>),
    /// `("a", "b")`
    Listed(Vec<Expr>, TokenStream),
}

/// An attribute as messages name it, with the keys it takes.
pub(crate) struct Grammar {
    /// `#[tool]`
    pub(crate) attribute: &'static str,
    pub(crate) keys: &'static [&'static str],
    /// What people write instead of a key, beside misspelling it.
    pub(crate) synonyms: &'static [(&'static str, &'static str)],
    /// The other attribute's keys, and how it is called.
    pub(crate) others: (&'static str, &'static [&'static str]),
    /// What to write instead of a bare literal, as in `#[approval("audit")]`.
    pub(crate) literal_help: &'static str,
}

impl Grammar {
    /// Reads the arguments. A mistake in one of them does not hide the others.
    pub(crate) fn parse(&self, tokens: TokenStream, errors: &mut Errors) -> Vec<Argument> {
        let mut arguments: Vec<Argument> = Vec::new();
        for tokens in split(tokens) {
            if let Some(TokenTree::Literal(literal)) = tokens.clone().into_iter().next() {
                errors.at(literal, format!("{} takes no value without a key", self.attribute), self.literal_help);
                continue;
            }
            let Some(argument) = errors.keep(argument.parse2(tokens)) else {
                continue;
            };
            if !self.knows(&argument.key, errors) {
                continue;
            }
            if arguments.iter().any(|earlier| earlier.key == argument.key) {
                let key = &argument.key;
                errors.at(key, format!("`{key}` is given twice"), "keep one of the two");
                continue;
            }
            arguments.push(argument);
        }
        arguments
    }

    fn knows(&self, key: &Ident, errors: &mut Errors) -> bool {
        let name = key.to_string();
        let name = name.as_str();
        if self.keys.contains(&name) {
            return true;
        }
        let attribute = self.attribute;
        let (other, others) = self.others;
        let synonym = self.synonyms.iter().find(|(synonym, _)| *synonym == name).map(|(_, meant)| *meant);
        let help = if let Some(meant) = synonym {
            format!("did you mean `{meant}`?")
        } else if others.contains(&name) {
            format!("`{name}` is an argument of {other}")
        } else if let Some(meant) = nearest(name, self.keys) {
            format!("did you mean `{meant}`?")
        } else {
            format!("{attribute} takes {}", list(self.keys))
        };
        errors.at(key, format!("unknown argument `{name}` of {attribute}"), help);
        false
    }
}

impl Argument {
    /// Reads `flag` or `flag = true | false`.
    pub(crate) fn flag(&self, errors: &mut Errors) -> Option<bool> {
        let key = &self.key;
        let help = format!("write `{key}`, or `{key} = false`");
        match &self.value {
            Value::Absent => Some(true),
            Value::Assigned(value) => match literal(value) {
                Some(Lit::Bool(LitBool { value, .. })) => Some(*value),
                _ => {
                    errors.at(value, format!("`{key}` is a flag: expected `true` or `false`"), help);
                    None
                }
            },
            Value::Listed(_, tokens) => {
                errors.at(tokens, format!("`{key}` is a flag: expected `true` or `false`"), help);
                None
            }
        }
    }

    /// Reads `key = "…"`.
    pub(crate) fn string(&self, example: &str, errors: &mut Errors) -> Option<&LitStr> {
        let key = &self.key;
        let help = format!("write `{key} = \"{example}\"`");
        let message = format!("`{key}` takes a string");
        match &self.value {
            Value::Absent => errors.at(key, message, help),
            Value::Listed(_, tokens) => errors.at(tokens, message, help),
            Value::Assigned(value) => match literal(value) {
                Some(Lit::Str(text)) => return Some(text),
                _ => errors.at(value, message, help),
            },
        }
        None
    }

    /// Reads `key = 2`: a number that counts something, so at least one.
    pub(crate) fn count(&self, example: u32, errors: &mut Errors) -> Option<u32> {
        let key = &self.key;
        let help = format!("write `{key} = {example}`");
        let message = format!("`{key}` takes a whole number, at least 1");
        match &self.value {
            Value::Absent => errors.none(key, message, help),
            Value::Listed(_, tokens) => errors.none(tokens, message, help),
            Value::Assigned(value) => match literal(value) {
                Some(Lit::Int(number)) => match number.base10_parse::<u32>() {
                    Ok(number) if number > 0 => Some(number),
                    _ => errors.none(value, message, help),
                },
                _ => errors.none(value, message, help),
            },
        }
    }

    /// Reads `key = "30s"`.
    pub(crate) fn duration(&self, example: &str, errors: &mut Errors) -> Option<Milliseconds> {
        let text = self.string(example, errors)?;
        let Some(duration) = Milliseconds::read(&text.value()) else {
            let message = format!("`{}` is not a duration", text.value());
            let help =
                format!("write `{} = \"{example}\"`: a whole number from 1, and `ms`, `s`, `m`, `h` or `d`", self.key);
            return errors.none(text, message, help);
        };
        Some(duration)
    }

    /// Reads `key("a", "b")`.
    pub(crate) fn strings(&self, errors: &mut Errors) -> Option<Vec<&LitStr>> {
        let key = &self.key;
        let help = format!("write `{key}(\"…\")`, with the names of the parameters");
        let message = format!("`{key}` takes a list of strings");
        let listed = match &self.value {
            Value::Absent => return errors.none(key, message, help),
            Value::Assigned(value) => return errors.none(value, message, help),
            Value::Listed(listed, tokens) if listed.is_empty() => {
                return errors.none(quoted(key, tokens), message, help);
            }
            Value::Listed(listed, _) => listed,
        };
        let mut strings = Vec::new();
        for value in listed {
            match literal(value) {
                Some(Lit::Str(text)) => strings.push(text),
                _ => errors.at(value, &message, &help),
            }
        }
        (strings.len() == listed.len()).then_some(strings)
    }

    /// Reads `key = expression`.
    pub(crate) fn expression(&self, example: &str, errors: &mut Errors) -> Option<&Expr> {
        let key = &self.key;
        let (message, help) = (format!("`{key}` takes an expression"), format!("write `{key} = {example}`"));
        match &self.value {
            Value::Absent => errors.none(key, message, help),
            Value::Listed(_, tokens) => errors.none(tokens, message, help),
            Value::Assigned(value) => Some(value),
        }
    }
}

impl Errors {
    fn none<T>(&mut self, tokens: impl ToTokens, message: String, help: String) -> Option<T> {
        self.at(tokens, message, help);
        None
    }
}

/// A duration as the expansion writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Milliseconds(pub(crate) u64);

impl Milliseconds {
    /// Reads `250ms`, `30s`, `5m`, `24h`, `7d`. `None`: it is something else, nothing at all, or longer than a database
    /// can add to a date.
    fn read(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return None,
        };
        let longest = 100_000 * 24 * 60 * 60 * 1000;
        let duration = number.parse::<u64>().ok()?.checked_mul(unit)?;
        (1..=longest).contains(&duration).then_some(Self(duration))
    }
}

fn quoted(key: &Ident, tokens: &TokenStream) -> TokenStream {
    quote::quote!(#key #tokens)
}

fn argument(input: ParseStream<'_>) -> syn::Result<Argument> {
    let key = input.call(Ident::parse_any)?;
    let value = if input.is_empty() {
        Value::Absent
    } else if input.peek(Token![=]) {
        input.parse::<Token![=]>()?;
        Value::Assigned(input.parse()?)
    } else if input.peek(token::Paren) {
        let tokens = input.fork().parse()?;
        let content;
        syn::parenthesized!(content in input);
        Value::Listed(Punctuated::<Expr, Token![,]>::parse_terminated(&content)?.into_iter().collect(), tokens)
    } else {
        return Err(input.error(format!("expected `,` after `{key}`\nhelp: separate the arguments by commas")));
    };
    if input.is_empty() {
        Ok(Argument { key, value })
    } else {
        Err(input.error("expected `,`\nhelp: separate the arguments by commas"))
    }
}

/// Splits at the commas, before anything is parsed, so that one argument's mistake stays its own. Commas in a generic
/// argument list (`f::<A, B>()`) would be taken for separators, so what follows `::<` is kept together up to its `>`.
fn split(tokens: TokenStream) -> Vec<TokenStream> {
    let mut parts = vec![TokenStream::new()];
    let mut turbofish = 0_usize;
    let mut before = [' ', ' '];
    for token in tokens {
        let mark = if let TokenTree::Punct(punct) = &token { punct.as_char() } else { ' ' };
        match mark {
            '<' if before == [':', ':'] || turbofish > 0 => turbofish += 1,
            '>' if before[1] != '-' => turbofish = turbofish.saturating_sub(1),
            ',' if turbofish == 0 => {
                parts.push(TokenStream::new());
                before = [' ', ' '];
                continue;
            }
            _ => {}
        }
        before = [before[1], mark];
        if let Some(part) = parts.last_mut() {
            part.extend([token]);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The literal an expression is, also when `macro_rules!` wrapped it.
fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

/// Says whether an expression is a string literal.
pub(crate) fn is_string(value: &Expr) -> bool {
    matches!(literal(value), Some(Lit::Str(_)))
}

/// The words, each in backticks.
pub(crate) fn list(words: &[impl AsRef<str>]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    words.join(", ")
}

/// The word that was probably meant: at most a third of its letters differ.
pub(crate) fn nearest<'a>(
    word: &str,
    words: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>,
) -> Option<&'a str> {
    let near = words.into_iter().map(|known| (distance(word, known.as_ref()), known.as_ref()));
    near.filter(|(distance, known)| *distance * 3 <= known.len().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Letters to insert, remove, replace or swap with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let keys = ["requires_confirmation", "requires_user_input", "name", "type", "when"];
        let cases = [
            ("require_confirmation", Some("requires_confirmation")),
            ("requires_confimration", Some("requires_confirmation")),
            ("nmae", Some("name")),
            ("wehn", Some("when")),
            ("colour", None),
            ("x", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &keys), expected, "{word}");
        }
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("24h", Some(86_400_000)),
            ("7d", Some(604_800_000)),
            ("007d", Some(604_800_000)),
            ("0s", None),
            ("", None),
            ("s", None),
            ("30", None),
            ("-1s", None),
            ("+1s", None),
            ("1.5h", None),
            ("1 h", None),
            ("1h30m", None),
            ("5 parsecs", None),
            ("1H", None),
            ("\u{663}s", None),
            ("99999999999999999999d", None),
            ("9999999999999999d", None),
            ("100001d", None),
        ] {
            assert_eq!(Milliseconds::read(text), expected.map(Milliseconds), "{text}");
        }
    }

    #[test]
    fn commas_in_a_turbofish_or_in_parentheses_do_not_separate_arguments() {
        let tokens: TokenStream =
            "when = f::<A, B>(a, b) > 1, type = \"audit\", x = |a| -> bool { a < b }, y".parse().expect("tokens");
        let parts: Vec<String> = split(tokens).iter().map(ToString::to_string).collect();
        assert_eq!(parts.len(), 4, "{parts:?}");
    }
}
