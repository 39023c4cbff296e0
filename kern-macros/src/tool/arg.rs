//! `#[arg(…)]` on a parameter that the model fills.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{Attribute, GenericArgument, PathArguments, Type};

use super::types::{peel, text};
use crate::arguments::{Grammar, is_string};
use crate::attributes;
use crate::errors::Errors;
use crate::when::{self, Hidden};

const HELP: &str = "write `#[arg(default = …)]` or `#[arg(sensitive)]`";

const GRAMMAR: Grammar = Grammar {
    attribute: "`#[arg]`",
    keys: &["default", "sensitive"],
    synonyms: &[("secret", "sensitive"), ("private", "sensitive"), ("default_value", "default")],
    others: ("", &[]),
    literal_help: "write `#[arg(default = …)]`",
};

/// What `#[arg(…)]` says of a parameter.
#[derive(Default)]
pub(crate) struct ArgOptions {
    /// What an absent argument is.
    pub(super) default: Option<Fallback>,
    pub(super) sensitive: bool,
}

/// `default = …`
pub(crate) struct Fallback {
    pub(super) expression: TokenStream,
    /// A string literal, which is converted into the parameter's type.
    pub(super) is_string: bool,
}

impl ArgOptions {
    /// Reads the attributes of one parameter, as if they were one.
    pub(super) fn read(attrs: &[Attribute], ty: &Type, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let mut tokens = TokenStream::new();
        for attr in attrs {
            let reported = errors.count();
            let args = attributes::args(attr, HELP, errors);
            if args.is_empty() && errors.count() == reported {
                errors.at(attr, "`#[arg]` without an argument has no effect", HELP);
            }
            if !tokens.is_empty() {
                tokens.extend(quote::quote!(,));
            }
            tokens.extend(args);
        }
        for argument in GRAMMAR.parse(tokens, errors) {
            if argument.key == "sensitive" {
                options.sensitive = argument.flag(errors) == Some(true);
            } else if let Some(inner) = inside_option(ty) {
                let help = format!("remove it, or make the type `{inner}`");
                let message = "`default` on an `Option`: it is `None` when it is absent";
                errors.at(Attributes(attrs), message, help);
            } else if let Some(expression) = argument.expression("10", errors) {
                let (is_string, expression) = (is_string(expression), expression.to_token_stream());
                let this = Hidden {
                    name: syn::Ident::new("self", proc_macro2::Span::call_site()),
                    what: "`self`",
                    help: "a default stands for itself: use a constant, or a function without `self`",
                };
                when::names(expression.clone(), &[this], "default", errors);
                options.default = Some(Fallback { expression, is_string });
            }
        }
        options
    }
}

/// What is in the `Option`, by its name: the only thing a macro can see. An alias of it with a default is harmless.
fn inside_option(ty: &Type) -> Option<String> {
    let Type::Path(path) = peel(ty) else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == "Option")?;
    let PathArguments::AngleBracketed(list) = &segment.arguments else { return None };
    list.args.iter().find_map(|arg| match arg {
        GenericArgument::Type(ty) => Some(text(ty)),
        _ => None,
    })
}

/// All of a parameter's `#[arg]`, as a place for an error.
struct Attributes<'a>(&'a [Attribute]);

impl ToTokens for Attributes<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.0.iter().map(ToTokens::to_token_stream));
    }
}
