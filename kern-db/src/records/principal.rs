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
}

impl Principal {
    /// A name that nobody vouches for.
    pub fn unverified(subject: impl Into<String>) -> Self {
        Self { issuer: None, subject: subject.into(), verified: false }
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
        Ok(Self { issuer: Some(issuer), subject, verified: true })
    }

    /// Whether both may be one person, which only ever refuses: names are compared across issuers and by their person keys, so
    /// that another account, another spelling or an invisible character makes nobody a second voter, or the approver of what
    /// they asked for themselves.
    pub(crate) fn is_same_person(&self, other: &Self) -> bool {
        self.subject == other.subject || person_key(&self.subject) == person_key(&other.subject)
    }

    /// Whether both are one principal: the same issuer vouches for the same name. Rights are compared by this alone.
    pub(crate) fn is_same_principal(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.subject == other.subject && self.verified == other.verified
    }
}

/// The issuer of those who prove their name with an API key: the store itself.
pub const KEY_ISSUER: &str = "kern";

/// Characters of a name at the most.
const LONGEST: usize = 256;

/// Refuses a name with an empty person key: it equals every other one that shows nothing, and looks like no name.
pub(crate) fn check_key(name: &str) -> Result<()> {
    if person_key(name).is_empty() {
        Err(Error::InvalidPrincipal { name: name.escape_debug().to_string() })
    } else {
        Ok(())
    }
}

/// Refuses a person whose name nobody can be told apart by. A person without a name may still be one.
pub(crate) fn check_named(person: Option<&Principal>) -> Result<()> {
    person.map_or(Ok(()), |person| check_key(&person.subject))
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
    /// where the requester has proved nothing. The person key is not asked, since it would grant something here.
    pub(crate) fn is_requester(&self, requester: Option<&Principal>) -> bool {
        match (self, requester) {
            (Self::Worker, _) => false,
            (_, None) => true,
            (Self::Anonymous, Some(requester)) => !requester.verified,
            (Self::Person(person), Some(requester)) => person.is_same_principal(requester),
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
}

impl From<&Principal> for Actor {
    fn from(principal: &Principal) -> Self {
        let Principal { issuer, subject, verified } = principal.clone();
        Self::Person { principal: PrincipalFields { issuer, subject, verified } }
    }
}

impl From<&PrincipalFields> for Principal {
    fn from(fields: &PrincipalFields) -> Self {
        let PrincipalFields { issuer, subject, verified } = fields.clone();
        Self { issuer, subject, verified }
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
            Self::Person { principal } if principal.verified => f.write_str(&principal.subject),
            Self::Person { principal } => write!(f, "{} (unverified)", principal.subject),
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
    fn a_verified_name_is_a_name() {
        for name in ["", " ", " ann", "ann\n", "a\u{0}b", &"x".repeat(257)] {
            assert!(Principal::verified("https://one", name).is_err(), "{name:?}");
            assert!(Principal::verified(name, "ann").is_err(), "{name:?}");
        }
    }
}
