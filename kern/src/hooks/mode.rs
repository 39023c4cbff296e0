//! What may be a hook, and when it runs. The return type says it, so that a pre-hook in the background does not compile.

use std::any::type_name;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{HookContext, HookResult};
use crate::guardrails::Guardrail;
use crate::run::{RunInput, RunOutput};

type HookFuture<'a> = Pin<Box<dyn Future<Output = HookResult> + Send + 'a>>;

/// A hook at work: the run waits for it. What a function with `#[hook]` gives.
#[must_use = "a hook does nothing until it is awaited"]
pub struct Inline<'a>(HookFuture<'a>);

impl<'a> Inline<'a> {
    /// Makes one of a future.
    pub fn new(future: impl Future<Output = HookResult> + Send + 'a) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for Inline<'_> {
    type Output = HookResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<HookResult> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for Inline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inline")
    }
}

/// A hook that runs beside what comes after the run. What a function with `#[hook(run_in_background)]` gives.
///
/// It can be awaited, but it is no `Future`: that keeps it from passing for a hook that the run waits for.
#[must_use = "a hook does nothing until it is awaited"]
pub struct Background<'a>(HookFuture<'a>);

impl<'a> Background<'a> {
    /// Makes one of a future.
    pub fn new(future: impl Future<Output = HookResult> + Send + 'a) -> Self {
        Self(Box::pin(future))
    }
}

impl<'a> IntoFuture for Background<'a> {
    type Output = HookResult;
    type IntoFuture = Pin<Box<dyn Future<Output = HookResult> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        self.0
    }
}

impl fmt::Debug for Background<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Background")
    }
}

/// A hook that runs before the model sees the input. Made by [`AgentBuilder::pre_hook`](crate::AgentBuilder::pre_hook).
pub struct PreHook {
    pub(crate) name: String,
    hook: Box<dyn Before>,
}

impl PreHook {
    pub(crate) fn run<'a>(&'a self, input: &'a mut RunInput, context: &'a HookContext) -> Inline<'a> {
        self.hook.run(input, context)
    }
}

/// A hook that runs when the run is about to be completed, or after that. Made by
/// [`AgentBuilder::post_hook`](crate::AgentBuilder::post_hook).
pub struct PostHook {
    pub(crate) name: String,
    pub(crate) in_background: bool,
    hook: Box<dyn After>,
}

impl PostHook {
    pub(crate) fn run<'a>(&'a self, output: &'a RunOutput, context: &'a HookContext) -> Inline<'a> {
        self.hook.run(output, context)
    }
}

impl fmt::Debug for PreHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreHook").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for PostHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PostHook");
        shown.field("name", &self.name).field("in_background", &self.in_background).finish_non_exhaustive()
    }
}

trait Before: Send + Sync {
    fn run<'a>(&'a self, input: &'a mut RunInput, context: &'a HookContext) -> Inline<'a>;
}

trait After: Send + Sync {
    fn run<'a>(&'a self, output: &'a RunOutput, context: &'a HookContext) -> Inline<'a>;
}

/// What [`AgentBuilder::pre_hook`](crate::AgentBuilder::pre_hook) takes: a function with `#[hook]`, a plain `async fn` of
/// the same shape, or a [`Guardrail`].
///
/// `Kind` tells the cases apart and is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a pre-hook",
    label = "not a pre-hook",
    note = "a pre-hook is an `async fn(input: &mut RunInput, ctx: &HookContext) -> HookResult`, or a guardrail",
    note = "a hook that takes `&RunOutput` or has `run_in_background` is a post-hook: give it to `.post_hook(…)`"
)]
pub trait IntoPreHook<Kind> {
    /// Makes the hook.
    fn into_pre_hook(self) -> PreHook;
}

/// What [`AgentBuilder::post_hook`](crate::AgentBuilder::post_hook) takes: a function with `#[hook]`, or a plain
/// `async fn` of the same shape.
///
/// `Kind` tells the cases apart and is found by the compiler.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a post-hook",
    label = "not a post-hook",
    note = "a post-hook is an `async fn(out: &RunOutput, ctx: &HookContext) -> HookResult`",
    note = "guardrails, and hooks that take `&mut RunInput`, are pre-hooks: give them to `.pre_hook(…)`"
)]
pub trait IntoPostHook<Kind> {
    /// Makes the hook.
    fn into_post_hook(self) -> PostHook;
}

/// [`IntoPreHook`] and [`IntoPostHook`] of a function that the run waits for.
#[derive(Debug)]
pub struct InlineFunction(());

/// [`IntoPostHook`] of a function with `run_in_background`.
#[derive(Debug)]
pub struct BackgroundFunction(());

/// [`IntoPreHook`] of a [`Guardrail`].
#[derive(Debug)]
pub struct GuardrailValue(());

