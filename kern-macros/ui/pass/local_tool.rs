#![deny(warnings)]

use kern::prelude::*;
use kern::tools::ToolHandle;

fn local(outer: u8) -> Vec<ToolHandle> {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Key(u8);

    /// Look up.
    #[approval(when = key.0 > 3)]
    #[tool]
    fn look_up(key: Key) -> u8 {
        key.0
    }

    /// Look up, the other order.
    #[tool]
    #[approval]
    async fn look_up_too(key: Key) -> u8 {
        key.0
    }

    let _ = outer;
    tools![look_up, look_up_too]
}

fn main() {
    assert_eq!(local(1).len(), 2);
}
