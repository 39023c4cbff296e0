//! From the `Authorization` header to an identity, or to why there is none.

use std::sync::Arc;
use std::time::Duration;

use kern_db::{Caller, Db, FoundKey, KEY_ISSUER, KeyLookup, Principal};
use subtle::ConstantTimeEq as _;

use super::api_key::KeyText;
use super::jwt::TokenVerifier;
use super::scope::{Scope, ScopeSet};

/// Somebody who has proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// Who, and who vouches for that: always verified.
    pub principal: Principal,
    /// What the credential may be used for.
    pub scopes: ScopeSet,
    /// The pools that the token says they are in, beside those of the store that hold them. `None`: it says nothing of pools.
    pub pools: Option<Vec<String>>,
    /// When the credential expires, epoch milliseconds. What goes on for longer, such as a stream, ends then.
    pub expires_at_ms: Option<i64>,
    /// What was brought.
    pub credential: Credential,
}

/// What somebody brought.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credential {
    /// An API key.
    Key {
        /// Its id.
        id: String,
    },
    /// A token of an identity provider.
    Token,
}

impl Identity {
    /// Whether they may do what asks for `needed`.
    pub fn allows(&self, needed: &Scope) -> bool {
        self.scopes.allows(needed)
    }

    /// The principal as one text, by issuer and subject: no two principals have the same.
    pub(crate) fn owner(&self) -> String {
        serde_json::json!([self.principal.issuer, self.principal.subject]).to_string()
    }

    /// The identity as somebody who continues a run or answers.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::Person(self.principal.clone())
    }
}

/// Why a credential does not count. For the log: whoever sent it is told [`code`](Self::code) and nothing else.
///
/// Nothing in it comes from the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// There is none.
    #[error("there is no credential")]
    Missing,
    /// There is more than one header for it.
    #[error("there are several Authorization headers")]
    Several,
    /// It cannot be read.
    #[error("it is malformed: {0}")]
    Malformed(&'static str),
    /// Credentials of this kind are not configured.
    #[error("credentials of this kind are not taken here")]
    NotTaken,
    /// There is no such key.
    #[error("there is no key with this id")]
    UnknownKey,
    /// The key exists, and the secret is another one.
    #[error("the secret is not that of the key")]
    WrongSecret,
    /// The key's row is not what the audit log says was made. Somebody may have changed the database.
    #[error("the key is not what the audit log says was made: verify the log")]
    AlteredKey,
    /// It is past its time.
    #[error("it has expired")]
    Expired,
    /// The key was revoked.
    #[error("it was revoked")]
    Revoked,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// The token's algorithm is none of the keys that are configured.
    #[error("its algorithm is not one of the keys that are configured")]
    Algorithm,
    /// None of the configured keys is the one that it names.
    #[error("none of the keys that are configured is the one that it was signed with")]
    UnknownSigner,
    /// The signature does not fit.
    #[error("its signature does not fit")]
    Signature,
    /// It is from somebody else.
    #[error("it was made by another issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("it was made for another audience")]
    Audience,
    /// A claim that has to be there is missing, or says nothing that can be used.
    #[error("its claim `{0}` is missing or cannot be used")]
    Claim(&'static str),
}

impl Denied {
    /// What whoever sent it is told, with status 401: the same for every bad credential.
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing_credential",
            _ => "invalid_credential",
        }
    }
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The credential does not count.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store could not be asked. Nobody is let in, and nobody is told that their credential is bad.
    #[error(transparent)]
    Store(#[from] kern_db::Error),
    /// The keys of the tokens' issuer could not be fetched, and none that were fetched before may still count, or the token
    /// may be signed with a newer one. Nobody is let in, and nobody is told that their token is bad.
    #[error("the keys that tokens are checked with cannot be had now")]
    NoKeys {
        /// After which time it may be otherwise.
        retry_after: Duration,
    },
}

