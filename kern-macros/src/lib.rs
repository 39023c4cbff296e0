//! The attributes of kern. Their documentation is on the re-exports in `kern`, where its examples can run.
#![allow(missing_docs)] // Each entry point is documented where users meet it.

use proc_macro::TokenStream;

mod approval;
mod arguments;
mod attributes;
mod errors;
mod hook;
mod tool;
mod toolkit;
mod when;

#[proc_macro_attribute]
pub fn tool(args: TokenStream, item: TokenStream) -> TokenStream {
    tool::run(args.into(), item.into()).into()
}

#[proc_macro_attribute]
pub fn hook(args: TokenStream, item: TokenStream) -> TokenStream {
    hook::run(args.into(), item.into()).into()
}

#[proc_macro_attribute]
pub fn approval(args: TokenStream, item: TokenStream) -> TokenStream {
    approval::run(args.into(), item.into()).into()
}

#[proc_macro_attribute]
pub fn toolkit(args: TokenStream, item: TokenStream) -> TokenStream {
    toolkit::run(args.into(), item.into()).into()
}
