#![deny(warnings)]

use kern::prelude::*;

/// Match something.
#[approval(when = r#type == "big")]
#[tool(user_input_fields("fn"))]
fn r#match(r#type: String, r#fn: u8) -> String {
    format!("{type}{fn}")
}

fn main() {
    let tools = tools![r#match];
    let descriptor = tools[0].descriptor();
    assert_eq!(descriptor.name, "match");
    assert_eq!(descriptor.parameters["required"], json!(["type", "fn"]));
    assert_eq!(descriptor.user_input_fields, ["fn"]);
    assert_eq!(r#match("a".to_owned(), 1), "a1");
}