/// Asks whose credential it is.
///
/// ```
/// # use kern::db::{InMemoryDb, IntoDb};
/// # use kern::identity::{Authenticator, KeyRequest, Scope, ScopeSet, TokenVerifier};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let secret = [7; 32];
/// let db = InMemoryDb::new().into_db();
/// let made = KeyRequest::new("ann", ScopeSet::parse(["approvals:read"])?).make(&*db).await?;
/// let tokens = TokenVerifier::builder("https://id.example", "my-os").shared_secret(secret)?.build()?;
/// let authenticator = Authenticator::new(db).tokens(tokens);
///
/// let header = format!("Bearer {}", made.secret.reveal());
/// let identity = authenticator.authenticate([header.as_bytes()]).await?;
/// assert_eq!(identity.principal.subject, "ann");
/// assert!(identity.allows(&Scope::ApprovalsRead) && !identity.allows(&Scope::ApprovalsWrite));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Authenticator {
    db: Arc<dyn Db>,
    tokens: Option<Arc<TokenVerifier>>,
}

impl Authenticator {
    /// Takes the API keys of this store.
    pub fn new(db: Arc<dyn Db>) -> Self {
        Self { db, tokens: None }
    }

    /// Takes tokens as well.
    pub fn tokens(mut self, tokens: TokenVerifier) -> Self {
        self.tokens = Some(Arc::new(tokens));
        self
    }

    /// Whether anybody can prove who they are: tokens are taken, or a key was ever made. A key that was revoked or has
    /// expired counts, so that nothing opens by itself when the last one ends.
    ///
    /// # Errors
    ///
    /// As every method of [`Db`].
    pub async fn has_credentials(&self) -> kern_db::Result<bool> {
        Ok(self.tokens.is_some() || self.db.has_keys().await?)
    }

    /// Who somebody is, by all values of the `Authorization` header as they came.
    ///
    /// # Errors
    ///
    /// - [`AuthError::Denied`]: nobody. It is in the log why.
    /// - [`AuthError::Store`]: the store could not be asked.
    /// - [`AuthError::NoKeys`]: the issuer of tokens could not be asked for its keys. API keys go on.
    pub async fn authenticate<'a>(
        &self,
        authorization: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Identity, AuthError> {
        let identity = match bearer(authorization) {
            Ok(credential) => self.identify(credential).await,
            Err(denied) => Err(denied.into()),
        };
        match &identity {
            Err(AuthError::Denied(Denied::Missing)) => tracing::debug!("a request without a credential was refused"),
            Err(AuthError::Denied(why)) => tracing::warn!(%why, "a credential was refused"),
            Err(AuthError::NoKeys { .. }) => {
                tracing::warn!("a token was refused, because there is no key to check it with")
            }
            Err(AuthError::Store(_)) | Ok(_) => {}
        }
        identity
    }

    /// Has the issuer's keys fetched, where they are, so that no token has to wait for them.
    #[cfg(feature = "jwks-url")]
    pub(crate) fn fetch_ahead(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.fetch_ahead();
        }
    }

    /// Whether a credential that counted before still does, as far as the store knows: a key that was not revoked.
    #[cfg(feature = "os")]
    pub(crate) async fn counts(&self, identity: &Identity) -> bool {
        let Credential::Key { id } = &identity.credential else { return true };
        matches!(self.db.find_key(id.clone()).await, Ok(KeyLookup::Found(found)) if !found.is_revoked)
    }

    async fn identify(&self, credential: &str) -> Result<Identity, AuthError> {
        if !KeyText::is_meant(credential) {
            let tokens = self.tokens.as_ref().ok_or(Denied::NotTaken)?;
            return tokens.verify(credential).await;
        }
        let text = KeyText::parse(credential).ok_or(Denied::Malformed("it is no API key"))?;
        let found = match self.db.find_key(text.id.to_owned()).await? {
            KeyLookup::Missing => return Err(Denied::UnknownKey.into()),
            KeyLookup::Altered => return Err(Denied::AlteredKey.into()),
            KeyLookup::Found(found) => found,
        };
        check(&found, &text.secret_hash())?;
        let key = found.key;
        // Whoever made it has checked the name.
        let principal = Principal::verified(KEY_ISSUER, key.subject)?;
        let scopes = ScopeSet::known(key.scopes);
        let credential = Credential::Key { id: key.id };
        Ok(Identity { principal, scopes, pools: None, expires_at_ms: key.expires_at_ms, credential })
    }
}

