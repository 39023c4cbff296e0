//! Who acts.

use serde::{Deserialize, Serialize};

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
    /// [`Error::Invalid`]: the name is blank, too long, or has control characters or blanks around it; or nobody vouches
    /// for it.
    pub fn verified(issuer: impl Into<String>, subject: impl Into<String>) -> Result<Self> {
        let (issuer, subject) = (issuer.into(), subject.into());
        for name in [&issuer, &subject] {
            check_person(name).map_err(|why| Error::Invalid(format!("{why}: `{}`", name.escape_debug())))?;
        }
        Ok(Self { issuer: Some(issuer), subject, verified: true })
    }

    /// Whether both stand for the same person. Where one of them is only a name, the names are compared, so that
    /// leaving the issuer out does not make another person of anybody. So they are where one comes from an API key: whoever
    /// has a key and an account elsewhere under the same name would have two votes, and decide about their own calls.
    pub(crate) fn is_same_person(&self, other: &Self) -> bool {
        let same_issuer = match (self.issuer.as_deref(), other.issuer.as_deref()) {
            (Some(one), Some(other)) => one == other || one == KEY_ISSUER || other == KEY_ISSUER,
            _ => true,
        };
        same_issuer && self.subject == other.subject
    }
}

/// The issuer of those who prove their name with an API key: the store itself.
pub const KEY_ISSUER: &str = "kern";

/// Characters of a name at the most.
const LONGEST: usize = 256;

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
    /// Whether this caller may speak for the requester of a run. Whoever proved who they are when they asked is not
    /// replaced by a name, nor by nobody.
    pub(crate) fn is_requester(&self, requester: Option<&Principal>) -> bool {
        match (self, requester) {
            (Self::Worker, _) => false,
            (_, None) => true,
            (Self::Anonymous, Some(requester)) => !requester.verified,
            (Self::Person(person), Some(requester)) if requester.verified => person == requester,
            (Self::Person(person), Some(requester)) => person.is_same_person(requester),
        }
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
    fn nobody_becomes_two_people_by_leaving_the_issuer_out_or_by_an_api_key() {
        let (one, other) = (Principal::verified("https://one", "ann"), Principal::verified("https://other", "ann"));
        let (one, other, key) = (one.unwrap(), other.unwrap(), Principal::verified(KEY_ISSUER, "ann").unwrap());
        let (name, bob) = (Principal::unverified("ann"), Principal::verified(KEY_ISSUER, "bob").unwrap());
        for (left, right, same) in [
            (&one, &one, true),
            (&one, &other, false),
            (&one, &name, true),
            (&one, &key, true),
            (&key, &key, true),
            (&key, &name, true),
            (&key, &bob, false),
            (&one, &bob, false),
        ] {
            assert_eq!((left.is_same_person(right), right.is_same_person(left)), (same, same), "{left:?} {right:?}");
        }
        // They are the same person, and each speaks only for who asked with the same credential.
        assert!(!Caller::Person(key).is_requester(Some(&one)));
    }

    #[test]
    fn a_verified_name_is_a_name() {
        for name in ["", " ", " ann", "ann\n", "a\u{0}b", &"x".repeat(257)] {
            assert!(Principal::verified("https://one", name).is_err(), "{name:?}");
            assert!(Principal::verified(name, "ann").is_err(), "{name:?}");
        }
    }
}
