//! Which characters are not shown as they are.

use std::fmt::Write as _;

use serde::Serialize;

/// Why a character is shown as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningKind {
    /// A line break or a tab: it moves what follows to another place.
    Break,
    /// A control character, of a terminal's escape sequence for one.
    Control,
    /// It changes the direction of the text around it.
    Bidirectional,
    /// It shows as nothing, or joins with its neighbours.
    Invisible,
    /// A space that is not the common one.
    Space,
    /// It looks like another character: a letter of another script in a Latin word, for one.
    Lookalike,
    /// What it looks like is up to the font, or it is none.
    Private,
}

impl WarningKind {
    /// The kind in words, for one or many.
    pub(super) fn words(self, count: usize) -> &'static str {
        let (one, many) = match self {
            Self::Break => ("line break or tab", "line breaks or tabs"),
            Self::Control => ("control character", "control characters"),
            Self::Bidirectional => {
                ("character that changes the direction of the text", "characters that change the direction of the text")
            }
            Self::Invisible => ("invisible character", "invisible characters"),
            Self::Space => ("space that is not the common one", "spaces that are not the common one"),
            Self::Lookalike => ("character that looks like another one", "characters that look like others"),
            Self::Private => ("character that no font agrees on", "characters that no font agrees on"),
        };
        if count == 1 { one } else { many }
    }
}

/// Writes a character as JSON does that is to stay ASCII.
pub(super) fn escape(out: &mut String, character: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        '\r' => out.push_str("\\r"),
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("a string takes everything");
            }
        }
    }
}

/// What is wrong with each character of a text, in order.
pub(super) fn concerns(text: &str) -> Vec<Option<WarningKind>> {
    // Nearly all texts: nothing of what follows concerns printable ASCII.
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return vec![None; text.len()];
    }
    let characters: Vec<char> = text.chars().collect();
    let east_asian = characters.iter().any(|character| is_east_asian(*character));
    let mut concerns: Vec<Option<WarningKind>> =
        characters.iter().map(|character| alone(*character, east_asian)).collect();
    for (place, pair) in characters.windows(2).enumerate() {
        if pair == ['\r', '\n'] {
            concerns[place] = Some(WarningKind::Break);
        }
    }
    for place in foreign_letters(&characters) {
        concerns[place].get_or_insert(WarningKind::Lookalike);
    }
    concerns
}

/// What is wrong with a character wherever it stands.
fn alone(character: char, east_asian: bool) -> Option<WarningKind> {
    Some(match character {
        '\n' | '\t' => WarningKind::Break,
        '\u{2028}' | '\u{2029}' => WarningKind::Control,
        character if character.is_control() => WarningKind::Control,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => {
            WarningKind::Bidirectional
        }
        '\u{ad}'
        | '\u{34f}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200d}'
        | '\u{2060}'..='\u{2065}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => WarningKind::Invisible,
        '\u{3000}' if east_asian => return None,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => WarningKind::Space,
        // Full width: at home in East Asian texts, and only there.
        '\u{ff01}'..='\u{ff5e}' if east_asian => return None,
        '\u{ff01}'..='\u{ff5e}' | '\u{1d400}'..='\u{1d7ff}' | '\u{1f130}'..='\u{1f189}' | '\u{24b6}'..='\u{24e9}' => {
            WarningKind::Lookalike
        }
        // Punctuation that passes for `-`, `.`, `/`, `:`, `;`, `|`, `!` and `\`.
        '\u{2010}'..='\u{2012}'
        | '\u{2212}'
        | '\u{2024}'
        | '\u{2044}'
        | '\u{2215}'
        | '\u{29f8}'
        | '\u{2236}'
        | '\u{a789}'
        | '\u{589}'
        | '\u{37e}'
        | '\u{1c0}'
        | '\u{1c3}'
        | '\u{2223}'
        | '\u{2216}'
        | '\u{29f5}' => WarningKind::Lookalike,
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fffc}'..='\u{ffff}' => {
            WarningKind::Private
        }
        _ => return None,
    })
}

/// The places of letters that pass for Latin ones: letters of another script in a word with Latin ones, and all letters
/// of a text's other scripts where each of them looks like a Latin one.
fn foreign_letters(characters: &[char]) -> Vec<usize> {
    let foreign = |place: &usize| is_foreign(characters[*place]);
    let all: Vec<usize> = (0..characters.len()).filter(foreign).collect();
    if all.iter().all(|place| LOOKALIKES.contains(characters[*place])) {
        return all;
    }
    let mut found = Vec::new();
    let mut start = 0;
    for word in characters.split_inclusive(|character| !belongs_to_a_word(*character)) {
        if word.iter().any(|character| is_latin(*character)) {
            found.extend((start..start + word.len()).filter(foreign));
        }
        start += word.len();
    }
    found
}

/// Letters of other scripts that look like Latin ones or like digits: Cyrillic, Greek, Armenian.
const LOOKALIKES: &str = "асеорхуѕіјԁһӏԛԝҽАВСЕНІЈКМОРЅТХУӀԌЗҮѴѵԜοναιρυκγϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹͿօոսհցԼՏՕ";

fn belongs_to_a_word(character: char) -> bool {
    character.is_alphanumeric()
        || matches!(character, '_' | '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

fn is_latin(character: char) -> bool {
    character.is_alphabetic()
        && matches!(character, 'A'..='Z' | 'a'..='z' | '\u{aa}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}'
            | '\u{2c60}'..='\u{2c7f}' | '\u{a720}'..='\u{a7ff}' | '\u{fb00}'..='\u{fb06}')
}

/// Han, kana, Hangul and Bopomofo: they stand beside Latin letters in one word, and look like none.
fn is_east_asian(character: char) -> bool {
    matches!(character, '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{2fdf}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' | '\u{20000}'..='\u{3ffff}')
}

/// A letter that is neither Latin nor East Asian, phonetic letters included.
fn is_foreign(character: char) -> bool {
    character.is_alphabetic() && !is_latin(character) && !is_east_asian(character)
}
