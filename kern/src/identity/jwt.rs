//! Tokens of an identity provider: JWT, signed with a key that was configured for one algorithm.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use kern_db::{KEY_ISSUER, Link, MAX_LINKS, Principal};
use serde::Deserialize;

#[cfg(feature = "jwks-url")]
use super::jwks::may_hold;
use super::jwks::{Jwks, Signer, are_told_apart, fits};
#[cfg(feature = "jwks-url")]
use super::jwks_url::{JwksUrl, PublishedKeys};
use super::{AuthError, Credential, Denied, Identity, ScopeSet};
use crate::{Error, Result};

/// Bytes of a shared secret at least: as many as HS256 gives.
const SHORTEST_SECRET: usize = 32;
/// Bytes of a token at the most.
const LONGEST_TOKEN: usize = 16 * 1024;
/// How far two clocks may be apart at the most.
const LONGEST_LEEWAY: Duration = Duration::from_secs(30);

/// Checks the tokens of one issuer.
///
/// `exp`, `iss`, `aud` and `sub` have to be there, `nbf` counts where it is. The algorithms are HS256, RS256, ES256 and EdDSA,
/// each only with a key that was configured for it. `scopes` (a list) or else `scope` (words with spaces between them) says
/// what somebody may do, `kern_pools` (a list) which pools they are in.
///
/// `act` (RFC 8693) names the actors that a token was handed to: each of them counts as the requester beside `sub`, and such a
/// token decides, settles and answers nothing. More than 8 of them, or one without a `sub`, and the token is refused.
///
/// `kern_pools` counts beside the pools of the store, also for one that nobody has set there, and until `exp` to the
/// millisecond by the store's clock: what clocks may be apart prolongs no membership. A vote that only it allows counts at the
/// last vote if the token has not expired by then ([`Resolution::by_member`](crate::approval::Resolution::by_member)). Whoever
/// makes the tokens therefore has a say in who decides: leave the claim out where that is not wanted. An agent
/// whose tools name such a pool says so ([`pool_from_tokens`](crate::AgentBuilder::pool_from_tokens)).
///
/// ```
/// # use kern::identity::TokenVerifier;
/// # let secret = [7; 32];
/// let tokens = TokenVerifier::builder("https://id.example", "my-os").shared_secret(secret)?.build()?;
/// # Ok::<(), kern::Error>(())
/// ```
pub struct TokenVerifier {
    issuer: String,
    audience: String,
    leeway: Duration,
    /// The keys that were given.
    signers: Vec<Signer>,
    /// The keys that an address has. Where there is one, the others are shared secrets, which no set of public keys holds.
    #[cfg(feature = "jwks-url")]
    published: Option<PublishedKeys>,
}

/// Says what a [`TokenVerifier`] takes. At least one key is needed, or an address that has some.
#[must_use]
pub struct TokenVerifierBuilder {
    verifier: TokenVerifier,
    #[cfg(feature = "jwks-url")]
    urls: Vec<JwksUrl>,
}

impl TokenVerifier {
    /// Starts with who makes the tokens (`iss`) and for whom (`aud`): both have to stand in them.
    pub fn builder(issuer: impl Into<String>, audience: impl Into<String>) -> TokenVerifierBuilder {
        TokenVerifierBuilder {
            verifier: Self {
                issuer: issuer.into(),
                audience: audience.into(),
                leeway: LONGEST_LEEWAY,
                signers: Vec::new(),
                #[cfg(feature = "jwks-url")]
                published: None,
            },
            #[cfg(feature = "jwks-url")]
            urls: Vec::new(),
        }
    }

    /// Whose token this is. It waits for nothing but keys that have to be fetched.
    ///
    /// # Errors
    ///
    /// - [`AuthError::Denied`]: it is no token that counts here and now.
    /// - [`AuthError::NoKeys`]: nobody can say, because the issuer's keys cannot be had.
    pub async fn verify(&self, token: &str) -> Result<Identity, AuthError> {
        let header = read_header(token)?;
        #[cfg(feature = "jwks-url")]
        if let Some(published) = self.published.as_ref().filter(|_| may_hold(header.alg)) {
            let keys = published.current().await?;
            return match self.check(token, &header, &keys.signers) {
                Err(denied) if newer_keys_may_fit(denied, &header, &keys.signers) => {
                    match published.newer_than(&keys).await? {
                        Some(newer) => Ok(self.check(token, &header, &newer.signers)?),
                        None => Err(denied.into()),
                    }
                }
                other => Ok(other?),
            };
        }
        Ok(self.check(token, &header, &self.signers)?)
    }

