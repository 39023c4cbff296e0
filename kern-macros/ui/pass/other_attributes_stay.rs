#![deny(warnings)]

use kern::prelude::*;

/// Look up.
#[inline]
#[tool]
#[must_use]
#[deprecated = "there is a better one"]
#[approval]
#[expect(clippy::unused_async, reason = "for show")]
async fn look_up(#[allow(unused_variables)] key: String, mut count: u8) -> u8 {
    count = count.saturating_add(1);
    count
}

fn main() {
    assert!(tools![look_up][0].descriptor().policy.approval.is_some());
    #[allow(deprecated)]
    let future = look_up(String::new(), 1);
    drop(future);
}
