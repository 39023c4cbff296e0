//! Keys that are fetched from where their issuer publishes them: an issuer on this machine, which a test has rotate its keys,
//! be slow, be gone or say what it likes.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use kern::identity::{AuthError, Authenticator, JwksUrl, KeyRequest, ScopeSet, TokenVerifier};
use kern::os::AgentOS;
use kern_db::{InMemoryDb, IntoDb as _};
use kern_tests::certificate::Certificate;
use kern_tests::http::Client;
use kern_tests::receiver::{Receiver, Reply};
use serde_json::{Value, json};

use super::tokens::{
    AUDIENCE, ED, ISSUER, SECRET, claims, ed, ed_jwk, hmac, p256, p256_jwk, part, rsa, rsa_jwk, rsa_pem, token,
};

/// The least that is waited between two fetches, and some time on top.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSED: Duration = Duration::from_millis(1_100);
const KEPT: Duration = Duration::from_secs(5);
/// Longer than anything takes, shorter than a hanging test.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that an answer may have.
const LARGEST: usize = 256 * 1024;

/// An issuer whose address says what it was told last.
struct Issuer {
    receiver: Receiver,
    says: Arc<Mutex<Reply>>,
}

impl Issuer {
    async fn saying(reply: Reply) -> Self {
        let says = Arc::new(Mutex::new(reply));
        let now = Arc::clone(&says);
        let answers = move |_, _: &_| now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Self { receiver: Receiver::answering(answers).await, says }
    }

    async fn publishing(keys: &[Value]) -> Self {
        Self::saying(set(keys)).await
    }

    fn says(&self, reply: Reply) {
        *self.says.lock().unwrap() = reply;
    }

    fn publishes(&self, keys: &[Value]) {
        self.says(set(keys));
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        self.receiver.received().len()
    }

    fn url(&self) -> JwksUrl {
        url(self.receiver.address)
    }

    fn verifier(&self) -> TokenVerifier {
        verifier(self.url())
    }

    /// Keys that are old after a second, and count for five.
    fn short(&self) -> TokenVerifier {
        verifier(self.url().refresh(PAUSE).keep(KEPT))
    }
}

fn url(address: SocketAddr) -> JwksUrl {
    JwksUrl::new(format!("http://{address}/.well-known/jwks.json?code=s3cret")).pause(PAUSE)
}

fn verifier(url: JwksUrl) -> TokenVerifier {
    TokenVerifier::builder(ISSUER, AUDIENCE).jwks_url(url).build().unwrap()
}

