//! A function to a read-through call.
//!
//! What is written keeps the function as it was, name, arguments and all, and puts this in the place of its
//! body: look near; if nothing is there, move or copy what the body uses into a closure, and hand that to
//! `get_or_load` as the loader. The body itself is not changed, save that a method's `self` has another
//! name in it.
//!
//! A load outlives the call that began it, because others may wait for it. So what the body uses must be its
//! own: what the key does not use is moved into it, the rest is cloned, and what was passed by reference is
//! copied and lent to it again. Nothing of this happens when the entry is near, except for clones of what
//! the key may use up.

use std::collections::BTreeSet;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Block, Error, ItemFn, Result};

mod apart;
mod duration;
mod options;
mod signature;
mod words;

use options::{Options, Tag};
use signature::{Argument, Passed, Returns};

/// What is written in the place of `function`.
pub(crate) fn expand(options: TokenStream, function: TokenStream) -> TokenStream {
    written(options, function.clone()).unwrap_or_else(|fault| {
        // The function stays, or every call of it were an error too; what it would have used is no news.
        let fault = fault.into_compile_error();
        quote!(#fault #[allow(unused)] #function)
    })
}

fn written(options: TokenStream, function: TokenStream) -> Result<TokenStream> {
    let mut function: ItemFn = syn::parse2(function).map_err(|fault| {
        Error::new(fault.span(), format!("`#[cached]` is for an `async fn` with a body: {fault}"))
    })?;
    let options: Options = syn::parse2(options)?;
    let arguments = signature::arguments(&mut function)?;
    let returns = signature::returns(&function.sig, options.fails_with.as_ref())?;
    check(&options, &arguments, &returns)?;
    apart::check(&options, &arguments, &function.block)?;
    let body = std::mem::replace(&mut function.block, syn::parse_quote!({}));
    *function.block = through_the_cache(&options, &arguments, &returns, *body);
    Ok(function.into_token_stream())
}

fn check(options: &Options, arguments: &[Argument], returns: &Returns) -> Result<()> {
    let names: BTreeSet<String> =
        arguments.iter().map(|argument| argument.name.unraw().to_string()).collect();
    for tag in &options.tags {
        if let Tag::Text(text) = tag {
            words::check_holes(text, &names)?;
        }
    }
    let no_argument =
        options.besides.iter().find(|name| !names.contains(&name.unraw().to_string()));
    if let Some(name) = no_argument {
        return Err(Error::new(name.span(), words::no_argument(&name.to_string(), &names)));
    }
    match options.none_for {
        Some(at) if !returns.optional => Err(Error::new(
            at,
            "is for a function that returns `Result<Option<T>, E>`: here is no \"there is none\" to remember",
        )),
        _ => Ok(()),
    }
}

/// A name in what is written. None that others wrote is the same, however it is spelt.
fn own(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Written here, and shown there.
fn from_here(there: Span) -> Span {
    Span::mixed_site().located_at(there)
}

fn through_the_cache(
    options: &Options,
    arguments: &[Argument],
    returns: &Returns,
    body: Block,
) -> Block {
    let [cache, key, entry, error, answer, loader] =
        ["cache", "key", "entry", "error", "answer", "loader"].map(own);
    let uses: Vec<Use<'_>> =
        arguments.iter().filter_map(|argument| Use::of(argument, options, &body)).collect();
    let cloned_before = uses.iter().filter_map(Use::cloned_before_the_key);
    let kept = uses.iter().filter_map(Use::kept_for_the_load);
    let view = view(options, &cache);
    let the_key = &options.key;
    let lifetime = own("lifetime");
    let lifetime_of_the_call = options.lifetime.as_ref().map(|told| {
        let told = told.written(&options.larder);
        quote!(let #lifetime = #told;)
    });
    let load = load(options, &uses, returns, body);

    // What is not a cache, not `Clone`, or not made from a `larder::Error` is named where it is written.
    let at_cache = from_here(options.cache.span());
    // Not what is due to be renewed: that is for one who has a loader.
    let get_near = Ident::new("get_near_plain", at_cache);
    let ask = if returns.optional { "find_or_load" } else { "get_or_load" };
    let ask = Ident::new(ask, at_cache);
    let (at_value, at_error) = (from_here(returns.at_value), from_here(returns.at_error));
    let fault = Ident::new("error", at_error);
    let from = quote_spanned!(at_error=> ::core::convert::From::from(#fault));
    let handed_out = match returns.entry {
        true => entry.to_token_stream(),
        false => {
            let entry = Ident::new("entry", at_value);
            quote_spanned!(at_value=> ::core::clone::Clone::clone(&*#entry))
        }
    };
    let (near, found) = match returns.optional {
        true => (
            quote!(::core::option::Option::Some(#handed_out)),
            quote!(#entry.map(|#entry| #handed_out)),
        ),
        false => (handed_out.clone(), handed_out),
    };
    syn::parse_quote!({
        #(#cloned_before)*
        #view
        let #key = &(#the_key);
        if let ::core::option::Option::Some(#entry) = #cache.#get_near(#key) {
            return ::core::result::Result::Ok(#near);
        }
        #lifetime_of_the_call
        #(#kept)*
        let #loader = #load;
        let #answer = #cache.#ask(#key, #loader).await;
        match #answer {
            ::core::result::Result::Ok(#entry) => ::core::result::Result::Ok(#found),
            ::core::result::Result::Err(#error) => ::core::result::Result::Err(#from),
        }
    })
}

/// The cache as this call sees it: the user's part, with the call's own tags and soft deadline.
fn view(options: &Options, cache: &Ident) -> TokenStream {
    let (told, larder) = (&options.cache, &options.larder);
    let mut view = quote!(let #cache = &(#told););
    if let Some(user) = &options.user {
        let of = Ident::new("of", from_here(told.span()));
        view.extend(quote!(let #cache = &#cache.#of(&(#user));));
    }
    if !options.tags.is_empty() {
        let tags = options.tags.iter().map(|tag| match tag {
            Tag::Text(text) if !text.value().contains(['{', '}']) => {
                quote!(#larder::Tag::new(#text))
            }
            Tag::Text(text) => quote!(#larder::Tag::new(::std::format!(#text))),
            Tag::Made(tag) => quote_spanned!(from_here(tag.span())=> #larder::Tag::from(#tag)),
        });
        view.extend(quote!(let #cache = &#cache.tagged([#(#tags),*]);));
    }
    if let Some(time) = &options.soft_deadline {
        view.extend(quote!(let #cache = &#cache.soft_deadline(#time);));
    }
    view
}

/// The loader: the body, with what it uses.
fn load(options: &Options, uses: &[Use<'_>], returns: &Returns, mut body: Block) -> TokenStream {
    words::rename_self(&mut body, &own("this"));
    let names = uses.iter().map(Use::named_as_the_body_knows_it);
    let (given, gives) = (own("given"), &returns.of_the_body);
    let with_its_lifetime = options.lifetime.as_ref().map(|_| {
        let (larder, lifetime, value) = (&options.larder, own("lifetime"), own("value"));
        quote!(.map(|#value| #larder::Loaded::new(#value).lifetime(#lifetime)))
    });
    // The first `return` is never reached. It says what the body gives, which a `?` in it has to know.
    quote! {
        move || async move {
            #(#names)*
            let #given = async move {
                if let ::core::option::Option::Some(#given) =
                    ::core::option::Option::None::<#gives>
                {
                    return #given;
                }
                #body
            };
            #given.await #with_its_lifetime
        }
    }
}

/// An argument that the body uses.
struct Use<'a> {
    argument: &'a Argument,
    taken: Taken,
}

/// How the load comes by it. What comes before the load must be able to use it all the same.
enum Taken {
    /// The key, the user or a tag may use it up.
    ClonedBeforeTheKey,
    /// The cache is found by it, and is still needed while the load runs.
    Cloned,
    Moved,
    Copied,
}

impl Use<'_> {
    fn of<'a>(argument: &'a Argument, options: &Options, body: &Block) -> Option<Use<'a>> {
        let name = &argument.name;
        if !words::names(body, name) {
            return None;
        }
        let tags = options.tags.iter().any(|tag| match tag {
            Tag::Text(_) => false,
            Tag::Made(tag) => words::names(tag, name),
        });
        let user = options.user.as_ref().is_some_and(|user| words::names(user, name));
        let taken = match argument.passed {
            Passed::Lent(_) => Taken::Copied,
            Passed::Owned if tags || user || words::names(&options.key, name) => {
                Taken::ClonedBeforeTheKey
            }
            Passed::Owned if words::names(&options.cache, name) => Taken::Cloned,
            Passed::Owned => Taken::Moved,
        };
        Some(Use { argument, taken })
    }

    fn cloned_before_the_key(&self) -> Option<TokenStream> {
        matches!(self.taken, Taken::ClonedBeforeTheKey).then(|| self.kept())
    }

    fn kept_for_the_load(&self) -> Option<TokenStream> {
        (!matches!(self.taken, Taken::ClonedBeforeTheKey)).then(|| self.kept())
    }

    fn kept(&self) -> TokenStream {
        let Argument { name, kept, at, .. } = self.argument;
        // What cannot be cloned is named where it is declared.
        let at = from_here(*at);
        let own = match self.taken {
            Taken::ClonedBeforeTheKey | Taken::Cloned => {
                quote_spanned!(at=> ::core::clone::Clone::clone(&#name))
            }
            Taken::Copied if name == "self" => {
                quote_spanned!(at=> ::core::clone::Clone::clone(#name))
            }
            Taken::Copied => quote_spanned!(at=> ::std::borrow::ToOwned::to_owned(#name)),
            Taken::Moved => name.to_token_stream(),
        };
        quote!(let #kept = #own;)
    }

    fn named_as_the_body_knows_it(&self) -> TokenStream {
        let Argument { name, kept, mutable, passed, .. } = self.argument;
        let name = if name == "self" { own("this") } else { name.clone() };
        let mutable = mutable.then(|| quote!(mut));
        let to = match passed {
            Passed::Owned => quote!(#name = #kept),
            Passed::Lent(to) if signature::anonymous(to).is_some() => quote!(#name = &#kept),
            Passed::Lent(to) => quote!(#name: &#to = &#kept),
        };
        // That a name was found in the body does not say that it is this one.
        quote!(#[allow(unused_variables)] let #mutable #to;)
    }
}
