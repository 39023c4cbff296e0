#![deny(warnings)]

use kern::prelude::*;
use kern::tools::{Tool, ToolHandle};

/// Look up.
#[tool]
fn look_up() {}

fn is<T: Tool + Clone + Copy + std::fmt::Debug + Default>() -> T {
    T::default()
}

fn main() {
    let handle = ToolHandle::new(is::<look_up>());
    assert_eq!(handle.descriptor().name, "look_up");
    assert_eq!(format!("{:?}", look_up {}), "look_up");
    let function: fn() = look_up;
    function();
}
