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

/// Prints a figure that a closing note may quote: `figure: <what>: <value>`.
#[expect(clippy::print_stdout, reason = "it is what the test is for")]
pub fn figure(what: &str, value: impl std::fmt::Display) {
    println!("figure: {what}: {value}");
}
