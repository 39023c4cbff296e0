//! Which store a command is about. It is opened as it is: nothing is made, nothing is brought up to date.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use kern::db::{self, Db, IntoDb as _, SqliteDb};
use kern::display;

use crate::failure::{Failure, Outcome, chain};

/// The variable that names the store where no option does.
const VARIABLE: &str = "KERN_DB";

/// Where the store is.
#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
}

impl Database {
    /// The store that `--db` or `KERN_DB` names.
    pub(crate) fn named(named: Option<OsString>) -> Outcome<Self> {
        let named = named.or_else(|| std::env::var_os(VARIABLE)).filter(|address| !address.is_empty());
        let Some(address) = named else {
            let message = format!("which database? give --db sqlite:app.db, or set {VARIABLE}");
            return Err(Failure::could_not("no_database", message));
        };
        Ok(Self { path: path_of(address)? })
    }

    /// Opens it. It is closed when what this gives is dropped, and then nothing of it is left beside the file.
    pub(crate) async fn open(&self) -> Outcome<Arc<dyn Db>> {
        let shown = display::text(&self.path.display().to_string()).to_string();
        let opened = SqliteDb::builder(&self.path).existing().open().await;
        opened.map(SqliteDb::into_db).map_err(|error| refused(&shown, &error))
    }
}

/// The file that an address names: `sqlite:app.db`, `sqlite:///srv/app.db`, or only its path.
///
/// An address of another kind may hold a password, so it is not repeated.
fn path_of(address: OsString) -> Outcome<PathBuf> {
    let Some(text) = address.to_str() else { return Ok(address.into()) };
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() {
            return Err(Failure::could_not("invalid", "the address names no file: give --db sqlite:app.db"));
        }
        return Ok(path.into());
    }
    let Some((scheme, _)) = text.split_once("://") else { return Ok(address.into()) };
    if matches!(scheme, "postgres" | "postgresql") {
        let message = "this build of kern has no PostgreSQL: give the address of a SQLite file, sqlite:app.db";
        return Err(Failure::could_not("unsupported", message));
    }
    let message = format!("`{scheme}://` is no store of kern: give the address of a SQLite file, sqlite:app.db");
    Err(Failure::could_not("unsupported", message))
}

fn refused(path: &str, error: &db::Error) -> Failure {
    let message = match error {
        db::Error::NoStore { detail, .. } => {
            format!("there is no store at `{path}`, {detail}: give the file that the application uses")
        }
        db::Error::Corrupt { place, detail } if place == "the file" => {
            format!("`{path}` cannot be used, {detail}: give the file that the application uses")
        }
        db::Error::Corrupt { place, detail } => {
            format!("`{path}` cannot be used, {place}: {detail}: look into it, or take a copy that is whole")
        }
        db::Error::Older { .. } | db::Error::Newer { .. } => format!("`{path}`: {error}"),
        db::Error::Busy { .. } => format!("`{path}` is locked by another process: try again"),
        db::Error::Unavailable { source, .. } => {
            format!("`{path}` cannot be opened, {source}: check who may read and write the file and its folder")
        }
        _ => format!("`{path}` cannot be used: {}", chain(error)),
    };
    Failure::could_not(error.code(), message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a path that is refused is what a test shows")]

    use super::*;

    #[test]
    fn every_way_to_write_a_file_names_it() {
        for (address, path) in [
            ("app.db", "app.db"),
            ("sqlite:app.db", "app.db"),
            ("sqlite://app.db", "app.db"),
            ("sqlite:///srv/app.db", "/srv/app.db"),
            ("sqlite:/srv/app.db", "/srv/app.db"),
            ("/srv/a b:c.db", "/srv/a b:c.db"),
        ] {
            assert_eq!(path_of(address.into()).unwrap(), PathBuf::from(path), "{address}");
        }
    }

    #[test]
    fn another_kind_of_address_is_refused_without_its_password() {
        for address in ["postgres://me:secret@host/db", "postgresql://me:secret@host/db", "mysql://me:secret@host/db"] {
            let said = format!("{:?}", path_of(address.into()).unwrap_err());
            assert!(!said.contains("secret") && said.contains("sqlite:app.db"), "{said}");
        }
        assert!(path_of("sqlite:".into()).is_err());
    }
}
