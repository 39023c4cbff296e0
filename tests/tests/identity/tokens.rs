//! Tokens of an identity provider.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use kern::identity::{
    AuthError, Authenticator, Credential, Denied, Identity, Jwks, Scope, ScopeSet, TokenVerifier, TokenVerifierBuilder,
};
use kern_db::{InMemoryDb, IntoDb as _, Link, Principal};
use serde_json::{Value, json};
use sha2::Sha256;

pub(super) const ISSUER: &str = "https://id.example";
pub(super) const AUDIENCE: &str = "my-os";
pub(super) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

static RSA: LazyLock<RsaKeyPair> = LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
static P256: LazyLock<EcdsaKeyPair> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
pub(super) static ED: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_bytes(&[42; 32]));

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What every token says, with some of it said otherwise. Null takes a claim out.
pub(super) fn claims(changes: Value) -> Value {
    let mut claims = json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now(), "exp": now() + 300,
                             "scopes": ["approvals:read"] });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    claims
}

pub(super) fn part(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

pub(super) fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", part(header.to_string()), part(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", part(signature))
}

pub(super) fn hmac(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    move |message| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    }
}

pub(super) fn rsa(message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; RSA.public_modulus_len()];
    RSA.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

pub(super) fn p256(message: &[u8]) -> Vec<u8> {
    P256.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

pub(super) fn ed(message: &[u8]) -> Vec<u8> {
    ED.sign(message).to_bytes().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(super) fn rsa_pem() -> String {
    let der: PublicKeyX509Der = RSA.public_key().as_der().unwrap();
    pem("PUBLIC KEY", der.as_ref())
}

fn p256_pem() -> String {
    let der: PublicKeyX509Der = P256.public_key().as_der().unwrap();
    pem("PUBLIC KEY", der.as_ref())
}

fn ed_pem() -> String {
    // SubjectPublicKeyInfo of Ed25519 (RFC 8410), and the key.
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    pem("PUBLIC KEY", &[&head[..], ED.verifying_key().as_bytes()].concat())
}

pub(super) fn rsa_jwk() -> Value {
    let (n, e) = (RSA.public_key().modulus(), RSA.public_key().exponent());
    json!({ "kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256",
            "n": part(n.big_endian_without_leading_zero()), "e": part(e.big_endian_without_leading_zero()) })
}

pub(super) fn p256_jwk() -> Value {
    let point = P256.public_key().as_ref();
    json!({ "kty": "EC", "crv": "P-256", "kid": "p", "x": part(&point[1..33]), "y": part(&point[33..]) })
}

pub(super) fn ed_jwk(kid: &str, key: &SigningKey) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": part(key.verifying_key().as_bytes()) })
}

fn jwks(keys: &[Value]) -> kern::Result<Jwks> {
    Jwks::from_json(&json!({ "keys": keys }).to_string())
}

/// Checks a token with keys that are there: nothing is waited for.
fn verify(verifier: &TokenVerifier, token: &str) -> Result<Identity, Denied> {
    match pin!(verifier.verify(token)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Err(AuthError::Denied(denied))) => Err(denied),
        Poll::Ready(read) => Ok(read.unwrap()),
        Poll::Pending => panic!("something is waited for"),
    }
}

fn builder() -> TokenVerifierBuilder {
    TokenVerifier::builder(ISSUER, AUDIENCE)
}

fn by_secret() -> TokenVerifier {
    builder().shared_secret(SECRET).unwrap().build().unwrap()
}

fn hs256(changes: Value) -> String {
    token(&json!({ "alg": "HS256", "typ": "JWT" }), &claims(changes), hmac(SECRET))
}

fn read(changes: Value) -> Result<Identity, Denied> {
    verify(&by_secret(), &hs256(changes))
}

