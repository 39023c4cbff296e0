#![deny(warnings)]

use kern::prelude::*;

macro_rules! lookup {
    ($(#[$attr:meta])* $vis:vis fn $name:ident($arg:ident: $ty:ty) when $when:expr; $text:literal) => {
        $(#[$attr])*
        #[approval(when = $when)]
        #[tool(name = $text)]
        $vis async fn $name($arg: $ty, ctx: &RunContext) -> String {
            format!("{} {}", $arg, ctx.tool_name)
        }
    };
    (context $name:ident $ctx:ty) => {
        #[doc = stringify!($name)]
        #[tool]
        fn $name(ctx: $ctx) {
            let _ = ctx;
        }
    };
}

lookup! {
    /// Look up a user.
    pub fn user(id: u64) when *id > 10; "look-up-user"
}

lookup! {
    /// Look up an order.
    fn order(key: String) when key.is_empty(); "look-up-order"
}

lookup!(context nothing &RunContext);

fn main() {
    let tools = tools![user, order, nothing];
    let names: Vec<_> = tools.iter().map(|tool| tool.descriptor().name.as_str()).collect();
    assert_eq!(names, ["look-up-user", "look-up-order", "nothing"]);
    assert_eq!(tools[0].descriptor().description, "Look up a user.");
    assert_eq!(tools[2].descriptor().description, "nothing");
    assert_eq!(tools[2].descriptor().parameters["required"], json!([]));
}
