//! From a valid tool to tokens: what a function and a method of a toolkit have in common. There is no error path here.
//!
//! Items are not hygienic, so everything that shares a scope with the user's names starts with `__kern`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;

use super::model::{Argument, Param, Signature};
use super::parse::Effect;
use super::validate::{Options, Pause, ValidTool};
use crate::approval::{Kind, Rules};
use crate::arguments::Milliseconds;
use crate::when;

/// `when`, in the parts of a function of its own and of its caller.
pub(super) struct WhenParts {
    pub(super) params: Vec<TokenStream>,
    pub(super) body: TokenStream,
    /// Decode the arguments. Where one cannot be, the approval is needed.
    pub(super) reads: Vec<TokenStream>,
    pub(super) passed: Vec<TokenStream>,
}

impl ValidTool {
    pub(super) fn policy(&self, private: &TokenStream) -> TokenStream {
        let pause = option(self.pause.map(|pause| {
            let variant = match pause {
                Pause::Confirmation => quote!(Confirmation),
                Pause::UserInput => quote!(UserInput),
                Pause::ExternalExecution => quote!(ExternalExecution),
            };
            quote!(#private::PauseType::#variant)
        }));
        let approval = option(self.approval.map(|kind| {
            let variant = match kind {
                Kind::Required => quote!(Required),
                Kind::Audit => quote!(Audit),
            };
            quote!(#private::ApprovalPolicy::#variant)
        }));
        let Rules { pool, quorum, expires_in, valid_for, require_reason, allow_self } = &self.rules;
        let pool = option(pool.as_ref());
        let (expires_in, valid_for) = (duration(*expires_in, private), duration(*valid_for, private));
        let effect = match self.effect {
            Effect::Once => quote!(Once),
            Effect::Idempotent => quote!(Idempotent),
            Effect::Transactional => quote!(Transactional),
        };
        quote! {
            #private::policy(
                #pause,
                #approval,
                #private::rules(#pool, #quorum, #expires_in, #valid_for, #require_reason, #allow_self),
                #private::Effect::#effect,
            )
        }
    }

    pub(super) fn options(&self, private: &TokenStream) -> TokenStream {
        let Options { stop_after_tool_call, show_result, strict, timeout } = &self.options;
        let timeout = duration(*timeout, private);
        quote!(#private::options(#stop_after_tool_call, #show_result, #strict, #timeout))
    }

    /// `probe = …` as an `Option` of a plain function. Only its own path can be named in it.
    pub(super) fn probe(&self, private: &TokenStream) -> TokenStream {
        option(self.probe.as_ref().map(|path| {
            let (first, _) = ends(path);
            let context = Ident::new("__kern_context", Span::mixed_site());
            // At the path, because what is wrong with the function is said there.
            let found = quote_spanned!(first.resolved_at(Span::call_site())=> #path(&#context).await);
            quote! {
                |#context: #private::RunContext| -> #private::ProbeFuture {
                    ::std::boxed::Box::pin(async move { #private::probed(#found) })
                }
            }
        }))
    }

    /// The generated fields that hold what is known of each parameter: its `cfg`s, name, type and value.
    pub(super) fn fields(&self, private: &TokenStream) -> Vec<(&[TokenStream], &Ident, TokenStream, TokenStream)> {
        let mut fields = Vec::new();
        for param in &self.signature.params {
            match param {
                Param::Context { .. } => {}
                Param::State(state) => {
                    let ty = &state.ty;
                    let value = quote!(#private::state::<#ty>());
                    fields.push((&*state.cfgs, &state.field, quote!(#private::State<#ty>), value));
                }
                Param::Argument(argument) => {
                    let Argument { name, ty, docs, .. } = argument;
                    let sensitive = argument.options.sensitive;
                    let default = argument.default(private);
                    let value = quote!(#private::arg::<#ty>(#name, &[#(#docs),*], #sensitive, #default));
                    fields.push((&*argument.cfgs, &argument.field, quote!(#private::Arg<#ty>), value));
                }
            }
        }
        fields
    }

    /// All arguments as elements of an array; `args` is where the fields are.
    pub(super) fn all(&self, args: &TokenStream) -> Vec<TokenStream> {
        let argument = |argument: &Argument| {
            let (field, cfgs) = (&argument.field, &argument.cfgs);
            quote!(#(#cfgs)* &#args.#field)
        };
        self.signature.arguments().map(argument).collect()
    }

    /// The types of all states, likewise.
    pub(super) fn states(&self, args: &TokenStream) -> Vec<TokenStream> {
        let states = self.signature.states();
        states
            .map(|state| (&state.field, &state.cfgs))
            .map(|(field, cfgs)| quote!(#(#cfgs)* #args.#field.of()))
            .collect()
    }

    pub(super) fn when(&self, args: &TokenStream) -> Option<WhenParts> {
        let expression = self.when.as_ref()?;
        let (mut params, mut uses, mut reads, mut passed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for argument in self.signature.arguments().filter(|argument| !self.user_input_fields.contains(&argument.name)) {
            let Argument { ident, ty, field, cfgs, .. } = argument;
            params.push(quote!(#(#cfgs)* #ident: &#ty));
            uses.push(quote!(#(#cfgs)* let _ = #ident;));
            // What the expression does not name cannot change what it says, whatever the body gets.
            let read = if when::mentions(expression.to_token_stream(), ident) { quote!(judge) } else { quote!(peek) };
            reads.push(quote! {
                #(#cfgs)*
                let ::core::option::Option::Some(#field) = #args.#field.#read(__kern_json) else {
                    return true;
                };
            });
            passed.push(quote!(#(#cfgs)* &#field));
        }
        let (first, last) = ends(expression);
        let boolean = quote_spanned!(first=> ::core::primitive::bool);
        let needed = quote_spanned!(last.resolved_at(Span::mixed_site())=> __kern_needed);
        let body = quote! {
            #(#uses)*
            let #needed: #boolean = #expression;
            #needed
        };
        Some(WhenParts { params, body, reads, passed })
    }

    /// The body of the generated entry point, which has the call as `__kern_admission`. `callee` is the function, `receiver` its first argument with a comma.
    pub(super) fn body(
        &self,
        private: &TokenStream,
        args: &TokenStream,
        callee: &TokenStream,
        receiver: &TokenStream,
    ) -> TokenStream {
        let (mut reads, mut passed) = (Vec::new(), Vec::new());
        for param in &self.signature.params {
            match param {
                Param::Context { cfgs, .. } => passed.push(quote!(#(#cfgs)* &__kern_context)),
                Param::State(state) => {
                    let (field, cfgs) = (&state.field, &state.cfgs);
                    reads.push(quote! {
                        #(#cfgs)*
                        let #field = #args.#field.get(&__kern_context)?;
                    });
                    passed.push(quote!(#(#cfgs)* #field));
                }
                Param::Argument(argument) => {
                    let (field, cfgs) = (&argument.field, &argument.cfgs);
                    reads.push(quote! {
                        #(#cfgs)*
                        let #field = #args.#field.take(&mut __kern_json).map_err(#private::bad_argument)?;
                    });
                    passed.push(quote!(#(#cfgs)* #field));
                }
            }
        }
        let output = self.output(private);
        // First of all: what the call was allowed for is compared with this very tool, as its body starts.
        let decode = quote! {
            let (mut __kern_json, __kern_context) = __kern_admission.admit()?;
            #(#reads)*
            #private::nothing_left(&__kern_json).map_err(#private::bad_argument)?;
        };
        let entered = quote! {
            let __kern_result = #callee(#receiver #(#passed),*);
            #output
        };
        if self.signature.is_async {
            quote_spanned! {self.ident.span().resolved_at(Span::call_site())=> ::std::boxed::Box::pin(async move {
                #decode
                let __kern_result = #callee(#receiver #(#passed),*).await;
                #output
            }) }
        } else if self.inline {
            quote!(::std::boxed::Box::pin(async move { #decode #entered }))
        } else {
            quote!(::std::boxed::Box::pin(#private::blocking(move || { #decode #entered })))
        }
    }

    /// From the function's result to a text, with the bounds at the types they are about.
    fn output(&self, private: &TokenStream) -> TokenStream {
        let Signature { result, error, success, .. } = &self.signature;
        let at = |ty: &Option<TokenStream>| {
            let ty = ty.as_ref().or(result.as_ref());
            ty.map_or_else(Span::call_site, |ty| ty.span().resolved_at(Span::call_site()))
        };
        let settled = quote_spanned!(at(error)=> __kern_result);
        let written = quote_spanned!(at(success)=> __kern_result);
        quote! {
            let __kern_result = {
                use #private::{IsResult as _, IsValue as _};
                (&__kern_result).__kern_shape().settle(#settled)
            };
            {
                use #private::{IsContent as _, IsUnit as _};
                (&__kern_result).__kern_output().write(#written)
            }
        }
    }
}

impl Argument {
    /// `#[arg(default = …)]` as an `Option<Fallback<T>>`.
    fn default(&self, private: &TokenStream) -> TokenStream {
        option(self.options.default.as_ref().map(|default| {
            let (ty, expression) = (&self.ty, &default.expression);
            let expression = if default.is_string {
                // Named at the literal, because whether the type can be made of a string is said there.
                let (first, _) = ends(expression);
                let converted = quote_spanned!(first.resolved_at(Span::call_site())=> __kern_text(#expression));
                quote!({
                    use #private::text as __kern_text;
                    #converted
                })
            } else {
                expression.clone()
            };
            quote! {
                #private::fallback::<#ty>(
                    || #expression,
                    |__kern_default| {
                        use #private::{IsOpaque as _, IsShown as _};
                        __kern_default.__kern_json()
                    },
                )
            }
        }))
    }
}

/// The lints that a tool provokes by being one: its arguments are owned, it may be async for its callers' sake, and it
/// cannot be a `const fn`.
pub(crate) fn allowed_lints() -> TokenStream {
    quote! {
        #[allow(
            clippy::needless_pass_by_value,
            clippy::unused_async,
            clippy::must_use_candidate,
            clippy::unused_self,
            clippy::missing_const_for_fn,
        )]
    }
}

pub(crate) fn private(krate: &TokenStream) -> TokenStream {
    quote!(#krate::__private)
}

fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn duration(duration: Option<Milliseconds>, private: &TokenStream) -> TokenStream {
    match duration {
        Some(Milliseconds(milliseconds)) => quote!(#private::milliseconds(#milliseconds)),
        None => quote!(::core::option::Option::None),
    }
}

/// The first and the last token's span of an expression.
fn ends(expression: &TokenStream) -> (Span, Span) {
    let mut spans = expression.clone().into_iter().map(|token| token.span());
    let first = spans.next().unwrap_or_else(Span::call_site);
    (first, spans.last().unwrap_or(first))
}
