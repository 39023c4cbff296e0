//! Addresses of databases: read strictly, and shown without what must stay secret.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::tls::Trust;
use crate::{Error, Result};

/// What an address may begin with. The last one is how programs in Python write it.
const SCHEMES: [&str; 3] = ["postgres://", "postgresql://", "postgresql+psycopg://"];

/// Where a database is, and how it is spoken to.
#[derive(Clone)]
pub(super) struct Address {
    pub(super) config: Config,
    pub(super) trust: Trust,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`], which repeats nothing of the address: any part of it may be a piece of the password.
    pub(super) fn parse(address: &str) -> Result<Self> {
        let rest = SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme));
        let rest = rest.ok_or_else(|| wrong("it begins with `postgres://` or `postgresql://`"))?;
        let (base, query) = match rest.split_once('?') {
            Some((base, query)) => (base, query),
            None => (rest, ""),
        };
        // A password with such a character in it would end in the middle, and its rest pass for a host or a database,
        // which servers repeat in what they say.
        if base.matches('@').count() > 1 || base.split_once('/').is_some_and(|(_, path)| path.contains(['@', '/'])) {
            return Err(wrong("`@`, `/`, `:` and `%` in a password or a name are written as %40, %2F, %3A and %25"));
        }
        let mut trust = Trust::default();
        let mut mode = SslMode::Prefer;
        let (mut kept, mut target) = (Vec::new(), Some(TargetSessionAttrs::ReadWrite));
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key {
                // The driver knows only three of the words. An encrypted connection to somebody unknown is none that a
                // password may go through, so that every word that asks for one asks for the certificate, too.
                "sslmode" => {
                    mode = match value {
                        "disable" => SslMode::Disable,
                        "prefer" => SslMode::Prefer,
                        "require" | "verify-ca" | "verify-full" => SslMode::Require,
                        _ => return Err(wrong("`sslmode` is disable, prefer, require, verify-ca or verify-full")),
                    };
                }
                "sslrootcert" => trust = Trust::file(decoded(value)?),
                // What the address says counts.
                "target_session_attrs" => {
                    target = None;
                    kept.push(part);
                }
                _ => kept.push(part),
            }
        }
        let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
        let config = Config::from_str(&format!("postgresql://{base}{query}"));
        // What the driver says may repeat a part of the address.
        let mut config = config.map_err(|_| {
            wrong("a user, a password, a host, a port, a database or an option of it cannot be read: postgres://user:password@host:5432/database")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host("localhost");
        }
        config.ssl_mode(mode);
        if let Some(target) = target {
            config.target_session_attrs(target);
        }
        if config.get_application_name().is_none() {
            config.application_name("kern");
        }
        Ok(Self { config, trust })
    }

    /// Bounds how long a connection that nobody answers on is waited for.
    pub(super) fn patience(&mut self, timeout: Duration) {
        let timeout = timeout.max(Duration::from_secs(1));
        if self.config.get_connect_timeout().is_none() {
            self.config.connect_timeout(timeout);
        }
        self.config.tcp_user_timeout(timeout.saturating_mul(2));
        self.config.keepalives(true).keepalives_idle(timeout.saturating_mul(2));
    }
}

/// Host, port and database: what may be said of it to anybody.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        let ports = self.config.get_ports();
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            match host {
                Host::Tcp(host) => write!(f, "{comma}{host}")?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            match ports.get(place).or_else(|| ports.first()) {
                None | Some(5432) => {}
                Some(port) => write!(f, ":{port}")?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn wrong(what: &str) -> Error {
    Error::Invalid(format!("the address of the database is not usable: {what}"))
}

/// The value of an option, with `%` and two digits for what has a meaning in an address.
fn decoded(value: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits")),
            _ => return Err(wrong("`%` is followed by two hexadecimal digits")),
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong("an option of it is no text"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what is refused is what a test shows")]

    use super::*;

    #[test]
    fn each_way_to_write_it_names_the_same_database() {
        for scheme in SCHEMES {
            let address = Address::parse(&format!("{scheme}ai:ai@localhost:5532/ai")).unwrap();
            assert_eq!(address.to_string(), "postgres://localhost:5532/ai");
            assert_eq!(address.config.get_password(), Some(&b"ai"[..]));
            assert_eq!(address.config.get_ssl_mode(), SslMode::Prefer);
        }
        let socket = Address::parse("postgres://kern@%2Frun%2Fpostgresql/app").unwrap();
        assert_eq!(socket.to_string(), "postgres:///run/postgresql/app");
    }

    #[test]
    fn every_word_that_asks_for_tls_asks_for_the_certificate() {
        for (word, mode) in [
            ("disable", SslMode::Disable),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::Require),
            ("verify-full", SslMode::Require),
        ] {
            let address = Address::parse(&format!("postgres://a@b/c?sslmode={word}&connect_timeout=3")).unwrap();
            assert_eq!(address.config.get_ssl_mode(), mode, "{word}");
        }
        assert!(Address::parse("postgres://a@b/c?sslmode=allow").is_err());
    }

    #[test]
    fn a_session_that_takes_writes_is_asked_for_unless_the_address_says_otherwise() {
        for (query, target) in [
            ("", TargetSessionAttrs::ReadWrite),
            ("?target_session_attrs=read-write", TargetSessionAttrs::ReadWrite),
            ("?target_session_attrs=any", TargetSessionAttrs::Any),
            ("?target_session_attrs=read-only", TargetSessionAttrs::ReadOnly),
        ] {
            let address = Address::parse(&format!("postgres://a@one,two/c{query}")).unwrap();
            assert_eq!(address.config.get_target_session_attrs(), target, "{query}");
        }
    }

    #[test]
    fn a_password_is_in_no_error_and_in_no_debug() {
        for address in [
            "postgres://me:hunter2/x@host/db",
            "postgres://me:hunter2@x@host/db",
            "postgres://me:x/hunter2@host/db",
            "postgres://me:pw@host:hunter2/db",
            "postgres://me:pw@host/db?hunter2=1",
            "postgres://me:pw@host/db?sslmode=hunter2",
            "postgres://me:pw@host/db?sslrootcert=%hunter2",
            "mysql://me:hunter2@host/db",
            "hunter2",
        ] {
            let error = Address::parse(address).unwrap_err();
            let said = format!("{error} {error:?}");
            assert!(!said.contains("hunter2"), "{said}");
        }
        let address = Address::parse("postgres://me:hunter2@host/db").unwrap();
        assert!(!format!("{address} {address:?}").contains("hunter2"));
    }
}
