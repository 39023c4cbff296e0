//! What the store lets an approver write is what the tool's own types read: an edit that is approved can run.
//!
//! For many types and many values: the store checks the value against the schema that kern made of the type, and the type
//! reads it.

#![allow(clippy::unwrap_used, reason = "where a store fails, its error is what a test shows")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kern::prelude::*;
use kern::tools::{ToolDescriptor, ToolHandle};
use kern_db::{ApprovalId, ApprovalStatus, CommitTurn, Error, NewCall, Resolution, canonical_json};
use kern_tests::steps::{APPROVER, Store, call, required, turn};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
#[serde(deny_unknown_fields)]
struct Strict {
    name: String,
    count: Option<u8>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
struct Loose {
    id: i64,
    #[serde(rename = "Ratio")]
    ratio: f32,
}

#[derive(Deserialize, JsonSchema)]
enum Unit {
    One,
    #[serde(rename = "two")]
    Two,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
enum External {
    Nothing,
    New(u16),
    Pair(i8, String),
    Fields { a: bool },
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Internal {
    Empty,
    Card { number: String },
    Cash { cents: u32 },
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    A(u8),
    B { x: i32 },
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
#[serde(untagged)]
enum Untagged {
    Number(i16),
    Text(String),
    Many(Vec<u8>),
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
struct Tree {
    value: u8,
    children: Vec<Tree>,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
struct Flat {
    own: bool,
    #[serde(flatten)]
    rest: Loose,
}

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
struct New(u32);

#[derive(Deserialize, JsonSchema)]
#[allow(dead_code, reason = "only read")]
struct Bounded {
    #[schemars(range(min = 1, max = 10))]
    low: i32,
    #[schemars(length(min = 1, max = 3))]
    short: String,
}

/// Values that stand next to each other's edges. Every one is given to every type.
fn values() -> Vec<Value> {
    let leaves = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.0),
        json!(-0.0),
        json!(0.5),
        json!(127),
        json!(128),
        json!(-128),
        json!(-129),
        json!(255),
        json!(256),
        json!(32_768),
        json!(65_535),
        json!(65_536),
        json!(2_147_483_647),
        json!(2_147_483_648_i64),
        json!(-2_147_483_649_i64),
        json!(4_294_967_295_i64),
        json!(4_294_967_296_i64),
        json!(9_007_199_254_740_991_i64),
        json!(-9_007_199_254_740_991_i64),
        json!(9_007_199_254_740_992_i64),
        json!(9_007_199_254_740_993_i64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1e15),
        json!(1e300),
        json!(3.5e38),
        json!(5e-324),
        json!(1e-7),
        json!(""),
        json!("x"),
        json!("ü"),
        json!("e\u{301}"),
        json!("𝄞"),
        json!("xyz"),
        json!("wxyz"),
        json!("One"),
        json!("two"),
        json!("Two"),
        json!("Nothing"),
        json!("1"),
        json!("1.2.3.4"),
        json!("::1"),
        json!("1.2.3"),
        json!("018f5f3e-0000-7000-8000-000000000000"),
    ];
    let mut values: Vec<Value> = leaves.to_vec();
    // Every other one inside of others: the edges of numbers are asked for by themselves.
    for leaf in leaves.iter().step_by(2) {
        values.extend([
            json!([leaf]),
            json!([leaf, leaf]),
            json!([1, leaf]),
            json!([leaf, "x", true]),
            json!({ "x": leaf }),
            json!({ "1": leaf }),
            json!({ "name": leaf }),
            json!({ "name": "n", "count": leaf }),
            json!({ "name": "n", "tags": [leaf] }),
            json!({ "name": "n", "more": leaf }),
            json!({ "id": leaf, "Ratio": 0.5 }),
            json!({ "id": 1, "Ratio": leaf }),
            json!({ "id": 1, "Ratio": 1, "own": leaf }),
            json!({ "id": leaf, "Ratio": 1, "own": true, "more": 1 }),
            json!({ "New": leaf }),
            json!({ "Pair": [leaf, "x"] }),
            json!({ "Pair": [1, leaf] }),
            json!({ "Pair": [1, "x", leaf] }),
            json!({ "Fields": { "a": leaf } }),
            json!({ "Fields": { "a": true }, "New": leaf }),
            json!({ "Nothing": leaf }),
            json!({ "kind": leaf }),
            json!({ "kind": "empty", "more": leaf }),
            json!({ "kind": "card", "number": leaf }),
            json!({ "kind": "cash", "cents": leaf }),
            json!({ "t": "A", "c": leaf }),
            json!({ "t": "B", "c": { "x": leaf } }),
            json!({ "value": leaf, "children": [] }),
            json!({ "value": 1, "children": [{ "value": leaf, "children": [] }] }),
            json!({ "value": 1, "children": [leaf] }),
            json!({ "low": leaf, "short": "x" }),
            json!({ "low": 1, "short": leaf }),
            json!({ "Ok": leaf }),
            json!({ "secs": leaf, "nanos": 1 }),
            json!({ "secs": 1, "nanos": leaf }),
            json!({ "start": leaf, "end": 3 }),
        ]);
    }
    let deep = (0..60).fold(json!({ "value": 1, "children": [] }), |inner, number| match number % 2 {
        0 => json!({ "value": 1, "children": [inner] }),
        _ => json!({ "value": 2, "children": [inner, { "value": 3, "children": [] }] }),
    });
    values.push(deep);
    values
}

/// An approval of one call of the tool.
async fn asked(store: &Store, descriptor: &ToolDescriptor) -> ApprovalId {
    let claim = store.started().await;
    let asked = NewCall {
        tool_name: descriptor.name.clone(),
        parameters: canonical_json(&descriptor.parameters),
        schema_hash: descriptor.schema_hash.clone(),
        arguments: "{}".to_owned(),
        ..call(0, required())
    };
    store.commit_turn(CommitTurn { calls: vec![asked], ..turn(&claim, 1, &[], true) }).await.unwrap();
    store.approval_id(&claim.run_id, 0).await
}

/// Whether the schema says more than the type does: then what nobody was shown is not taken.
fn is_stricter(name: &str, what: &str) -> bool {
    const SAID: &[&str] = &[
        // Serde reads a struct from a list of its fields, and a set from a list with an item twice.
        "expected object, found array",
        "has an item twice",
        // The limits of a model's arguments.
        "not exact",
        "nested deeper than 64",
        // A variant without fields may be written as an object, too.
        "/value: expected string, found object",
    ];
    // Its bounds are only in its schema.
    name == "of_bounded" || SAID.iter().any(|said| what.contains(said))
}

/// What the type says of a value, and the store of an edit to it.
async fn compare<T: DeserializeOwned>(store: &Store, tool: &ToolHandle, found: &mut Vec<String>) -> (usize, usize) {
    let descriptor = tool.descriptor();
    let (mut taken, mut editable) = (0, 0);
    let mut waiting = asked(store, descriptor).await;
    for value in values() {
        let edit = Resolution::approved().by(APPROVER).data(json!({ "edited_args": { "value": value } }));
        let reads = |value: &Value| serde_json::from_value::<T>(value.clone()).map(drop);
        match store.update_approval(&waiting, ApprovalStatus::Pending, edit).await {
            Ok(edited) => {
                (taken, editable) = (taken + 1, editable + 1);
                waiting = asked(store, descriptor).await;
                let kept = edited.tool_args.unwrap()["value"].clone();
                if let Err(error) = reads(&kept) {
                    found.push(format!("{}: the store takes {value}, the type does not: {error}", descriptor.name));
                }
            }
            Err(Error::NotEditable { .. }) => {}
            Err(Error::Invalid(what)) => {
                editable += 1;
                if !is_stricter(&descriptor.name, &what) && reads(&value).is_ok() {
                    found.push(format!("{}: the type takes {value}, the store does not: {what}", descriptor.name));
                }
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    (taken, editable)
}

macro_rules! types {
    ($($name:ident: $type:ty),+ $(,)?) => {
        $(
            /// Takes a value.
            #[tool]
            async fn $name(value: $type) -> String {
                let _ = value;
                String::new()
            }
        )+

        #[tokio::test]
        async fn i14_what_the_store_takes_the_types_read() {
            let mut found = Vec::new();
            $({
                let store = Store::in_memory();
                let tool = tools![$name].remove(0);
                let (taken, editable) = compare::<$type>(&store, &tool, &mut found).await;
                // What has a pattern is not checked by halves.
                if !["of_numbered_map", "of_nonzero"].contains(&stringify!($name)) {
                    assert!(taken > 0 && editable > 0, "{} takes nothing: {}", stringify!($name), tool.descriptor().parameters);
                }
            })+
            assert!(found.is_empty(), "{}\n{}", found.len(), found.join("\n"));
        }
    };
}

types!(
    of_bool: bool,
    of_u8: u8,
    of_i8: i8,
    of_u16: u16,
    of_i32: i32,
    of_u32: u32,
    of_i64: i64,
    of_u64: u64,
    of_u128: u128,
    of_usize: usize,
    of_f32: f32,
    of_f64: f64,
    of_char: char,
    of_string: String,
    of_option: Option<u8>,
    of_nested_option: Option<Vec<Option<i8>>>,
    of_vec: Vec<u16>,
    of_set: BTreeSet<u8>,
    of_array: [u8; 2],
    of_pair: (u8, String),
    of_map: BTreeMap<String, u8>,
    of_numbered_map: HashMap<u8, bool>,
    of_strict: Strict,
    of_loose: Loose,
    of_flat: Flat,
    of_unit: Unit,
    of_external: External,
    of_internal: Internal,
    of_adjacent: Adjacent,
    of_untagged: Untagged,
    of_tree: Tree,
    of_new: New,
    of_bounded: Bounded,
    of_address: std::net::IpAddr,
    of_old_address: std::net::Ipv4Addr,
    of_result: Result<u8, String>,
    of_duration: std::time::Duration,
    of_range: std::ops::Range<u8>,
    of_value: Value,
    of_nonzero: std::num::NonZeroU8,
);
