//! What the schemas of the stores have in common: their number, whether a database has it, and the names of its tables.

use crate::cell::Table;
use crate::digest::sha256;
use crate::names::Names;
use crate::{Error, Result};

/// The number of the schema. Until the first release every change of a schema edits the one file of each store and raises this.
pub(crate) const SCHEMA: i64 = 20;

/// The name that a database records beside the number.
pub(crate) const NAME: &str = "init";

/// Whether a database has this build's schema (`text`), by number and checksum of what it has recorded. `false`: it has none.
///
/// # Errors
///
/// - [`Error::TooOld`], [`Error::Newer`]: it has the schema of another kern.
/// - [`Error::Corrupt`]: its number is this build's, and its text is not.
pub(crate) fn is_current(text: &str, applied: &[(i64, String)]) -> Result<bool> {
    match applied {
        [] => Ok(false),
        [.., (found, _)] if *found > SCHEMA => Err(Error::Newer { found: *found, known: SCHEMA }),
        [.., (found, _)] if *found < SCHEMA => Err(Error::TooOld { found: *found, known: SCHEMA }),
        [(_, checksum)] if *checksum == sha256(text) => Ok(true),
        _ => Err(Error::corrupt("kern_migrations", format!("schema {SCHEMA} is not as this build has it"))),
    }
}

/// The names that a database has recorded: each table's word, and what it is called there.
pub(crate) fn recorded_names(rows: Vec<(String, String)>) -> Result<Names> {
    let mut found = Vec::new();
    for (word, name) in rows {
        let table = Table::ALL.into_iter().find(|table| table.word() == word);
        let table = table.ok_or_else(|| Error::corrupt("kern_names", format!("`{word}` is no table of kern")))?;
        found.push((table, name));
    }
    Names::new(&found).map_err(|error| Error::corrupt("kern_names", error))
}

/// The recorded names, unless the caller asks for others: looking into other tables would find nothing waiting.
pub(crate) fn agree(names: Names, wanted: &[(Table, String)]) -> Result<Names> {
    for (table, name) in wanted {
        if names.of(*table) != name {
            return Err(Error::Invalid(format!(
                "the {} table of this database is `{}`, not `{name}`: leave the name out, or open another file",
                table.word(),
                names.of(*table)
            )));
        }
    }
    Ok(names)
}
