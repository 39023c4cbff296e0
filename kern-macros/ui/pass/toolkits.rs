//! A crate that denies what it can, with toolkits in it.
#![deny(missing_docs, unsafe_code, unreachable_pub, warnings, missing_debug_implementations)]
#![deny(unused_qualifications, single_use_lifetimes, unused_results, let_underscore_drop, trivial_casts)]
#![forbid(unsafe_code, non_camel_case_types, non_snake_case, unused_variables, dead_code)]

use std::fmt::Debug;
use std::sync::Arc;

use kern::prelude::*;
use kern::tools::Toolkit;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// Money.
#[derive(Debug)]
pub struct Billing {
    limit: u64,
}

#[toolkit]
impl Billing {
    /// A constant stays.
    pub const LIMIT: u64 = 10;

    /// Refund a payment.
    #[approval(when = *cents > Self::LIMIT)]
    #[tool]
    pub async fn refund(&self, ctx: &RunContext, #[state] prefix: &String, cents: u64) -> Result<String, String> {
        if self.is_big(cents) { Err(ctx.tool_name.clone()) } else { Ok(format!("{prefix}{cents}")) }
    }

    /// Look up a payment.
    #[tool(inline)]
    #[approval(type = "audit")]
    fn r#type(&self, #[arg(default = Self::LIMIT, sensitive)] limit: u64) -> u64 {
        limit.max(self.limit)
    }

    /// Wait for a payment.
    #[kern::tools::tool]
    fn wait<'a>(self: &Self, ctx: &'a RunContext, #[state] prefix: &'a String) {
        let _ = (ctx, prefix);
    }

    /// Only where it is.
    #[cfg(any())]
    #[tool]
    fn nowhere(&self, missing: NoSuchType) {}

    /// One of two.
    #[cfg(all())]
    #[tool]
    fn twice(&self, #[cfg(all())] key: String, #[cfg(any())] missing: NoSuchType, #[cfg(any())] #[state] no: &NoSuchType) -> String {
        key
    }

    /// One of two.
    #[cfg(not(all()))]
    #[tool]
    fn twice(&self) {}

    /// Without the toolkit's value.
    #[tool]
    fn version() -> u8 {
        1
    }

    /// Named as an item of the prelude, and as a method of `Arc`.
    #[tool]
    #[deprecated]
    #[cfg_attr(all(), must_use)]
    fn clone(&self) -> u8 {
        2
    }

    // A method of its own stays as it is.
    fn is_big(&self, cents: u64) -> bool {
        cents > self.limit
    }
}

/// Keeps values of any type.
#[derive(Debug)]
pub struct Shelf<T, const N: usize>
where
    T: Debug,
{
    values: [T; N],
}

#[toolkit]
impl<T, const N: usize> Shelf<T, N>
where
    T: Debug + Clone + PartialEq + DeserializeOwned + JsonSchema + Send + Sync,
{
    /// Find a value.
    #[approval(when = values.contains(value) && values.len() > N)]
    #[tool(requires_confirmation)]
    async fn find(&self, value: T, values: Vec<T>, #[state] all: &Vec<T>) -> Option<usize> {
        drop((values, all));
        self.values.iter().position(|known| *known == value)
    }

    /// How many there are.
    #[tool]
    fn count(&self, #[arg(default = N)] limit: usize) -> usize {
        limit.min(N)
    }
}

/// No bound but what a toolkit needs.
#[derive(Debug)]
pub struct Nothing<T>(T);

#[toolkit]
impl<T> Nothing<T> {
    /// Nothing.
    #[tool]
    fn nothing(&self) {
        let _ = &self.0;
    }
}

mod renamed {
    /// Stands for the crate under another name.
    pub(crate) mod agents {
        pub(crate) use kern::*;
    }
}

/// Of a renamed crate.
#[derive(Debug)]
pub struct Renamed;

#[toolkit(crate = "crate::renamed::agents")]
impl Renamed {
    /// Nothing.
    #[tool]
    fn nothing(&self) {}
}

macro_rules! generated {
    ($kit:ident, $tool:ident, $arg:ident: $ty:ty = $default:expr) => {
        /// Made by a macro.
        #[derive(Debug)]
        pub struct $kit;

        #[toolkit]
        impl $kit {
            /// Nothing.
            #[approval(when = $arg.is_empty())]
            #[tool]
            fn $tool(&self, #[arg(default = $default)] $arg: $ty) -> $ty {
                $arg
            }
        }
    };
}

generated!(Generated, echo, text: String = "hello");

fn names(kit: impl Toolkit) -> Vec<String> {
    Arc::new(kit).tools().iter().map(|tool| tool.descriptor().name.clone()).collect()
}

fn main() {
    struct Local;

    #[toolkit]
    impl Local {
        /// Nothing.
        #[tool]
        fn nothing(&self) {}
    }

    assert_eq!(names(Billing { limit: 3 }), ["refund", "type", "wait", "twice", "version", "clone"]);
    assert_eq!(names(Shelf { values: [1, 2] }), ["find", "count"]);
    assert_eq!(names(Nothing(String::new())), ["nothing"]);
    assert_eq!(names(Renamed), ["nothing"]);
    assert_eq!(names(Generated), ["echo"]);
    assert_eq!(names(Local), ["nothing"]);
    let tools = Arc::new(Generated).tools();
    assert_eq!(tools[0].descriptor().parameters["properties"]["text"]["default"], "hello");
}
