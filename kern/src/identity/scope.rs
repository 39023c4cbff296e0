//! What a credential may be used for.

use std::collections::BTreeSet;
use std::fmt;

/// What somebody may do, and what a route asks for.
///
/// | Words | Let somebody |
/// |---|---|
/// | `agents:read`, `teams:read` | list agents, see what one is made of |
/// | `agents:run`, `agents:*:run` | start, continue, cancel, watch and read runs of every agent |
/// | `agents:<id>:run` | the same, of one agent |
/// | `teams:run`, `teams:*:run`, `teams:<id>:run` | the same, of teams |
/// | `approvals:read` | list, count and see approvals, and follow what becomes of them |
/// | `approvals:write` | decide approvals |
/// | `approvals:delete` | hide approvals |
/// | `sessions:read`, `sessions:write`, `sessions:delete` | see, rename, delete sessions |
/// | `traces:read` | see traces |
/// | `executions:read` | list executions whose end nobody knows |
/// | `executions:settle` | say how one ended |
/// | `audit:read` | read and verify the audit log |
/// | `config:read` | `/config` |
/// | `metrics:read` | `/metrics` |
/// | `agent_os:admin` | all of that |
///
/// `approvals:*`, and so on, stands for every word of its kind. Whether somebody may decide about a call is asked of its
/// policy as well: no scope makes anybody a member of a pool (a token's `kern_pools` may), and none lets anybody decide about their own call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// `agent_os:admin`.
    Admin,
    /// `agents:read`.
    AgentsRead,
    /// `agents:run`, `agents:<id>:run`.
    AgentsRun(Which),
    /// `teams:read`.
    TeamsRead,
    /// `teams:run`, `teams:<id>:run`.
    TeamsRun(Which),
    /// `approvals:read`.
    ApprovalsRead,
    /// `approvals:write`.
    ApprovalsWrite,
    /// `approvals:delete`.
    ApprovalsDelete,
    /// `sessions:read`.
    SessionsRead,
    /// `sessions:write`.
    SessionsWrite,
    /// `sessions:delete`.
    SessionsDelete,
    /// `traces:read`.
    TracesRead,
    /// `executions:read`.
    ExecutionsRead,
    /// `executions:settle`.
    ExecutionsSettle,
    /// `audit:read`.
    AuditRead,
    /// `config:read`.
    ConfigRead,
    /// `metrics:read`.
    MetricsRead,
}

/// Which agents or teams.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// All of them.
    Every,
    /// The one with this id.
    One(String),
}

/// The scopes that are one word each. Those that name an agent or a team are read in [`Scope::of_one`].
static WORDS: [(&str, Scope); 17] = [
    ("agent_os:admin", Scope::Admin),
    ("agents:read", Scope::AgentsRead),
    ("agents:run", Scope::AgentsRun(Which::Every)),
    ("approvals:delete", Scope::ApprovalsDelete),
    ("approvals:read", Scope::ApprovalsRead),
    ("approvals:write", Scope::ApprovalsWrite),
    ("audit:read", Scope::AuditRead),
    ("config:read", Scope::ConfigRead),
    ("executions:read", Scope::ExecutionsRead),
    ("executions:settle", Scope::ExecutionsSettle),
    ("metrics:read", Scope::MetricsRead),
    ("sessions:delete", Scope::SessionsDelete),
    ("sessions:read", Scope::SessionsRead),
    ("sessions:write", Scope::SessionsWrite),
    ("teams:read", Scope::TeamsRead),
    ("teams:run", Scope::TeamsRun(Which::Every)),
    ("traces:read", Scope::TracesRead),
];

impl Scope {
    /// What a route that runs this agent asks for.
    pub fn run_agent(id: impl Into<String>) -> Self {
        Self::AgentsRun(Which::One(id.into()))
    }

    /// What a route that runs this team asks for.
    pub fn run_team(id: impl Into<String>) -> Self {
        Self::TeamsRun(Which::One(id.into()))
    }

    /// Whether somebody who has this may do what asks for `needed`.
    pub fn grants(&self, needed: &Self) -> bool {
        match (self, needed) {
            (Self::Admin, _)
            | (Self::AgentsRun(Which::Every), Self::AgentsRun(_))
            | (Self::TeamsRun(Which::Every), Self::TeamsRun(_)) => true,
            (granted, needed) => granted == needed,
        }
    }

    /// What one word stands for. Nothing: kern has no such scope.
    fn parse(word: &str) -> Vec<Self> {
        if let Some(kind) = word.strip_suffix(":*") {
            // Whoever is to be an administrator is called so.
            let of_kind = |known: &str| kind != "agent_os" && known.split(':').next() == Some(kind);
            return WORDS.iter().filter(|(known, _)| of_kind(known)).map(|(_, scope)| scope.clone()).collect();
        }
        match WORDS.iter().find(|(known, _)| *known == word) {
            Some((_, scope)) => vec![scope.clone()],
            None => Self::of_one(word).into_iter().collect(),
        }
    }

    /// `agents:<id>:run`. The id may hold anything but `*`, which would look like a pattern: only `*` alone is one.
    fn of_one(word: &str) -> Option<Self> {
        let (kind, rest) = word.split_once(':')?;
        let which = match rest.strip_suffix(":run")? {
            "*" => Which::Every,
            id if !id.is_empty() && !id.contains('*') => Which::One(id.to_owned()),
            _ => return None,
        };
        match kind {
            "agents" => Some(Self::AgentsRun(which)),
            "teams" => Some(Self::TeamsRun(which)),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentsRun(Which::One(id)) => write!(f, "agents:{id}:run"),
            Self::TeamsRun(Which::One(id)) => write!(f, "teams:{id}:run"),
            known => {
                let word = WORDS.iter().find(|(_, scope)| scope == known).map(|(word, _)| *word);
                f.write_str(word.expect("every scope that names nobody has a word"))
            }
        }
    }
}

