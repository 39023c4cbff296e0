use kern::prelude::*;

#[tool]
mod users {}

fn main() {}
