//! Personal data in an input.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde_json::json;

use super::numbers::Numbers;
use super::{Guardrail, is_invisible, narrow};
use crate::hooks::{CheckTrigger, HookError, HookResult, InputCheckError};
use crate::run::RunInput;

const MESSAGE: &str = "Potential PII detected in input";

/// Finds personal data in an input: stops the run, or masks it with as many `*` as it has characters.
///
/// | Name | What is found |
/// |---|---|
/// | `SSN` | 3, 2 and 4 digits with something between them |
/// | `Credit Card` | 4 times 4 digits |
/// | `Email` | an address with a dot in its domain |
/// | `Phone` | 3, 3 and 4 digits, also after `+1` |
///
/// Between the groups of a number may stand up to three spaces, hyphens, dots, slashes, underscores or parentheses; digits
/// may be spelled out one by one, be wide forms or of another script, and hold invisible characters. Around the `@` may
/// stand one or two spaces.
///
/// What it does not find: numbers in words, with other characters between their groups or grouped in another way (an SSN
/// without separators, a card of 15 digits, a phone number of another country), addresses such as `ann at example dot
/// com`, names, streets. It also finds numbers that only look alike: nothing is checked but the form.
///
/// Of what was found, only the names are told and stored (`detected_pii`).
///
/// ```
/// use kern::prelude::*;
/// # use kern::models::{ScriptedModel, turn};
///
/// # #[tokio::main]
/// # async fn main() -> kern::Result<()> {
/// # let model = ScriptedModel::new([turn().text("noted")]);
/// let agent = Agent::builder().model(model.clone()).pre_hook(PIIDetectionGuardrail::new()).build()?;
/// let run = agent.run("my ssn is 123-45-6789").await?;
/// assert_eq!(run.status, RunStatus::Error);
/// assert_eq!(run.content(), "Potential PII detected in input");
///
/// let agent = Agent::builder().model(model).pre_hook(PIIDetectionGuardrail::new().mask_pii(true)).build()?;
/// let run = agent.run("my ssn is 123-45-6789").await?;
/// assert_eq!(run.input.input_content, "my ssn is ***********");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PIIDetectionGuardrail {
    mask: bool,
    ssn: bool,
    credit_card: bool,
    email: bool,
    phone: bool,
    custom: Vec<(String, Pattern)>,
}

type Pattern = Arc<dyn Fn(&str) -> Vec<Range<usize>> + Send + Sync>;

impl PIIDetectionGuardrail {
    /// Looks for all four kinds, and stops the run when one is found.
    #[must_use]
    pub fn new() -> Self {
        Self { mask: false, ssn: true, credit_card: true, email: true, phone: true, custom: Vec::new() }
    }

    /// Whether what is found is masked and the run goes on. Off by default.
    #[must_use]
    pub fn mask_pii(mut self, mask: bool) -> Self {
        self.mask = mask;
        self
    }

    /// Whether it looks for social security numbers. On by default.
    #[must_use]
    pub fn enable_ssn_check(mut self, enable: bool) -> Self {
        self.ssn = enable;
        self
    }

    /// Whether it looks for numbers of credit cards. On by default.
    #[must_use]
    pub fn enable_credit_card_check(mut self, enable: bool) -> Self {
        self.credit_card = enable;
        self
    }

    /// Whether it looks for e-mail addresses. On by default.
    #[must_use]
    pub fn enable_email_check(mut self, enable: bool) -> Self {
        self.email = enable;
        self
    }

    /// Whether it looks for phone numbers. On by default.
    #[must_use]
    pub fn enable_phone_check(mut self, enable: bool) -> Self {
        self.phone = enable;
        self
    }

    /// Looks for something of your own: a name for it, and a function from a text to the places where it is, in bytes. A
    /// place that is empty, or not within the text and between its characters, is a failure: the run stops.
    ///
    /// ```
    /// use kern::guardrails::PIIDetectionGuardrail;
    ///
    /// let guardrail = PIIDetectionGuardrail::new().custom_pattern("Customer", |text| {
    ///     text.match_indices("ACME-").map(|(at, found)| at..at + found.len()).collect()
    /// });
    /// ```
    #[must_use]
    pub fn custom_pattern(
        mut self,
        name: impl Into<String>,
        find: impl Fn(&str) -> Vec<Range<usize>> + Send + Sync + 'static,
    ) -> Self {
        self.custom.push((name.into(), Arc::new(find)));
        self
    }

