//! Names in the code of others: where one is used, and another put in its place.

use std::collections::BTreeSet;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::visit_mut::{self, VisitMut};
use syn::{Block, Error, Item, LitStr, Macro, PathSegment, Result};

/// Is `name` used in `code`? Rather one time too often: a field of the same name counts, and so does a text
/// that may be a format with the name in it. There a name that is a word of the language is written without `r#`.
pub(crate) fn names(code: &impl ToTokens, name: &Ident) -> bool {
    fn within(code: TokenStream, name: &str) -> bool {
        code.into_iter().any(|token| match token {
            TokenTree::Group(group) => within(group.stream(), name),
            TokenTree::Ident(ident) => ident.unraw() == name,
            TokenTree::Literal(literal) => formats(&literal.to_string(), name),
            TokenTree::Punct(_) => false,
        })
    }
    within(code.to_token_stream(), &name.unraw().to_string())
}

/// Is it written out by `text`, `"{name:?}"`, or says how wide, `"{:name$}"`?
fn formats(text: &str, name: &str) -> bool {
    text.contains(&format!("{{{name}")) || text.contains(&format!("{name}$"))
}

/// Puts `to` in the place of `self`: a method's body that moved into a closure has another.
pub(crate) fn rename_self(body: &mut Block, to: &Ident) {
    Renamed { to }.visit_block_mut(body);
}

struct Renamed<'a> {
    to: &'a Ident,
}

impl Renamed<'_> {
    /// Where it was, so that what rustc says of it points there.
    fn at(&self, span: Span) -> Ident {
        Ident::new(&self.to.to_string(), self.to.span().located_at(span))
    }

    /// In a macro nobody knows what is a path and what is not.
    fn tokens(&self, code: TokenStream) -> TokenStream {
        let mut tokens = code.into_iter().peekable();
        let mut renamed = TokenStream::new();
        while let Some(token) = tokens.next() {
            let token = match token {
                TokenTree::Group(group) => {
                    let mut inside = Group::new(group.delimiter(), self.tokens(group.stream()));
                    inside.set_span(group.span());
                    TokenTree::Group(inside)
                }
                // `self::name` is a module.
                TokenTree::Ident(ident) if ident == "self" && !is_colon(tokens.peek()) => {
                    TokenTree::Ident(self.at(ident.span()))
                }
                other => other,
            };
            renamed.extend([token]);
        }
        renamed
    }
}

fn is_colon(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':')
}

impl VisitMut for Renamed<'_> {
    fn visit_path_mut(&mut self, path: &mut syn::Path) {
        match path.get_ident() {
            Some(ident) if ident == "self" => {
                path.segments = [PathSegment::from(self.at(ident.span()))].into_iter().collect();
            }
            _ => visit_mut::visit_path_mut(self, path),
        }
    }

    fn visit_macro_mut(&mut self, code: &mut Macro) {
        code.tokens = self.tokens(std::mem::take(&mut code.tokens));
    }

    fn visit_item_mut(&mut self, item: &mut Item) {
        // An item within a body has a `self` of its own.
        if let Item::Macro(code) = item {
            self.visit_macro_mut(&mut code.mac);
        }
    }
}

/// Refuses a tag's text with a hole that no argument fills.
pub(crate) fn check_holes(text: &LitStr, arguments: &BTreeSet<String>) -> Result<()> {
    for hole in holes(&text.value()).map_err(|why| Error::new(text.span(), why))? {
        if hole.is_empty() || hole.starts_with(|first: char| first.is_ascii_digit()) {
            let why = "a hole in a tag names an argument: \"user:{user}\"";
            return Err(Error::new(text.span(), why));
        }
        if !arguments.contains(&hole) {
            return Err(Error::new(text.span(), no_argument(&format!("{{{hole}}}"), arguments)));
        }
    }
    Ok(())
}

pub(crate) fn no_argument(name: &str, arguments: &BTreeSet<String>) -> String {
    let known: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let known = if known.is_empty() { "it has none".into() } else { known.join(", ") };
    format!("`{name}` is no argument of this function: {known}")
}

/// Does `name` fill a hole in a tag's text?
pub(crate) fn has_hole(text: &LitStr, name: &Ident) -> bool {
    let name = name.unraw().to_string();
    holes(&text.value()).is_ok_and(|holes| holes.contains(&name))
}

/// What stands in each `{..}`, up to how it is to be written.
fn holes(text: &str) -> std::result::Result<Vec<String>, &'static str> {
    let mut holes = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '{' | '}' if rest.peek() == Some(&next) => {
                rest.next();
            }
            '{' => {
                let inside: Vec<char> = rest.by_ref().take_while(|c| *c != '}').collect();
                let name = inside.split(|c| *c == ':').next().unwrap_or_default();
                holes.push(name.iter().collect::<String>().trim().to_owned());
            }
            '}' => return Err("a `}` that closes nothing: write `}}` for a brace"),
            _ => {}
        }
    }
    Ok(holes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(body: &str) -> String {
        let mut body: Block = syn::parse_str(body).unwrap();
        rename_self(&mut body, &Ident::new("this", Span::call_site()));
        body.to_token_stream().to_string()
    }

    fn plain(code: &str) -> String {
        code.parse::<TokenStream>().unwrap().to_string()
    }

    #[test]
    fn self_is_renamed_where_it_is_a_value() {
        assert_eq!(renamed("{ self.db.get(self).await }"), plain("{ this.db.get(this).await }"));
        assert_eq!(renamed("{ f!(self.a, (&self)) }"), plain("{ f!(this.a, (&this)) }"));
        assert_eq!(renamed("{ |_| self.a }"), plain("{ |_| this.a }"));
    }

    #[test]
    fn self_stays_where_it_is_a_module_or_anothers() {
        for body in [
            "{ self::load().await }",
            "{ f!(self::load) }",
            "{ struct S; impl S { fn f(&self) -> &Self { self } } Self::new() }",
        ] {
            assert_eq!(renamed(body), plain(body));
        }
    }

    #[test]
    fn a_name_is_found_in_code_and_in_formats() {
        let code: TokenStream = "f(id, format!(\"{user:?} {{tail}}\"))".parse().unwrap();
        let names = |name| names(&code, &Ident::new(name, Span::call_site()));
        assert!(names("id") && names("user"));
        assert!(!names("us_er") && !names("other"));
    }

    #[test]
    fn a_word_of_the_language_is_found_however_it_is_written() {
        let raw = |name| Ident::new_raw(name, Span::call_site());
        let code = |code: &str| code.parse::<TokenStream>().unwrap();
        assert!(names(&code("format!(\"{type:?}\")"), &raw("type")));
        assert!(names(&code("format!(\"{:>type$}\", 7)"), &raw("type")));
        assert!(names(&code("f(r#type)"), &raw("type")));
        assert!(names(&code("f(id)"), &raw("id")), "the same to the compiler");
        assert!(!names(&code("format!(\"type {}\", 7)"), &raw("type")));
    }

    #[test]
    fn holes_are_found_and_braces_are_not() {
        let found = |text| holes(text).unwrap();
        assert_eq!(found("user:{user}:{id:04}"), ["user", "id"]);
        assert!(found("{{user}}").is_empty());
        assert_eq!(found("{}"), [""]);
        assert!(holes("user}").is_err());
    }
}
