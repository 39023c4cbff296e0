//! From a valid tool to tokens. There is no error path here.
//!
//! Items are not hygienic, so everything that shares a scope with the user's names starts with `__kern`.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{ItemFn, Visibility};

use super::model::{Param, Signature};
use super::validate::{Pause, ValidTool, is_reserved};
use crate::approval::Kind;

/// The function and its handle: what is emitted whether or not the tool is valid.
pub(crate) struct Item {
    func: TokenStream,
    /// The handle's name, if it can have one.
    handle: Option<Ident>,
    vis: TokenStream,
    krate: TokenStream,
    /// The entry point may call a deprecated function, which is a lint that reaches into macros.
    is_deprecated: bool,
}

impl Item {
    pub(crate) fn new(func: &ItemFn, krate: &TokenStream, signature: &Signature) -> Self {
        let mut handle = func.sig.ident.clone();
        handle.set_span(handle.span().resolved_at(Span::call_site()));
        // A method gets no handle: there are no structs in an `impl` block.
        let has_handle = !signature.has_receiver && !is_reserved(&handle, krate);
        Self {
            // The lints that a tool provokes by being one: its arguments are owned, it may be async for its callers' sake,
            // and it cannot be a `const fn`.
            func: quote! {
                #[allow(
                    clippy::needless_pass_by_value,
                    clippy::unused_async,
                    clippy::must_use_candidate,
                    clippy::unused_self,
                    clippy::missing_const_for_fn,
                )]
                #func
            },
            handle: has_handle.then_some(handle),
            vis: quiet(vis(&func.vis)),
            krate: krate.clone(),
            is_deprecated: func.attrs.iter().any(|attr| attr.path().is_ident("deprecated")),
        }
    }

    /// The function, its handle, and the handle's implementation of `Tool`.
    pub(crate) fn with_tool(&self, tool: &ValidTool) -> TokenStream {
        self.with(tool.implementation())
    }

    /// The function, and a handle that keeps `tools!` and imports compiling. It never runs.
    pub(crate) fn with_stub(&self) -> TokenStream {
        let Some(handle) = &self.handle else {
            return self.func.clone();
        };
        let private = private(&self.krate);
        self.with(quote! {
            impl #private::StaticTool for #handle {
                const NAME: &'static ::core::primitive::str = "";
                const VERSION: &'static ::core::primitive::str = "";
                const POLICY: #private::ToolPolicy = #private::ToolPolicy::new(
                    ::core::option::Option::None,
                    ::core::option::Option::None,
                );
                const USER_INPUT_FIELDS: &'static [&'static ::core::primitive::str] = &[];
            }
            impl #private::Tool for #handle {
                fn descriptor(&self) -> &#private::ToolDescriptor {
                    ::core::unreachable!()
                }
                fn check(
                    &self,
                    _: &#private::Arguments,
                    _: &[::std::string::String],
                ) -> ::core::result::Result<(), ::std::vec::Vec<#private::ArgumentError>> {
                    ::core::unreachable!()
                }
                fn call(&self, _: #private::ToolCall) -> #private::ToolFuture {
                    ::core::unreachable!()
                }
            }
        })
    }

    fn with(&self, implementation: TokenStream) -> TokenStream {
        let Self { func, handle, vis, .. } = self;
        let deprecated = self.is_deprecated.then(|| quote!(#[allow(deprecated)]));
        let derives = quote! {
            ::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug, ::core::default::Default
        };
        quote! {
            #func

            #[doc(hidden)]
            #[::core::prelude::v1::derive(#derives)]
            #vis struct #handle {}

            #deprecated
            const _: () = {
                #implementation
            };
        }
    }
}

impl ValidTool {
    fn implementation(&self) -> TokenStream {
        let private = private(&self.krate);
        let Self { name, version, description, user_input_fields, .. } = self;
        let mut handle = self.ident.clone();
        handle.set_span(handle.span().resolved_at(Span::call_site()));
        let policy = self.policy(&private);
        let arguments = self.arguments(&private);
        let approval_needed = self.approval_needed(&private);
        let call = self.call(&private);
        let all: Vec<TokenStream> = self
            .signature
            .arguments()
            .map(|argument| {
                let (field, cfgs) = (&argument.field, &argument.cfgs);
                quote!(#(#cfgs)* &__KERN_ARGS.#field)
            })
            .collect();
        quote! {
            #arguments

            impl #private::StaticTool for #handle {
                const NAME: &'static ::core::primitive::str = #name;
                const VERSION: &'static ::core::primitive::str = #version;
                const POLICY: #private::ToolPolicy = #policy;
                const USER_INPUT_FIELDS: &'static [&'static ::core::primitive::str] = &[#(#user_input_fields),*];
            }

            impl #private::Tool for #handle {
                fn descriptor(&self) -> &#private::ToolDescriptor {
                    static __KERN_DESCRIPTOR: ::std::sync::LazyLock<#private::ToolDescriptor> =
                        ::std::sync::LazyLock::new(|| {
                            #private::describe::<#handle>(&[#(#description),*], &[#(#all),*])
                        });
                    &__KERN_DESCRIPTOR
                }

                fn check(
                    &self,
                    __kern_json: &#private::Arguments,
                    __kern_unfilled: &[::std::string::String],
                ) -> ::core::result::Result<(), ::std::vec::Vec<#private::ArgumentError>> {
                    #private::check(&[#(#all),*], __kern_json, __kern_unfilled)
                }

                #approval_needed

                #call
            }
        }
    }

    fn policy(&self, private: &TokenStream) -> TokenStream {
        let pause = match self.pause {
            None => quote!(::core::option::Option::None),
            Some(pause) => {
                let variant = match pause {
                    Pause::Confirmation => quote!(Confirmation),
                    Pause::UserInput => quote!(UserInput),
                    Pause::ExternalExecution => quote!(ExternalExecution),
                };
                quote!(::core::option::Option::Some(#private::PauseType::#variant))
            }
        };
        let approval = match self.approval {
            None => quote!(::core::option::Option::None),
            Some(Kind::Required) => quote!(::core::option::Option::Some(#private::ApprovalPolicy::Required)),
            Some(Kind::Audit) => quote!(::core::option::Option::Some(#private::ApprovalPolicy::Audit)),
        };
        quote!(#private::ToolPolicy::new(#pause, #approval))
    }

    /// The parameters, with the one mention of the bound on each one's type.
    fn arguments(&self, private: &TokenStream) -> TokenStream {
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        for argument in self.signature.arguments() {
            let (field, cfgs, ty) = (&argument.field, &argument.cfgs, &argument.ty);
            let (name, docs) = (&argument.name, &argument.docs);
            fields.push(quote!(#(#cfgs)* #field: #private::Arg<#ty>));
            values.push(quote!(#(#cfgs)* #field: #private::arg::<#ty>(#name, &[#(#docs),*])));
        }
        quote! {
            struct __KernArgs {
                #(#fields,)*
            }
            static __KERN_ARGS: __KernArgs = __KernArgs {
                #(#values,)*
            };
        }
    }

    /// `when`, in a function of its own: nothing is in scope but the arguments the model fills, by reference.
    fn approval_needed(&self, private: &TokenStream) -> TokenStream {
        let Some(expression) = &self.when else {
            return TokenStream::new();
        };
        let (mut params, mut uses, mut reads, mut passed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for argument in self.signature.arguments().filter(|argument| !self.user_input_fields.contains(&argument.name)) {
            let (ident, ty, field, cfgs) = (&argument.ident, &argument.ty, &argument.field, &argument.cfgs);
            params.push(quote!(#(#cfgs)* #ident: &#ty));
            uses.push(quote!(#(#cfgs)* let _ = #ident;));
            reads.push(quote! {
                #(#cfgs)*
                let ::core::option::Option::Some(#field) = __KERN_ARGS.#field.peek(__kern_json) else {
                    return true;
                };
            });
            passed.push(quote!(#(#cfgs)* &#field));
        }
        let (first, last) = ends(expression);
        let boolean = quote_spanned!(first=> ::core::primitive::bool);
        let needed = quote_spanned!(last.resolved_at(Span::mixed_site())=> __kern_needed);
        quote! {
            fn approval_needed(&self, __kern_json: &#private::Arguments) -> ::core::primitive::bool {
                fn __kern_when(#(#params),*) -> ::core::primitive::bool {
                    #(#uses)*
                    let #needed: #boolean = #expression;
                    #needed
                }
                #(#reads)*
                __kern_when(#(#passed),*)
            }
        }
    }

    /// The generated entry point: the only place that calls the function.
    fn call(&self, private: &TokenStream) -> TokenStream {
        let (mut reads, mut passed) = (Vec::new(), Vec::new());
        for param in &self.signature.params {
            match param {
                Param::Context { cfgs, .. } => passed.push(quote!(#(#cfgs)* &__kern_context)),
                Param::Argument(argument) => {
                    let (field, cfgs) = (&argument.field, &argument.cfgs);
                    reads.push(quote! {
                        #(#cfgs)*
                        let #field = __KERN_ARGS.#field.take(&mut __kern_json).map_err(#private::bad_argument)?;
                    });
                    passed.push(quote!(#(#cfgs)* #field));
                }
            }
        }
        let mut func = self.ident.clone();
        func.set_span(func.span().resolved_at(Span::call_site()));
        let output = self.output(private);
        let decode = quote! {
            #(#reads)*
            #private::nothing_left(&__kern_json).map_err(#private::bad_argument)?;
        };
        let body = if self.signature.is_async {
            quote_spanned! {func.span()=> ::std::boxed::Box::pin(async move {
                #decode
                let __kern_result = #func(#(#passed),*).await;
                #output
            }) }
        } else {
            quote! { ::std::boxed::Box::pin(#private::blocking(move || {
                #decode
                let __kern_result = #func(#(#passed),*);
                #output
            })) }
        };
        quote! {
            fn call(&self, __kern_call: #private::ToolCall) -> #private::ToolFuture {
                let (mut __kern_json, __kern_context) = __kern_call.into_parts();
                #body
            }
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

fn private(krate: &TokenStream) -> TokenStream {
    quote!(#krate::__private)
}

/// The first and the last token's span of an expression.
fn ends(expression: &TokenStream) -> (Span, Span) {
    let mut spans = expression.clone().into_iter().map(|token| token.span());
    let first = spans.next().unwrap_or_else(Span::call_site);
    (first, spans.last().unwrap_or(first))
}

fn vis(vis: &Visibility) -> TokenStream {
    vis.to_token_stream()
}

/// The same tokens, resolved where the macro is called: the names mean the same, and no lint of the user's applies.
fn quiet(tokens: TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            let span = token.span().resolved_at(Span::call_site());
            if let TokenTree::Group(group) = &token {
                token = Group::new(group.delimiter(), quiet(group.stream())).into();
            }
            token.set_span(span);
            token
        })
        .collect()
}
