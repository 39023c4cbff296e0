//! What may be a hook: attributes, visibility, paths, a renamed crate, plain functions, and what may be in scope.
#![deny(missing_docs, unsafe_code, unreachable_pub, unused, clippy::pedantic)]

use std::future::ready;

use kern::guardrails::Guardrail;
use kern::models::{ScriptedModel, turn};
use kern::prelude::*;

mod vendor {
    pub(crate) use kern as agents;
}

/// An alias, which the macro cannot look through.
type Input = RunInput;
/// Another one.
type Outcome = HookResult;

/// Masks.
#[hook]
pub(crate) async fn aliases(input: &mut Input, _: &HookContext) -> Outcome {
    input.input_content.push('a');
    Ok(())
}

#[hook(run_in_background = false, crate = "crate::vendor::agents")]
async fn renamed(input: &mut RunInput, HookContext { run_id, .. }: &HookContext) -> HookResult {
    ready(()).await;
    assert!(!run_id.as_str().is_empty());
    input.input_content.push('b');
    Ok(())
}

async fn plain(input: &mut RunInput, _ctx: &HookContext) -> HookResult {
    ready(()).await;
    input.input_content.push('c');
    Ok(())
}

/// Any error goes through `?`.
#[kern::hooks::hook]
async fn question_mark(input: &mut kern::run::RunInput, _ctx: &kern::hooks::HookContext) -> kern::hooks::HookResult {
    let _: usize = input.input_content.len().to_string().parse()?;
    std::str::from_utf8(input.input_content.as_bytes())?;
    if input.input_content.is_empty() {
        Err(InputCheckError::new("say something"))?;
    }
    if input.input_content.len() > 1000 {
        return Err(kern::hooks::HookError::new("too long"));
    }
    Ok(())
}

#[hook(run_in_background)]
#[allow(dead_code, reason = "a lint of the user's")]
async fn r#async(out: &RunOutput, _ctx: &HookContext) -> HookResult {
    let _ = out.content();
    Ok(())
}

#[hook]
async fn same_names(_: &RunOutput, _: &HookContext) -> HookResult {
    Ok(())
}

macro_rules! make {
    ($name:ident, $input:ty) => {
        #[hook]
        async fn $name(_input: $input, _ctx: &HookContext) -> HookResult {
            Ok(())
        }
    };
}
make!(generated, &mut RunInput);

mod shadowed {
    #![allow(non_camel_case_types, unused, missing_docs)]
    use kern::prelude::{HookContext, HookResult, RunOutput, hook};

    struct Result;
    struct String;
    struct Box;
    struct Ok;
    struct core;
    struct std;
    struct Inline;

    #[hook]
    pub(crate) async fn hooked(out: &RunOutput, ctx: &HookContext) -> HookResult {
        ::core::result::Result::Ok(())
    }
}

/// A guardrail of one's own, with a local in it.
struct Own(usize);

impl Guardrail for Own {
    async fn check(&self, input: &mut RunInput) -> HookResult {
        ready(()).await;
        input.input_content.truncate(self.0);
        Ok(())
    }
}

fn main() {
    #[hook]
    async fn local(_out: &RunOutput, _ctx: &HookContext) -> HookResult {
        Ok(())
    }
    let agent = Agent::builder()
        .model(ScriptedModel::new([turn().text("done")]))
        .pre_hook(Own(1))
        .pre_hook(aliases)
        .pre_hook(renamed)
        .pre_hook(plain)
        .pre_hook(question_mark)
        .pre_hook(generated)
        .pre_hook(PromptInjectionGuardrail::new())
        .post_hook(same_names)
        .post_hook(shadowed::hooked)
        .post_hook(r#async)
        .post_hook(local)
        .build()
        .expect("the agent is right");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let run = runtime.block_on(async { agent.run("xyz").await }).expect("it runs");
    assert_eq!((run.status, run.input.input_content.as_str()), (RunStatus::Completed, "xabc"));
}
