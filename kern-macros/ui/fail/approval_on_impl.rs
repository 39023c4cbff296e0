use kern::prelude::*;

struct User;

#[approval]
impl User {}

fn main() {}
