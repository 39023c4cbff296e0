//! The key by which separation of duties and quorums compare people: a name without its case, its compatibility forms,
//! surrounding blanks and invisible characters.
//!
//! A key only refuses. It is never stored, because a later version of Unicode may fold more characters, and it never grants
//! anything: ownership and pools compare names exactly.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization as _;

/// Normalizes a name to its person key. The result is empty for a name that shows nothing.
///
/// The order is that of a compatibility caseless match (Unicode, D146), with invisible characters removed before and after:
/// some of them are what a compatibility form decomposes to.
pub(crate) fn person_key(name: &str) -> String {
    if name.is_ascii() {
        return name.trim().to_ascii_lowercase();
    }
    let decomposed: String = name.nfd().filter(|character| !is_ignorable(*character)).collect();
    let once: String = fold(&decomposed).nfkd().collect();
    let twice: String = fold(&once).nfkc().filter(|character| !is_ignorable(*character)).collect();
    twice.trim().to_owned()
}

/// Full case folding: `ß` becomes `ss`.
fn fold(text: &str) -> String {
    UniCase::unicode(text).to_folded_case()
}

/// `Default_Ignorable_Code_Point` of Unicode: characters that are not shown. The property covers code points that are not
/// assigned yet, so that the list does not change with each version.
fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for (key, spellings) in [
            (
                "ann",
                &[
                    "ann",
                    "Ann",
                    "ANN",
                    " ann",
                    "ann\u{200b}",
                    "\u{ff41}\u{ff4e}\u{ff4e}",
                    "a\u{ad}nn",
                    "\u{3000}ann\u{a0}",
                ][..],
            ),
            ("jos\u{e9}", &["jos\u{e9}", "jose\u{301}", "JOSE\u{301}", "jos\u{c9}", "jose\u{34f}\u{301}"]),
            ("strasse", &["stra\u{df}e", "STRASSE", "stra\u{1e9e}e"]),
            (
                "\u{3c3}\u{3bf}\u{3c6}\u{3bf}\u{3c3}",
                &["\u{3a3}\u{39f}\u{3a6}\u{39f}\u{3a3}", "\u{3c3}\u{3bf}\u{3c6}\u{3bf}\u{3c2}"],
            ),
            ("\u{3c9}\u{3b9}", &["\u{1fbc}\u{1fbe}", "\u{3a9}\u{345}"][1..]),
            ("fi", &["\u{fb01}", "FI"]),
            ("", &["", " ", "\u{200b}", "\u{3164}", "\u{ffa0}", "\u{e0041}\u{3000}", "\u{feff} \u{2060}"]),
        ] {
            for spelling in spellings {
                assert_eq!(person_key(spelling), key, "{}", spelling.escape_unicode());
            }
        }
        assert_ne!(person_key("ann"), person_key("anne"));
        // A letter of another script looks alike and is another letter: this is no test for look-alikes.
        assert_ne!(person_key("ann"), person_key("\u{430}nn"));
    }

    proptest::proptest! {
        #[test]
        fn a_key_is_its_own_key_and_case_changes_none(name in ".{0,12}") {
            let key = person_key(&name);
            proptest::prop_assert_eq!(person_key(&key), key.clone());
            proptest::prop_assert_eq!(person_key(&format!("\u{200b} {name}\u{2060}")), key);
        }
    }
}
