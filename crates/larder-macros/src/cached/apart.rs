//! What tells entries apart.
//!
//! Whoever asks for the same key is given the same entry. So an argument that changes the answer, and by which no
//! entry is found, makes everybody be served what the first of them was. Whether it changes the answer is not to
//! be seen from here: a service or a clock does not, a language or a page does. So it has to be said, and what
//! nobody said anything of is refused.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Block, Error, Expr, ExprPath, Item, Macro, Result};

use super::options::{Options, Tag};
use super::signature::Argument;
use super::words;

/// Refuses what the body uses and no entry is found by. `self` is none of it: it holds services, the cache
/// among them.
pub(crate) fn check(options: &Options, arguments: &[Argument], body: &Block) -> Result<()> {
    let faults = arguments
        .iter()
        .map(|argument| &argument.name)
        .filter(|name| *name != "self" && reads(name, |reads| reads.visit_block(body)))
        .filter(|name| !is_told(options, name))
        .map(|name| {
            let text = format!(
                "the body uses `{name}`, and no entry is found by it: everybody would be served what the first \
                 caller was. Name it in `key`; or, if the answer is the same whatever it is (a service, a \
                 clock), say `besides = [{name}]`"
            );
            Error::new(name.span(), text)
        });
    let all = faults.reduce(|mut all, fault| {
        all.combine(fault);
        all
    });
    all.map_or(Ok(()), Err)
}

fn is_told(options: &Options, name: &Ident) -> bool {
    let within = |expr: &Expr| reads(name, |reads| reads.visit_expr(expr));
    // An entry without the tags of the call is not served to it.
    let tagged = options.tags.iter().any(|tag| match tag {
        Tag::Text(text) => words::has_hole(text, name),
        Tag::Made(tag) => within(tag),
    });
    let user = options.user.as_ref().is_some_and(within);
    let besides = options.besides.iter().any(|besides| besides.unraw() == name.unraw());
    tagged || user || besides || within(&options.cache) || within(&options.key)
}

/// Is the variable `name` read? Its namesakes are not it: a field, a method, a path, or what a field of a
/// struct is called. Only in a macro nobody knows, and there it is.
fn reads<'a>(name: &'a Ident, visit: impl FnOnce(&mut Reads<'a>)) -> bool {
    let mut reads = Reads { name, found: false };
    visit(&mut reads);
    reads.found
}

struct Reads<'a> {
    name: &'a Ident,
    found: bool,
}

impl Visit<'_> for Reads<'_> {
    fn visit_expr_path(&mut self, path: &ExprPath) {
        let alone = path.path.get_ident().filter(|_| path.qself.is_none());
        self.found |= alone.is_some_and(|ident| ident.unraw() == self.name.unraw());
        visit::visit_expr_path(self, path);
    }

    fn visit_expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Verbatim(tokens) => self.found |= words::names(tokens, self.name),
            known => visit::visit_expr(self, known),
        }
    }

    fn visit_macro(&mut self, code: &Macro) {
        self.found |= words::names(&code.tokens, self.name);
    }

    fn visit_item(&mut self, item: &Item) {
        // Of all items within a body, only a macro sees its variables.
        if let Item::Macro(code) = item {
            self.visit_macro(&code.mac);
        }
    }
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;

    use super::*;

    fn is_read(name: &str, body: &str) -> bool {
        let body: Block = syn::parse_str(body).unwrap();
        reads(&Ident::new(name, Span::call_site()), |reads| reads.visit_block(&body))
    }

    #[test]
    fn a_variable_is_found_wherever_it_is_read() {
        for body in [
            "{ db.get(id).await }",
            "{ |x| x + id }",
            "{ Page { id, list } }",
            "{ Page { list: id } }",
            "{ id = 4; }",
            "{ format!(\"{id:04}\") }",
            "{ format!(\"{:id$}\", 4) }",
            "{ json!({ id: 4 }) }",
            "{ macro_rules! ask { () => { id } } ask!() }",
            "{ let r#id = id; }",
        ] {
            assert!(is_read("id", body), "{body}");
        }
    }

    #[test]
    fn its_namesakes_are_not_it() {
        for body in [
            "{ page.id }",
            "{ page.id().await }",
            "{ Page { id: 4 } }",
            "{ id::get() + page::id }",
            "{ let Page { id: other } = page; }",
            "{ fn id(id: u64) -> u64 { id } }",
            "{ \"{id}\" }",
        ] {
            assert!(!is_read("id", body), "{body}");
        }
    }
}
