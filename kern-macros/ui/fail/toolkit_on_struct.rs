use kern::prelude::*;

#[toolkit]
struct Billing;

fn main() {
    let _ = Billing;
}
