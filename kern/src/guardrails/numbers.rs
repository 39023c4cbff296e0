//! Numbers in a text as people write them: groups of digits with a little between them.

use std::ops::Range;

use super::is_invisible;

/// Digits without anything that is seen between them.
struct Group {
    range: Range<usize>,
    digits: usize,
    first: u32,
    /// Whether a letter touches it: it may be a part of an id.
    glued: bool,
    /// Whether a `+` stands before it.
    plus: bool,
    /// Whether it goes on the number of the group before it: only a few separators lie between.
    joined: bool,
    /// Whether it does so, and that group is a single digit.
    after_one: bool,
}

/// How many separators may lie between two groups of one number: enough for ` - ` and `) `.
const SEPARATORS: usize = 3;

/// The numbers that a text holds, as groups of digits.
pub(super) struct Numbers(Vec<Group>);

impl Numbers {
    pub(super) fn new(text: &str) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        // What stands before the next character, invisible ones aside.
        let mut before = None;
        let mut in_group = false;
        let mut separators = 0;
        for (at, character) in text.char_indices().filter(|(_, character)| !is_invisible(*character)) {
            let end = at + character.len_utf8();
            if let Some(digit) = digit(character) {
                match groups.last_mut() {
                    Some(group) if in_group => {
                        group.range.end = end;
                        group.digits += 1;
                    }
                    last => {
                        let joined = last.is_some() && separators <= SEPARATORS;
                        let after_one = joined && last.is_some_and(|group| group.digits == 1);
                        groups.push(Group {
                            range: at..end,
                            digits: 1,
                            first: digit,
                            glued: before.is_some_and(char::is_alphabetic),
                            plus: before == Some('+'),
                            joined,
                            after_one,
                        });
                    }
                }
                in_group = true;
                separators = 0;
            } else {
                if in_group && let Some(group) = groups.last_mut() {
                    group.glued |= character.is_alphabetic();
                }
                in_group = false;
                separators = if is_separator(character) { separators.saturating_add(1) } else { SEPARATORS + 1 };
            }
            before = Some(character);
        }
        Self(groups)
    }

    /// Numbers of three, two and four digits, with something between them.
    pub(super) fn ssn(&self) -> Vec<Range<usize>> {
        self.find(|groups| exactly(groups, &[3, 2, 4]).or_else(|| spelled(groups, 9)))
    }

    /// Four times four digits, with or without something between them.
    pub(super) fn credit_card(&self) -> Vec<Range<usize>> {
        self.find(|groups| divided(groups, &[4, 8, 12, 16]).or_else(|| spelled(groups, 16)))
    }

    /// Three, three and four digits, with or without something between them, also after `+1`.
    pub(super) fn phone(&self) -> Vec<Range<usize>> {
        self.find(|groups| {
            let american = groups.first().filter(|first| first.plus && first.first == 1);
            american
                .and_then(|_| divided(groups, &[1, 4, 7, 11]))
                .or_else(|| divided(groups, &[3, 6, 10]))
                .or_else(|| spelled(groups, 10))
        })
    }

    /// Asks of every group whether a number starts with it, and how many groups that has. Each asks for a few groups
    /// only, so the time is linear.
    fn find(&self, count: impl Fn(&[Group]) -> Option<usize>) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let mut groups = self.0.as_slice();
        while let Some(first) = groups.first() {
            let count = count(groups).unwrap_or(0);
            if let Some(last) = groups[..count].last() {
                found.push(first.range.start..last.range.end);
            }
            groups = &groups[count.max(1)..];
        }
        found
    }
}

/// The groups have these lengths, and belong to one number.
fn exactly(groups: &[Group], lengths: &[usize]) -> Option<usize> {
    let groups = groups.get(..lengths.len())?;
    let fits = groups.iter().zip(lengths).all(|(group, length)| group.digits == *length);
    (fits && groups[1..].iter().all(|group| group.joined)).then_some(lengths.len())
}

/// The groups end at some of these counts of digits, and with the last one. A single group is only one where no letter
/// touches it: ids are full of digits.
fn divided(groups: &[Group], ends: &[usize]) -> Option<usize> {
    let mut digits = 0_usize;
    for (place, group) in groups.iter().enumerate() {
        if place > 0 && !group.joined {
            return None;
        }
        digits = digits.saturating_add(group.digits);
        if !ends.contains(&digits) {
            return None;
        }
        if ends.last() == Some(&digits) {
            return (place > 0 || !group.glued).then_some(place + 1);
        }
    }
    None
}

