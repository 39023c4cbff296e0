//! Who somebody is, by the credential that they bring, and what they may do.
//!
//! A credential is an API key (`kern_<id>_<secret>`, made by [`KeyRequest`] or `kern keys create`) or, with the feature `os`, a
//! token of an identity provider (`TokenVerifier`). Both give an `Identity`: a verified [`Principal`](crate::db::Principal)
//! and its [`ScopeSet`]. With the feature `jwks-url`, the provider's keys are fetched from where it publishes them (`JwksUrl`).
//!
//! Who brings a bad credential is always told the same. What is wrong with it stands in the log, without the credential.

mod api_key;
#[cfg(feature = "os")]
mod authenticator;
#[cfg(feature = "os")]
mod jwks;
#[cfg(feature = "jwks-url")]
mod jwks_url;
#[cfg(feature = "os")]
mod jwt;
mod scope;

#[cfg(feature = "os")]
pub(crate) use api_key::hex;
pub use api_key::{KeyRequest, KeySecret, MadeKey};
#[cfg(feature = "os")]
pub use authenticator::{AuthError, Authenticator, Credential, Denied, Identity};
#[cfg(feature = "os")]
pub use jwks::Jwks;
#[cfg(feature = "jwks-url")]
pub use jwks_url::JwksUrl;
#[cfg(feature = "os")]
pub use jwt::{TokenVerifier, TokenVerifierBuilder};
pub use scope::{Scope, ScopeSet, UnknownScope, Which};