/// The credential of `Authorization: Bearer …`. One that stands there twice is none: what comes first may not be what somebody
/// on the way has looked at.
fn bearer<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<&'a str, Denied> {
    let mut values = values.into_iter();
    let value = values.next().ok_or(Denied::Missing)?;
    if values.next().is_some() {
        return Err(Denied::Several);
    }
    let value = std::str::from_utf8(value).map_err(|_| Denied::Malformed("its header is no text"))?;
    let (scheme, credential) = value.split_once(' ').ok_or(Denied::Malformed("its header has one word"))?;
    let credential = credential.trim_matches(' ');
    let is_plain = !credential.is_empty() && credential.bytes().all(|byte| byte.is_ascii_graphic());
    match scheme.eq_ignore_ascii_case("bearer") {
        true if is_plain => Ok(credential),
        true => Err(Denied::Malformed("it is empty, or more than one word")),
        false => Err(Denied::Malformed("it is not of the scheme Bearer")),
    }
}

/// Whether a key counts: the secret first, so that nobody without it learns what has become of the key.
fn check(found: &FoundKey, secret_hash: &str) -> Result<(), Denied> {
    // In the same time wherever they differ. What they are compared by is a hash, so even that would tell little.
    if !bool::from(found.secret_hash.as_bytes().ct_eq(secret_hash.as_bytes())) {
        return Err(Denied::WrongSecret);
    }
    if found.is_revoked {
        return Err(Denied::Revoked);
    }
    if found.key.expires_at_ms.is_some_and(|at| found.now_ms >= at) {
        return Err(Denied::Expired);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bearer_with_one_word_is_a_credential_and_nothing_else_is() {
        for (values, expected) in [
            (&[][..], Err(Denied::Missing)),
            (&["Bearer abc"][..], Ok("abc")),
            (&["bearer abc"], Ok("abc")),
            (&["BEARER  abc "], Ok("abc")),
            (&["Bearer abc", "Bearer abc"], Err(Denied::Several)),
            (&["Bearer abc", ""], Err(Denied::Several)),
            (&["", "Bearer abc"], Err(Denied::Several)),
            (&[""], Err(Denied::Malformed("its header has one word"))),
            (&["Bearer"], Err(Denied::Malformed("its header has one word"))),
            (&["abc"], Err(Denied::Malformed("its header has one word"))),
            (&["Bearer "], Err(Denied::Malformed("it is empty, or more than one word"))),
            (&["Bearer   "], Err(Denied::Malformed("it is empty, or more than one word"))),
            (&["Bearer a b"], Err(Denied::Malformed("it is empty, or more than one word"))),
            (&["Bearer abc, Bearer def"], Err(Denied::Malformed("it is empty, or more than one word"))),
            (&["Bearer a\tb"], Err(Denied::Malformed("it is empty, or more than one word"))),
            (&["Bearer \u{e9}"], Err(Denied::Malformed("it is empty, or more than one word"))),
            (&["Basic abc"], Err(Denied::Malformed("it is not of the scheme Bearer"))),
            (&[" Bearer abc"], Err(Denied::Malformed("it is not of the scheme Bearer"))),
        ] {
            assert_eq!(bearer(values.iter().map(|value| value.as_bytes())), expected, "{values:?}");
        }
        assert_eq!(bearer([&b"Bearer \xff"[..]]), Err(Denied::Malformed("its header is no text")));
    }

    #[test]
    fn whoever_sends_a_bad_credential_learns_nothing_of_it() {
        let all = [
            Denied::Several,
            Denied::Malformed("x"),
            Denied::NotTaken,
            Denied::UnknownKey,
            Denied::WrongSecret,
            Denied::AlteredKey,
            Denied::Expired,
            Denied::Revoked,
            Denied::NotYet,
            Denied::Algorithm,
            Denied::UnknownSigner,
            Denied::Signature,
            Denied::Issuer,
            Denied::Audience,
            Denied::Claim("sub"),
        ];
        assert!(all.iter().all(|denied| denied.code() == "invalid_credential"));
        assert_eq!(Denied::Missing.code(), "missing_credential");
    }
}
