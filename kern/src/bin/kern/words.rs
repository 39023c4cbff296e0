//! Times and ages in words, and tables.

use comfy_table::{Table, presets};

use crate::output::Ink;

/// Epoch seconds of this machine's clock.
pub(crate) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A span of time: the largest unit that fits, as one says it.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (count, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

/// A point in time, with how long ago it was, or how long it is until then.
pub(crate) fn moment(epoch_seconds: i64, now: i64) -> String {
    let at = match jiff::Timestamp::from_second(epoch_seconds) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        // A row may hold any number.
        Err(_) => format!("at {epoch_seconds} seconds"),
    };
    match epoch_seconds.saturating_sub(now) {
        ahead @ 1.. => format!("{at} (in {})", span(ahead)),
        ago => format!("{at} ({} ago)", span(ago.saturating_neg())),
    }
}

/// Rows below a head, in columns as wide as they have to be. Cells are safe to show, and on one line. Where the terminal is
/// not wide enough, each row is a list of its own.
pub(crate) fn table(ink: Ink, head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    table.add_rows(rows.iter().cloned());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    if lines.iter().any(|line| ink.fold(line, 0).len() > 1) {
        return rows.iter().map(|row| stacked(ink, head, row)).collect::<Vec<_>>().join("\n");
    }
    let mut lines = lines.into_iter();
    let head = lines.next().map(|head| ink.bold(&head));
    head.into_iter().chain(lines).collect::<Vec<_>>().join("\n")
}

/// One row: its first cell, and below it the others with their titles.
fn stacked(ink: Ink, head: &[&str], row: &[String]) -> String {
    let width = head.iter().map(|title| title.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (place, (title, cell)) in head.iter().zip(row).enumerate() {
        if place == 0 {
            lines.push(ink.bold(cell));
            continue;
        }
        let title = ink.dim(&format!("{:<width$}", title.to_lowercase()));
        let cell = ink.fold(cell, width + 6).join(&format!("\n  {} {} ", " ".repeat(width), ink.dim("│")));
        lines.push(format!("  {title} {cell}"));
    }
    lines.join("\n")
}

/// A text for a cell. What does not fit is counted, never left out silently.
pub(crate) fn cell(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let start: String = text.chars().take(width).collect();
    format!("{start}… +{} characters", length - width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_their_largest_unit() {
        for (seconds, words) in [
            (-5, "0 seconds"),
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (3599, "59 minutes"),
            (3600, "1 hour"),
            (172_799, "47 hours"),
            (172_800, "2 days"),
            (i64::MAX, "106751991167300 days"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }

    #[test]
    fn a_moment_says_when_and_how_long_ago_or_ahead_whatever_a_row_holds() {
        assert_eq!(moment(0, 60), "1970-01-01 00:00:00 UTC (1 minute ago)");
        assert_eq!(moment(7260, 60), "1970-01-01 02:01:00 UTC (in 2 hours)");
        assert!(moment(i64::MAX, -1).starts_with("at 9223372036854775807 seconds (in "));
        assert!(moment(i64::MIN, 1).contains("ago"));
    }

    #[test]
    fn a_cell_says_how_much_does_not_fit() {
        assert_eq!(cell("abc", 3), "abc");
        assert_eq!(cell("abcdé", 3), "abc… +2 characters");
    }
}
