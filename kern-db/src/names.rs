//! The names of kern's tables in one database.

use crate::cell::Table;
use crate::{Error, Result};

/// What databases keep for themselves.
const RESERVED: [&str; 2] = ["sqlite_", "pg_"];

/// A name for each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names([String; Table::ALL.len()]);

impl Default for Names {
    fn default() -> Self {
        Self(Table::ALL.map(|table| format!("kern_{}", table.word())))
    }
}

impl Names {
    pub(crate) fn of(&self, table: Table) -> &str {
        &self.0[table as usize]
    }

    /// The default names, with these in their place. The last one counts where a table is named twice.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`]: a name is no plain identifier, or names two tables. Names go into SQL as they are.
    pub(crate) fn new(chosen: &[(Table, String)]) -> Result<Self> {
        let mut names = Self::default();
        for (table, name) in chosen {
            check(*table, name)?;
            name.clone_into(&mut names.0[*table as usize]);
        }
        // Only now: tables may have traded their names.
        for (place, table) in Table::ALL.into_iter().enumerate() {
            let name = names.of(table);
            if let Some(other) = Table::ALL[..place].iter().find(|other| names.of(**other).eq_ignore_ascii_case(name)) {
                return Err(Error::Invalid(format!(
                    "`{name}` cannot name the {} table: it names the {} table",
                    table.word(),
                    other.word()
                )));
            }
        }
        Ok(names)
    }

    /// Puts the names in the places of a migration's `{…}`.
    pub(crate) fn fill(&self, sql: &str) -> String {
        Table::ALL
            .iter()
            .fold(sql.to_owned(), |sql, table| sql.replace(&format!("{{{}}}", table.word()), self.of(*table)))
    }
}

/// Whether a name can stand in SQL as it is.
fn check(table: Table, name: &str) -> Result<()> {
    let plain = |byte: u8| byte == b'_' || byte.is_ascii_alphanumeric();
    let starts_well = name.bytes().next().is_some_and(|byte| byte == b'_' || byte.is_ascii_alphabetic());
    let taken = |prefix: &&str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    if !starts_well || name.len() > 48 || !name.bytes().all(plain) || RESERVED.iter().any(taken) {
        let what = "a table's name has letters, digits and `_`, starts with no digit, and has at most 48 characters";
        return Err(Error::Invalid(format!("`{name}` cannot name the {} table: {what}", table.word())));
    }
    Ok(())
}
