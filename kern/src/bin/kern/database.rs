//! Which store a command is about. It is opened as it is: nothing is made, nothing is brought up to date.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use kern::db::{self, Db, IntoDb as _, PostgresDb, SqliteDb};
use kern::display;
use tokio::sync::OnceCell;

use crate::failure::{Failure, Outcome, chain};

/// The variable that names the store where no option does.
const VARIABLE: &str = "KERN_DB";
/// Connections to a server at most: one command asks one thing after the other.
const CONNECTIONS: usize = 2;

/// A store, by its address.
pub(crate) struct Database {
    place: Place,
    /// A server's store, once it is open: it is closed at the end of the command.
    opened: OnceCell<Arc<dyn Db>>,
}

/// Where the store is.
enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// The address of a PostgreSQL database, which may hold a password.
    Server(String),
}

impl Database {
    /// The store that `--db` or `KERN_DB` names.
    pub(crate) fn named(named: Option<OsString>) -> Outcome<Self> {
        let named = named.or_else(|| std::env::var_os(VARIABLE)).filter(|address| !address.is_empty());
        let Some(address) = named else {
            let message =
                format!("which database? give --db sqlite:app.db or --db postgres://host/database, or set {VARIABLE}");
            return Err(Failure::could_not("no_database", message));
        };
        Ok(Self { place: Place::of(address)?, opened: OnceCell::new() })
    }

    /// Opens it. A file is closed when what this gives is dropped, and then nothing of it is left beside the file.
    pub(crate) async fn open(&self) -> Outcome<Arc<dyn Db>> {
        match &self.place {
            Place::File(path) => {
                let opened = SqliteDb::builder(path).existing().open().await;
                let shown = || display::text(&path.display().to_string()).to_string();
                opened.map(SqliteDb::into_db).map_err(|error| refused(&shown(), &error))
            }
            Place::Server(address) => {
                let open = || async {
                    let opened = PostgresDb::builder(address).max_connections(CONNECTIONS).existing().open().await;
                    opened.map(PostgresDb::into_db).map_err(|error| refused_by_server(&error))
                };
                self.opened.get_or_try_init(open).await.cloned()
            }
        }
    }

    /// Ends the work with a server's store in order: this machine is no host that a failover waits for.
    pub(crate) async fn close(&self) -> Result<(), db::Error> {
        match self.opened.get() {
            Some(db) => db.close().await,
            None => Ok(()),
        }
    }
}

impl Place {
    /// What an address names: `sqlite:app.db`, `sqlite:///srv/app.db`, or only the path of a file; `postgres://`,
    /// `postgresql://` or `postgresql+psycopg://` and what follows it for a database.
    ///
    /// An address with a scheme may hold a password, so it is not repeated.
    fn of(address: OsString) -> Outcome<Self> {
        let Some(text) = address.to_str() else { return Ok(Self::File(address.into())) };
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() {
                return Err(Failure::could_not("invalid", "the address names no file: give --db sqlite:app.db"));
            }
            return Ok(Self::File(path.into()));
        }
        match text.split_once("://") {
            None => Ok(Self::File(address.into())),
            Some(("postgres" | "postgresql" | "postgresql+psycopg", _)) => Ok(Self::Server(text.to_owned())),
            Some((scheme, _)) => {
                let message = format!(
                    "`{scheme}://` is no store of kern: give a SQLite file, sqlite:app.db, or a PostgreSQL database, \
                     postgres://host/database"
                );
                Err(Failure::could_not("unsupported", message))
            }
        }
    }
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
        db::Error::TooOld { .. } | db::Error::Newer { .. } => format!("`{path}`: {error}"),
        db::Error::Busy { .. } => format!("`{path}` is locked by another process: try again"),
        db::Error::Unavailable { source, .. } => {
            format!("`{path}` cannot be opened, {source}: check who may read and write the file and its folder")
        }
        _ => format!("`{path}` cannot be used: {}", chain(error)),
    };
    Failure::could_not(error.code(), message)
}

/// kern's own words for a database: they name its host and its name, and nothing else of the address.
fn refused_by_server(error: &db::Error) -> Failure {
    let said = chain(error);
    let next = match error {
        db::Error::NoStore { .. } => "give the database that the application uses",
        db::Error::Busy { .. } => "try again",
        db::Error::Unavailable { .. } => "check the address, and that the server runs and lets you in",
        _ => return Failure::could_not(error.code(), said),
    };
    Failure::could_not(error.code(), format!("{said}: {next}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a path that is refused is what a test shows")]

    use super::*;

    fn named(address: &str) -> Result<String, String> {
        match Place::of(address.into()) {
            Ok(Place::File(path)) => Ok(path.display().to_string()),
            Ok(Place::Server(address)) => Ok(format!("server {address}")),
            Err(failure) => Err(format!("{failure:?}")),
        }
    }

    #[test]
    fn every_way_to_write_a_file_or_a_database_names_it() {
        for (address, named_as) in [
            ("app.db", "app.db"),
            ("sqlite:app.db", "app.db"),
            ("sqlite://app.db", "app.db"),
            ("sqlite:///srv/app.db", "/srv/app.db"),
            ("sqlite:/srv/app.db", "/srv/app.db"),
            ("/srv/a b:c.db", "/srv/a b:c.db"),
            ("postgres://me@host/db", "server postgres://me@host/db"),
            ("postgresql://host/db", "server postgresql://host/db"),
            ("postgresql+psycopg://host/db", "server postgresql+psycopg://host/db"),
        ] {
            assert_eq!(named(address).unwrap(), named_as, "{address}");
        }
    }

    #[test]
    fn another_kind_of_address_is_refused_without_its_password() {
        for address in ["mysql://me:secret@host/db", "postgresql+asyncpg://me:secret@host/db"] {
            let said = named(address).unwrap_err();
            assert!(!said.contains("secret") && said.contains("sqlite:app.db"), "{said}");
        }
        assert!(named("sqlite:").is_err());
    }
}
