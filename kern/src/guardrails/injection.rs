//! Phrases that try to override an agent's instructions.

use super::{Guardrail, is_invisible, narrow};
use crate::hooks::{CheckTrigger, HookResult, InputCheckError};
use crate::run::RunInput;

const MESSAGE: &str = "Potential jailbreaking or prompt injection detected.";

/// Stops a run whose input holds a phrase that usually tries to override an agent's instructions.
///
/// Upper and lower case, the space, the punctuation and the line breaks between words, invisible characters, wide forms
/// and words that are spelled out (`j a i l b r e a k`) make no difference. A phrase is found inside of words, too
/// (`jailbreaking`).
///
/// What it does not find: the same meaning in other words or in another language, letters that only look alike, code
/// such as Base64, a word torn into pieces (`jail break`), and anything that reaches the model by another way than the
/// input, for example as a tool's result. It also stops innocent texts that use such a phrase.
#[derive(Clone, Debug)]
pub struct PromptInjectionGuardrail {
    phrases: Vec<Phrase>,
}

#[derive(Clone, Debug)]
struct Phrase {
    /// In lower case, for phrases without any letter.
    plain: String,
    words: String,
    joined: String,
}

impl PromptInjectionGuardrail {
    /// The phrases it looks for by default.
    pub const PHRASES: [&str; 18] = [
        "ignore previous instructions",
        "ignore your instructions",
        "you are now a",
        "forget everything above",
        "developer mode",
        "override safety",
        "disregard guidelines",
        "system prompt",
        "jailbreak",
        "act as if",
        "pretend you are",
        "roleplay as",
        "simulate being",
        "bypass restrictions",
        "ignore safeguards",
        "admin override",
        "root access",
        "forget everything",
    ];

    /// Looks for [`PHRASES`](Self::PHRASES).
    #[must_use]
    pub fn new() -> Self {
        Self { phrases: Vec::new() }.injection_patterns(Self::PHRASES)
    }

    /// Looks for these phrases instead. To keep the default ones, chain them: `PHRASES.into_iter().chain(["…"])`.
    #[must_use]
    pub fn injection_patterns(mut self, phrases: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.phrases = phrases.into_iter().map(|phrase| Phrase::new(phrase.as_ref())).collect();
        self
    }

    fn finds(&self, text: &str) -> bool {
        let (plain, words) = (text.to_lowercase(), words(text));
        let spelled = spelled(&words);
        self.phrases.iter().any(|phrase| {
            plain.contains(&phrase.plain)
                || !phrase.words.is_empty()
                    && (words.contains(&phrase.words) || spelled.iter().any(|run| run.contains(&phrase.joined)))
        })
    }
}

impl Default for PromptInjectionGuardrail {
    fn default() -> Self {
        Self::new()
    }
}

impl Guardrail for PromptInjectionGuardrail {
    async fn check(&self, input: &mut RunInput) -> HookResult {
        if self.finds(&input.input_content) {
            return Err(InputCheckError::new(MESSAGE).trigger(CheckTrigger::PromptInjection).into());
        }
        Ok(())
    }
}

impl Phrase {
    fn new(phrase: &str) -> Self {
        let words = words(phrase);
        Self { plain: phrase.to_lowercase(), joined: words.replace(' ', ""), words }
    }
}

/// The words in lower case, one space between them: everything that is no letter and no digit separates.
fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    for character in text.chars().filter(|character| !is_invisible(*character)).map(narrow) {
        if character.is_alphanumeric() {
            words.extend(character.to_lowercase());
        } else if !words.is_empty() && !words.ends_with(' ') {
            words.push(' ');
        }
    }
    words.truncate(words.trim_end().len());
    words
}

/// What is spelled out: each run of words of one character, joined.
fn spelled(words: &str) -> Vec<String> {
    let mut runs = vec![String::new()];
    for word in words.split(' ') {
        let run = runs.last_mut().expect("there is a first one");
        if word.chars().nth(1).is_none() {
            run.push_str(word);
        } else if !run.is_empty() {
            runs.push(String::new());
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str) -> bool {
        PromptInjectionGuardrail::new().finds(text)
    }

    #[test]
    fn each_phrase_is_found_however_it_is_spaced() {
        for phrase in PromptInjectionGuardrail::PHRASES {
            let upper = phrase.to_uppercase();
            let wide: String = phrase
                .chars()
                .map(
                    |c| if c == ' ' { '\u{3000}' } else { char::from_u32(u32::from(c) + 0xfee0).expect("a wide form") },
                )
                .collect();
            let spelled: Vec<String> = upper.chars().map(String::from).collect();
            for variant in [
                phrase.to_owned(),
                upper.clone(),
                phrase.replace(' ', "  "),
                phrase.replace(' ', "\r\n\t"),
                phrase.replace(' ', "-"),
                phrase.replace(' ', "... "),
                phrase.replace(' ', "\u{a0}"),
                phrase.replace('e', "e\u{200b}"),
                phrase.replace('s', "\u{ad}s"),
                wide,
                spelled.join(" "),
                spelled.join("."),
            ] {
                assert!(finds(&format!("Well, {variant} then.")), "{variant:?}");
            }
        }
        assert!(finds("a jailbreaking attempt"), "inside of a word");
    }

    #[test]
    fn ordinary_questions_pass() {
        for text in [
            "",
            "What is the weather like?",
            "Please refund order A 1 2 3",
            "Ignore the typo in my previous message",
            "you are no way near",
            "I forgot everything",
            "contact a s i",
        ] {
            assert!(!finds(text), "{text:?}");
        }
    }

    #[test]
    fn own_phrases_are_compared_without_case_and_take_the_place_of_the_others() {
        let own = PromptInjectionGuardrail::new().injection_patterns(["Open SESAME", "!!!"]);
        assert!(own.finds("please open   sesame"));
        assert!(own.finds("now!!!"), "a phrase without letters is looked for as it is");
        assert!(!own.finds("now!"));
        assert!(!own.finds("jailbreak"));
        let both = PromptInjectionGuardrail::new()
            .injection_patterns(PromptInjectionGuardrail::PHRASES.into_iter().chain(["open sesame"]));
        assert!(both.finds("jailbreak") && both.finds("open sesame"));
    }
}