    /// Has the keys of an address fetched, if there is one, so that no token has to wait for them.
    #[cfg(feature = "jwks-url")]
    pub(super) fn fetch_ahead(&self) {
        if let Some(published) = &self.published {
            published.fetch_ahead();
        }
    }

    /// Whose token this is, if it was signed with one of these keys.
    fn check(&self, token: &str, header: &Header, signers: &[Signer]) -> Result<Identity, Denied> {
        let signer = select(signers, header.alg, header.kid.as_deref())?;
        let read = decode::<Claims>(token, &signer.key, &self.validation(signer.algorithm));
        read.map_err(|error| denied(error.kind()))?.claims.identity(&self.issuer)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.validate_nbf = true;
        validation.leeway = self.leeway.as_secs();
        validation
    }
}

impl TokenVerifierBuilder {
    /// Takes tokens that are signed with this secret, by HS256.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: it has fewer than 32 bytes, and could be guessed from one token.
    pub fn shared_secret(self, secret: impl AsRef<[u8]>) -> Result<Self> {
        let secret = secret.as_ref();
        if secret.len() < SHORTEST_SECRET {
            let found = secret.len();
            let what = format!("a shared secret for tokens has at least {SHORTEST_SECRET} bytes, this one has {found}");
            return Err(Error::Setup(what));
        }
        Ok(self.signer(Signer { kid: None, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) }))
    }

    /// Takes tokens that are signed with the private half of this public key: RS256, ES256 or EdDSA, as the key says.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: it is no `PUBLIC KEY` in PEM, or none of RSA with 2048 bits or more, P-256 or Ed25519.
    pub fn public_key_pem(self, pem: &str) -> Result<Self> {
        // A private key or a certificate would be read as well: neither is meant to lie here.
        let labels = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
        if !labels.iter().any(|label| pem.trim_start().starts_with(label)) {
            return Err(Error::Setup("a key for tokens is a PUBLIC KEY in PEM, this is something else".to_owned()));
        }
        let read = [
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem.as_bytes())),
            (Algorithm::ES256, DecodingKey::from_ec_pem(pem.as_bytes())),
            (Algorithm::RS256, DecodingKey::from_rsa_pem(pem.as_bytes())),
        ];
        let found = read.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
        match found {
            Some((algorithm, key)) if fits(algorithm, &key) => Ok(self.signer(Signer { kid: None, algorithm, key })),
            _ => {
                let what =
                    "the public key for tokens cannot be used: RSA with 2048 bits or more, P-256 and Ed25519 can";
                Err(Error::Setup(what.to_owned()))
            }
        }
    }

    /// Takes tokens that are signed with one of these keys. Where there are several for one algorithm, a token names its key
    /// (`kid`).
    pub fn jwks(mut self, jwks: Jwks) -> Self {
        self.verifier.signers.extend(jwks.0);
        self
    }

    /// Takes tokens that are signed with one of the keys that the issuer publishes at this address. They are fetched, kept
    /// and fetched again: a [`JwksUrl`] says when. Where there are several for one algorithm, a token names its key (`kid`).
    ///
    /// There is one such address, and no public key is given beside it: what the issuer takes out has to count no more. A
    /// shared secret may be.
    ///
    /// ```
    /// # use kern::identity::TokenVerifier;
    /// let tokens = TokenVerifier::builder("https://id.example", "my-os")
    ///     .jwks_url("https://id.example/.well-known/jwks.json")
    ///     .build()?;
    /// # Ok::<(), kern::Error>(())
    /// ```
    #[cfg(feature = "jwks-url")]
    pub fn jwks_url(mut self, url: impl Into<JwksUrl>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Sets how far the clocks of the issuer and this machine may be apart. 30 seconds by default, and at the most.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.verifier.leeway = leeway;
        self
    }

    /// Gives what was described.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: there is no key, issuer or audience; the issuer is called as kern's own keys are; two keys go by the
    /// same id; the clocks may be too far apart; an address of keys may not be asked, or is not the only one, or public keys
    /// were given beside it.
    pub fn build(self) -> Result<TokenVerifier> {
        let refused = |what: &str| Err(Error::Setup(format!("tokens cannot be checked: {what}")));
        #[cfg_attr(not(feature = "jwks-url"), expect(unused_mut, reason = "no address gives it keys"))]
        let mut verifier = self.verifier;
        if verifier.issuer.trim().is_empty() || verifier.audience.trim().is_empty() {
            return refused("say who makes them, and for whom");
        }
        if verifier.issuer == KEY_ISSUER {
            return refused("that issuer is kern itself, for those who have an API key");
        }
        #[cfg(feature = "jwks-url")]
        {
            let mut urls = self.urls.into_iter();
            verifier.published = urls.next().map(PublishedKeys::new).transpose()?;
            if urls.next().is_some() {
                return refused("there are two addresses of keys, and an issuer has one");
            }
            if verifier.published.is_some() && verifier.signers.iter().any(|signer| may_hold(signer.algorithm)) {
                return refused(
                    "a public key that is given would count when the address has it no more: keep one of them",
                );
            }
        }
        #[cfg(feature = "jwks-url")]
        let has_keys = !verifier.signers.is_empty() || verifier.published.is_some();
        #[cfg(not(feature = "jwks-url"))]
        let has_keys = !verifier.signers.is_empty();
        if !has_keys {
            return refused("there is no key to check them with");
        }
        if verifier.leeway > LONGEST_LEEWAY {
            return refused("clocks are at most 30 seconds apart");
        }
        if !are_told_apart(&verifier.signers) {
            return refused("two keys of one kind go by the same id, or by none");
        }
        // Every crate of a program may ask the library for another one's cryptography, and then it would have none. Whoever
        // was first has chosen.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        Ok(verifier)
    }

    fn signer(mut self, signer: Signer) -> Self {
        self.verifier.signers.push(signer);
        self
    }
}

