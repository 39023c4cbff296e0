//! A crate that denies what it can.
#![deny(missing_docs, unsafe_code, unreachable_pub, warnings, missing_debug_implementations, missing_copy_implementations)]
#![deny(unused_qualifications, single_use_lifetimes, unused_results, let_underscore_drop, trivial_casts)]
#![deny(non_ascii_idents, unused_lifetimes, variant_size_differences, absolute_paths_not_starting_with_crate)]
#![forbid(unsafe_code, non_camel_case_types, non_snake_case, unused_variables, dead_code)]

use kern::prelude::*;

/// Tools of a module.
pub mod tools_of_a_module {
    use kern::prelude::*;

    /// Delete a user.
    #[approval(when = user_id != "test")]
    #[tool(user_input_fields("reason"))]
    pub async fn delete_user(
        /// The user.
        user_id: String,
        reason: Option<String>,
        ctx: &RunContext,
    ) -> Result<String, String> {
        reason.map(|reason| format!("{user_id} {reason} {}", ctx.tool_name)).ok_or(user_id)
    }
}

mod private {
    /// Seen in the crate only.
    #[kern::tools::tool]
    pub(crate) fn ping() {}
}

fn main() {
    assert_eq!(tools![tools_of_a_module::delete_user, private::ping].len(), 2);
}
