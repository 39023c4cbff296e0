use kern::prelude::*;

struct Pool;

impl Pool {
    fn is_closed(&self) -> bool {
        true
    }
}

/// Delete a user.
#[approval(when = pool.is_closed())]
#[tool]
fn delete_user(id: String, #[state] pool: &Pool) {
    let _ = (id, pool.is_closed());
}

fn main() {
    let _ = tools![delete_user];
}
