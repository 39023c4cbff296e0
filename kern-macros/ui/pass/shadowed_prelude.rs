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

/// Count.
#[tool(timeout = "1s", stop_after_tool_call)]
fn count(#[arg(default = 3)] limit: u8, #[arg(default = "a", sensitive)] key: ::std::string::String, #[state] all: &u64) -> u64 {
    let _ = (limit, key);
    *all
}

struct Kit<T>(T);

#[toolkit]
impl<T> Kit<T> {
    /// Count.
    #[approval(when = *limit > 3, pool = "a", expires_in = "1h")]
    #[tool]
    fn count(&self, #[arg(default = 3)] limit: u8, #[arg(default = "a")] key: ::std::string::String, #[state] all: &u64) -> u64 {
        let _ = (limit, key);
        *all
    }

    /// Wait.
    #[tool]
    async fn wait(&self, ctx: &RunContext) -> ::std::result::Result<(), ::std::string::String> {
        let _ = ctx;
        ::std::result::Result::Ok(())
    }
}

fn main() {
    let tools = tools![look_up, wait, count];
    assert!(tools.len() == 3);
    assert!(kern::tools::Toolkit::tools(::std::sync::Arc::new(Kit(1))).len() == 2);
    assert!(tools[0].descriptor().name == "look_up");
}
