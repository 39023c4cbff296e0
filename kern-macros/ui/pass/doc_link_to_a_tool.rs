#![deny(warnings)]
//! Links to [`look_up()`] [`fn@look_up`] and [`look_up`].

use kern::prelude::*;

/// Look up. See [`look_up()`].
#[tool]
pub fn look_up() {}

fn main() {
    assert_eq!(tools![look_up].len(), 1);
}
