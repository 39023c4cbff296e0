//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  kern approvals list --db sqlite:app.db
  kern approvals approve 01a2… --db sqlite:app.db --note 'asked Ann, it is fine'
  KERN_DB=app.db kern approvals watch
  kern executions settle 01a2… --as succeeded --note 'seen in the bank log'
  kern pools set finance ann bob
  kern keys create ann --scopes approvals:read,approvals:write --expires 90d
  kern audit verify --json
  kern doctor

Exit codes: 0, 1 (the answer is no), 2 (it could not be done).
Results go to standard output. Questions and errors go to standard error; with --json an error is
{\"error\": {\"code\": …, \"message\": …}}.";

/// Decides about the calls that agents wait with, and reads their audit log.
#[derive(Debug, Parser)]
#[command(name = "kern", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// The store: `sqlite:app.db`, only the file, or `postgres://user@host/database`. It is never made. [default: KERN_DB]
    #[arg(long, global = true, value_name = "DATABASE")]
    pub(crate) db: Option<OsString>,
    /// Write JSON, one value on each line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Calls that wait for somebody's decision.
    Approvals {
        #[command(subcommand)]
        command: Approvals,
    },
    /// What became of the calls.
    Executions {
        #[command(subcommand)]
        command: Executions,
    },
    /// The people who may decide, by the name that `pool = "…"` gives them.
    Pools {
        #[command(subcommand)]
        command: Pools,
    },
    /// The hosts that drive a PostgreSQL store. After a failover nothing starts until each has compared its mark.
    Hosts {
        #[command(subcommand)]
        command: Hosts,
    },
    /// API keys: who may do what over HTTP.
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Show how the store's time stands to its clock, or set it back.
    #[command(after_help = "Examples:
  kern clock
  kern clock --reset --by ann --note 'the server of 1 June had a wrong clock'")]
    Clock(Clock),
    /// Runs, after the store was set back.
    Runs {
        #[command(subcommand)]
        command: Runs,
    },
    /// Tell whether the store was set back to an older copy, and accept the loss.
    #[command(after_help = "Examples:
  kern restore
  kern restore --accept --by ann --note 'the disk of Monday failed, the copy is of Sunday night'
  kern restore --accept --force --by ann --note 'the mark was copied, too' --keys revoke

Exit codes: 0 (open, or accepted), 1 (quarantined, or nothing to accept), 2 (it could not be done).")]
    Restore(Restore),
    /// The log of all that happened.
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// Check the store's schema, its clock and its mark, and say what to do about what is wrong.
    #[command(after_help = "Examples:
  kern doctor --db sqlite:app.db
  kern doctor --json

Exit codes: 0 nothing is wrong, 1 something is, 2 the store could not be looked at.")]
    Doctor,
}

#[derive(Debug, Args)]
pub(crate) struct Clock {
    /// Set the store's time back to its clock: approvals that wait expire, calls that are ready are given up, leases end.
    #[arg(long, requires_all = ["by", "note"])]
    pub(crate) reset: bool,
    /// The name of the operator.
    #[arg(long, value_name = "NAME", requires = "reset")]
    pub(crate) by: Option<String>,
    /// The reason.
    #[arg(long, value_name = "TEXT", requires = "reset")]
    pub(crate) note: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// Let a run go on after an accepted restore. What it waits for may have been decided and executed in the lost history.
    Acknowledge(Acknowledge),
}

