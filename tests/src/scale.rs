//! How often the long tests repeat: the full counts in long mode, a fixed tenth of them otherwise.

/// The variable that asks for the full counts: `KERN_FAULTS=full`.
pub const VARIABLE: &str = "KERN_FAULTS";

/// Gives how often something is repeated whose full count is `full`.
///
/// # Panics
///
/// When the variable is set to anything but `full` or `tenth`: a typing error must not pass for the long mode.
#[must_use]
pub fn of(full: usize) -> usize {
    match std::env::var(VARIABLE).as_deref() {
        Ok("full") => full,
        Ok("tenth") | Err(std::env::VarError::NotPresent) => full.div_ceil(10),
        other => panic!("{VARIABLE} is `full` or `tenth`, not {other:?}"),
    }
}

/// The variable that names a file to which figures are added, because a test that passes is not heard.
pub const FIGURES: &str = "KERN_FIGURES";

/// Prints a figure that a closing note may quote: `figure: <what>: <value>`.
///
/// # Panics
///
/// When the file that the variable names cannot be written.
#[expect(clippy::print_stdout, reason = "it is what the test is for")]
pub fn figure(what: &str, value: impl std::fmt::Display) {
    use std::io::Write as _;
    let line = format!("figure: {what}: {value}");
    println!("{line}");
    if let Some(path) = std::env::var_os(FIGURES) {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{line}")).expect("the figures can be written");
    }
}
