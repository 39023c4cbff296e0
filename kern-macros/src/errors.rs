//! Collects errors, so that every independent mistake is reported at once.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;

/// The errors found so far.
#[derive(Default)]
pub(crate) struct Errors(Vec<syn::Error>);

impl Errors {
    /// Reports a mistake on the tokens that caused it, with what to write instead.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl Display, help: impl Display) {
        self.0.push(syn::Error::new_spanned(tokens, format!("{message}\nhelp: {help}")));
    }

    /// Takes the value, or keeps the error of the parser that could not give one.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// The errors, and beside them what the rest of the user's program needs so that nothing else breaks.
    pub(crate) fn beside(self, tokens: TokenStream) -> TokenStream {
        let errors = self.0.iter().map(syn::Error::to_compile_error);
        quote::quote! { #(#errors)* #tokens }
    }
}
