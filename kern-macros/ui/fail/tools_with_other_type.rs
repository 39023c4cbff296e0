use kern::prelude::*;

#[derive(Default)]
struct LookUp;

fn main() {
    let _ = tools![LookUp];
    let _ = LookUp;
}