#[test]
fn a_token_says_who_somebody_is_and_what_they_may_do() {
    let identity = read(json!({ "kern_pools": ["finance"], "exp": 4_102_444_800_u64 })).unwrap();
    assert_eq!(identity.principal, Principal::verified(ISSUER, "ann").unwrap());
    assert_eq!(identity.credential, Credential::Token);
    assert_eq!(identity.pools, Some(vec!["finance".to_owned()]));
    assert_eq!(identity.expires_at_ms, Some(4_102_444_800_000));
    assert!(identity.allows(&Scope::ApprovalsRead) && !identity.allows(&Scope::ApprovalsWrite));
    assert_eq!(read(json!({})).unwrap().pools, None);
    assert_eq!(read(json!({ "kern_pools": [] })).unwrap().pools, Some(Vec::new()));
}

#[test]
fn scopes_are_a_list_or_words_and_unknown_ones_grant_nothing() {
    let scopes = |changes| read(changes).unwrap().scopes;
    let expected = ScopeSet::parse(["audit:read", "agents:x:run"]).unwrap();
    assert_eq!(scopes(json!({ "scopes": ["audit:read", "openid", "agents:x:run"] })), expected);
    assert_eq!(scopes(json!({ "scopes": null, "scope": "openid audit:read  agents:x:run" })), expected);
    let both = json!({ "scopes": ["audit:read", "agents:x:run"], "scope": "agent_os:admin" });
    assert_eq!(scopes(both), expected, "the list counts");
    assert!(scopes(json!({ "scopes": null })).is_empty());
    assert!(scopes(json!({ "scopes": ["audit:read agents:x:run"] })).is_empty(), "one word each");
    for wrong in [json!({ "scopes": "audit:read" }), json!({ "scopes": [1] }), json!({ "scope": ["audit:read"] })] {
        assert!(matches!(read(wrong.clone()), Err(Denied::Malformed(_))), "{wrong}");
    }
    for wrong in [json!({ "kern_pools": "finance" }), json!({ "kern_pools": [null] }), json!({ "kern_pools": {} })] {
        assert!(matches!(read(wrong.clone()), Err(Denied::Malformed(_))), "{wrong}");
    }
}

#[test]
fn every_algorithm_that_is_taken_is_taken_with_its_own_key() {
    let all = [
        ("RS256", builder().public_key_pem(&rsa_pem()).unwrap(), rsa as fn(&[u8]) -> Vec<u8>),
        ("ES256", builder().public_key_pem(&p256_pem()).unwrap(), p256),
        ("EdDSA", builder().public_key_pem(&ed_pem()).unwrap(), ed),
    ];
    let signers: Vec<_> = all.iter().map(|(algorithm, _, sign)| (*algorithm, *sign)).collect();
    for (of_key, builder, _) in all {
        let verifier = builder.build().unwrap();
        for (algorithm, sign) in &signers {
            let read = verify(&verifier, &token(&json!({ "alg": algorithm }), &claims(json!({})), sign));
            match *algorithm == of_key {
                true => assert_eq!(read.unwrap().principal.subject, "ann", "{algorithm}"),
                false => assert_eq!(read, Err(Denied::Algorithm), "{algorithm} with a key for {of_key}"),
            }
        }
        // Signed with the right key, and called something else.
        for (algorithm, sign) in signers.iter().filter(|(algorithm, _)| *algorithm != of_key) {
            let read = verify(&verifier, &token(&json!({ "alg": of_key }), &claims(json!({})), sign));
            assert_eq!(read, Err(Denied::Signature), "{algorithm} as {of_key}");
        }
    }
}

