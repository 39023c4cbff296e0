//! A tool that is a function: the function, its handle of the same name, and what the handle does.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ItemFn;

use super::expand::{allowed_lints, private};
use super::model::Signature;
use super::validate::{ValidTool, is_reserved};

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
    pub(crate) fn new(func: &ItemFn, krate: TokenStream, signature: &Signature) -> Self {
        let mut handle = func.sig.ident.clone();
        handle.set_span(handle.span().resolved_at(Span::call_site()));
        let allowed_lints = allowed_lints();
        // A method gets no handle: there are no structs in an `impl` block.
        let has_handle = !signature.has_receiver && !is_reserved(&handle, &krate);
        Self {
            func: quote!(#allowed_lints #func),
            handle: has_handle.then_some(handle),
            vis: quiet(func.vis.to_token_stream()),
            krate,
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
                const OPTIONS: #private::ToolOptions = #private::ToolOptions::new();
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
        let args = quote!(__KERN_ARGS);
        let Self { name, version, description, user_input_fields, .. } = self;
        let mut handle = self.ident.clone();
        handle.set_span(handle.span().resolved_at(Span::call_site()));
        let (policy, options) = (self.policy(&private), self.options(&private));
        let parameters = self.parameters(&private);
        let approval_needed = self.approval_needed(&private);
        let probe = self.probe.is_some().then(|| {
            let probe = self.probe(&private);
            quote! {
                fn probe(&self) -> ::core::option::Option<#private::Probe> {
                    #probe
                }
            }
        });
        let (all, states) = (self.all(&args), self.states(&args));
        let mut func = self.ident.clone();
        func.set_span(func.span().resolved_at(Span::call_site()));
        // The entry point: the only place that calls the function.
        let body = self.body(&private, &args, &func.into_token_stream(), &TokenStream::new());
        quote! {
            #parameters

            impl #private::StaticTool for #handle {
                const NAME: &'static ::core::primitive::str = #name;
                const VERSION: &'static ::core::primitive::str = #version;
                const POLICY: #private::ToolPolicy = #policy;
                const OPTIONS: #private::ToolOptions = #options;
                const USER_INPUT_FIELDS: &'static [&'static ::core::primitive::str] = &[#(#user_input_fields),*];
            }

            impl #private::Tool for #handle {
                fn descriptor(&self) -> &#private::ToolDescriptor {
                    static __KERN_DESCRIPTOR: ::std::sync::LazyLock<#private::ToolDescriptor> =
                        ::std::sync::LazyLock::new(|| {
                            #private::describe::<#handle>(&[#(#description),*], &[#(#all),*], &[#(#states),*])
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

                #probe

                fn call(&self, __kern_call: #private::ToolCall) -> #private::ToolFuture {
                    let __kern_admission = #private::admission(__kern_call, self);
                    #body
                }
            }
        }
    }

    /// The parameters, in a `static`: the bound on each one's type is mentioned here and nowhere else.
    fn parameters(&self, private: &TokenStream) -> TokenStream {
        let (mut fields, mut values) = (Vec::new(), Vec::new());
        for (cfgs, field, ty, value) in self.fields(private) {
            fields.push(quote!(#(#cfgs)* #field: #ty));
            values.push(quote!(#(#cfgs)* #field: #value));
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
        let Some(when) = self.when(&quote!(__KERN_ARGS)) else {
            return TokenStream::new();
        };
        let (params, body, reads, passed) = (when.params, when.body, when.reads, when.passed);
        quote! {
            fn approval_needed(&self, __kern_json: &#private::Arguments) -> ::core::primitive::bool {
                fn __kern_when(#(#params),*) -> ::core::primitive::bool {
                    #body
                }
                #(#reads)*
                __kern_when(#(#passed),*)
            }
        }
    }
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
