//! The names of kern's tables in one database.

use crate::cell::Table;
use crate::{Error, Result};

/// A name for each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names([String; Table::ALL.len()]);

impl Default for Names {
    fn default() -> Self {
        Self(Table::ALL.map(|table| format!("kern_{}", table.word())))
    }
}

impl Names {
    pub(super) fn of(&self, table: Table) -> &str {
        &self.0[table as usize]
    }

    /// Sets one name.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: it is no plain identifier, or another table has it. Names go into SQL as they are.
    pub(super) fn set(&mut self, table: Table, name: &str) -> Result<()> {
        let plain = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
        let starts_well = name.bytes().next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
        if !starts_well || name.len() > 48 || !name.bytes().all(plain) || name.starts_with("sqlite_") {
            let what =
                "a table's name has letters, digits and `_`, starts with no digit, and has at most 48 characters";
            return Err(Error::Invalid(format!("`{name}` cannot name the {} table: {what}", table.word())));
        }
        let taken = |other: &&Table| **other != table && self.of(**other).eq_ignore_ascii_case(name);
        if let Some(other) = Table::ALL.iter().find(taken) {
            let reason =
                format!("`{name}` cannot name the {} table: it names the {} table", table.word(), other.word());
            return Err(Error::Invalid(reason));
        }
        name.clone_into(&mut self.0[table as usize]);
        Ok(())
    }

    /// Puts the names in the places of a migration's `{…}`.
    pub(super) fn fill(&self, sql: &str) -> String {
        Table::ALL
            .iter()
            .fold(sql.to_owned(), |sql, table| sql.replace(&format!("{{{}}}", table.word()), self.of(*table)))
    }
}