#[derive(Debug, Args)]
pub(crate) struct Acknowledge {
    /// The run's whole id.
    pub(crate) run: String,
    /// How you know. It stays on record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: String,
    /// Who acknowledges it, recorded as unverified. [default: the system user]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Accept the loss: a new epoch, every open run paused, every call that could start or runs unknown.
    #[arg(long)]
    pub(crate) accept: bool,
    /// Who accepts it, recorded as unverified.
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Why. It stays on record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// Accept without a proof: the mark was set back, too, or there was none.
    #[arg(long)]
    pub(crate) force: bool,
    /// What becomes of the API keys: the copy may hold keys that were revoked since.
    #[arg(long, default_value = "keep", value_parser = PossibleValuesParser::new(["keep", "revoke"]))]
    pub(crate) keys: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    /// List approvals, newest first: those that wait, if nothing else is asked for.
    List(ListApprovals),
    /// Show one call in full: every argument, who asked, who decided.
    Show {
        /// Its whole id.
        id: String,
    },
    /// Show a call, ask, and approve it.
    #[command(after_help = "Examples:
  kern approvals approve 01a2…
  kern approvals approve 01a2… --yes --by ann --note 'ticket 42'
  kern approvals approve 01a2… --yes --by ann --digest 9f86… # an edited one: the digest that `show` gave")]
    Approve(Approve),
    /// Show a call, ask, and reject it. That is final.
    Reject(Decide),
    /// Show what waits, and each new one when it comes, until Ctrl-C.
    Watch {
        /// Seconds between two looks at the store.
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
        interval: Duration,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ListApprovals {
    /// Only in this state.
    #[arg(long, default_value = "pending", value_parser = PossibleValuesParser::new(
        ["pending", "approved", "rejected", "expired", "cancelled", "any"]
    ))]
    pub(crate) status: String,
    /// Only of this run.
    #[arg(long, value_name = "ID")]
    pub(crate) run: Option<String>,
    /// Only asked for by this user.
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// At most this many, 1 to 1000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    /// The page, from 1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) page: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Decide {
    /// The approval's whole id.
    pub(crate) id: String,
    /// Do not show and ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Who decides, recorded as unverified. [default: the system user]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Why. The model is told.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// The digest of the version that was looked at. Any other version is refused.
    #[arg(long)]
    pub(crate) digest: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    pub(crate) decide: Decide,
    /// The arguments as they are to be, all of them: a JSON object.
    #[arg(long, value_name = "JSON")]
    pub(crate) edited_args: Option<String>,
    /// Values for the fields that are still to be filled: a JSON object.
    #[arg(long, value_name = "JSON")]
    pub(crate) values: Option<String>,
    /// What the other system gave, for a call that runs there.
    #[arg(long, value_name = "TEXT")]
    pub(crate) result: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Executions {
    /// List executions, oldest first: those whose end nobody knows, if nothing else is asked for.
    List(ListExecutions),
    /// Record how an execution ended whose end nobody knows, or have its call asked for again. That is final.
    #[command(after_help = "Examples:
  kern executions settle 01a2… --as succeeded --result 'refund 4711' --note 'seen in the bank statement'
  kern executions settle 01a2… --as abandoned --note 'the host was down before it could start'
  kern executions settle 01a2… --as run-again --note 'the bank has no such payment'
  kern executions settle 01a2… --as adopt --digest 9f86… --note 'the bank says the same'")]
    Settle(Settle),
}

#[derive(Debug, Args)]
pub(crate) struct ListExecutions {
    /// Only in this state.
    #[arg(long, default_value = "unknown", value_parser = PossibleValuesParser::new(
        ["ready", "executing", "succeeded", "failed", "unknown", "abandoned", "any"]
    ))]
    pub(crate) status: String,
    /// Only of this run.
    #[arg(long, value_name = "ID")]
    pub(crate) run: Option<String>,
    /// At most this many, 1 to 1000.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Settle {
    /// The execution's whole id.
    pub(crate) id: String,
    /// How it ended. `run-again`: whatever became of it, the same call is asked for once more; the old approval counts no
    /// longer. `adopt`: it ended as the result says that was reported too late.
    #[arg(long = "as", value_name = "END", value_parser = PossibleValuesParser::new(
        ["succeeded", "failed", "abandoned", "run-again", "adopt"]
    ))]
    pub(crate) end: String,
    /// The digest of the result that was reported, as it is shown with it.
    #[arg(long, value_name = "SHA256")]
    pub(crate) digest: Option<String>,
    /// How you know, or why it shall be run again.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: String,
    /// What the model is told: what the call gave, or its error. [default: the note]
    #[arg(long, value_name = "TEXT")]
    pub(crate) result: Option<String>,
    /// Who says so, recorded as unverified. [default: the system user]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Hosts {
    /// List the hosts, when each last wrote, and whether it has compared its mark with the present database.
    List,
    /// Take a host from the list that does not come back, so that a failover is confirmed without it. Calls that it started in
    /// commits that were not replicated cannot be known then.
    #[command(after_help = "Examples:
  kern hosts list
  kern hosts retire 5f3c… --note 'the machine burnt down, its disk is gone'")]
    Retire(RetireHost),
}

#[derive(Debug, Args)]
pub(crate) struct RetireHost {
    /// The host's whole id.
    pub(crate) id: String,
    /// Why it does not come back. It stays on record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: String,
    /// Who says so, recorded as unverified. [default: the system user]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Pools {
    /// List all pools with their members.
    List,
    /// Say who is in a pool from now on: exactly these. It counts for every vote from then on, also on what waits already.
    #[command(after_help = "Examples:
  kern pools set finance ann bob
  kern pools set finance --nobody")]
    Set(SetPool),
}

