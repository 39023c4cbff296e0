#![deny(unused_imports)]

mod outside {
    use kern::approval::approval;
    use kern::tools::tool;

    /// Delete a user.
    #[approval]
    #[tool]
    pub fn delete_user() {}
}

mod inside {
    use kern::approval::approval;
    use kern::tools::tool;

    /// Delete a user.
    #[tool]
    #[approval(type = "audit")]
    pub fn delete_user() {}
}

mod outer_alias {
    use kern::approval::approval as gate;
    use kern::tools::tool;

    /// Delete a user.
    #[gate]
    #[tool]
    pub fn delete_user() {}
}

fn main() {
    use kern::tools::{ApprovalPolicy, tools};

    let [outside, inside, outer_alias] =
        <[_; 3]>::try_from(tools![outside::delete_user, inside::delete_user, outer_alias::delete_user]).unwrap();
    assert_eq!(outside.descriptor().policy.approval, Some(ApprovalPolicy::Required));
    assert_eq!(inside.descriptor().policy.approval, Some(ApprovalPolicy::Audit));
    assert_eq!(outer_alias.descriptor().policy.approval, Some(ApprovalPolicy::Required));
}
