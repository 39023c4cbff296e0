use kern::prelude::*;

/// Ask.
#[tool]
fn kern(text: String) -> usize {
    text.len()
}

fn main() {
    let _ = kern("1".to_owned());
}
