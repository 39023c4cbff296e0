#![deny(warnings)]

use kern::approval::approval;
use kern::tools::{Toolkit, tool, toolkit};

/// Without the prelude.
struct Inside;

#[toolkit]
impl Inside {
    /// Approved.
    #[tool]
    #[approval]
    fn inside(&self) -> impl serde::Serialize {
        [1, 2]
    }
}

/// The same names, where only what is there under a condition uses them.
mod outside {
    use kern::approval::approval;
    use kern::tools::{tool, toolkit};

    pub(super) struct Outside;

    #[toolkit]
    impl Outside {
        /// Approved.
        #[approval]
        #[tool]
        fn outside(&self) {}

        /// Nowhere.
        #[cfg(any())]
        #[kern::missing::approval]
        #[kern::missing::tool]
        fn nowhere(&self) {}
    }
}

fn main() {
    let tools = [std::sync::Arc::new(Inside).tools(), std::sync::Arc::new(outside::Outside).tools()].concat();
    assert_eq!(tools.len(), 2);
    assert!(tools.iter().all(|tool| tool.descriptor().policy.approval.is_some()));
}
