#![deny(warnings)]

use kern::prelude::*;

/// Send an email.
#[approval(when = email.ends_with("example.org"))]
#[tool]
async fn email(email: String) -> String {
    let copy = email.clone();
    match copy {
        email => email,
    }
}

/// Uses the name of a tool for a local.
fn other() -> usize {
    let email = String::new();
    email.len()
}

fn main() {
    assert_eq!(tools![email].len() + other(), 1);
    let _ = email("a@b.example".to_owned());
}