fn read_header(token: &str) -> Result<Header, Denied> {
    if token.len() > LONGEST_TOKEN {
        return Err(Denied::Malformed("it is too long"));
    }
    // `none` is no algorithm of the library's: it ends here, too.
    let header =
        decode_header(token).map_err(|_| Denied::Malformed("no header, or one with an algorithm never taken"))?;
    check_header(&header)?;
    Ok(header)
}

/// A header that asks for something that kern does not do is refused, and so is a token of another kind.
fn check_header(header: &Header) -> Result<(), Denied> {
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(Denied::Malformed("its header asks for more than a signature"));
    }
    match header.typ.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("jwt" | "at+jwt" | "application/at+jwt") => Ok(()),
        Some(_) => Err(Denied::Malformed("it is a token of another kind")),
    }
}

/// The one key that a token can be signed with: the one that it names, or else the only one that it can mean. The keys that
/// the header itself may carry or point to are never looked at.
fn select<'a>(signers: &'a [Signer], algorithm: Algorithm, kid: Option<&str>) -> Result<&'a Signer, Denied> {
    let of_kind: Vec<&Signer> = signers.iter().filter(|signer| signer.algorithm == algorithm).collect();
    if of_kind.is_empty() {
        return Err(Denied::Algorithm);
    }
    let by_name = |kid| of_kind.iter().find(|signer| signer.kid.as_deref() == Some(kid));
    if let Some(signer) = kid.and_then(by_name) {
        return Ok(signer);
    }
    // A key that was given by itself has no name, so a token may call it anything.
    let mut meant = of_kind.iter().filter(|signer| kid.is_none() || signer.kid.is_none());
    match (meant.next(), meant.next()) {
        (Some(signer), None) => Ok(signer),
        _ => Err(Denied::UnknownSigner),
    }
}

/// Whether newer keys of the issuer may say otherwise of a token that these deny: the key that it names is not among them, or
/// it names none, and the only one that it could mean is another one by now.
#[cfg(feature = "jwks-url")]
fn newer_keys_may_fit(denied: Denied, header: &Header, signers: &[Signer]) -> bool {
    let is_named = |signer: &Signer| signer.algorithm == header.alg && signer.kid.is_some() && signer.kid == header.kid;
    match denied {
        Denied::Algorithm | Denied::UnknownSigner => true,
        Denied::Signature => !signers.iter().any(is_named),
        _ => false,
    }
}

