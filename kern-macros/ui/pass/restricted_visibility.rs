#![deny(warnings)]

mod outer {
    pub mod inner {
        /// Look up.
        #[kern::tools::tool]
        pub(in crate::outer) fn look_up() {}

        /// Look up.
        #[kern::tools::tool]
        pub(super) fn look_up_too() {}

        pub mod types {
            #[derive(serde::Deserialize, schemars::JsonSchema)]
            pub(in crate::outer) struct Key;

            /// Look up.
            #[kern::tools::tool]
            pub(in crate::outer) fn by_key(key: self::Key, other: super::types::Key) {
                let _ = (key, other);
            }
        }
    }

    pub fn tools() -> usize {
        kern::tools::tools![inner::look_up, inner::look_up_too, inner::types::by_key].len()
    }
}

fn main() {
    assert_eq!(outer::tools(), 3);
}