#[derive(Debug, Args)]
pub(crate) struct SetPool {
    /// The pool's name.
    pub(crate) name: String,
    /// Everybody who is in it, as they are named when they decide.
    #[arg(value_name = "SUBJECT", required_unless_present = "nobody", conflicts_with = "nobody")]
    pub(crate) members: Vec<String>,
    /// Nobody: then nobody decides where this pool is asked.
    #[arg(long)]
    pub(crate) nobody: bool,
    /// Who says so, recorded as unverified. [default: the system user]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key for somebody, and show it: this once.
    #[command(after_help = "Examples:
  kern keys create ann --scopes approvals:read,approvals:write --expires 90d
  kern keys create ci --scopes agents:refunds:run --expires 12h
  kern keys create root --scopes agent_os:admin

Scopes: agents:read, agents:run, agents:<id>:run, teams:read, teams:run, teams:<id>:run, approvals:read|write|delete,
sessions:read|write|delete, traces:read, executions:read|settle, audit:read, config:read, metrics:read, agent_os:admin.
approvals:* stands for all of its kind, agent_os:admin for all there are. No scope makes anybody a member of a pool.")]
    Create(CreateKey),
    /// List all keys, without what is secret of them.
    List,
    /// Refuse a key from now on, for good.
    Revoke(RevokeKey),
}

#[derive(Debug, Args)]
pub(crate) struct CreateKey {
    /// Who acts when the key is used, as they are named in pools.
    pub(crate) name: String,
    /// What it may be used for, with commas between.
    #[arg(long, value_name = "SCOPES", required = true, value_delimiter = ',')]
    pub(crate) scopes: Vec<String>,
    /// How long it is good for: `90d`, `12h`, `30m`. [default: it does not expire]
    #[arg(long, value_name = "TIME", value_parser = valid_for)]
    pub(crate) expires: Option<Duration>,
    /// Who makes it, recorded as unverified. [default: the system user]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RevokeKey {
    /// The key's whole id: what stands after `kern_`.
    pub(crate) id: String,
    /// Revoke without being asked.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Who revokes it, recorded as unverified. [default: the system user]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check that the log, and every row beside it, is as kern wrote it.
    #[command(after_help = "Examples:
  kern audit verify
  kern audit verify --checkpoint kept.jsonl --pubkey kern.pub
  kern audit verify --file export.jsonl --checkpoint kept.jsonl # needs no store

Exit codes: 0 intact, 1 broken, 2 it could not be read.")]
    Verify {
        /// Checkpoints that were kept elsewhere, one or more lines of JSON: finds a tail that was cut off.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The public key that every checkpoint must have been signed for.
        #[arg(long, value_name = "FILE")]
        pubkey: Option<PathBuf>,
        /// Verify this export instead of a store.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Sign how long the log is and what its last entry is, and write that as one line of JSON: keep it elsewhere.
    Checkpoint {
        /// The key, as `keygen` made it. [default: the key itself in KERN_CHECKPOINT_KEY]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Add the line to this file instead of writing it to standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make a key for checkpoints: the key into one file, which only its owner can read, its public half beside it.
    Keygen {
        /// The file for the key, which must not be there yet. Its public half goes to the same name with `.pub`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Write the log, one JSON object on each line, oldest first.
    Export {
        /// Write to this file, which must not be there yet.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Erase the sensitive arguments of a run that has ended, and put on record who did it and why. Nothing brings them back.
    #[command(after_help = "Examples:
  kern audit erase 01a2… --note 'asked for by the customer, ticket 42'
  kern audit erase 01a2… --note 'ticket 42' --by ann --yes

What tools gave, free text, free pages of the database file and copies of it are not erased.")]
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The run's whole id.
    pub(crate) run: String,
    /// Why. It stays on record.
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: String,
    /// Who you are. If left out: the system's name for you.
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Erase without being asked.
    #[arg(long)]
    pub(crate) yes: bool,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds".to_owned())?;
    if !(0.05..=3600.0).contains(&seconds) {
        return Err("0.05 to 3600 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn valid_for(text: &str) -> Result<Duration, String> {
    let unit = [("d", 86_400), ("h", 3600), ("m", 60)];
    let found = unit.into_iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let seconds = found.and_then(|(count, seconds)| count.parse::<u64>().ok()?.checked_mul(seconds));
    // Longer ones are for keys that do not expire.
    let seconds = seconds.filter(|seconds| (1..=36_500 * 86_400).contains(seconds));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "a time such as 90d, 12h or 30m, of 100 years at the most".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_described_without_a_contradiction() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_key_is_good_for_minutes_hours_or_days() {
        for (text, seconds) in [("90d", 7_776_000), ("12h", 43_200), ("1m", 60), ("36500d", 3_153_600_000)] {
            assert_eq!(valid_for(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "d", "0d", "-1d", "+d", "1.5d", "90", "1s", "1 d", "36501d", "99999999999999999d", "d90", "soon"]
        {
            assert!(valid_for(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_interval_is_a_number_that_can_be_waited() {
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for text in ["0", "-1", "NaN", "inf", "1e9", "soon"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
