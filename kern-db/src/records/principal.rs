//! Who acts.

use serde::{Deserialize, Serialize};

use super::person_key::person_key;
use crate::{Error, Result};

/// A person or service, as the channel they came through knows them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Principal {
    /// Who vouches for the subject. `None` for a name that nobody vouches for.
    pub issuer: Option<String>,
    /// The name.
    pub subject: String,
    /// Whether the name comes from a verified credential. An unverified name is compared, but proves nothing.
    pub verified: bool,
    /// The other people and services behind a request, the nearest first: those that a service account acts for, or the
    /// actors of a token with `act` (RFC 8693). Each of them counts as the requester, and decides and settles nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<Link>,
}

/// One link of a requester chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Link {
    /// The issuer that vouches for the subject. `None` for a name that a program has given.
    pub issuer: Option<String>,
    /// The name.
    pub subject: String,
}

impl Link {
    /// A link that an issuer vouches for.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { issuer: Some(issuer.into()), subject: subject.into() }
    }

    /// A name without an issuer that vouches for it.
    pub fn unverified(subject: impl Into<String>) -> Self {
        Self { issuer: None, subject: subject.into() }
    }
}

/// Links of a requester chain at the most.
pub const MAX_LINKS: usize = 8;

impl Principal {
    /// A name without an issuer that vouches for it.
    pub fn unverified(subject: impl Into<String>) -> Self {
        Self { issuer: None, subject: subject.into(), verified: false, on_behalf_of: Vec::new() }
    }

    /// Adds a link to the chain of people and services behind this principal. A principal with a chain asks for calls and
    /// decides about none, whatever pool it is in.
    #[must_use]
    pub fn on_behalf_of(mut self, link: Link) -> Self {
        self.on_behalf_of.push(link);
        self
    }

    /// A name that a credential proves.
    ///
    /// # Errors
    ///
    /// - [`Error::InvalidPrincipal`]: the subject has no character that is shown.
    /// - [`Error::Invalid`]: the name or its issuer is blank, too long, or has control characters or blanks around it.
    pub fn verified(issuer: impl Into<String>, subject: impl Into<String>) -> Result<Self> {
        let (issuer, subject) = (issuer.into(), subject.into());
        check_key(&subject)?;
        for name in [&issuer, &subject] {
            check_person(name).map_err(|why| Error::Invalid(format!("{why}: `{}`", name.escape_debug())))?;
        }
        Ok(Self { issuer: Some(issuer), subject, verified: true, on_behalf_of: Vec::new() })
    }

    /// Whether both may be one person, which only ever refuses: names are compared across issuers and by their person keys, so
    /// that another account, another spelling or an invisible character makes no person a second voter, or the approver of what
    /// they asked for themselves. Every link of a chain counts as the principal.
    pub(crate) fn is_same_person(&self, other: &Self) -> bool {
        self.names().any(|name| other.names().any(|other| is_same_name(name, other)))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.subject).chain(self.on_behalf_of.iter().map(|link| &*link.subject))
    }

    /// Refuses a principal that people cannot be told apart by, or with a chain that is too long.
    pub(crate) fn check(&self) -> Result<()> {
        if self.on_behalf_of.len() > MAX_LINKS {
            return Err(Error::Invalid(format!("a requester acts for at most {MAX_LINKS} others")));
        }
        self.names().try_for_each(check_key)
    }

    /// Whether both are one principal: the same issuer vouches for the same name. Rights are compared by this alone.
    pub(crate) fn is_same_principal(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.subject == other.subject && self.verified == other.verified
    }
}

/// Whose rows are meant: those of one principal, by issuer and subject exactly, or those of a name, whatever issuer vouches for
/// it. A row shows the owner what the owner may do with it, so that only the first says what a credential owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    subject: String,
    /// `None`: any issuer, or none.
    issuer: Option<Option<String>>,
}

impl Owner {
    /// The name.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Whether what this requester asked for is meant.
    #[must_use]
    pub fn owns(&self, requester: Option<&Principal>) -> bool {
        requester.is_some_and(|requester| {
            self.subject == requester.subject && self.issuer.as_ref().is_none_or(|issuer| *issuer == requester.issuer)
        })
    }

    /// The columns that a row of the owner has: the subject and, where it is one that counts, the issuer.
    pub(crate) fn columns(self) -> (String, Option<Option<String>>) {
        (self.subject, self.issuer)
    }
}

impl From<&Principal> for Owner {
    fn from(principal: &Principal) -> Self {
        Self { subject: principal.subject.clone(), issuer: Some(principal.issuer.clone()) }
    }
}

impl From<String> for Owner {
    fn from(subject: String) -> Self {
        Self { subject, issuer: None }
    }
}

impl From<&str> for Owner {
    fn from(subject: &str) -> Self {
        Self::from(subject.to_owned())
    }
}