#[test]
fn a_token_without_a_signature_or_with_another_algorithm_is_refused() {
    let verifier = by_secret();
    for algorithm in ["none", "None", "NONE", "nOnE", "", "hs256", "HS1", "RSA-OAEP", "dir", "ES512"] {
        for signed in [true, false] {
            let sign = |message: &[u8]| if signed { hmac(SECRET)(message) } else { Vec::new() };
            let read = verify(&verifier, &token(&json!({ "alg": algorithm, "typ": "JWT" }), &claims(json!({})), sign));
            assert!(matches!(read, Err(Denied::Malformed(_))), "{algorithm:?}: {read:?}");
        }
    }
    for algorithm in ["HS384", "HS512", "RS256", "PS256", "ES256", "EdDSA"] {
        let read = verify(&verifier, &token(&json!({ "alg": algorithm }), &claims(json!({})), hmac(SECRET)));
        assert_eq!(read, Err(Denied::Algorithm), "{algorithm}");
    }
    let read = verify(&verifier, &token(&json!({ "alg": "HS256" }), &claims(json!({})), |_| Vec::new()));
    assert_eq!(read, Err(Denied::Signature));
    let read = verify(&verifier, &token(&json!({ "typ": "JWT" }), &claims(json!({})), hmac(SECRET)));
    assert!(matches!(read, Err(Denied::Malformed(_))), "{read:?}");
}

#[test]
fn a_public_key_does_not_pass_for_a_shared_secret() {
    let pem = rsa_pem();
    let der: PublicKeyX509Der = RSA.public_key().as_der().unwrap();
    let secrets: [&[u8]; 4] = [pem.as_bytes(), pem.trim_end().as_bytes(), der.as_ref(), RSA.public_key().as_ref()];
    let by_pem = builder().public_key_pem(&pem).unwrap().build().unwrap();
    let by_both = builder().public_key_pem(&pem).unwrap().shared_secret(SECRET).unwrap().build().unwrap();
    for secret in secrets {
        for kid in [None, Some("r")] {
            let header = json!({ "alg": "HS256", "typ": "JWT", "kid": kid });
            let forged = token(&header, &claims(json!({})), hmac(secret));
            assert_eq!(verify(&by_pem, &forged), Err(Denied::Algorithm));
            assert_eq!(verify(&by_both, &forged), Err(Denied::Signature));
        }
    }
    let good = token(&json!({ "alg": "RS256" }), &claims(json!({})), rsa);
    assert!(verify(&by_pem, &good).is_ok() && verify(&by_both, &good).is_ok());
    assert!(verify(&by_both, &hs256(json!({}))).is_ok());
}

