use std::borrow::Cow;

use kern::prelude::*;

/// Look up.
#[tool]
fn look_up(key: Cow<'_, str>) -> String {
    key.into_owned()
}

fn main() {
    let _ = tools![look_up];
}