fn text(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn set(keys: &[Value]) -> Reply {
    Reply::Body(200, text(keys).into_bytes())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

/// A key as it is published under its seed.
fn jwk(seed: u8) -> Value {
    ed_jwk(&seed.to_string(), &key(seed))
}

/// A token that says with which key it was signed.
fn of(seed: u8) -> String {
    named(&seed.to_string(), seed)
}

fn named(kid: &str, seed: u8) -> String {
    let header = json!({ "alg": "EdDSA", "kid": kid });
    token(&header, &claims(json!({})), |message| key(seed).sign(message).to_bytes().to_vec())
}

/// Who somebody is, or why nobody can say.
async fn said(verifier: &TokenVerifier, token: &str) -> String {
    match verifier.verify(token).await {
        Ok(identity) => identity.principal.subject,
        Err(AuthError::Denied(denied)) => format!("{denied:?}"),
        Err(AuthError::NoKeys { retry_after }) => {
            assert!(retry_after <= 3 * PAUSE, "{retry_after:?}");
            "NoKeys".to_owned()
        }
        Err(other) => panic!("{other}"),
    }
}

/// Waits until it is said of a token, and something else of it no more.
async fn until(verifier: &TokenVerifier, token: &str, expected: &str, before: &str) {
    let began = Instant::now();
    loop {
        let said = said(verifier, token).await;
        if said == expected {
            return;
        }
        assert!(said == before && began.elapsed() < PATIENCE, "{said} after {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_tokens() {
    let issuer = Issuer::publishing(&[rsa_jwk(), p256_jwk(), ed_jwk("e", &ED)]).await;
    let verifier = Arc::new(issuer.verifier());
    assert_eq!(issuer.asked(), 0, "nothing is asked before somebody needs it");
    let tokens = [
        token(&json!({ "alg": "RS256", "kid": "r" }), &claims(json!({})), rsa),
        token(&json!({ "alg": "ES256", "kid": "p" }), &claims(json!({})), p256),
        token(&json!({ "alg": "EdDSA", "kid": "e" }), &claims(json!({})), ed),
        token(&json!({ "alg": "RS256" }), &claims(json!({})), rsa),
    ];
    // All at once, before there is any key.
    let asking = (0..40).map(|place| {
        let (verifier, token) = (Arc::clone(&verifier), tokens[place % tokens.len()].clone());
        tokio::spawn(async move { said(&verifier, &token).await })
    });
    for asked in asking.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), "ann");
    }
    assert_eq!(issuer.asked(), 1);
    // A token that is no good for another reason asks for nothing, either.
    tokio::time::sleep(PAUSED).await;
    let expired = token(&json!({ "alg": "EdDSA", "kid": "e" }), &claims(json!({ "exp": 1 })), ed);
    assert_eq!(said(&verifier, &expired).await, "Expired");
    assert_eq!(said(&verifier, &named("e", 9)).await, "Signature");
    assert!(said(&verifier, "a.b.c").await.starts_with("Malformed"));
    assert_eq!(issuer.asked(), 1);
    let shown = format!("{verifier:?}");
    assert!(shown.contains("/.well-known/jwks.json") && !shown.contains("s3cret"), "{shown}");
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_one_that_was_taken_out_counts_until_the_keys_are_fetched_again() {
    let issuer = Issuer::publishing(&[jwk(1)]).await;
    let verifier = verifier(issuer.url().refresh(3 * PAUSE));
    assert_eq!(said(&verifier, &of(1)).await, "ann");
    tokio::time::sleep(PAUSED).await;
    issuer.publishes(&[jwk(1), jwk(2)]);
    assert_eq!((said(&verifier, &of(2)).await, said(&verifier, &of(1)).await), ("ann".to_owned(), "ann".to_owned()));
    assert_eq!(issuer.asked(), 2);
    issuer.publishes(&[jwk(2)]);
    assert_eq!(said(&verifier, &of(1)).await, "ann", "the keys are not old yet");
    tokio::time::sleep(3 * PAUSE).await;
    assert_eq!(said(&verifier, &of(1)).await, "UnknownSigner");
    assert_eq!(said(&verifier, &of(2)).await, "ann");
    assert_eq!(issuer.asked(), 3);
    // The same name for another key.
    issuer.publishes(&[ed_jwk("2", &key(3))]);
    tokio::time::sleep(3 * PAUSE).await;
    assert_eq!(
        (said(&verifier, &of(2)).await, said(&verifier, &named("2", 3)).await),
        ("Signature".to_owned(), "ann".to_owned())
    );
}

#[tokio::test]
async fn a_key_without_a_name_and_one_of_another_kind_are_found_as_well() {
    let nameless = |seed| {
        let mut jwk = jwk(seed);
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let unnamed = |seed: u8| {
        token(&json!({ "alg": "EdDSA" }), &claims(json!({})), |message| key(seed).sign(message).to_bytes().to_vec())
    };
    let issuer = Issuer::publishing(&[nameless(1)]).await;
    let verifier = issuer.verifier();
    assert_eq!(said(&verifier, &unnamed(1)).await, "ann");
    issuer.publishes(&[nameless(2)]);
    tokio::time::sleep(PAUSED).await;
    assert_eq!(said(&verifier, &unnamed(2)).await, "ann");
    assert_eq!(said(&verifier, &unnamed(1)).await, "Signature");
    issuer.publishes(&[rsa_jwk()]);
    tokio::time::sleep(PAUSED).await;
    let by_rsa = token(&json!({ "alg": "RS256", "kid": "r" }), &claims(json!({})), rsa);
    assert_eq!(said(&verifier, &by_rsa).await, "ann");
    assert_eq!(said(&verifier, &unnamed(2)).await, "Algorithm");
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_keys_cause_one_fetch_for_each_pause_and_keep_nobody_out() {
    let issuer = Issuer::publishing(&[jwk(1)]).await;
    let verifier = Arc::new(issuer.verifier());
    // Made before: to sign is most of what a token costs here.
    let made_up: Vec<_> = (0..25).map(|place| named(&format!("made up {place}"), 66)).collect();
    let began = Instant::now();
    assert_eq!(said(&verifier, &of(1)).await, "ann");
    let mut refused = 0;
    while issuer.asked() < 3 {
        let flood = made_up.iter().cloned().map(|token| {
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move { said(&verifier, &token).await })
        });
        for one in flood.collect::<Vec<_>>() {
            assert_eq!(one.await.unwrap(), "UnknownSigner");
            refused += 1;
        }
        assert_eq!(said(&verifier, &of(1)).await, "ann");
        assert!(began.elapsed() < PATIENCE);
    }
    let (asked, most) = (issuer.asked(), 1 + usize::try_from(began.elapsed().as_secs()).unwrap());
    assert!(asked <= most, "asked {asked} times for {refused} tokens in {:?}", began.elapsed());
    // A new key is still found, however many others are asked for.
    issuer.publishes(&[jwk(1), jwk(2)]);
    tokio::time::sleep(PAUSED).await;
    assert_eq!(said(&verifier, &of(2)).await, "ann");
}

#[tokio::test]
async fn no_token_counts_before_the_first_answer_and_all_do_after_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let verifier = verifier(url(address).pause(3 * PAUSE));
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(said(&verifier, &of(1)).await, "NoKeys", "nobody answers there");
    }
    // What no key would change is told as ever.
    assert!(said(&verifier, "a.b.c").await.starts_with("Malformed"));
    let server = Receiver::at(address, |_, _| set(&[jwk(1)])).await;
    let said_now = said(&verifier, &of(1)).await;
    if began.elapsed() < 3 * PAUSE {
        assert_eq!(said_now, "NoKeys", "it was asked a moment ago");
        assert_eq!(server.received().len(), 0);
    }
    until(&verifier, &of(1), "ann", "NoKeys").await;
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn keys_go_on_for_a_while_when_the_issuer_is_gone_and_then_no_token_counts() {
    let issuer = Issuer::publishing(&[jwk(1)]).await;
    let verifier = issuer.short();
    let began = Instant::now();
    assert_eq!(said(&verifier, &of(1)).await, "ann");
    issuer.says(Reply::HangUp);
    tokio::time::sleep(PAUSED).await;
    assert_eq!(said(&verifier, &of(1)).await, "ann", "the keys of before count");
    assert_eq!(said(&verifier, &of(2)).await, "NoKeys", "it may be signed with a newer key");
    until(&verifier, &of(1), "NoKeys", "ann").await;
    assert!((KEPT..2 * KEPT).contains(&began.elapsed()), "{:?}", began.elapsed());
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((3..=most).contains(&issuer.asked()), "{}", issuer.asked());
    issuer.publishes(&[jwk(1)]);
    tokio::time::sleep(PAUSED).await;
    assert_eq!(said(&verifier, &of(1)).await, "ann");
}

#[tokio::test]
async fn an_issuer_that_answers_nothing_keeps_tokens_waiting_once() {
    let issuer = Issuer::publishing(&[jwk(1)]).await;
    let verifier = verifier(issuer.url().refresh(3 * PAUSE).timeout(3 * PAUSE));
    assert_eq!(said(&verifier, &of(1)).await, "ann");
    issuer.says(Reply::Silence);
    tokio::time::sleep(3 * PAUSE).await;
    let began = Instant::now();
    assert_eq!(said(&verifier, &of(1)).await, "ann");
    assert!(began.elapsed() > 3 * PAUSE - Duration::from_millis(100), "it waits for the fetch: {:?}", began.elapsed());
    assert_eq!(issuer.asked(), 2);
    // From now on the fetches are beside the tokens.
    let began = Instant::now();
    let mut beside = 0;
    while beside < 10 {
        let one = Instant::now();
        assert_eq!(said(&verifier, &of(1)).await, "ann");
        assert!(one.elapsed() < 2 * PAUSE && began.elapsed() < PATIENCE, "{:?}", one.elapsed());
        // On a loaded machine, a later fetch may have begun by then.
        beside += usize::from(issuer.asked() >= 3);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    issuer.publishes(&[jwk(2)]);
    until(&verifier, &of(1), "UnknownSigner", "ann").await;
    assert_eq!(said(&verifier, &of(2)).await, "ann");
}

#[tokio::test]
async fn an_answer_that_is_slow_or_too_large_ends_at_its_limit() {
    let drop_by_drop = Reply::Slow(200, text(&[jwk(1)]).into_bytes(), Duration::from_millis(250));
    for reply in [Reply::Silence, drop_by_drop] {
        let issuer = Issuer::saying(reply.clone()).await;
        let verifier = verifier(issuer.url().timeout(Duration::from_millis(300)));
        let began = Instant::now();
        assert_eq!(said(&verifier, &of(1)).await, "NoKeys", "{reply:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    let padded = |length: usize| {
        let mut body = text(&[jwk(1)]);
        body.push_str(&" ".repeat(length - body.len()));
        Reply::Body(200, body.into_bytes())
    };
    for (reply, expected) in [
        (padded(LARGEST), "ann"),
        (padded(LARGEST + 1), "NoKeys"),
        (padded(8 * LARGEST), "NoKeys"),
        (Reply::Endless(200), "NoKeys"),
    ] {
        let issuer = Issuer::saying(reply).await;
        let began = Instant::now();
        let verifier = verifier(issuer.url().timeout(Duration::from_secs(30)));
        assert_eq!(said(&verifier, &of(1)).await, expected);
        assert!(began.elapsed() < Duration::from_secs(15), "it is not read to its end: {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn an_answer_that_leads_elsewhere_is_not_followed() {
    let elsewhere = Receiver::answering(|_, _| set(&[jwk(1)])).await;
    for status in [301, 302, 303, 307, 308] {
        for place in [format!("http://{}/jwks.json", elsewhere.address), "/jwks.json".to_owned()] {
            let issuer = Issuer::saying(Reply::Status(status, format!("location: {place}\r\n"))).await;
            assert_eq!(said(&issuer.verifier(), &of(1)).await, "NoKeys", "{status} {place}");
            assert_eq!(issuer.asked(), 1);
        }
    }
    assert_eq!(elsewhere.received().len(), 0);
}

#[tokio::test]
async fn an_answer_that_is_no_set_of_public_keys_is_none() {
    let good = || jwk(1);
    let with = |name: &str, value: Value| {
        let mut jwk = jwk(2);
        jwk[name] = value;
        jwk
    };
    let page = "<!doctype html><title>Sign in</title>";
    let wrong = [
        Reply::status(204),
        Reply::Body(500, text(&[good()]).into_bytes()),
        Reply::Body(404, text(&[good()]).into_bytes()),
        Reply::Body(206, text(&[good()]).into_bytes()),
        Reply::HangUp,
        Reply::Body(200, Vec::new()),
        Reply::Body(200, b"\xff\xfe".to_vec()),
        Reply::Body(200, page.as_bytes().to_vec()),
        Reply::Body(200, b"{}".to_vec()),
        Reply::Body(200, good().to_string().into_bytes()),
        Reply::Body(200, json!([good()]).to_string().into_bytes()),
        Reply::Body(200, format!("{} {}", text(&[good()]), page).into_bytes()),
        Reply::Body(200, "[".repeat(100_000).into_bytes()),
        // A shared secret, a private key, two of one name.
        set(&[good(), json!({ "kty": "oct", "kid": "s", "k": part(SECRET) })]),
        set(&[good(), with("d", json!(part([2; 32])))]),
        set(&[good(), good()]),
        set(&[good(), with("kid", json!("1"))]),
        set(&[good(), with("kid", json!(1))]),
    ];
    for reply in &wrong {
        let issuer = Issuer::saying(reply.clone()).await;
        assert_eq!(said(&issuer.verifier(), &of(1)).await, "NoKeys", "{reply:?}");
    }
    // After a good one, that counts for as long as it may.
    let asking = wrong.into_iter().map(|reply| {
        tokio::spawn(async move {
            let issuer = Issuer::publishing(&[jwk(1)]).await;
            let verifier = issuer.short();
            let began = Instant::now();
            assert_eq!(said(&verifier, &of(1)).await, "ann");
            issuer.says(reply.clone());
            tokio::time::sleep(PAUSED).await;
            let said_now = said(&verifier, &of(1)).await;
            // All of these tasks share two cores with everything else: one may come when the keys count no more.
            assert!(said_now == "ann" || began.elapsed() >= KEPT, "{said_now}: {reply:?}");
            assert!(issuer.asked() >= 2, "{reply:?}");
            until(&verifier, &of(1), "NoKeys", "ann").await;
        })
    });
    for one in asking.collect::<Vec<_>>() {
        one.await.unwrap();
    }
}

#[tokio::test]
async fn a_set_with_no_key_that_can_be_used_takes_all_keys_out() {
    let encryption = json!({ "kty": "EC", "crv": "P-256", "use": "enc", "x": "AA", "y": "AA" });
    for empty in [&[][..], &[encryption, json!({ "kty": "new" })]] {
        let issuer = Issuer::publishing(&[jwk(1)]).await;
        let verifier = issuer.short();
        assert_eq!(said(&verifier, &of(1)).await, "ann");
        issuer.publishes(empty);
        tokio::time::sleep(PAUSED).await;
        assert_eq!(said(&verifier, &of(1)).await, "Algorithm", "the issuer has no such key, and says so");
    }
}

#[tokio::test]
async fn a_fetch_goes_on_when_whoever_needed_it_is_gone() {
    let issuer = Issuer::saying(Reply::Slow(200, text(&[jwk(1)]).into_bytes(), Duration::from_millis(4))).await;
    let verifier = issuer.verifier();
    {
        let token = of(1);
        let mut first = std::pin::pin!(verifier.verify(&token));
        let once = std::future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending()));
        assert!(once.await, "it waits");
        // The fetch is under way when the one who needed it goes away.
        issuer.receiver.wait_for(1).await;
    }
    for _ in 0..2 {
        let token = of(1);
        // It may be over by now: how long a fetch takes is not for a test to say.
        let _ = tokio::time::timeout(Duration::from_millis(50), verifier.verify(&token)).await;
    }
    assert_eq!(said(&verifier, &of(1)).await, "ann");
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn a_fetch_that_ended_with_its_runtime_is_made_again_in_another_one() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kept = runtime();
    let issuer = kept.block_on(Issuer::saying(Reply::Silence));
    let verifier = issuer.verifier();
    let began = Instant::now();
    let short = runtime();
    short.block_on(async {
        let token = of(1);
        assert!(tokio::time::timeout(Duration::from_millis(100), verifier.verify(&token)).await.is_err());
    });
    drop(short);
    kept.block_on(async {
        issuer.publishes(&[jwk(1)]);
        let said_now = said(&verifier, &of(1)).await;
        assert!(
            said_now == "NoKeys" || began.elapsed() >= PAUSE,
            "the fetch has failed, and the next one may not begin yet: {said_now}"
        );
        tokio::time::sleep(PAUSED).await;
        assert_eq!(said(&verifier, &of(1)).await, "ann");
    });
}

#[tokio::test]
async fn a_shared_secret_beside_an_address_needs_no_key_of_it() {
    let issuer = Issuer::publishing(&[rsa_jwk()]).await;
    let by_secret = || token(&json!({ "alg": "HS256" }), &claims(json!({})), hmac(SECRET));
    let both = TokenVerifier::builder(ISSUER, AUDIENCE).shared_secret(SECRET).unwrap().jwks_url(issuer.url());
    let both = both.build().unwrap();
    assert_eq!(said(&both, &by_secret()).await, "ann");
    assert_eq!(issuer.asked(), 0);
    let by_rsa = token(&json!({ "alg": "RS256", "kid": "r" }), &claims(json!({})), rsa);
    assert_eq!(said(&both, &by_rsa).await, "ann");
    // A public key is no shared secret, and algorithms that no set may be for are asked for nowhere.
    let alone = issuer.verifier();
    for secret in [SECRET, rsa_pem().as_bytes(), text(&[rsa_jwk()]).as_bytes()] {
        for algorithm in ["HS256", "HS384", "HS512", "RS512", "PS256", "ES384"] {
            let forged = token(&json!({ "alg": algorithm, "kid": "r" }), &claims(json!({})), hmac(secret));
            assert_eq!(said(&alone, &forged).await, "Algorithm", "{algorithm}");
        }
    }
    assert_eq!(issuer.asked(), 1);
    assert_eq!(said(&alone, &by_rsa).await, "ann");
    let forged = token(&json!({ "alg": "HS256", "kid": "r" }), &claims(json!({})), hmac(rsa_pem().as_bytes()));
    assert_eq!(
        (said(&alone, &forged).await, said(&both, &forged).await),
        ("Algorithm".to_owned(), "Signature".to_owned())
    );
}

#[test]
fn an_address_that_may_not_be_asked_is_refused_when_it_is_configured() {
    let refused =
        |url: JwksUrl| TokenVerifier::builder(ISSUER, AUDIENCE).jwks_url(url).build().unwrap_err().to_string();
    for url in
        ["", "jwks.json", "http://id.example/jwks.json", "http://192.0.2.1/jwks.json", "https://a:hunter2@id.example"]
    {
        let refused = refused(url.into());
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    assert!(refused("http://id.example/jwks.json".into()).contains("HTTPS"));
    assert!(refused(JwksUrl::new("https://id.example").pause(Duration::from_millis(10))).contains("a second"));
    let builder = || TokenVerifier::builder(ISSUER, AUDIENCE).jwks_url("https://id.example/jwks.json");
    assert!(builder().build().is_ok());
    assert!(builder().jwks_url("https://id.example/other.json").build().is_err(), "two addresses");
    assert!(builder().public_key_pem(&rsa_pem()).unwrap().build().is_err(), "a key that nobody can take out");
    let given = kern::identity::Jwks::from_json(&text(&[jwk(1)])).unwrap();
    assert!(builder().jwks(given).build().is_err(), "keys that nobody can take out");
    assert!(builder().shared_secret(SECRET).unwrap().build().is_ok());
}

#[tokio::test]
async fn an_address_of_https_is_asked_by_tls_alone() {
    let issuer = Issuer::publishing(&[jwk(1)]).await;
    let address = issuer.receiver.address;
    let url = JwksUrl::new(format!("https://{address}/jwks.json")).pause(PAUSE).timeout(2 * PAUSE);
    assert_eq!(said(&verifier(url), &of(1)).await, "NoKeys", "what is there speaks no TLS");
    assert_eq!(issuer.asked(), 0);
}

fn agent_os(tokens: TokenVerifier, db: &InMemoryDb) -> AgentOS {
    let model = kern::models::ScriptedModel::new([]);
    let agent = kern::Agent::builder().id("a").model(model).db(db.clone()).build().unwrap();
    AgentOS::builder().agent(agent).tokens(tokens).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_fetches_keys_at_its_start() {
    let issuer = Issuer::publishing(&[jwk(1)]).await;
    let server = agent_os(issuer.verifier(), &InMemoryDb::new()).start("127.0.0.1:0").await.unwrap();
    issuer.receiver.wait_for(1).await;
    let client = Client::of(server.address());
    assert_eq!(client.with(of(1)).get("/approvals").await.status, 200);
    let made_up = client.with(of(9)).get("/approvals").await;
    assert_eq!((made_up.status, made_up.code()), (401, "invalid_credential"));
    assert_eq!(issuer.asked(), 1);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_issuer_is_gone_takes_keys_of_its_own_and_tells_nobody_that_their_token_is_bad() {
    let issuer = Issuer::saying(Reply::HangUp).await;
    let db = InMemoryDb::new();
    let made = KeyRequest::new("bob", ScopeSet::parse(["approvals:read"]).unwrap()).make(&db).await.unwrap();
    let server = agent_os(issuer.short(), &db).start("127.0.0.1:0").await.unwrap();
    let client = Client::of(server.address());
    assert_eq!(client.get("/approvals").await.code(), "missing_credential", "nobody is let in without one");
    assert_eq!(client.with(made.secret.reveal()).get("/approvals").await.status, 200);
    let response = client.with(of(1)).request("GET", "/approvals").send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert!(response.headers().get("www-authenticate").is_none(), "nothing is wrong with the token");
    let after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert_eq!(after, 1);
    let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body["code"], "no_keys");
    assert!(!body.to_string().contains(&issuer.receiver.address.port().to_string()), "{body}");
    // Whoever signs in is told the same, and stays where they are.
    let origin = format!("http://{}", server.address());
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let sign_in = || {
        let form = browser.post(format!("{origin}/panel/signin")).form(&[("credential", of(1))]);
        form.header("origin", &origin).send()
    };
    let answer = sign_in().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().get("set-cookie").is_none());
    issuer.publishes(&[jwk(1)]);
    tokio::time::sleep(PAUSED).await;
    assert_eq!(client.with(of(1)).get("/approvals").await.status, 200);
    let cookie = sign_in().await.unwrap().headers()["set-cookie"].to_str().unwrap().to_owned();
    let panel = || browser.get(format!("{origin}/panel")).header("cookie", cookie.split(';').next().unwrap()).send();
    assert_eq!(panel().await.unwrap().status(), 200);
    issuer.says(Reply::HangUp);
    let began = Instant::now();
    let status = loop {
        let status = panel().await.unwrap().status();
        if status != 200 || began.elapsed() > PATIENCE {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(status, 503, "nobody is signed out");
    issuer.publishes(&[jwk(1)]);
    tokio::time::sleep(PAUSED).await;
    assert_eq!(panel().await.unwrap().status(), 200);
    server.shutdown().await;
}

#[tokio::test]
async fn an_authenticator_of_ones_own_fetches_keys_with_the_first_token() {
    let issuer = Issuer::publishing(&[jwk(1)]).await;
    let authenticator = Authenticator::new(InMemoryDb::new().into_db()).tokens(issuer.verifier());
    assert!(authenticator.has_credentials().await.unwrap(), "everybody is asked, whether or not there are keys");
    assert_eq!(issuer.asked(), 0);
    let header = format!("Bearer {}", of(1));
    assert_eq!(authenticator.authenticate([header.as_bytes()]).await.unwrap().principal.subject, "ann");
    let header = format!("Bearer {}", of(2));
    let denied = authenticator.authenticate([header.as_bytes()]).await;
    assert!(matches!(denied, Err(AuthError::Denied(_))), "{denied:?}");
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn an_address_of_https_needs_a_certificate_that_the_machine_trusts() {
    let folder = kern_tests::folder::Folder::new();
    let certificate = Certificate::new(&folder).file;
    std::fs::write(folder.file("jwks.json"), text(&[jwk(1)])).unwrap();
    // It serves the files of its folder.
    let mut server = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-key", "key.pem", "-cert", "certificate.pem"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port = said.filter_map(|line| line.strip_prefix("ACCEPT 127.0.0.1:").map(str::to_owned)).next().unwrap();
    let asked = |host: &str, trusted: Option<&Path>| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kern-test-worker"));
        child.args(["token", &format!("https://{host}:{port}/jwks.json"), ISSUER, AUDIENCE, &of(1)]);
        // It is this machine's own, and no proxy is asked for it.
        child.env("HTTPS_PROXY", "http://127.0.0.1:1").env("HTTP_PROXY", "http://127.0.0.1:1");
        child.envs(trusted.map(|file| ("SSL_CERT_FILE", file)));
        String::from_utf8(child.output().unwrap().stdout).unwrap().trim_end().to_owned()
    };
    let said =
        [asked("localhost", Some(&certificate)), asked("localhost", None), asked("127.0.0.1", Some(&certificate))];
    server.kill().unwrap();
    server.wait().unwrap();
    let none = "the keys that tokens are checked with cannot be had now";
    assert_eq!(said, ["ann", none, none], "trusted; by nobody; for another name");
}