/// The shape of a pre-hook, one lifetime at a time: the future of an `async fn` borrows its arguments.
#[doc(hidden)]
pub trait BeforeFn<'a>: Send + Sync {
    type Future: Future<Output = HookResult> + Send + 'a;
    fn call(&self, input: &'a mut RunInput, context: &'a HookContext) -> Self::Future;
}

impl<'a, F, Fut> BeforeFn<'a> for F
where
    F: Fn(&'a mut RunInput, &'a HookContext) -> Fut + Send + Sync,
    Fut: Future<Output = HookResult> + Send + 'a,
{
    type Future = Fut;
    fn call(&self, input: &'a mut RunInput, context: &'a HookContext) -> Fut {
        self(input, context)
    }
}

/// The shape of a post-hook that the run waits for.
#[doc(hidden)]
pub trait AfterFn<'a>: Send + Sync {
    type Future: Future<Output = HookResult> + Send + 'a;
    fn call(&self, output: &'a RunOutput, context: &'a HookContext) -> Self::Future;
}

impl<'a, F, Fut> AfterFn<'a> for F
where
    F: Fn(&'a RunOutput, &'a HookContext) -> Fut + Send + Sync,
    Fut: Future<Output = HookResult> + Send + 'a,
{
    type Future = Fut;
    fn call(&self, output: &'a RunOutput, context: &'a HookContext) -> Fut {
        self(output, context)
    }
}

struct Function<F>(F);
struct Detached<F>(F);
struct Rail<G>(G);

impl<F: for<'a> BeforeFn<'a>> Before for Function<F> {
    fn run<'a>(&'a self, input: &'a mut RunInput, context: &'a HookContext) -> Inline<'a> {
        Inline::new(self.0.call(input, context))
    }
}

impl<F: for<'a> AfterFn<'a>> After for Function<F> {
    fn run<'a>(&'a self, output: &'a RunOutput, context: &'a HookContext) -> Inline<'a> {
        Inline::new(self.0.call(output, context))
    }
}

impl<F> After for Detached<F>
where
    F: for<'a> Fn(&'a RunOutput, &'a HookContext) -> Background<'a> + Send + Sync,
{
    fn run<'a>(&'a self, output: &'a RunOutput, context: &'a HookContext) -> Inline<'a> {
        Inline(self.0(output, context).0)
    }
}

impl<G: Guardrail> Before for Rail<G> {
    fn run<'a>(&'a self, input: &'a mut RunInput, _: &'a HookContext) -> Inline<'a> {
        Inline::new(self.0.check(input))
    }
}

#[diagnostic::do_not_recommend]
impl<F: for<'a> BeforeFn<'a> + 'static> IntoPreHook<InlineFunction> for F {
    fn into_pre_hook(self) -> PreHook {
        PreHook { name: name_of::<F>(), hook: Box::new(Function(self)) }
    }
}

#[diagnostic::do_not_recommend]
impl<G: Guardrail> IntoPreHook<GuardrailValue> for G {
    fn into_pre_hook(self) -> PreHook {
        PreHook { name: name_of::<G>(), hook: Box::new(Rail(self)) }
    }
}

#[diagnostic::do_not_recommend]
impl<F: for<'a> AfterFn<'a> + 'static> IntoPostHook<InlineFunction> for F {
    fn into_post_hook(self) -> PostHook {
        PostHook { name: name_of::<F>(), in_background: false, hook: Box::new(Function(self)) }
    }
}

#[diagnostic::do_not_recommend]
impl<F> IntoPostHook<BackgroundFunction> for F
where
    F: for<'a> Fn(&'a RunOutput, &'a HookContext) -> Background<'a> + Send + Sync + 'static,
{
    fn into_post_hook(self) -> PostHook {
        PostHook { name: name_of::<F>(), in_background: true, hook: Box::new(Detached(self)) }
    }
}

/// How a hook is called in messages and in the log: the last part of its path, without what it is generic over.
fn name_of<T>() -> String {
    let path = type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path).to_owned()
}

/// What `#[hook]` asks of a function's return type, so that the message is about that type.
#[diagnostic::on_unimplemented(
    message = "a hook returns `HookResult`, not `{Self}`",
    label = "not `HookResult`",
    note = "write `-> HookResult`, and end the body with `Ok(())`: `?` in it takes any error"
)]
pub trait HookReturn {
    /// Gives it as what it is.
    ///
    /// # Errors
    ///
    /// Those of the hook.
    fn into_hook_result(self) -> HookResult;
}

impl HookReturn for HookResult {
    fn into_hook_result(self) -> HookResult {
        self
    }
}

/// Makes what a function with `#[hook]` gives.
pub fn inline<'a, R: HookReturn, F: Future<Output = R> + Send + 'a>(hook: F) -> Inline<'a> {
    Inline::new(async move { hook.await.into_hook_result() })
}

/// Makes what a function with `#[hook(run_in_background)]` gives.
pub fn background<'a, R: HookReturn, F: Future<Output = R> + Send + 'a>(hook: F) -> Background<'a> {
    Background::new(async move { hook.await.into_hook_result() })
}
