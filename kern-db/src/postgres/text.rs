//! Text in PostgreSQL, which has no NUL: a tool's result may hold one, and is kept as it is.

use std::borrow::Cow;

/// What begins a character that is written in two.
const ESCAPE: char = '\u{1}';

/// The text as it is stored: U+0000 as U+0001 `0`, U+0001 as U+0001 `1`. No two texts are stored alike, and the order of
/// their bytes stays.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => stored.push_str("\u{1}0"),
            ESCAPE => stored.push_str("\u{1}1"),
            other => stored.push(other),
        }
    }
    Cow::Owned(stored)
}

/// The text that was stored.
///
/// # Errors
///
/// It is nothing that [`stored`] gives.
pub(super) fn read(stored: &str) -> Result<String, String> {
    if !stored.contains(ESCAPE) {
        return Ok(stored.to_owned());
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        if character != ESCAPE {
            text.push(character);
            continue;
        }
        match characters.next() {
            Some('0') => text.push('\0'),
            Some('1') => text.push(ESCAPE),
            _ => return Err("U+0001 is followed by `0` or `1`, wherever kern wrote it".to_owned()),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what is refused is what a test shows")]

    use super::*;

    const TEXTS: [&str; 9] = ["", "a", "\0", "\u{1}", "\u{1}0", "\0\0", "a\0b\u{1}1", "\u{2}", "é\u{1}\0"];

    #[test]
    fn what_comes_back_is_what_was_stored() {
        for text in TEXTS {
            assert!(!stored(text).contains('\0'));
            assert_eq!(read(&stored(text)).unwrap(), text);
        }
    }

    #[test]
    fn order_stays_and_no_two_are_alike() {
        for one in TEXTS {
            for other in TEXTS {
                let (stored_one, stored_other) = (stored(one), stored(other));
                assert_eq!(one.as_bytes().cmp(other.as_bytes()), stored_one.as_bytes().cmp(stored_other.as_bytes()));
            }
        }
    }

    #[test]
    fn what_kern_never_wrote_is_not_read() {
        for stored in ["\u{1}", "a\u{1}", "\u{1}2", "\u{1}\u{1}"] {
            assert!(read(stored).is_err());
        }
    }
}
