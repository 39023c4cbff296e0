use kern::prelude::*;

/// Convert.
#[tool]
fn u64(text: String) -> usize {
    text.len()
}

fn main() {
    let _ = u64("1".to_owned());
}
