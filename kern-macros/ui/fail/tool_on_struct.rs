use kern::prelude::*;

/// A user.
#[tool]
#[approval]
pub struct User;

fn main() {}