#[test]
fn who_it_is_from_for_whom_and_for_how_long_has_to_be_there_and_right() {
    for (changes, expected) in [
        (json!({ "exp": now() - 31 }), Denied::Expired),
        (json!({ "exp": 0 }), Denied::Expired),
        (json!({ "exp": null }), Denied::Claim("exp")),
        (json!({ "nbf": now() + 60 }), Denied::NotYet),
        (json!({ "aud": "another-os" }), Denied::Audience),
        (json!({ "aud": ["another-os"] }), Denied::Audience),
        (json!({ "aud": [] }), Denied::Audience),
        (json!({ "aud": "" }), Denied::Audience),
        (json!({ "aud": null }), Denied::Claim("aud")),
        (json!({ "iss": "https://id.example.evil" }), Denied::Issuer),
        (json!({ "iss": "https://id.exampl" }), Denied::Issuer),
        (json!({ "iss": "kern" }), Denied::Issuer),
        (json!({ "iss": null }), Denied::Claim("iss")),
        (json!({ "sub": null }), Denied::Claim("sub")),
        (json!({ "sub": "" }), Denied::Claim("sub")),
        (json!({ "sub": " " }), Denied::Claim("sub")),
        (json!({ "sub": "ann\n" }), Denied::Claim("sub")),
    ] {
        assert_eq!(read(changes.clone()), Err(expected), "{changes}");
    }
    for unreadable in [
        json!({ "iss": [ISSUER] }),
        json!({ "sub": 7 }),
        json!({ "sub": ["ann"] }),
        json!({ "exp": "tomorrow" }),
        json!({ "exp": (now() + 60).to_string() }),
        json!({ "exp": -1 }),
        json!({ "exp": [now() + 60] }),
        json!({ "nbf": "now" }),
        json!({ "aud": 7 }),
    ] {
        let read = read(unreadable.clone());
        assert!(matches!(read, Err(Denied::Malformed(_) | Denied::Claim(_))), "{unreadable}: {read:?}");
    }
    for good in [
        json!({ "exp": now() - 20 }),
        json!({ "nbf": now() + 20 }),
        json!({ "nbf": now() - 20 }),
        json!({ "aud": [AUDIENCE, "another-os"] }),
    ] {
        assert!(read(good.clone()).is_ok(), "{good}");
    }
    let strict = builder().shared_secret(SECRET).unwrap().leeway(Duration::ZERO).build().unwrap();
    assert_eq!(verify(&strict, &hs256(json!({ "exp": now() - 2 }))), Err(Denied::Expired));
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    let twice = format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"eve","sub":"ann","exp":{}}}"#, now() + 60);
    let message = format!("{}.{}", part(r#"{"alg":"HS256"}"#), part(twice));
    let whole = format!("{message}.{}", part(hmac(SECRET)(message.as_bytes())));
    assert!(matches!(verify(&by_secret(), &whole), Err(Denied::Malformed(_))));
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let whole = hs256(json!({}));
    let parts: Vec<&str> = whole.split('.').collect();
    let other = hs256(json!({ "sub": "root" }));
    let others: Vec<&str> = other.split('.').collect();
    let changed = [
        format!("{}.{}.{}", parts[0], others[1], parts[2]),
        format!("{}.{}.{}", parts[0], parts[1], others[2]),
        format!("{}.{}.{}", part(r#"{"alg":"HS256"}"#), parts[1], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{whole}."),
        format!("{whole}.x"),
        format!(".{}.{}", parts[1], parts[2]),
        whole.replace('.', ""),
        "a.b.c".to_owned(),
        "..".to_owned(),
        String::new(),
        "x".repeat(20_000),
    ];
    for changed in changed {
        let denied = verify(&by_secret(), &changed).unwrap_err();
        assert!(matches!(denied, Denied::Signature | Denied::Malformed(_)), "{changed}: {denied:?}");
    }
    // Every bit of the payload counts.
    for place in 0..parts[1].len() {
        let mut payload = parts[1].as_bytes().to_vec();
        payload[place] = if payload[place] == b'A' { b'B' } else { b'A' };
        let changed = format!("{}.{}.{}", parts[0], String::from_utf8(payload).unwrap(), parts[2]);
        assert_eq!(verify(&by_secret(), &changed), Err(Denied::Signature), "{place}");
    }
    let by_another = token(&json!({ "alg": "HS256" }), &claims(json!({})), hmac(&[b'x'; 32]));
    assert_eq!(verify(&by_secret(), &by_another), Err(Denied::Signature));
}

#[test]
fn a_header_that_asks_for_more_or_is_of_another_kind_is_refused() {
    for header in [
        json!({ "alg": "HS256", "crit": ["exp"] }),
        json!({ "alg": "HS256", "crit": ["b64"], "b64": false }),
        json!({ "alg": "HS256", "crit": [] }),
        json!({ "alg": "HS256", "zip": "DEF" }),
        json!({ "alg": "HS256", "typ": "dpop+jwt" }),
        json!({ "alg": "HS256", "typ": "logout+jwt" }),
    ] {
        let read = verify(&by_secret(), &token(&header, &claims(json!({})), hmac(SECRET)));
        assert!(matches!(read, Err(Denied::Malformed(_))), "{header}: {read:?}");
    }
    for header in [json!({ "alg": "HS256" }), json!({ "alg": "HS256", "typ": "at+jwt" })] {
        assert!(verify(&by_secret(), &token(&header, &claims(json!({})), hmac(SECRET))).is_ok(), "{header}");
    }
    // A key that the header brings along is not looked at.
    let eve = SigningKey::from_bytes(&[66; 32]);
    let verifier = builder().public_key_pem(&ed_pem()).unwrap().build().unwrap();
    let header = json!({ "alg": "EdDSA", "jwk": ed_jwk("e", &eve), "jku": "https://evil.example/jwks" });
    let read = verify(&verifier, &token(&header, &claims(json!({})), |message| eve.sign(message).to_bytes().to_vec()));
    assert_eq!(read, Err(Denied::Signature));
}

#[test]
fn the_kid_selects_one_of_the_keys_of_a_set() {
    let second = SigningKey::from_bytes(&[43; 32]);
    let keys = [rsa_jwk(), p256_jwk(), ed_jwk("one", &ED), ed_jwk("two", &second)];
    let verifier = builder().jwks(jwks(&keys).unwrap()).build().unwrap();
    let by_second = |message: &[u8]| second.sign(message).to_bytes().to_vec();
    let read = |algorithm: &str, kid: Option<&str>, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mut header = json!({ "alg": algorithm });
        if let Some(kid) = kid {
            header["kid"] = json!(kid);
        }
        verify(&verifier, &token(&header, &claims(json!({})), sign)).map(|identity| identity.principal.subject)
    };
    let ann = || Ok("ann".to_owned());
    assert_eq!(read("RS256", Some("r"), &rsa), ann());
    assert_eq!(read("ES256", Some("p"), &p256), ann());
    assert_eq!(read("EdDSA", Some("one"), &ed), ann());
    assert_eq!(read("EdDSA", Some("two"), &by_second), ann());
    assert_eq!(read("RS256", None, &rsa), ann(), "there is only one of its kind");
    assert_eq!(read("EdDSA", None, &ed), Err(Denied::UnknownSigner), "there are two");
    assert_eq!(read("EdDSA", Some("three"), &ed), Err(Denied::UnknownSigner));
    assert_eq!(read("EdDSA", Some("r"), &ed), Err(Denied::UnknownSigner), "of another kind");
    assert_eq!(read("EdDSA", Some("two"), &ed), Err(Denied::Signature));
    assert_eq!(read("HS256", Some("r"), &hmac(SECRET)), Err(Denied::Algorithm));
}

#[test]
fn only_keys_that_are_for_signing_are_taken_from_a_set() {
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        key
    };
    let short = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let n = short.public_key().modulus().big_endian_without_leading_zero().to_vec();
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let point = p384.public_key().as_ref();
    for key in [
        with(&rsa_jwk(), "use", json!("enc")),
        with(&rsa_jwk(), "alg", json!("RS512")),
        with(&rsa_jwk(), "alg", json!("PS256")),
        with(&rsa_jwk(), "key_ops", json!(["encrypt"])),
        with(&rsa_jwk(), "n", json!(part(&n[..128]))),
        with(&p256_jwk(), "x", json!("AA")),
        json!({ "kty": "EC", "crv": "P-384", "kid": "x", "x": part(&point[1..49]), "y": part(&point[49..]) }),
        with(&ed_jwk("x", &ED), "crv", json!("X25519")),
        with(&ed_jwk("x", &ED), "x", json!("AA")),
        json!({ "kty": "new" }),
    ] {
        assert!(jwks(std::slice::from_ref(&key)).is_err(), "{key}");
        // Beside another one it is left out.
        assert!(jwks(&[key.clone(), ed_jwk("one", &ED)]).is_ok(), "{key}");
    }
    let shared = json!({ "kty": "oct", "kid": "s", "k": part(SECRET) });
    for shared in [shared, json!({ "kty": "oct" }), json!({ "k": part(SECRET) })] {
        assert!(jwks(&[shared.clone(), rsa_jwk()]).is_err(), "a shared secret in a public set: {shared}");
    }
    let private = with(&ed_jwk("x", &ED), "d", json!(part(ED.to_bytes())));
    let refused = jwks(&[private, rsa_jwk()]).unwrap_err().to_string();
    assert!(refused.contains("private key") && !refused.contains(&part(ED.to_bytes())), "{refused}");
    for no_name in [json!(7), json!([]), json!({})] {
        assert!(jwks(&[with(&rsa_jwk(), "kid", no_name.clone())]).is_err(), "{no_name}");
    }
    for wrong in ["", "{}", "[]", "null", r#"{"keys":{}}"#, r#"{"keys":[]}"#] {
        assert!(Jwks::from_json(wrong).is_err(), "{wrong}");
    }
    assert!(Jwks::from_file("/nowhere/jwks.json").is_err());
}

#[test]
fn what_cannot_be_checked_with_is_refused_when_it_is_configured() {
    for length in [0, 1, 31] {
        assert!(builder().shared_secret(vec![b'x'; length]).is_err(), "{length}");
    }
    assert!(builder().shared_secret([b'x'; 32]).is_ok());
    let private = pem("PRIVATE KEY", P256.to_pkcs8v1().unwrap().as_ref());
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let der: PublicKeyX509Der = p384.public_key().as_der().unwrap();
    let p384 = pem("PUBLIC KEY", der.as_ref());
    for wrong in ["", "x", &private, &p384, &pem("PUBLIC KEY", b"x"), &pem("CERTIFICATE", RSA.public_key().as_ref())] {
        assert!(builder().public_key_pem(wrong).is_err(), "{wrong}");
    }
    assert!(builder().public_key_pem(&pem("RSA PUBLIC KEY", RSA.public_key().as_ref())).is_ok());
    assert!(builder().build().is_err(), "no key");
    let secret = |builder: TokenVerifierBuilder| builder.shared_secret(SECRET).unwrap();
    assert!(secret(TokenVerifier::builder("", AUDIENCE)).build().is_err());
    assert!(secret(TokenVerifier::builder(ISSUER, " ")).build().is_err());
    assert!(secret(TokenVerifier::builder("kern", AUDIENCE)).build().is_err(), "the issuer of API keys");
    assert!(secret(builder()).leeway(Duration::from_secs(31)).build().is_err());
    assert!(secret(secret(builder())).build().is_err(), "two that are not told apart");
    assert!(jwks(&[ed_jwk("a", &ED), ed_jwk("a", &ED)]).is_err(), "in one set");
    let one = || jwks(&[ed_jwk("a", &ED)]).unwrap();
    assert!(builder().jwks(one()).jwks(one()).build().is_err(), "in two");
    let shown = format!("{:?} {:?}", secret(builder()), jwks(&[rsa_jwk()]).unwrap());
    assert!(!shown.contains("0123456789") && shown.contains("HS256"), "{shown}");
}

#[test]
fn a_signature_with_another_hash_does_not_fit() {
    let verifier = builder().public_key_pem(&rsa_pem()).unwrap().build().unwrap();
    let sha512 = |message: &[u8]| {
        let mut signature = vec![0; RSA.public_modulus_len()];
        RSA.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    let read = |algorithm| verify(&verifier, &token(&json!({ "alg": algorithm }), &claims(json!({})), sha512));
    assert_eq!(read("RS256"), Err(Denied::Signature));
    assert_eq!(read("RS512"), Err(Denied::Algorithm));
}

#[tokio::test]
async fn a_token_comes_in_the_same_header_as_a_key() {
    let authenticator = Authenticator::new(InMemoryDb::new().into_db()).tokens(by_secret());
    assert!(authenticator.has_credentials().await.unwrap());
    let header = format!("Bearer {}", hs256(json!({})));
    let identity = authenticator.authenticate([header.as_bytes()]).await.unwrap();
    assert_eq!(identity.principal.issuer.as_deref(), Some(ISSUER));
    let header = format!("Bearer {}", hs256(json!({ "exp": 1 })));
    let denied = authenticator.authenticate([header.as_bytes()]).await;
    assert!(matches!(denied, Err(AuthError::Denied(Denied::Expired))), "{denied:?}");
    // Whatever starts like an API key is one.
    let denied = authenticator.authenticate([&b"Bearer kern_a.b.c"[..]]).await;
    assert!(matches!(denied, Err(AuthError::Denied(Denied::Malformed(_)))), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_tokens_asks_everybody_and_takes_api_keys_as_well() {
    let db = InMemoryDb::new();
    let agent =
        kern::Agent::builder().id("a").model(kern::models::ScriptedModel::new([])).db(db.clone()).build().unwrap();
    let verifier = TokenVerifier::builder(ISSUER, AUDIENCE).shared_secret(SECRET).unwrap().build().unwrap();
    let os = kern::os::AgentOS::builder().agent(agent).tokens(verifier).build().unwrap();
    let server = os.start("127.0.0.1:0").await.unwrap();
    let client = kern_tests::http::Client::of(server.address());
    assert_eq!(client.get("/approvals").await.code(), "missing_credential");
    let hs256 = |claims: &Value| token(&json!({ "alg": "HS256" }), claims, hmac(SECRET));
    assert_eq!(client.with(hs256(&claims(json!({})))).get("/approvals").await.status, 200);
    assert_eq!(client.with(hs256(&claims(json!({})))).get("/audit").await.code(), "missing_scope");
    let expired = client.with(hs256(&claims(json!({ "exp": now() - 600 })))).get("/approvals").await;
    assert_eq!((expired.status, expired.code()), (401, "invalid_credential"));
    let made =
        kern::identity::KeyRequest::new("ann", ScopeSet::parse(["audit:read"]).unwrap()).make(&db).await.unwrap();
    assert_eq!(client.with(made.secret.reveal()).get("/audit").await.status, 200);
    server.shutdown().await;
}

#[tokio::test]
async fn the_actors_of_a_token_are_links_of_the_requester_chain() {
    let tokens = || {
        let builder = TokenVerifier::builder(ISSUER, AUDIENCE).shared_secret(SECRET).unwrap();
        builder.build().unwrap()
    };
    let verify = async |act: Value| {
        let mut claims = claims(json!({}));
        claims["act"] = act;
        tokens().verify(&token(&json!({ "alg": "HS256" }), &claims, hmac(SECRET))).await
    };
    let nested = |levels: usize| {
        (0..levels).fold(None, |inner: Option<Value>, level| {
            let mut act = json!({ "sub": format!("agent-{level}") });
            if let Some(inner) = inner {
                act["act"] = inner;
            }
            Some(act)
        })
    };
    let identity =
        verify(json!({ "sub": "gateway", "client_id": "x", "act": { "iss": "https://a", "sub": "agent" } })).await;
    let principal = identity.unwrap().principal;
    assert_eq!((principal.subject.as_str(), principal.issuer.as_deref()), ("ann", Some(ISSUER)));
    assert_eq!(principal.on_behalf_of, [Link::new(ISSUER, "gateway"), Link::new("https://a", "agent")]);
    let longest = verify(nested(8).unwrap()).await.unwrap().principal.on_behalf_of;
    assert_eq!((longest.len(), longest[0].subject.as_str(), longest[7].subject.as_str()), (8, "agent-7", "agent-0"));
    for act in [
        nested(9).unwrap(),
        Value::Null,
        json!("agent"),
        json!(["agent"]),
        json!({}),
        json!({ "client_id": "x" }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "\u{200b}" }),
        json!({ "sub": " agent" }),
        json!({ "sub": 7 }),
        json!({ "sub": "agent", "iss": 7 }),
        json!({ "sub": "agent", "act": null }),
        json!({ "sub": "agent", "act": { "sub": ["ann"] } }),
    ] {
        let refused = verify(act.clone()).await;
        assert!(matches!(refused, Err(AuthError::Denied(Denied::Claim("act")))), "{act}: {refused:?}");
    }
}
