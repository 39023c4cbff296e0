//! Sets of public keys: which keys of one tokens may be signed with.

use std::collections::HashSet;
use std::path::Path;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde_json::Value;

use crate::{Error, Result};

/// A key that tokens may be signed with, for the one algorithm that it is for. A token never says with which algorithm a key
/// is used: so no public key passes for a shared secret.
pub(super) struct Signer {
    /// `None`: it was given by itself, or stands in a set without a name.
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The public keys of an issuer (RFC 7517), by their ids.
///
/// They stay what they are: keys that change are fetched from their address (`TokenVerifierBuilder::jwks_url`, feature
/// `jwks-url`).
pub struct Jwks(pub(super) Vec<Signer>);

impl Jwks {
    /// Reads a set of public keys. Those for something else than signing, and those of kinds that kern does not take, are
    /// left out.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: it is no set of keys, it holds a shared secret or a private key, two keys of one kind go by the same
    /// id, or none of its keys can be used.
    pub fn from_json(json: &str) -> Result<Self> {
        let refused = |what: &str| Error::Setup(format!("the set of keys for tokens cannot be used: {what}"));
        let signers = signers(json).map_err(|what| refused(&what))?;
        if signers.is_empty() {
            return Err(refused("it holds no key of RSA with 2048 bits or more, P-256 or Ed25519 for signing"));
        }
        Ok(Self(signers))
    }

    /// Reads them from a file.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: the file cannot be read, and as [`from_json`](Self::from_json).
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let json = std::fs::read_to_string(path);
        let json = json.map_err(|error| Error::Setup(format!("`{}` cannot be read: {error}", path.display())))?;
        Self::from_json(&json)
    }
}

/// The keys of a set that tokens may be signed with, which may be none, or why nothing of it counts. What is said repeats
/// nothing of the set: it may hold a secret, and it may be anybody's page.
pub(super) fn signers(json: &str) -> Result<Vec<Signer>, String> {
    let refused = |what: &str| Err(what.to_owned());
    // What is wrong with the syntax is said without the text.
    let set: Value = serde_json::from_str(json).map_err(|error| format!("it is no JSON ({error})"))?;
    let Some(keys) = set.get("keys").and_then(Value::as_array) else { return refused("it has no list `keys`") };
    // `k` is the value of a shared secret, `d` the private half of every other kind.
    if keys.iter().any(|key| key.get("kty").is_some_and(|kind| kind == "oct") || key.get("k").is_some()) {
        return refused("it holds a shared secret, and such a set is public");
    }
    if keys.iter().any(|key| key.get("d").is_some()) {
        return refused("it holds a private key, and such a set is public");
    }
    let Ok(set) = serde_json::from_value::<JwkSet>(set) else {
        return refused("one of its keys is written as none is");
    };
    let signers: Vec<Signer> = set.keys.iter().filter_map(signer).collect();
    if !are_told_apart(&signers) {
        return refused("two of its keys for one algorithm go by the same id, or by none");
    }
    Ok(signers)
}

/// Whether no two keys for one algorithm go by the same id, or by none.
pub(super) fn are_told_apart(signers: &[Signer]) -> bool {
    let mut names = HashSet::new();
    signers.iter().all(|signer| names.insert((signer.algorithm, signer.kid.as_deref())))
}

/// A key of a set, if tokens may be signed with it.
fn signer(jwk: &Jwk) -> Option<Signer> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let is_for_signing = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify))
        && common.key_algorithm.is_none_or(|other| other == name);
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (is_for_signing && fits(algorithm, &key)).then(|| Signer { kid: common.key_id.clone(), algorithm, key })
}

/// Whether a set of public keys may hold one for this algorithm.
#[cfg(feature = "jwks-url")]
pub(super) fn may_hold(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA)
}

/// Whether a key can be one for this algorithm, so that one that never fits is told when it is configured.
pub(super) fn fits(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => n.len() >= 256,
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => der.len() >= 256,
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => point.len() == 65 && point.first() == Some(&4),
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        _ => false,
    }
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|signer| &signer.kid)).finish()
    }
}
