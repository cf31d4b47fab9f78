//! What stands in the brackets of `#[cached(..)]`.
//!
//! Every setting is checked here, at its own place in the source, before anything is written: what
//! rustc would say of the code made from it names things that its reader never wrote.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprArray, ExprLit, Ident, Lit, LitStr, Path, Result, Token, Type};

use super::duration;

/// Each as written in the attribute, in the order in which it is told to whoever misspelt one.
const SETTINGS: &str = "cache, key, user, tags, besides, fresh_for, stale_for, none_for, \
                        lifetime, soft_deadline, fails_with, crate";

pub(crate) struct Options {
    pub(crate) cache: Expr,
    pub(crate) key: Expr,
    pub(crate) user: Option<Expr>,
    pub(crate) tags: Vec<Tag>,
    /// Arguments that the body uses and that do not change its answer.
    pub(crate) besides: Vec<Ident>,
    pub(crate) lifetime: Option<Lifetime>,
    pub(crate) soft_deadline: Option<TokenStream>,
    /// What the body fails with, where that is not what the function does.
    pub(crate) fails_with: Option<Type>,
    /// Where larder is found.
    pub(crate) larder: Path,
    /// Where `none_for` stands: it means nothing without a "there is none".
    pub(crate) none_for: Option<Span>,
}

pub(crate) enum Tag {
    /// A text with arguments in it, `"user:{user}"`.
    Text(LitStr),
    /// Whatever a tag is made of.
    Made(Expr),
}

/// What takes the place of the cache's own lifetime.
pub(crate) enum Lifetime {
    Whole(Expr),
    Parts { fresh: TokenStream, stale: Option<TokenStream>, none: Option<TokenStream> },
}

impl Lifetime {
    pub(crate) fn written(&self, larder: &Path) -> TokenStream {
        match self {
            Lifetime::Whole(lifetime) => lifetime.to_token_stream(),
            Lifetime::Parts { fresh, stale, none } => {
                let stale = stale.iter();
                let none = none.iter();
                quote! {
                    #larder::Lifetime::fresh_for(#fresh)
                        #(.stale_for(#stale))*
                        #(.none_for(#none))*
                }
            }
        }
    }
}

/// One `name = value`.
struct Setting {
    name: Ident,
    value: Value,
}

enum Value {
    Expr(Expr),
    Type(Type),
    Path(Path),
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> Result<Setting> {
        let name = input.call(Ident::parse_any)?;
        if !SETTINGS.split(", ").any(|known| name == known) {
            let text = format!("there is no setting `{name}`: they are {SETTINGS}");
            return Err(Error::new(name.span(), text));
        }
        if !input.peek(Token![=]) {
            let text = format!("`{name}` has no value: write `{name} = ..`");
            return Err(Error::new(name.span(), text));
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() || input.peek(Token![,]) {
            let text = format!("`{name}` has no value: write `{name} = ..`");
            return Err(Error::new(name.span(), text));
        }
        let value = match name.to_string().as_str() {
            "fails_with" => Value::Type(input.parse()?),
            "crate" => Value::Path(input.call(Path::parse_mod_style)?),
            _ => Value::Expr(input.parse()?),
        };
        Ok(Setting { name, value })
    }
}

/// Those that were told, each once.
#[derive(Default)]
struct Told(Vec<Setting>);

impl Told {
    fn parse(input: ParseStream<'_>) -> Result<Told> {
        let mut told: Vec<Setting> = Vec::new();
        for setting in input.parse_terminated(Setting::parse, Token![,])? {
            if told.iter().any(|other| other.name == setting.name) {
                let text = format!("`{}` is told twice", setting.name);
                return Err(Error::new(setting.name.span(), text));
            }
            told.push(setting);
        }
        Ok(Told(told))
    }

    fn take(&mut self, name: &str) -> Option<Setting> {
        let at = self.0.iter().position(|setting| setting.name == name)?;
        Some(self.0.swap_remove(at))
    }

