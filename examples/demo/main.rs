//! The demonstration that `cargo run` starts.
fn main() {}
