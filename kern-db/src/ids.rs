//! Ids as types of their own, so that two strings cannot trade places.

use std::cell::RefCell;
use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $Id:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $Id(String);

        impl $Id {
            /// Makes a new one: a UUID of version 7, so that ids sort by time.
            #[must_use]
            pub fn generate() -> Self {
                Self(uuid::Uuid::now_v7().to_string())
            }

            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $Id {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }

        impl From<String> for $Id {
            fn from(id: String) -> Self {
                Self(id)
            }
        }

        impl From<&String> for $Id {
            fn from(id: &String) -> Self {
                Self(id.clone())
            }
        }

        impl From<&$Id> for $Id {
            fn from(id: &$Id) -> Self {
                id.clone()
            }
        }

        impl From<$Id> for String {
            fn from(id: $Id) -> Self {
                id.0
            }
        }

        impl AsRef<str> for $Id {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $Id {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $Id {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl fmt::Display for $Id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Id of a run.
    RunId
}
id! {
    /// Id of a session.
    SessionId
}
id! {
    /// Id of an approval row.
    ApprovalId
}
id! {
    /// Id of an execution. It equals the approval's id where an approval allows the execution.
    ExecutionId
}

/// Makes an id for what nobody sorts by it and nothing is decided by: a message, a requirement, an event. A UUID of
/// version 7, whose random part comes from the operating system in blocks: one call for many ids.
#[doc(hidden)]
#[must_use]
pub fn fresh_id() -> String {
    thread_local!(static BLOCK: RefCell<Block> = const { RefCell::new(Block { bytes: [0; Block::SIZE], used: Block::SIZE }) });
    let random = BLOCK.with_borrow_mut(Block::take);
    let now = u64::try_from(crate::clock::wall_clock()).expect("a clock before 1970 counts as 1970");
    uuid::Builder::from_unix_timestamp_millis(now, &random).into_uuid().to_string()
}

/// Random bytes that were fetched and not used yet.
struct Block {
    bytes: [u8; Self::SIZE],
    used: usize,
}

impl Block {
    /// Of one id.
    const PART: usize = 10;
    const SIZE: usize = 32 * Self::PART;

    fn take(&mut self) -> [u8; Self::PART] {
        if self.used == Self::SIZE {
            getrandom::fill(&mut self.bytes).expect("an operating system gives random bytes");
            self.used = 0;
        }
        let end = self.used + Self::PART;
        let part = self.bytes[self.used..end].try_into().expect("a part has its size");
        self.used = end;
        part
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn fresh_ids_are_uuids_of_version_7_and_no_two_are_alike() {
        let ids: Vec<String> = (0..1000).map(|_| fresh_id()).collect();
        assert!(ids.iter().all(|id| uuid::Uuid::try_parse(id).unwrap().get_version_num() == 7));
        let others = std::thread::spawn(|| (0..1000).map(|_| fresh_id()).collect::<Vec<_>>()).join().unwrap();
        assert_eq!(ids.into_iter().chain(others).collect::<HashSet<_>>().len(), 2000);
    }
}
