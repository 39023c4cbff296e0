use kern::prelude::*;

#[hook]
#[derive(Debug)]
pub struct Audit;

fn main() {}
