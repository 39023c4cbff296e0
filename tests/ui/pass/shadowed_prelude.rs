#![deny(warnings)]
#![allow(dead_code, non_camel_case_types, non_upper_case_globals, unused_macros)]

use kern::prelude::*;

mod std {}
mod core {}
mod serde {}
mod serde_json {}
mod schemars {}

struct Result;
struct Option;
struct String;
struct Vec;
struct Box;
struct Ok;
struct Some;
struct None;
struct Err;
struct Default;
struct Clone;
struct Copy;
struct Debug;
struct Tool;
struct StaticTool;
struct LazyLock;
struct bool;
struct str;

const call: u8 = 1;
const arguments: u8 = 1;
const __kern: u8 = 1;

macro_rules! vec {
    () => {
        compile_error!("the user's own")
    };
}

/// Look up.
#[approval(when = *key > 3)]
#[tool(user_input_fields("other"))]
fn look_up(key: u8, other: ::std::string::String, ctx: &RunContext) -> ::std::string::String {
    let _ = (key, ctx);
    other
}

/// Wait.
#[tool]
async fn wait(list: ::std::vec::Vec<::std::option::Option<u8>>) -> ::std::result::Result<(), ::std::string::String> {
    if list.is_empty() { ::std::result::Result::Ok(()) } else { ::std::result::Result::Err(::std::string::String::new()) }
}

fn main() {
    let tools = tools![look_up, wait];
    assert!(tools.len() == 2);
    assert!(tools[0].descriptor().name == "look_up");
}
