//! A run: what goes in, what happened, what comes out.

pub(crate) mod ask;
pub(crate) mod blocked;
mod body;
pub(crate) mod call;
pub(crate) mod claim;
pub(crate) mod driven;
mod event;
mod feedback;
pub(crate) mod history;
pub(crate) mod lease;
mod message;
mod output;
mod requirement;
mod retry;
pub(crate) mod state;
pub(crate) mod stop;
pub(crate) mod stream;
mod tool_execution;
pub(crate) mod turn;
mod view;

pub(crate) use self::view::view;
pub use blocked::RunBlocked;
pub use event::{EventBase, EventMetrics, RequestTokens, RunEvent};
pub use feedback::{UserFeedbackOption, UserFeedbackQuestion};
pub use kern_db::{RunId, RunStatus, SessionId};
pub use message::{FunctionCall, Message, Role, ToolCallRequest};
pub use output::{RunInput, RunMetrics, RunOutput};
pub use requirement::{Consent, RequirementType, RunRequirement, ToolExecution, UserInputField};
pub use stream::RunStream;