/// The scopes of one credential.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(BTreeSet<Scope>);

/// kern has no such scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("kern has no scope `{}`: it has {}", .0.escape_debug(), known())]
pub struct UnknownScope(pub String);

fn known() -> String {
    let words: Vec<_> = WORDS.iter().map(|(word, _)| *word).collect();
    format!("{}, agents:<id>:run, teams:<id>:run", words.join(", "))
}

impl ScopeSet {
    /// Reads words that all have to be known: those that a credential is about to be made with.
    ///
    /// # Errors
    ///
    /// [`UnknownScope`]: the first word that is none.
    pub fn parse<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self, UnknownScope> {
        let mut scopes = BTreeSet::new();
        for word in words {
            let found = Scope::parse(word.as_ref());
            if found.is_empty() {
                return Err(UnknownScope(word.as_ref().to_owned()));
            }
            scopes.extend(found);
        }
        Ok(Self(scopes))
    }

    /// Reads the words of a credential that exists: one that kern does not know grants nothing, for it may be meant for
    /// somebody else.
    pub fn known<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Self {
        Self(words.into_iter().flat_map(|word| Scope::parse(word.as_ref())).collect())
    }

    /// Whether this is enough for what asks for `needed`.
    pub fn allows(&self, needed: &Scope) -> bool {
        self.0.iter().any(|scope| scope.grants(needed))
    }

    /// Whether `agent_os:admin` is among them.
    pub fn is_admin(&self) -> bool {
        self.0.contains(&Scope::Admin)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The scopes, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a scope that is refused is what a test shows")]

    use super::*;

    fn set(words: &[&str]) -> ScopeSet {
        ScopeSet::parse(words).unwrap()
    }

    #[test]
    fn every_word_stands_for_one_scope_and_back() {
        for (word, scope) in &WORDS {
            assert_eq!(Scope::parse(word), std::slice::from_ref(scope), "{word}");
            assert_eq!(scope.to_string(), *word);
        }
        for (word, scope) in [
            ("agents:refunds:run", Scope::run_agent("refunds")),
            ("agents:a:b:run", Scope::run_agent("a:b")),
            ("agents:run:run", Scope::run_agent("run")),
            ("teams:t:run", Scope::run_team("t")),
        ] {
            assert_eq!(Scope::parse(word), std::slice::from_ref(&scope), "{word}");
            assert_eq!(scope.to_string(), word);
        }
        assert_eq!(set(&["agents:*:run"]), set(&["agents:run"]));
    }

    #[test]
    fn a_star_stands_for_every_word_of_its_kind() {
        assert_eq!(set(&["sessions:*"]), set(&["sessions:read", "sessions:write", "sessions:delete"]));
        assert_eq!(set(&["agents:*"]), set(&["agents:read", "agents:run"]));
        assert_eq!(set(&["executions:*"]), set(&["executions:read", "executions:settle"]));
    }

    #[test]
    fn what_is_no_scope_grants_nothing_and_makes_no_key() {
        for word in [
            "",
            "*",
            "*:*",
            ":",
            "agents",
            "agents:",
            "agents::run",
            "agents:write",
            "agents:sup*:run",
            "agents:**:run",
            "Agents:read",
            "agents:read ",
            " agents:read",
            "agent_os:*",
            "agent_os:root",
            "admin",
            "approvals:readx",
            "approvals:read,approvals:write",
            "schedules:*",
            "schedules:read",
            "agents:x:read",
            "traces:x:run",
            ":run",
        ] {
            assert_eq!(ScopeSet::parse([word]), Err(UnknownScope(word.to_owned())), "{word:?}");
            assert!(ScopeSet::known([word]).is_empty(), "{word:?}");
        }
        let some = ScopeSet::known(["openid", "audit:read", "approvals:*x"]);
        assert_eq!(some, set(&["audit:read"]));
        assert!(ScopeSet::parse(["audit:read", "openid"]).unwrap_err().to_string().contains("`openid`"));
    }

    #[test]
    fn a_scope_grants_itself_an_every_grants_each_and_the_administrator_all() {
        let all: Vec<Scope> = WORDS.iter().map(|(_, scope)| scope.clone()).collect();
        for granted in &all {
            for needed in &all {
                let expected = granted == needed || *granted == Scope::Admin;
                assert_eq!(granted.grants(needed), expected, "{granted} for {needed}");
            }
        }
        let (one, other) = (Scope::run_agent("a"), Scope::run_agent("b"));
        assert!(one.grants(&one) && !one.grants(&other) && !one.grants(&Scope::AgentsRun(Which::Every)));
        assert!(set(&["agents:run"]).allows(&one) && set(&["agent_os:admin"]).allows(&one));
        assert!(!set(&["teams:run"]).allows(&one) && !set(&["agents:run"]).allows(&Scope::run_team("a")));
        assert!(!ScopeSet::default().allows(&one));
        assert!(set(&["agent_os:admin"]).is_admin() && !set(&["agents:*", "approvals:*"]).is_admin());
    }
}