    /// The names of what is there, and where.
    fn find(&self, text: &str) -> Result<(Vec<&str>, Vec<Range<usize>>), HookError> {
        let numbers = Numbers::new(text);
        let mut all = vec![
            ("SSN", if self.ssn { numbers.ssn() } else { Vec::new() }),
            ("Credit Card", if self.credit_card { numbers.credit_card() } else { Vec::new() }),
            ("Email", if self.email { emails(text) } else { Vec::new() }),
            ("Phone", if self.phone { numbers.phone() } else { Vec::new() }),
        ];
        for (name, pattern) in &self.custom {
            let found = pattern(text);
            if found.iter().any(|range| text.get(range.clone()).is_none_or(str::is_empty)) {
                let what = "a place that is empty or not between characters of the text";
                return Err(HookError::new(format!("the pattern `{name}` gave {what}")));
            }
            all.push((name, found));
        }
        all.retain(|(_, found)| !found.is_empty());
        Ok(all.into_iter().fold((Vec::new(), Vec::new()), |(mut names, mut places), (name, found)| {
            names.push(name);
            places.extend(found);
            (names, places)
        }))
    }
}

impl Default for PIIDetectionGuardrail {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for PIIDetectionGuardrail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let custom: Vec<&str> = self.custom.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("PIIDetectionGuardrail")
            .field("mask", &self.mask)
            .field("ssn", &self.ssn)
            .field("credit_card", &self.credit_card)
            .field("email", &self.email)
            .field("phone", &self.phone)
            .field("custom", &custom)
            .finish()
    }
}

impl Guardrail for PIIDetectionGuardrail {
    async fn check(&self, input: &mut RunInput) -> HookResult {
        let (names, places) = self.find(&input.input_content)?;
        if places.is_empty() {
            return Ok(());
        }
        if !self.mask {
            let error = InputCheckError::new(MESSAGE).trigger(CheckTrigger::PiiDetected);
            return Err(error.additional_data([("detected_pii", json!(names))]).into());
        }
        input.input_content = masked(&input.input_content, places);
        Ok(())
    }
}

/// The text with a `*` for every character in these places.
fn masked(text: &str, mut places: Vec<Range<usize>>) -> String {
    places.sort_by_key(|place| place.start);
    let mut places = places.into_iter().peekable();
    let mut until = 0;
    text.char_indices()
        .map(|(at, character)| {
            while let Some(place) = places.next_if(|place| place.start <= at) {
                until = until.max(place.end);
            }
            if at < until { '*' } else { character }
        })
        .collect()
}

/// The addresses in a text: from every `@` to both sides. An address holds one `@`, so no character is looked at more
/// than twice.
fn emails(text: &str) -> Vec<Range<usize>> {
    let characters: Vec<(usize, char)> = text
        .char_indices()
        .filter(|(_, character)| !is_invisible(*character))
        .map(|(at, character)| (at, narrow(character)))
        .collect();
    let end_of = |place: usize| characters.get(place + 1).map_or(text.len(), |(at, _)| *at);
    let mut found = Vec::new();
    for (sign, _) in characters.iter().enumerate().filter(|(_, (_, character))| *character == '@') {
        let (before, after) = (&characters[..sign], &characters[sign + 1..]);
        let gap = before.iter().rev().take(2).take_while(|(_, character)| *character == ' ').count();
        let local = before[..sign - gap].iter().rev().take_while(|(_, character)| is_local(*character)).count();
        if local == 0 {
            continue;
        }
        let start = characters[sign - gap - local].0;
        let gap = after.iter().take(2).take_while(|(_, character)| *character == ' ').count();
        let domain = after[gap..].iter().map(|(_, character)| *character);
        let domain: String = domain.take_while(|character| is_domain(*character)).collect();
        let domain = domain.trim_end_matches(['.', '-']);
        if has_top_level(domain) {
            found.push(start..end_of(sign + gap + domain.chars().count()));
        }
    }
    found
}

fn is_local(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | '_' | '%' | '+' | '-')
}

fn is_domain(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '.' | '-')
}

