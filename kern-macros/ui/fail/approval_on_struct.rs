use kern::prelude::*;

#[approval]
pub struct User;

fn main() {}
