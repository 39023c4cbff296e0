//! Who somebody is: API keys and tokens, and every reason why a credential does not count.
//!
//! Tokens are put together and signed here by other means than those that kern reads them with.

#![allow(clippy::unwrap_used, reason = "a credential that is refused is what a test shows")]

#[path = "identity/api_keys.rs"]
mod api_keys;
#[path = "identity/jwks_url.rs"]
mod jwks_url;
#[path = "identity/tokens.rs"]
mod tokens;
