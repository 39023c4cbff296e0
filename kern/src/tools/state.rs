//! What an application hands to its tools: one value for each type.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::{RunContext, ToolError};

/// A type that a tool asks for with `#[state]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateType {
    id: TypeId,
    name: &'static str,
}

impl StateType {
    /// Names a type.
    pub fn of<T: Send + Sync + 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>() }
    }

    /// The type, as the compiler writes it.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for StateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A type that can be a tool's `#[state]`: sized, and shared between threads.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the `#[state]` of a tool",
    label = "not a value that tools could share",
    note = "a state is `Sized + Send + Sync + 'static`: what is unsized goes into a type of its own, what is not shared behind a lock"
)]
pub trait ToolState {
    #[doc(hidden)]
    fn __state_type() -> StateType;

    #[doc(hidden)]
    fn __state(context: &RunContext) -> Result<&Self, ToolError>;
}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static> ToolState for T {
    fn __state_type() -> StateType {
        StateType::of::<T>()
    }

    fn __state(context: &RunContext) -> Result<&Self, ToolError> {
        context.state()
    }
}

/// One `#[state]` parameter of a tool. The bound on its type was used up when it was made ([`state`]).
pub struct State<T: ?Sized> {
    of: fn() -> StateType,
    get: fn(&RunContext) -> Result<&T, ToolError>,
}

/// Makes a parameter of its type.
pub const fn state<T: ToolState + ?Sized>() -> State<T> {
    State { of: T::__state_type, get: T::__state }
}

impl<T: ?Sized> State<T> {
    /// The type that the agent has to bring.
    pub fn of(&self) -> StateType {
        (self.of)()
    }

    /// Gives the value.
    ///
    /// # Errors
    ///
    /// The agent has none.
    pub fn get<'a>(&self, context: &'a RunContext) -> Result<&'a T, ToolError> {
        (self.get)(context)
    }
}

impl<T: ?Sized> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("State").field(&self.of()).finish()
    }
}

/// The values of one agent, by type.
#[derive(Clone, Default)]
pub(crate) struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    /// Adds a value. Says whether there was none of its type.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) -> bool {
        self.0.insert(TypeId::of::<T>(), Arc::new(value)).is_none()
    }

    pub(crate) fn has(&self, state: &StateType) -> bool {
        self.0.contains_key(&state.id)
    }

    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States").field("types", &self.0.len()).finish()
    }
}
