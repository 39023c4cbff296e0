//! What the numbered migrations of every store have in common: which of them a database has had, under which names.

use crate::cell::Table;
use crate::digest::sha256;
use crate::names::Names;
use crate::{Error, Result};

/// Number, name and text. One that was ever released is never edited: the next number is added.
pub(crate) type Migration = (i64, &'static str, &'static str);

/// The newest schema this build knows.
pub(crate) fn newest(migrations: &[Migration]) -> i64 {
    migrations.last().map_or(0, |(version, ..)| *version)
}

/// How many of this build's migrations a database has had, by version and checksum of those it has recorded.
pub(crate) fn had(migrations: &[Migration], applied: &[(i64, String)]) -> Result<usize> {
    let known = newest(migrations);
    if let Some((found, _)) = applied.iter().find(|(version, _)| *version > known) {
        return Err(Error::Newer { found: *found, known });
    }
    for ((found, checksum), (version, name, text)) in applied.iter().zip(migrations) {
        if found != version || *checksum != sha256(text) {
            let detail = format!("migration {found} is not this build's {version} `{name}`");
            return Err(Error::corrupt("kern_migrations", detail));
        }
    }
    Ok(applied.len())
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