/// A label that begins with two letters follows another one.
fn has_top_level(domain: &str) -> bool {
    let mut labels = domain.split('.');
    labels.next().is_some_and(|first| !first.is_empty())
        && labels.any(|label| label.chars().take(2).filter(|character| character.is_alphabetic()).count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let guardrail = PIIDetectionGuardrail::new();
        let (names, _) = guardrail.find(text).expect("the patterns are kern's own");
        names.into_iter().map(str::to_owned).collect()
    }

    fn mask(text: &str) -> String {
        let (_, places) = PIIDetectionGuardrail::new().find(text).expect("the patterns are kern's own");
        masked(text, places)
    }

    #[test]
    fn each_kind_is_named_in_a_fixed_order() {
        assert_eq!(
            names("555-123-4567 a@b.co 4111 1111 1111 1111 / x / 123-45-6789"),
            ["SSN", "Credit Card", "Email", "Phone"]
        );
        assert_eq!(names("nothing of the kind, 3.14 and 2026-11-21 at 10:30"), [""; 0]);
    }

    #[test]
    fn a_mask_has_as_many_characters_as_what_it_hides() {
        assert_eq!(mask("mail a@b.co and 4111 1111 1111 1111"), "mail ****** and *******************");
        assert_eq!(mask("é a@b.co."), "é ******.");
        assert_eq!(mask("jürgen@müller.example!"), format!("{}!", "*".repeat(21)));
        assert_eq!(mask("nothing"), "nothing");
    }

    #[test]
    fn addresses() {
        for (text, address) in [
            ("to a.b+c@d-e.example, please", "a.b+c@d-e.example"),
            ("<ann@example.com>", "ann@example.com"),
            ("ann @ example.com", "ann @ example.com"),
            ("ann＠example．com", "ann＠example．com"),
            ("an\u{200b}n@exam\u{ad}ple.com", "an\u{200b}n@exam\u{ad}ple.com"),
            ("ann@example.co.uk...", "ann@example.co.uk"),
        ] {
            let found: Vec<&str> = emails(text).into_iter().map(|range| &text[range]).collect();
            assert_eq!(found, [address], "{text}");
        }
        for text in ["@ann", "ann@", "ann@example", "a@@b.co.", "@@@", "@ .", "ann@.com", "ann@1.2"] {
            let found: Vec<&str> = emails(text).into_iter().map(|range| &text[range]).collect();
            assert!(found.is_empty() || text == "a@@b.co.", "{text}: {found:?}");
        }
        let two = "a@b.co@c.de";
        assert_eq!(emails(two).len(), 2);
        assert_eq!(mask(two), "***********");
    }

    #[test]
    fn each_check_can_be_switched_off() {
        let text = "555-123-4567 a@b.co 4111 1111 1111 1111 / x / 123-45-6789";
        let without = |guardrail: PIIDetectionGuardrail| {
            let (names, _) = guardrail.find(text).expect("the patterns are kern's own");
            names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()
        };
        let all = PIIDetectionGuardrail::new;
        assert_eq!(without(all().enable_ssn_check(false)), ["Credit Card", "Email", "Phone"]);
        assert_eq!(without(all().enable_credit_card_check(false)), ["SSN", "Email", "Phone"]);
        assert_eq!(without(all().enable_email_check(false)), ["SSN", "Credit Card", "Phone"]);
        assert_eq!(without(all().enable_phone_check(false)), ["SSN", "Credit Card", "Email"]);
    }

    #[test]
    fn a_pattern_of_ones_own_is_named_and_a_place_that_cannot_be_is_a_failure() {
        let own = |places: Vec<Range<usize>>| {
            PIIDetectionGuardrail::new()
                .custom_pattern("Own", move |_| places.clone())
                .find("é is here")
                .map(|(names, places)| (names.len(), places))
        };
        assert_eq!(own(vec![0..2, 3..5]).expect("they are places"), (1, vec![0..2, 3..5]));
        assert_eq!(own(Vec::new()).expect("nothing is found"), (0, Vec::new()));
        #[expect(clippy::reversed_empty_ranges, reason = "it is what is refused")]
        for bad in [0..1, 3..3, 5..100, 4..2] {
            let error = own(vec![bad]).expect_err("it is no place");
            assert!(error.to_string().contains("`Own`"), "{error}");
        }
    }

    /// A small generator, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).expect("31 bits") % limit
        }
    }

    #[test]
    fn nothing_panics_and_a_masked_text_holds_nothing_more_to_mask() {
        const PIECES: [&str; 30] = [
            "1",
            "2",
            "9",
            "123",
            "45",
            "6789",
            "4111",
            "+1",
            "-",
            " ",
            "  ",
            ".",
            "(",
            ")",
            "@",
            "＠",
            "a",
            "é",
            "com",
            "\u{200b}",
            "\u{ad}",
            "\n",
            "٣",
            "𝟗",
            "𝔸",
            "\u{10ffff}",
            "*",
            "x",
            "_",
            "４",
        ];
        let mut random = Random(17);
        for round in 0..20_000 {
            let text: String = (0..random.below(24)).map(|_| PIECES[random.below(PIECES.len())]).collect();
            let masked = mask(&text);
            assert_eq!(masked.chars().count(), text.chars().count(), "{round}: {text:?}");
            let changed = masked.chars().zip(text.chars()).all(|(masked, was)| masked == was || masked == '*');
            assert!(changed, "{round}: {text:?}");
            assert_eq!(names(&masked), [""; 0], "{round}: {text:?} became {masked:?}");
        }
    }

    #[test]
    fn long_texts_take_linear_time() {
        // Quadratic, each of these would take minutes.
        for piece in ["1 ", "1", "@", "a@", "a", " @ ", "123-45-", "4111 ", "a.", "\u{200b}", "+1"] {
            let text = piece.repeat(400_000 / piece.len());
            let started = std::time::Instant::now();
            mask(&text);
            assert!(started.elapsed().as_secs() < 20, "{piece:?}");
        }
    }
}
