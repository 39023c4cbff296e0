use kern::prelude::*;

struct Audit;

#[hook]
impl Audit {
    fn log(&self) {}
}

fn main() {
    Audit.log();
}
