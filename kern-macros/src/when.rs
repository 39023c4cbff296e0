//! What an expression after `when =` or `default =` may not hold. Tokens are looked at, not syntax, so that a macro's arguments
//! (`matches!(…)`) are no way around the rules.

use proc_macro2::{Group, Ident, Punct, Spacing, TokenStream, TokenTree};

use syn::ext::IdentExt as _;

use crate::errors::Errors;

/// A name that is not in scope in `when`.
pub(crate) struct Hidden {
    pub(crate) name: Ident,
    pub(crate) what: &'static str,
    pub(crate) help: &'static str,
}

/// Reports every wrapping operator of a `when`, and every hidden name once.
pub(crate) fn check(expression: TokenStream, hidden: &[Hidden], errors: &mut Errors) {
    operators(expression.clone(), errors);
    names(expression, hidden, "when", errors);
}

/// Reports every hidden name once.
pub(crate) fn names(expression: TokenStream, hidden: &[Hidden], key: &str, errors: &mut Errors) {
    let mut named = Vec::new();
    walk(expression, &mut |at, tokens| {
        if let TokenTree::Ident(ident) = &tokens[at]
            && is_a_name(at, tokens)
            && !named.contains(ident)
            && let Some(found) = hidden.iter().find(|hidden| hidden.name == *ident)
        {
            errors.at(ident, format!("{} cannot be used in `{key}`", found.what), found.help);
            named.push(ident.clone());
        }
    });
}

fn operators(expression: TokenStream, errors: &mut Errors) {
    walk(expression, &mut |at, tokens| {
        if let TokenTree::Punct(punct) = &tokens[at] {
            operator(punct, at, tokens, errors);
        }
    });
}

/// Says whether an expression may name something. In doubt it does: a text may be a format string.
pub(crate) fn mentions(expression: TokenStream, name: &Ident) -> bool {
    let (name, mut found) = (name.unraw().to_string(), false);
    walk(expression, &mut |at, tokens| {
        found |= match &tokens[at] {
            TokenTree::Ident(ident) => ident.unraw() == name,
            TokenTree::Literal(literal) => literal.to_string().contains(&name),
            _ => false,
        };
    });
    found
}

/// Visits every token, those in groups included.
fn walk(tokens: TokenStream, visit: &mut impl FnMut(usize, &[TokenTree])) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Group(group) => walk(group.stream(), visit),
            _ => visit(at, &tokens),
        }
    }
}

/// Refuses the operators that wrap in release builds. A wrapped sum would skip the approval.
fn operator(punct: &Punct, at: usize, tokens: &[TokenTree], errors: &mut Errors) {
    let next = tokens.get(at + 1);
    let (sign, method) = match punct.as_char() {
        '+' => ("+", "saturating_add"),
        '*' => ("*", "saturating_mul"),
        '-' if punct.spacing() == Spacing::Joint && is_punct(next, '>') => return, // `->`
        '-' => ("-", "saturating_sub"),
        '<' if punct.spacing() == Spacing::Joint && is_punct(next, '<') => ("<<", "saturating_mul"),
        _ => return,
    };
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    if before.is_some_and(ends_an_operand) {
        let help = format!(
            "it wraps in release builds, and what wrapped would skip the approval: write `a.{method}(b)`, or call a function of your own"
        );
        let sign_tokens: TokenStream = tokens[at..].iter().take(sign.len()).cloned().collect();
        errors.at(sign_tokens, format!("the operator `{sign}` is refused in `when`"), help);
    } else if sign == "-" && !matches!(next, Some(TokenTree::Literal(_))) {
        let help = "it wraps in release builds for the smallest integer: turn the comparison around, or write `a.saturating_neg()`";
        errors.at(punct, "the operator `-` is refused in `when`, except before a number", help);
    }
}

/// Says whether an operator after this token has two sides. In doubt it has.
fn ends_an_operand(token: &TokenTree) -> bool {
    const BEFORE_AN_OPERAND: &[&str] = &[
        "as", "break", "const", "dyn", "else", "if", "impl", "in", "let", "loop", "match", "move", "mut", "ref",
        "return", "unsafe", "where", "while", "yield",
    ];
    match token {
        TokenTree::Ident(ident) => !BEFORE_AN_OPERAND.iter().any(|keyword| ident == keyword),
        TokenTree::Literal(_) | TokenTree::Group(Group { .. }) => true,
        TokenTree::Punct(punct) => punct.as_char() == '?',
    }
}

/// Says whether the identifier is a name of its own: no field, no method, no part of a path, no macro, no label of a
/// struct's field.
fn is_a_name(at: usize, tokens: &[TokenTree]) -> bool {
    let before = |back: usize| at.checked_sub(back).and_then(|before| tokens.get(before));
    let field = is_punct(before(1), '.') && !is_punct(before(2), '.');
    let in_path = is_punct(before(1), ':') && is_punct(before(2), ':');
    let starts_path_or_label = is_punct(tokens.get(at + 1), ':');
    let is_macro = is_punct(tokens.get(at + 1), '!') && matches!(tokens.get(at + 2), Some(TokenTree::Group(_)));
    !(field || in_path || starts_path_or_label || is_macro)
}

fn is_punct(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn mistakes(expression: &str) -> Vec<String> {
        let hidden = [Hidden { name: Ident::new("ctx", Span::call_site()), what: "`ctx`", help: "" }];
        let mut errors = Errors::default();
        check(expression.parse().expect("tokens"), &hidden, &mut errors);
        errors.messages()
    }

    #[test]
    fn what_cannot_wrap_is_legal() {
        for expression in [
            "*amount > 100.0",
            "**amount > -1 && *flag",
            "amount.checked_mul(2).is_none_or(|n| -> bool { n > 10 })",
            "matches!(kind, Kind::A | Kind::B(_)) || *a >> 1 > 2 || *a / 3 % 2 == 1",
            "if *a { *b } else { match *c { 1 => true, _ => *d } }",
            "order.ctx > 1 && ctx::limit() && other::ctx && S { ctx: 1 }.is_big() && ctx!(a)",
            "list.iter().any(|x| *x > 1) && (0..*n).contains(&3) && *a as *const u8 == p",
            "<Vec<u8> as Trait>::big(x) && a < b && \"+ - *\" != s",
        ] {
            assert_eq!(mistakes(expression), Vec::<String>::new(), "{expression}");
        }
    }

    #[test]
    fn what_wraps_is_refused_wherever_it_stands() {
        for (expression, sign) in [
            ("*a + *b > 1", "+"),
            ("a - 1 > 0", "-"),
            ("(*a) * 2 > 1", "*"),
            ("1 << *n > 4", "<<"),
            ("matches!(a + b, 1..)", "+"),
            ("list.iter().any(|x| x[0] * 2 > 1)", "*"),
            ("{ let mut n = 1; n += a; n > 1 }", "+"),
            ("-*a > 1", "-"),
            ("f()? - 1 > 0", "-"),
        ] {
            let mistakes = mistakes(expression);
            assert_eq!(mistakes.len(), 1, "{expression}: {mistakes:?}");
            assert!(mistakes[0].contains(&format!("`{sign}`")), "{expression}: {mistakes:?}");
        }
    }

    #[test]
    fn a_hidden_name_is_found_wherever_it_stands() {
        for expression in
            ["ctx.user_id.is_some()", "f(&ctx)", "matches!(ctx, _)", "x == ctx", "(..ctx)", "ctx != x", "f(ctx, ctx)"]
        {
            assert_eq!(mistakes(expression).len(), 1, "{expression}");
        }
    }
}
