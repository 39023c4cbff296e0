use serde_json::json;

use super::*;

fn kinds(text: &str) -> Vec<WarningKind> {
    super::text(text).warnings.iter().map(|warning| warning.kind).collect()
}

#[test]
fn what_could_steer_a_terminal_or_mislead_is_escaped_and_said() {
    use WarningKind::*;
    for (raw, shown, kind) in [
        ("a\u{1b}[2Jb", "a\\u001b[2Jb", Control),
        ("a\u{9b}2Jb", "a\\u009b2Jb", Control),
        ("a\0b", "a\\u0000b", Control),
        ("a\u{7f}", "a\\u007f", Control),
        ("a\rb", "a\\rb", Control),
        ("a\u{2028}b", "a\\u2028b", Control),
        ("a\nb", "a\\nb", Break),
        ("a\r\nb", "a\\r\\nb", Break),
        ("a\tb", "a\\tb", Break),
        ("u\u{202e}24", "u\\u202e24", Bidirectional),
        ("u\u{2066}24", "u\\u206624", Bidirectional),
        ("ad\u{200b}min", "ad\\u200bmin", Invisible),
        ("ad\u{ad}min", "ad\\u00admin", Invisible),
        ("\u{feff}x", "\\ufeffx", Invisible),
        ("a\u{e0041}", "a\\udb40\\udc41", Invisible),
        ("a\u{a0}b", "a\\u00a0b", Space),
        ("p\u{430}ypal", "p\\u0430ypal", Lookalike),
        ("\u{430}dmin_1", "\\u0430dmin_1", Lookalike),
        ("\u{441}\u{43e}\u{440}\u{443}", "\\u0441\\u043e\\u0440\\u0443", Lookalike),
        ("gr\u{3bf}up", "gr\\u03bfup", Lookalike),
        ("e\u{301}\u{430}", "e\u{301}\\u0430", Lookalike),
        ("\u{ff41}dmin", "\\uff41dmin", Lookalike),
        ("\u{1d41a}dmin", "\\ud835\\udc1admin", Lookalike),
        ("a\u{2215}b", "a\\u2215b", Lookalike),
        ("\u{e001}", "\\ue001", Private),
    ] {
        let found = text(raw);
        assert_eq!(found.one_line(), shown);
        assert_eq!(found.lines, [shown]);
        assert_eq!(found.warnings.iter().map(|warning| warning.kind).collect::<Vec<_>>(), [kind], "{raw:?}");
    }
}

#[test]
fn texts_of_every_language_are_left_as_they_are() {
    for raw in [
        "",
        "u_42",
        "Zoë Müller-Łukasz",
        "Привет, мир",
        "Привет world",
        "Ελληνικά",
        "שלום",
        "مرحبا",
        "日本語のTシャツ！",
        "日本\u{3000}語",
        "한국어",
        "हिन्दी",
        "naïve “quoted” – dash",
        "5 €, 20 °C, µs",
        "🙂 ✔",
    ] {
        assert_eq!(text(raw).one_line(), raw);
        assert_eq!(kinds(raw), []);
    }
}

#[test]
fn every_value_is_shown_as_json_that_stands_for_it() {
    let value = json!({
        "text": "quo\"te \\ \u{1b}[31m \u{202e} \u{e0041} line\nbreak \u{430}b",
        "na\u{202e}me": [1, -2.5, null, true, {}, [], { "deep": ["\u{200b}"] }],
    });
    let shown = super::value(&value);
    assert_eq!(serde_json::from_str::<Value>(shown.one_line()).expect("it is JSON"), value);
    assert_eq!(serde_json::from_str::<Value>(&shown.lines.join("\n")).expect("it is JSON"), value);
    for line in shown.lines.iter().map(String::as_str).chain([shown.one_line()]) {
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    let warnings: Vec<_> = shown.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "/na\\u202eme: 1 character that changes the direction of the text",
            "/na\\u202eme/6/deep/0: 1 invisible character",
            "/text: 1 control character",
            "/text: 1 character that changes the direction of the text",
            "/text: 1 invisible character",
            "/text: 1 line break or tab",
            "/text: 1 character that looks like another one",
        ]
    );
}

#[test]
fn each_line_of_a_text_is_shown_on_a_line_and_its_break_with_it() {
    let shown = value(&json!("one\ntwo \\n is no break\n"));
    assert_eq!(shown.lines, ["\"one\\n", "two \\\\n is no break\\n\""]);
    assert_eq!(shown.lines.concat(), shown.one_line());
    assert_eq!(value(&json!("a\n\n")).lines, ["\"a\\n", "\\n\""]);
}

#[test]
fn nothing_is_cut_off_and_sizes_are_said() {
    let long = "x".repeat(100_000);
    let shown = value(&json!({ "long": long }));
    assert!(shown.one_line().contains(&long));
    assert_eq!(value(&json!(long)).size.map(|size| size.to_string()).as_deref(), Some("100,000 characters"));
    assert_eq!(value(&json!([1])).size.map(|size| size.to_string()).as_deref(), Some("1 item"));
    assert_eq!(value(&json!({})).size, Some(Size::Fields(0)));
    assert_eq!(value(&json!(5)).size, None);
}

#[test]
fn a_sensitive_argument_is_redacted_with_its_size() {
    let all = json!({ "password": "hunter2\u{1b}", "user": "u_42" });
    let shown = arguments(all.as_object().expect("an object"), &["password"]);
    assert!(shown[0].redacted && !shown[1].redacted);
    assert_eq!(shown[0].value.one_line(), "(sensitive, not shown)");
    assert_eq!((&shown[0].value.size, shown[0].value.warnings.len()), (&None, 0));
    assert_eq!(shown[1].value.one_line(), "\"u_42\"");
}
