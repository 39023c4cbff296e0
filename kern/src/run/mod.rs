//! A run: what goes in, what happened, what comes out.

mod message;

pub use message::{FunctionCall, Message, Role, ToolCallRequest};