impl From<&String> for Owner {
    fn from(subject: &String) -> Self {
        Self::from(subject.clone())
    }
}

impl From<&Owner> for Owner {
    fn from(owner: &Owner) -> Self {
        owner.clone()
    }
}

/// The issuer of those who prove their name with an API key: the store itself.
pub const KEY_ISSUER: &str = "kern";

/// Characters of a name at the most.
const LONGEST: usize = 256;

fn is_same_name(one: &str, other: &str) -> bool {
    one == other || person_key(one) == person_key(other)
}

/// Refuses a name with an empty person key: it equals every other one that shows nothing, and looks like no name.
pub(crate) fn check_key(name: &str) -> Result<()> {
    if person_key(name).is_empty() {
        Err(Error::InvalidPrincipal { name: name.escape_debug().to_string() })
    } else {
        Ok(())
    }
}

/// Refuses a name that cannot tell two people apart. A person without a name may still be one.
pub(crate) fn check_named(person: Option<&Principal>) -> Result<()> {
    person.map_or(Ok(()), Principal::check)
}

/// Separation of duties, as deciding and settling ask for it.
///
/// A principal with a chain acts for another person, and never decides, `allow_self` or not: without this an agent that exchanged
/// its user's token would approve with it what the user is asked about. The requester and every link of the requester's chain
/// decide only where `allow_self` lets them.
pub(crate) fn check_separation(
    requester: Option<&Principal>,
    by: Option<&Principal>,
    allow_self: bool,
    what: &str,
) -> Result<()> {
    let Some(by) = by else { return Ok(()) };
    if !by.on_behalf_of.is_empty() {
        let reason =
            format!("`{}` acts on behalf of others and cannot {what}: a person has to, in their own name", by.subject);
        return Err(Error::NotPermitted { reason });
    }
    if !allow_self && requester.is_some_and(|requester| by.is_same_person(requester)) {
        let reason = format!("`{}` asked for this call and cannot {what}: another person has to", by.subject);
        return Err(Error::NotPermitted { reason });
    }
    Ok(())
}

/// Whether something can name a person, and what it cannot be otherwise.
pub(crate) fn check_person(name: &str) -> Result<(), &'static str> {
    if name.trim().is_empty() {
        return Err("a name is blank");
    }
    if name.trim() != name || name.chars().any(char::is_control) || name.chars().count() > LONGEST {
        return Err("nobody has a name with blanks around it, with control characters, or of more than 256 characters");
    }
    Ok(())
}

/// On whose behalf a run is continued or answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// Somebody who gave no name. Acts as a requester who did not prove who they are, recorded as unverified.
    Anonymous,
    /// Somebody with a name.
    Person(Principal),
    /// The worker that resumes decided runs. Never acts as the requester.
    Worker,
}

impl Caller {
    /// Whether this caller may speak for the requester of a run: only the same principal does, and a caller without a name only
    /// where the requester has proved nothing. The person key is not asked, since it would grant something here. A caller
    /// that acts for others answers nothing: a confirmation is a decision of the person who asked.
    pub(crate) fn is_requester(&self, requester: Option<&Principal>) -> bool {
        match (self, requester) {
            (Self::Worker, _) => false,
            (Self::Person(person), None) => person.on_behalf_of.is_empty(),
            (Self::Anonymous, None) => true,
            (Self::Anonymous, Some(requester)) => !requester.verified,
            (Self::Person(person), Some(requester)) => {
                person.on_behalf_of.is_empty() && person.is_same_principal(requester)
            }
        }
    }

    /// Refuses a name that people cannot be told apart by.
    pub(crate) fn check(&self) -> Result<()> {
        check_named(self.person())
    }

    pub(crate) fn person(&self) -> Option<&Principal> {
        match self {
            Self::Person(person) => Some(person),
            Self::Anonymous | Self::Worker => None,
        }
    }
}

/// Who an audit entry names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Actor {
    /// kern itself: the process that owns the run.
    Runtime,
    /// Whoever recovered or swept.
    Recovery,
    /// The worker that resumes decided runs.
    Worker,
    /// A tool's own probe, which looked what became of a call.
    Probe,
    /// Somebody who gave no name.
    Anonymous,
    /// Somebody with a name.
    Person {
        /// Who.
        #[serde(flatten)]
        principal: PrincipalFields,
    },
}

/// [`Principal`] inside a tagged object (`deny_unknown_fields` and `flatten` exclude each other).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PrincipalFields {
    /// Who vouches for the subject.
    pub issuer: Option<String>,
    /// The name.
    pub subject: String,
    /// Whether the name comes from a verified credential.
    pub verified: bool,
    /// The links of the requester chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on_behalf_of: Vec<Link>,
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        let Principal { issuer, subject, verified, on_behalf_of } = principal.clone();
        Self::Person { principal: PrincipalFields { issuer, subject, verified, on_behalf_of } }
    }
}

