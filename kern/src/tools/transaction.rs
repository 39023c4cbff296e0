//! What a transactional tool hands to kern: statements that the store commits together with the call's outcome.

use std::sync::{Arc, Mutex, PoisonError};

use kern_db::{SqlValue, Write};

use super::ToolError;

/// The writes of one call: gathered while its body runs, and committed with its outcome, in the finishing statement's own
/// transaction. No transaction is open while the body runs.
///
/// Given by [`RunContext::transaction`](super::RunContext::transaction).
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(super) writes: Option<&'a Writes>,
}

/// The place where they are gathered. Nothing more is taken once the body has ended.
#[derive(Clone, Debug)]
pub(crate) struct Writes(Arc<Mutex<Option<Vec<Write>>>>);

/// Why a statement was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The call was not allowed as one of a transactional tool: nothing would commit the statement.
    #[error("this call is not transactional: write `#[tool(effect = \"transactional\")]` on the tool")]
    NotTransactional,
    /// The body has ended, or is not waited for any more: what it wanted to write is decided.
    #[error("the call has ended: what it wrote is decided")]
    Ended,
}

impl From<TransactionError> for ToolError {
    fn from(error: TransactionError) -> Self {
        Self::new(error.to_string())
    }
}

impl Writes {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    /// Gives what was gathered, and takes nothing more.
    pub(crate) fn take(&self) -> Vec<Write> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }
}

impl Transaction<'_> {
    /// Adds a statement: an `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `WITH` or `SELECT` in the store's SQL, about tables that
    /// are not kern's. It runs when the body has ended with a result; all of them are committed with that, or none.
    ///
    /// Where the store refuses one of them, none stays, and the call has failed with what the store said.
    ///
    /// ```
    /// # use kern::tools::{RunContext, ToolError};
    /// # fn body(ctx: &RunContext) -> Result<(), ToolError> {
    /// ctx.transaction().execute("UPDATE stock SET pieces = pieces - ? WHERE article = ?", (3, "chair"))?;
    /// ctx.transaction().execute("DELETE FROM carts WHERE owner IS NULL", ())?;
    /// # Ok(())
    /// # }
    /// # let ctx = RunContext::for_test();
    /// # body(&ctx)?;
    /// // A unit test sees what was handed over.
    /// assert_eq!(ctx.transaction().statements().len(), 2);
    /// # Ok::<(), ToolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`TransactionError::NotTransactional`]: the call was allowed as one of a tool with another effect.
    /// - [`TransactionError::Ended`]: the body is not waited for any more.
    pub fn execute(&self, sql: impl Into<String>, params: impl Params) -> Result<(), TransactionError> {
        let writes = self.writes.ok_or(TransactionError::NotTransactional)?;
        let mut gathered = writes.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gathered = gathered.as_mut().ok_or(TransactionError::Ended)?;
        gathered.push(Write::new(sql, params.into_params()));
        Ok(())
    }

    /// Gives the statements that were added so far.
    #[must_use]
    pub fn statements(&self) -> Vec<Write> {
        let gathered = self.writes.map(|writes| writes.0.lock().unwrap_or_else(PoisonError::into_inner));
        gathered.and_then(|gathered| gathered.clone()).unwrap_or_default()
    }
}

/// What may be bound to a statement's places, in order: nothing (`()`), a tuple of values of whatever types a database
/// knows, or an array, a slice or a `Vec` of one type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be bound to a statement",
    label = "expected a tuple such as `(3, \"chair\")`",
    note = "one value is a tuple, too: write `(value,)`; no value is `()`; values are numbers up to 64 bits with a sign, \
            texts, `bool`, `Vec<u8>`, and `Option` of them"
)]
pub trait Params {
    /// Gives the values.
    fn into_params(self) -> Vec<SqlValue>;
}

impl Params for () {
    fn into_params(self) -> Vec<SqlValue> {
        Vec::new()
    }
}

impl<T: Into<SqlValue>> Params for Vec<T> {
    fn into_params(self) -> Vec<SqlValue> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<SqlValue>, const N: usize> Params for [T; N] {
    fn into_params(self) -> Vec<SqlValue> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<SqlValue> + Clone> Params for &[T] {
    fn into_params(self) -> Vec<SqlValue> {
        self.iter().cloned().map(Into::into).collect()
    }
}

macro_rules! tuples {
    ($($($Type:ident)+;)+) => {
        $(
            impl<$($Type: Into<SqlValue>),+> Params for ($($Type,)+) {
                #[allow(non_snake_case)]
                fn into_params(self) -> Vec<SqlValue> {
                    let ($($Type,)+) = self;
                    vec![$($Type.into()),+]
                }
            }
        )+
    };
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::RunContext;

    #[test]
    fn parameters_are_tuples_arrays_and_lists() {
        let ctx = RunContext::for_test();
        let transaction = ctx.transaction();
        transaction.execute("INSERT INTO t VALUES (?, ?, ?)", (1_i64, "a", None::<f64>)).expect("a tuple");
        transaction.execute("INSERT INTO t VALUES (?, ?)", ["a", "b"]).expect("an array");
        transaction.execute("INSERT INTO t VALUES (?)", vec![SqlValue::Bool(true)]).expect("a list");
        transaction.execute("DELETE FROM t", ()).expect("nothing");
        let params: Vec<Vec<SqlValue>> = transaction.statements().into_iter().map(|write| write.params).collect();
        let text = |text: &str| SqlValue::Text(text.to_owned());
        assert_eq!(
            params,
            [
                vec![SqlValue::Integer(1), text("a"), SqlValue::Null],
                vec![text("a"), text("b")],
                vec![SqlValue::Bool(true)],
                Vec::new(),
            ]
        );
    }

    #[test]
    fn a_body_that_has_ended_writes_nothing_more() {
        let writes = Writes::new();
        let transaction = Transaction { writes: Some(&writes) };
        transaction.execute("DELETE FROM t", ()).expect("it runs");
        assert_eq!(writes.take().len(), 1);
        assert_eq!(transaction.execute("DELETE FROM t", ()), Err(TransactionError::Ended));
        assert_eq!(writes.take(), []);
        let none = Transaction { writes: None };
        assert_eq!(none.execute("DELETE FROM t", ()), Err(TransactionError::NotTransactional));
    }
}
