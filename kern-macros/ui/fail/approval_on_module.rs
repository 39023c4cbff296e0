use kern::prelude::*;

#[approval]
mod users {}

fn main() {}