impl From<&PrincipalFields> for Principal {
    fn from(fields: &PrincipalFields) -> Self {
        let PrincipalFields { issuer, subject, verified, on_behalf_of } = fields.clone();
        Self { issuer, subject, verified, on_behalf_of }
    }
}

impl From<&Caller> for Actor {
    fn from(caller: &Caller) -> Self {
        match caller {
            Caller::Anonymous => Self::Anonymous,
            Caller::Person(person) => person.into(),
            Caller::Worker => Self::Worker,
        }
    }
}

impl Actor {
    pub(crate) fn of(person: Option<&Principal>) -> Self {
        person.map_or(Self::Anonymous, Self::from)
    }
}

impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Runtime => f.write_str("kern"),
            Self::Recovery => f.write_str("recovery"),
            Self::Worker => f.write_str("worker"),
            Self::Probe => f.write_str("the tool's probe"),
            Self::Anonymous => f.write_str("somebody without a name"),
            Self::Person { principal } => {
                f.write_str(&principal.subject)?;
                if !principal.verified {
                    f.write_str(" (unverified)")?;
                }
                for (place, link) in principal.on_behalf_of.iter().enumerate() {
                    let before = if place == 0 { ", with " } else { ", " };
                    write!(f, "{before}{}", link.subject)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a name that is refused is what a test shows")]

    use super::*;

    #[test]
    fn one_person_stays_one_under_another_issuer_spelling_or_credential() {
        let verified = |issuer, name| Principal::verified(issuer, name).unwrap();
        let (one, other, key) =
            (verified("https://one", "ann"), verified("https://other", "Ann"), verified(KEY_ISSUER, "ann"));
        let (name, bob) = (Principal::unverified(" ann\u{200b}"), verified(KEY_ISSUER, "bob"));
        let all = [&one, &other, &key, &name];
        for (left, right) in all.iter().flat_map(|left| all.iter().map(move |right| (left, right))) {
            assert!(left.is_same_person(right), "{left:?} {right:?}");
            // Each speaks only for who asked with the same credential.
            assert_eq!(Caller::Person((*left).clone()).is_requester(Some(right)), std::ptr::eq(*left, *right));
        }
        assert!(!all.iter().any(|person| person.is_same_person(&bob)));
    }

    #[test]
    fn each_link_of_a_chain_is_the_requester_and_a_principal_with_a_chain_decides_nothing() {
        let link = |name: &str| Link::new("https://one", name);
        let ann = Principal::verified("https://one", "ann").unwrap();
        let asked = ann.clone().on_behalf_of(link("agent")).on_behalf_of(link("Gateway"));
        let by = |name| Principal::verified(KEY_ISSUER, name).unwrap();
        for allow_self in [false, true] {
            let may = |by: &Principal| check_separation(Some(&asked), Some(by), allow_self, "decide").is_ok();
            for (name, is_other) in [("ann", false), ("Agent", false), ("gateway", false), ("bob", true)] {
                assert_eq!(may(&by(name)), is_other || allow_self, "{name}");
                assert!(!may(&by(name).on_behalf_of(link("carol"))), "{name}");
            }
        }
        assert!(check_separation(None, Some(&asked), false, "decide").is_err());
        assert!(Caller::Person(ann).is_requester(Some(&asked)));
        assert!(!Caller::Person(asked.clone()).is_requester(Some(&asked)));
        assert!(!Caller::Person(asked.clone()).is_requester(None));
        let long = (0..=MAX_LINKS).fold(by("svc"), |chain, number| chain.on_behalf_of(link(&number.to_string())));
        assert!(long.check().is_err() && asked.check().is_ok());
        assert_eq!(by("svc").on_behalf_of(link("\u{200b}")).check().unwrap_err().code(), "invalid_principal");
        // In rows and in the log alike.
        let stored = serde_json::to_value(&asked).unwrap();
        assert_eq!(stored["on_behalf_of"][1], serde_json::json!({ "issuer": "https://one", "subject": "Gateway" }));
        let Actor::Person { principal } = Actor::from(&asked) else { panic!("a person") };
        assert_eq!(Principal::from(&principal), asked);
        assert_eq!(Actor::from(&asked).to_string(), "ann, with agent, Gateway");
        assert!(serde_json::to_value(by("svc")).unwrap().get("on_behalf_of").is_none());
    }

    #[test]
    fn a_verified_name_is_a_name() {
        for name in ["", " ", " ann", "ann\n", "a\u{0}b", &"x".repeat(257)] {
            assert!(Principal::verified("https://one", name).is_err(), "{name:?}");
            assert!(Principal::verified(name, "ann").is_err(), "{name:?}");
        }
    }
}