/// Digits written one by one, exactly so many of them.
fn spelled(groups: &[Group], count: usize) -> Option<usize> {
    let one = |group: &Group| group.digits == 1;
    let number = groups.get(..count)?;
    let begins = number.first().is_some_and(|first| !first.after_one);
    let ends = groups.get(count).is_none_or(|next| !next.joined || !one(next));
    (begins && ends && number.iter().all(one) && number[1..].iter().all(|group| group.joined)).then_some(count)
}

/// A decimal digit of ASCII, the wide forms, Arabic, Persian, Devanagari, or mathematics.
fn digit(character: char) -> Option<u32> {
    let code = u32::from(character);
    let zero = match code {
        0x30..=0x39 => 0x30,
        0xff10..=0xff19 => 0xff10,
        0x660..=0x669 => 0x660,
        0x6f0..=0x6f9 => 0x6f0,
        0x966..=0x96f => 0x966,
        0x1d7ce..=0x1d7ff => 0x1d7ce,
        _ => return None,
    };
    Some((code - zero) % 10)
}

fn is_separator(character: char) -> bool {
    character.is_whitespace()
        || matches!(
            character,
            '-' | '.' | '/' | '_' | '(' | ')' | '+' | '\u{b7}' | '\u{2010}'
                ..='\u{2015}' | '\u{2022}' | '\u{2212}' | '\u{fe63}' | '\u{ff0d}' | '\u{ff0e}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, find: fn(&Numbers) -> Vec<Range<usize>>) -> Vec<&str> {
        find(&Numbers::new(text)).into_iter().map(|range| &text[range]).collect()
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn social_security_numbers() {
        for (text, number) in [
            ("my ssn is 123-45-6789", "123-45-6789"),
            ("order 12 123-45-6789.", "123-45-6789"),
            ("123 45 6789", "123 45 6789"),
            ("123.45.6789", "123.45.6789"),
            ("123 - 45 - 6789", "123 - 45 - 6789"),
            ("123\u{2013}45\u{2013}6789", "123\u{2013}45\u{2013}6789"),
            ("1\u{200b}23-4\u{200b}5-6789", "1\u{200b}23-4\u{200b}5-6789"),
            ("１２３-４５-６７８９", "１２３-４５-６７８９"),
            ("1 2 3 - 4 5 - 6 7 8 9", "1 2 3 - 4 5 - 6 7 8 9"),
            ("ssn123-45-6789x", "123-45-6789"),
        ] {
            assert_eq!(found(text, Numbers::ssn), [number], "{text}");
        }
        for text in ["123456789", "123-456-789", "123-45-67890", "1123-45-6789", "2026-11-21", "123, 45, 6789"] {
            assert_eq!(found(text, Numbers::ssn), NOTHING, "{text}");
        }
    }

    #[test]
    fn credit_cards() {
        for number in [
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "4111111111111111",
            "41111111 11111111",
            "4111 11111111-1111",
            "4111  1111  1111  1111",
            "4111.1111.1111.1111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ] {
            assert_eq!(found(&format!("pay with {number} please"), Numbers::credit_card), [number]);
            assert_eq!(found(&format!("pay with {number} please"), Numbers::phone), NOTHING, "{number}");
        }
        for text in ["411111111111111", "41111111111111112", "id a4111111111111111", "4111, 1111, 1111, 1111"] {
            assert_eq!(found(text, Numbers::credit_card), NOTHING, "{text}");
        }
    }

    #[test]
    fn phones() {
        for number in ["555-123-4567", "5551234567", "555.123.4567", "555 1234567", "555) 123-4567", "555 / 123 / 4567"]
        {
            assert_eq!(found(&format!("call {number}!"), Numbers::phone), [number]);
        }
        assert_eq!(found("call +1 555-123-4567", Numbers::phone), ["1 555-123-4567"]);
        assert_eq!(found("call +15551234567", Numbers::phone), ["15551234567"]);
        assert_eq!(found("5551234567 and 555-123-4568", Numbers::phone), ["5551234567", "555-123-4568"]);
        for text in ["15551234567", "555-1234", "192.168.1.1", "1795177251000", "order x5551234567"] {
            assert_eq!(found(text, Numbers::phone), NOTHING, "{text}");
        }
    }
}