    fn expr(&mut self, name: &str) -> Option<(Span, Expr)> {
        match self.take(name)? {
            Setting { name, value: Value::Expr(expr) } => Some((name.span(), expr)),
            _ => None,
        }
    }

    fn required(&mut self, name: &str, example: &str) -> Result<Expr> {
        let text = format!("`{name}` is missing: write `{name} = {example}`");
        let told = self.expr(name).ok_or_else(|| Error::new(Span::call_site(), text))?;
        Ok(told.1)
    }
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let mut told = Told::parse(input)?;
        let (lifetime, none_for) = lifetime(&mut told)?;
        let soft_deadline = match told.expr("soft_deadline") {
            Some((_, time)) => Some(duration::of(&time)?.written),
            None => None,
        };
        Ok(Options {
            cache: told.required("cache", "tasks")?,
            key: told.required("key", "(project, id)")?,
            user: told.expr("user").map(|(_, user)| user),
            tags: told.expr("tags").map_or(Ok(Vec::new()), |(_, tags)| list_of_tags(tags))?,
            besides: told
                .expr("besides")
                .map_or(Ok(Vec::new()), |(_, names)| list_of_names(names))?,
            lifetime,
            soft_deadline,
            fails_with: match told.take("fails_with").map(|setting| setting.value) {
                Some(Value::Type(fails_with)) => Some(fails_with),
                _ => None,
            },
            larder: match told.take("crate").map(|setting| setting.value) {
                Some(Value::Path(larder)) => larder,
                _ => syn::parse_quote!(::larder),
            },
            none_for,
        })
    }
}

fn lifetime(told: &mut Told) -> Result<(Option<Lifetime>, Option<Span>)> {
    let whole = told.expr("lifetime");
    let [fresh, stale, none] = ["fresh_for", "stale_for", "none_for"].map(|part| told.expr(part));
    let part = [&fresh, &stale, &none].into_iter().flatten().map(|(at, _)| *at).next();
    if let Some((_, whole)) = whole {
        return match part {
            Some(at) => Err(Error::new(at, "`lifetime` says this already: leave one of them out")),
            None => Ok((Some(Lifetime::Whole(whole)), None)),
        };
    }
    let Some((_, fresh)) = fresh else {
        return match part {
            Some(at) => Err(Error::new(
                at,
                "needs `fresh_for` beside it: a lifetime of a call takes the place of the cache's as a whole",
            )),
            None => Ok((None, None)),
        };
    };
    let fresh = duration::of(&fresh)?;
    let none_for = none.as_ref().map(|(at, _)| *at);
    let stale = stale.map(|(_, stale)| duration::of(&stale)).transpose()?;
    let none = none.map(|(_, none)| duration::of(&none)).transpose()?;
    if let Some(stale) = &stale {
        duration::within_an_entrys_life(&fresh, stale)?;
    }
    let parts = Lifetime::Parts {
        fresh: fresh.written,
        stale: stale.map(|stale| stale.written),
        none: none.map(|none| none.written),
    };
    Ok((Some(parts), none_for))
}

fn list_of_tags(tags: Expr) -> Result<Vec<Tag>> {
    let Expr::Array(ExprArray { elems, .. }) = tags else {
        let text = "`tags` is a list: write `tags = [\"lists\", \"project:{project}\"]`";
        return Err(Error::new(tags.span(), text));
    };
    let tag = |tag| match tag {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Tag::Text(text),
        made => Tag::Made(made),
    };
    Ok(elems.into_iter().map(tag).collect())
}

fn list_of_names(besides: Expr) -> Result<Vec<Ident>> {
    let refused = |at: Span| {
        Error::new(at, "`besides` is a list of arguments: write `besides = [database, clock]`")
    };
    let Expr::Array(ExprArray { elems, .. }) = besides else { return Err(refused(besides.span())) };
    let name = |expr: Expr| match &expr {
        Expr::Path(path) => path.path.get_ident().cloned().ok_or_else(|| refused(expr.span())),
        other => Err(refused(other.span())),
    };
    elems.into_iter().map(name).collect()
}