/// What of a token kern reads. That the required ones are there was checked.
#[derive(Deserialize)]
struct Claims {
    /// A list of issuers is nothing that vouches for somebody.
    #[serde(rename = "iss")]
    _issuer: Option<String>,
    sub: Option<String>,
    exp: Option<f64>,
    scopes: Option<Vec<String>>,
    scope: Option<String>,
    kern_pools: Option<Vec<String>>,
    /// Present but null is malformed, and not absent.
    #[serde(default, deserialize_with = "present")]
    act: Option<serde_json::Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// The actors of a token (RFC 8693, section 4.1), the current one first. One that cannot be named refuses the token: left out,
/// it could decide about what it asked for.
fn actors(act: Option<serde_json::Value>, issuer: &str) -> Result<Vec<Link>, Denied> {
    let (mut links, mut next) = (Vec::new(), act);
    while let Some(act) = next {
        let serde_json::Value::Object(mut act) = act else { return Err(Denied::Claim("act")) };
        if links.len() == MAX_LINKS {
            return Err(Denied::Claim("act"));
        }
        let vouching = match act.remove("iss") {
            None => issuer.to_owned(),
            Some(serde_json::Value::String(issuer)) => issuer,
            Some(_) => return Err(Denied::Claim("act")),
        };
        let Some(serde_json::Value::String(subject)) = act.remove("sub") else { return Err(Denied::Claim("act")) };
        Principal::verified(&*vouching, &*subject).map_err(|_| Denied::Claim("act"))?;
        links.push(Link::new(vouching, subject));
        next = act.remove("act");
    }
    Ok(links)
}

impl Claims {
    fn identity(self, issuer: &str) -> Result<Identity, Denied> {
        let subject = self.sub.ok_or(Denied::Claim("sub"))?;
        let principal = Principal::verified(issuer, subject).map_err(|_| Denied::Claim("sub"))?;
        let principal = actors(self.act, issuer)?.into_iter().fold(principal, Principal::on_behalf_of);
        let scopes = match (self.scopes, self.scope) {
            (Some(list), _) => ScopeSet::known(list),
            (None, Some(words)) => ScopeSet::known(words.split_ascii_whitespace()),
            (None, None) => ScopeSet::default(),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a time beyond all times is the last one")]
        let expires_at_ms = self.exp.map(|seconds| (seconds * 1000.0) as i64);
        Ok(Identity { principal, scopes, pools: self.kern_pools, expires_at_ms, credential: Credential::Token })
    }
}

fn denied(error: &ErrorKind) -> Denied {
    match error {
        ErrorKind::ExpiredSignature => Denied::Expired,
        ErrorKind::ImmatureSignature => Denied::NotYet,
        ErrorKind::InvalidIssuer => Denied::Issuer,
        ErrorKind::InvalidAudience => Denied::Audience,
        ErrorKind::InvalidSignature => Denied::Signature,
        ErrorKind::InvalidAlgorithm => Denied::Algorithm,
        ErrorKind::MissingRequiredClaim(name) | ErrorKind::InvalidClaimFormat(name) => match name.as_str() {
            "exp" => Denied::Claim("exp"),
            "iss" => Denied::Claim("iss"),
            "aud" => Denied::Claim("aud"),
            "sub" => Denied::Claim("sub"),
            "nbf" => Denied::Claim("nbf"),
            _ => Denied::Malformed("a claim is missing"),
        },
        // The text of the error may repeat what stands in the token.
        _ => Denied::Malformed("it cannot be read"),
    }
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let algorithms: Vec<_> = self.signers.iter().map(|signer| signer.algorithm).collect();
        let mut shown = f.debug_struct("TokenVerifier");
        shown.field("issuer", &self.issuer).field("audience", &self.audience).field("algorithms", &algorithms);
        #[cfg(feature = "jwks-url")]
        shown.field("published", &self.published);
        shown.finish_non_exhaustive()
    }
}

impl std::fmt::Debug for TokenVerifierBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.verifier.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(algorithm: Algorithm, kid: Option<&str>) -> Signer {
        Signer { kid: kid.map(str::to_owned), algorithm, key: DecodingKey::from_secret(b"") }
    }

    #[test]
    fn the_kid_selects_and_what_is_not_told_apart_is_refused() {
        use Algorithm::{EdDSA, HS256, RS256};
        let signers = [
            signer(RS256, Some("a")),
            signer(RS256, Some("b")),
            signer(EdDSA, Some("c")),
            signer(HS256, None),
            signer(Algorithm::ES384, Some("d")),
            signer(Algorithm::ES384, None),
        ];
        for (algorithm, kid, expected) in [
            (RS256, Some("a"), Ok(0)),
            (RS256, Some("b"), Ok(1)),
            (RS256, Some("c"), Err(Denied::UnknownSigner)),
            (RS256, Some(""), Err(Denied::UnknownSigner)),
            (RS256, None, Err(Denied::UnknownSigner)),
            (EdDSA, None, Ok(2)),
            (EdDSA, Some("a"), Err(Denied::UnknownSigner)),
            (HS256, None, Ok(3)),
            (HS256, Some("whatever"), Ok(3)),
            (Algorithm::ES256, Some("a"), Err(Denied::Algorithm)),
            (Algorithm::HS512, None, Err(Denied::Algorithm)),
            (Algorithm::PS256, Some("a"), Err(Denied::Algorithm)),
            (Algorithm::ES384, Some("d"), Ok(4)),
            (Algorithm::ES384, Some("e"), Ok(5)),
            (Algorithm::ES384, None, Err(Denied::UnknownSigner)),
        ] {
            let found = select(&signers, algorithm, kid);
            let place = found.map(|found| signers.iter().position(|signer| std::ptr::eq(signer, found)));
            assert_eq!(place, expected.map(Some), "{algorithm:?} {kid:?}");
        }
    }
}
