//! A tool that is a method of a toolkit: what makes a `ToolHandle` of it inside of `Toolkit::tools`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};

use super::expand::private;
use super::model::Param;
use super::validate::ValidTool;

impl ValidTool {
    /// An expression of type `ToolHandle`. `self` is the toolkit's `Arc`. The toolkit may be generic, so nothing here is a
    /// `static` or a function of its own, which could not name its parameters.
    pub(crate) fn method(&self) -> TokenStream {
        let private = private(&self.krate);
        let args = quote!(__kern_args);
        let Self { name, version, description, user_input_fields, .. } = self;
        let (policy, options) = (self.policy(&private), self.options(&private));
        let parameters = self.held(&private);
        let (all, states) = (self.all(&args), self.states(&args));
        let needed = self.needed();
        let probe = self.probe(&private);
        let mut ident = self.ident.clone();
        ident.set_span(ident.span().resolved_at(Span::call_site()));
        let receiver = if self.signature.has_receiver { quote!(&*__kern_toolkit,) } else { TokenStream::new() };
        let body = self.body(&private, &args, &quote!(Self::#ident), &receiver);
        quote! {
            #private::method(
                &self,
                #parameters,
                |__kern_args| {
                    #private::Description {
                        name: #name,
                        version: #version,
                        policy: #policy,
                        options: #options,
                        user_input_fields: &[#(#user_input_fields),*],
                    }
                    .descriptor(&[#(#description),*], &[#(#all),*], &[#(#states),*])
                },
                #private::Entry {
                    check: |__kern_args, __kern_json, __kern_unfilled| {
                        #private::check(&[#(#all),*], __kern_json, __kern_unfilled)
                    },
                    approval_needed: |__kern_args, __kern_json| { #needed },
                    probe: #probe,
                    call: |__kern_toolkit, __kern_args, __kern_admission| { #body },
                },
            )
        }
    }

    /// The parameters, in a value: the bound on each one's type is mentioned here and nowhere else. Its struct is generic
    /// over the types, because it cannot name those of the toolkit.
    fn held(&self, private: &TokenStream) -> TokenStream {
        let (mut types, mut fields, mut values) = (Vec::new(), Vec::new(), Vec::new());
        let held = self.signature.params.iter().filter(|param| !matches!(param, Param::Context { .. }));
        for (index, (param, (cfgs, field, _, value))) in held.zip(self.fields(private)).enumerate() {
            let ty = format_ident!("__KernArg{index}", span = Span::mixed_site());
            let (bound, wrapper) = match param {
                Param::State(_) => (quote!(: ?::core::marker::Sized), quote!(State)),
                Param::Argument(_) | Param::Context { .. } => (TokenStream::new(), quote!(Arg)),
            };
            types.push(quote!(#(#cfgs)* #ty #bound));
            fields.push(quote!(#(#cfgs)* #field: #private::#wrapper<#ty>));
            values.push(quote!(#(#cfgs)* #field: #value));
        }
        quote! {{
            struct __KernArgs<#(#types),*> {
                #(#fields,)*
            }
            __KernArgs { #(#values,)* }
        }}
    }

    /// `when`, in a closure that is made a plain function, so that it captures nothing: only the arguments the model fills
    /// are in scope, by reference.
    fn needed(&self) -> TokenStream {
        let Some(when) = self.when(&quote!(__kern_args)) else {
            return quote! {
                let _ = (__kern_args, __kern_json);
                true
            };
        };
        let (params, body, reads, passed) = (when.params, when.body, when.reads, when.passed);
        quote! {
            let __kern_when = |#(#params),*| -> ::core::primitive::bool {
                #body
            };
            #(#reads)*
            __kern_when(#(#passed),*)
        }
    }
}
