//! API keys: `kern_<id>_<secret>`.

use std::fmt;
use std::time::Duration;

use kern_db::{AccessKey, Db, NewKey, Principal};
use sha2::{Digest, Sha256};

use super::scope::ScopeSet;
use crate::milliseconds::milliseconds;
use crate::{Error, Result};

/// What every API key starts with, so that one that was published by mistake is found.
const MARK: &str = "kern_";
/// Hexadecimal digits of an id.
const ID: usize = 16;
/// Hexadecimal digits of a secret: 32 random bytes.
const SECRET: usize = 64;

/// What an API key is to be.
///
/// ```
/// # use kern::db::{Db, InMemoryDb};
/// # use kern::identity::{KeyRequest, ScopeSet};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let db = InMemoryDb::new();
/// let scopes = ScopeSet::parse(["approvals:read", "approvals:write"])?;
/// let made = KeyRequest::new("ann", scopes).expires_in(Duration::from_secs(90 * 86_400)).make(&db).await?;
/// // Shown once. The store has a hash of it.
/// let text = made.secret.reveal();
/// assert!(text.starts_with(&format!("kern_{}_", made.key.id)));
/// assert_eq!(db.list_keys().await?, [made.key]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct KeyRequest {
    subject: String,
    scopes: ScopeSet,
    expires_in: Option<Duration>,
    by: Option<Principal>,
}

/// An API key that was just made.
#[derive(Debug)]
#[non_exhaustive]
pub struct MadeKey {
    /// What the store has of it.
    pub key: AccessKey,
    /// The key itself. It cannot be had again.
    pub secret: KeySecret,
}

impl KeyRequest {
    /// A key for somebody, good for these scopes.
    pub fn new(subject: impl Into<String>, scopes: ScopeSet) -> Self {
        Self { subject: subject.into(), scopes, expires_in: None, by: None }
    }

    /// Sets how long it is good for. Without, it does not expire.
    pub fn expires_in(mut self, span: Duration) -> Self {
        self.expires_in = Some(span);
        self
    }

    /// Says who makes it.
    pub fn by(mut self, by: Principal) -> Self {
        self.by = Some(by);
        self
    }

    /// Makes it, and puts that on record.
    ///
    /// # Errors
    ///
    /// - [`Error::Store`] with [`Invalid`](kern_db::Error::Invalid): the name is none, there is no scope, or the time is none.
    /// - [`Error::Store`]: the store failed. There is no key then, or nobody knows its secret.
    pub async fn make(self, db: &dyn Db) -> Result<MadeKey> {
        let Self { subject, scopes, expires_in, by } = self;
        let secret = KeySecret::generate()?;
        let request = NewKey {
            id: secret.parts().id.to_owned(),
            secret_hash: secret.parts().secret_hash(),
            subject,
            scopes: scopes.iter().map(ToString::to_string).collect(),
            // More milliseconds than there are is refused there.
            expires_in_ms: expires_in.map(milliseconds),
            by,
        };
        Ok(MadeKey { key: db.make_key(request).await?, secret })
    }
}

/// A whole API key. Nothing shows it but [`reveal`](Self::reveal).
pub struct KeySecret(String);

impl KeySecret {
    fn generate() -> Result<Self> {
        let mut random = [0; (ID + SECRET) / 2];
        // Without randomness there is no key: anything else could be guessed.
        getrandom::fill(&mut random)
            .map_err(|error| Error::Setup(format!("the system gives no randomness: {error}")))?;
        let digits = hex(&random);
        let (id, secret) = digits.split_at(ID);
        Ok(Self(format!("{MARK}{id}_{secret}")))
    }

    fn parts(&self) -> KeyText<'_> {
        KeyText::parse(&self.0).expect("it was made in this form")
    }

    /// The key, for whoever it was made for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySecret({MARK}{}_…)", self.parts().id)
    }
}

/// What somebody sent as an API key.
pub(super) struct KeyText<'a> {
    pub(super) id: &'a str,
    secret: &'a str,
}

impl<'a> KeyText<'a> {
    /// Whether a credential is meant as an API key.
    #[cfg_attr(not(feature = "os"), allow(dead_code))]
    pub(super) fn is_meant(text: &str) -> bool {
        text.starts_with(MARK)
    }

    /// The parts of a key. There is one way to write each key.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(MARK)?.split_once('_')?;
        let hexadecimal = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let whole = id.len() == ID && secret.len() == SECRET && hexadecimal(id) && hexadecimal(secret);
        whole.then_some(Self { id, secret })
    }

    /// What the store keeps in the place of the secret. One round of SHA-256, without a salt: slow hashes make the guessing
    /// of what people choose expensive, and nobody guesses 256 random bits, nor finds them in a table.
    pub(super) fn secret_hash(&self) -> String {
        hex(&Sha256::digest(self.secret.as_bytes()))
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a key that is refused is what a test shows")]

    use super::*;

    #[test]
    fn a_fresh_key_is_read_back_and_no_two_are_alike() {
        let (one, other) = (KeySecret::generate().unwrap(), KeySecret::generate().unwrap());
        assert_ne!(one.reveal(), other.reveal());
        assert_ne!(one.parts().id, other.parts().id);
        assert_eq!(one.reveal().len(), MARK.len() + ID + 1 + SECRET);
        let shown = format!("{one:?}");
        assert!(shown.contains(one.parts().id) && !shown.contains(one.parts().secret), "{shown}");
    }

    #[test]
    fn the_hash_is_sha_256_of_the_secret() {
        // `printf %064d 0 | sha256sum`
        let text = format!("kern_0123456789abcdef_{}", "0".repeat(64));
        let hash = "60e05bd1b195af2f94112fa7197a5c88289058840ce7c6df9693756bc6250f55";
        assert_eq!(KeyText::parse(&text).unwrap().secret_hash(), hash);
    }

    #[test]
    fn what_is_written_in_any_other_way_is_no_key() {
        let (id, secret) = ("0123456789abcdef", "0".repeat(64));
        let whole = format!("kern_{id}_{secret}");
        assert!(KeyText::parse(&whole).is_some());
        for text in [
            String::new(),
            "kern_".to_owned(),
            "kern__".to_owned(),
            format!("kern_{id}"),
            format!("kern_{id}_"),
            format!("kern_{id}_{secret}0"),
            format!("kern_{id}_{}", &secret[1..]),
            format!("kern_{id}0_{secret}"),
            format!("KERN_{id}_{secret}"),
            format!("kern_{}_{secret}", id.to_uppercase()),
            format!("kern_{id}_{}", "A".repeat(64)),
            format!("kern_{id}_{}\n", &secret[1..]),
            format!(" {whole}"),
            format!("{whole} "),
            format!("kern_{id}__{}", &secret[1..]),
            format!("kern_{id}_{}\u{e9}", &secret[2..]),
        ] {
            assert!(KeyText::parse(&text).is_none(), "{text:?}");
        }
    }
}
