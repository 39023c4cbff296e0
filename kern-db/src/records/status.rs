//! The states of `spec/approval.md`, and the words they are stored and sent as.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $Enum:ident { $( $(#[$vdoc:meta])* $Variant:ident = $word:literal ),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum $Enum {
            $( $(#[$vdoc])* #[serde(rename = $word)] $Variant, )+
        }

        impl $Enum {
            #[allow(dead_code, reason = "not every store asks for those of every state")]
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),+];

            /// The word it is stored and sent as.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$Variant => $word, )+ }
            }
        }

        impl fmt::Display for $Enum {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $Enum {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $( $word => Ok(Self::$Variant), )+
                    _ => Err(UnknownWord { word: word.to_owned(), expected: Self::WORDS }),
                }
            }
        }
    };
}

/// A word that none of the states has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {}", .expected.join(", "))]
pub struct UnknownWord {
    /// The word found.
    pub word: String,
    /// The words there are.
    pub expected: &'static [&'static str],
}

words! {
    /// State of a run.
    RunStatus {
        /// Accepted, not started.
        Pending = "PENDING",
        /// Somebody owns it and drives it.
        Running = "RUNNING",
        /// It waits for people.
        Paused = "PAUSED",
        /// It ended with an answer.
        Completed = "COMPLETED",
        /// It ended with an error.
        Error = "ERROR",
        /// Somebody stopped it.
        Cancelled = "CANCELLED",
    }
}

words! {
    /// State of an approval.
    ApprovalStatus {
        /// Nobody has decided.
        Pending = "pending",
        /// Decided: yes.
        Approved = "approved",
        /// Decided: no.
        Rejected = "rejected",
        /// Nobody decided in time.
        Expired = "expired",
        /// The run ended, the row was deleted, or the requester took the call back.
        Cancelled = "cancelled",
    }
}

words! {
    /// What an approval row is for.
    ApprovalType {
        /// An administrator decides.
        Required = "required",
        /// A record.
        Audit = "audit",
    }
}

words! {
    /// What a paused call waits for.
    PauseType {
        /// A yes or a no.
        Confirmation = "confirmation",
        /// Values that a person fills in.
        UserInput = "user_input",
        /// A result from another system.
        ExternalExecution = "external_execution",
    }
}

words! {
    /// State of a store.
    StoreState {
        /// It takes everything.
        Open = "open",
        /// A process has proved that it was set back, and an operator has not accepted that yet.
        Quarantined = "quarantined",
    }
}

words! {
    /// State of an execution.
    ExecutionStatus {
        /// Allowed, not started.
        Ready = "ready",
        /// Claimed: the body may be running.
        Executing = "executing",
        /// The body gave a result.
        Succeeded = "succeeded",
        /// The tool returned an error. Its effect may have happened.
        Failed = "failed",
        /// It started and nobody knows how it ended. Only a human may say.
        Unknown = "unknown",
        /// It never started and never will.
        Abandoned = "abandoned",
    }
}

words! {
    /// What the requester said to a call.
    Answer {
        /// Yes, to the version whose digest stands beside it.
        Confirmed = "confirmed",
        /// No. Final.
        Rejected = "rejected",
    }
}

words! {
    /// What allows an execution.
    Authority {
        /// An approval row.
        Approval = "approval",
        /// The requester's stored answer.
        Answer = "answer",
        /// The policy of a bare audit call.
        Policy = "policy",
    }
}

words! {
    /// How far an event is on its way to a webhook.
    DeliveryStatus {
        /// It was not delivered yet.
        Pending = "pending",
        /// The receiver has said that it has it.
        Delivered = "delivered",
        /// It is not tried any more.
        GivenUp = "given_up",
    }
}
