//! What the function takes and gives, and whether that can be cached at all.

use proc_macro2::{Ident, Span};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Error, FnArg, GenericArgument, ItemFn, Lifetime, Pat, PatIdent, Path, PathArguments, Result,
    ReturnType, Signature, Token, Type, TypeReference,
};

/// Something the function is called with, by the name its body knows it by.
pub(crate) struct Argument {
    pub(crate) name: Ident,
    /// Where the load's own one is kept. No name in the body can be the same.
    pub(crate) kept: Ident,
    /// The body may change it.
    pub(crate) mutable: bool,
    pub(crate) passed: Passed,
    /// Where to point when it cannot be copied.
    pub(crate) at: Span,
}

pub(crate) enum Passed {
    Owned,
    /// By reference to this. What the load gets is a copy of its own, and lends it to the body.
    Lent(Box<Type>),
}

impl Argument {
    fn new(name: Ident, mutable: bool, passed: Passed, at: Span) -> Argument {
        let kept = format_ident!("kept_{}", name.unraw(), span = Span::mixed_site());
        Argument { name, kept, mutable, passed, at }
    }
}

/// The arguments, checked. What is `mut` becomes so in the body, where it is changed, and only there.
pub(crate) fn arguments(function: &mut ItemFn) -> Result<Vec<Argument>> {
    check_words(&function.sig)?;
    let mut arguments = Vec::new();
    for input in &mut function.sig.inputs {
        match input {
            FnArg::Receiver(receiver) => {
                let (name, at) = (Ident::from(receiver.self_token), receiver.span());
                let passed = passed(&receiver.ty).map_err(|_| {
                    let text =
                        "the load outlives the call, so it cannot have `&mut self`: take `&self`";
                    Error::new(at, text)
                })?;
                let mutable = receiver.reference.is_none() && receiver.mutability.is_some();
                if mutable {
                    receiver.mutability = None;
                }
                arguments.push(Argument::new(name, mutable, passed, at));
            }
            FnArg::Typed(typed) => match &mut *typed.pat {
                Pat::Wild(_) => {}
                Pat::Ident(PatIdent { by_ref: None, subpat: None, ident, mutability, .. }) => {
                    let (passed, at) = (passed(&typed.ty)?, typed.ty.span());
                    let mutable = mutability.take().is_some();
                    arguments.push(Argument::new(ident.clone(), mutable, passed, at));
                }
                pattern => {
                    passed(&typed.ty)?;
                    let mut parts = Parts::default();
                    parts.visit_pat_mut(pattern);
                    let owned = |(name, mutable): (Ident, bool)| {
                        let at = name.span();
                        Argument::new(name, mutable, Passed::Owned, at)
                    };
                    arguments.extend(parts.0.into_iter().map(owned));
                }
            },
        }
    }
    Ok(arguments)
}

/// The names within a pattern.
#[derive(Default)]
struct Parts(Vec<(Ident, bool)>);

impl VisitMut for Parts {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        // A constant, or a variant without fields, looks the same and is written large.
        if pattern.ident.to_string().starts_with(|first: char| !first.is_uppercase()) {
            self.0.push((pattern.ident.clone(), pattern.mutability.take().is_some()));
        }
        visit_mut::visit_pat_ident_mut(self, pattern);
    }
}

fn check_words(signature: &Signature) -> Result<()> {
    let refused = |at: Span, text: &str| Err(Error::new(at, text));
    if signature.asyncness.is_none() {
        return refused(signature.fn_token.span, "only an `async fn` can be cached");
    }
    if let Some(word) = &signature.unsafety {
        return refused(
            word.span,
            "an `unsafe fn` cannot be cached: its body runs in a task of its own",
        );
    }
    if let Some(word) = &signature.abi {
        return refused(word.span(), "a function of another language cannot be cached");
    }
    Ok(())
}

fn passed(argument: &Type) -> Result<Passed> {
    match bare(argument) {
        Type::Reference(TypeReference { lifetime: Some(lifetime), mutability: None, .. })
            if lifetime.ident == "static" =>
        {
            Ok(Passed::Owned)
        }
        Type::Reference(TypeReference { mutability: Some(word), .. }) => Err(Error::new(
            word.span,
            "the load outlives the call, so it cannot have a `&mut`: take the value, or an `Arc`",
        )),
        Type::Reference(TypeReference { elem, .. }) => {
            if let Type::TraitObject(_) = bare(elem) {
                let text = "a trait object by reference cannot be copied into the load: take an `Arc<dyn ..>`";
                return Err(Error::new(elem.span(), text));
            }
            refuse_borrowed(elem, BORROWED)?;
            Ok(Passed::Lent(elem.clone()))
        }
        owned => {
            refuse_borrowed(owned, BORROWED)?;
            Ok(Passed::Owned)
        }
    }
}

/// Without parentheses.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => bare(&group.elem),
        Type::Paren(paren) => bare(&paren.elem),
        other => other,
    }
}

const BORROWED: &str =
    "the load outlives the call, so it cannot have what is borrowed: take what owns it";

/// Refuses a type that borrows, save for ever.
fn refuse_borrowed(within: &Type, why: &str) -> Result<()> {
    struct Borrowed(Option<Span>);

    impl Visit<'_> for Borrowed {
        fn visit_lifetime(&mut self, lifetime: &Lifetime) {
            if lifetime.ident != "static" {
                self.0 = self.0.or(Some(lifetime.span()));
            }
        }

        fn visit_type_reference(&mut self, reference: &TypeReference) {
            if reference.lifetime.is_none() {
                self.0 = self.0.or(Some(reference.and_token.span));
            }
            visit::visit_type_reference(self, reference);
        }

        // `Fn(&str)` takes a reference, and holds none.
        fn visit_parenthesized_generic_arguments(
            &mut self,
            _: &syn::ParenthesizedGenericArguments,
        ) {
        }

        fn visit_type_bare_fn(&mut self, _: &syn::TypeBareFn) {}
    }

    let mut borrowed = Borrowed(None);
    borrowed.visit_type(within);
    match borrowed.0 {
        Some(at) => Err(Error::new(at, why)),
        None => Ok(()),
    }
}

/// What the function gives.
pub(crate) struct Returns {
    /// Where to point when the value cannot be cloned, or the error not be made from larder's.
    pub(crate) at_value: Span,
    pub(crate) at_error: Span,
    /// What the body gives: the value in the place of its entry.
    pub(crate) of_the_body: Type,
    /// There may be none.
    pub(crate) optional: bool,
    /// Entries are handed out as they are, in the place of copies of their values.
    pub(crate) entry: bool,
}

pub(crate) fn returns(signature: &Signature, fails_with: Option<&Type>) -> Result<Returns> {
    let refused = |at: Span| {
        let text = "a load may fail: return a `Result<T, E>`, whose `E` can be made from a `larder::Error`";
        Error::new(at, text)
    };
    let ReturnType::Type(_, whole) = &signature.output else {
        return Err(refused(signature.paren_token.span.close()));
    };
    let mut of_the_body = (**whole).clone();
    let Some(result) = last_part(&mut of_the_body, "Result") else {
        return Err(refused(whole.span()));
    };
    let at_error = result.iter().nth(1).map_or(whole.span(), Spanned::span);
    let Some(GenericArgument::Type(value)) = result.first_mut() else {
        return Err(refused(whole.span()));
    };
    if let Some(at) = anonymous(value) {
        return Err(Error::new(at, "what is kept has one type: name it"));
    }
    refuse_borrowed(value, "what is kept outlives the call: return what owns its parts")?;
    let at_value = value.span();
    let optional = unwrap(value, "Option");
    let entry = unwrap(value, "Entry");
    if optional {
        // Only looked through: the body says whether there is one.
        *value = syn::parse_quote!(::core::option::Option<#value>);
    }
    if let Some(fails_with) = fails_with {
        let value = value.clone();
        of_the_body = syn::parse_quote!(::core::result::Result<#value, #fails_with>);
    }
    Ok(Returns { at_value, at_error, of_the_body, optional, entry })
}

/// Puts what is in `name<..>` in its place. Was it one?
fn unwrap(outer: &mut Type, name: &str) -> bool {
    let Some(GenericArgument::Type(inner)) = last_part(outer, name).and_then(|of| of.first_mut())
    else {
        return false;
    };
    *outer = inner.clone();
    true
}

type Arguments = Punctuated<GenericArgument, Token![,]>;

/// What stands in the brackets of a path that ends with `name<..>`.
fn last_part<'a>(of: &'a mut Type, name: &str) -> Option<&'a mut Arguments> {
    let path: &mut Path = match of {
        Type::Path(path) => &mut path.path,
        Type::Group(group) => return last_part(&mut group.elem, name),
        Type::Paren(paren) => return last_part(&mut paren.elem, name),
        _ => return None,
    };
    let last = path.segments.last_mut().filter(|last| last.ident == name)?;
    match &mut last.arguments {
        PathArguments::AngleBracketed(inside) => Some(&mut inside.args),
        _ => None,
    }
}

/// Where a type stands that has no name.
pub(crate) fn anonymous(within: &Type) -> Option<Span> {
    struct Anonymous(Option<Span>);

    impl Visit<'_> for Anonymous {
        fn visit_type_impl_trait(&mut self, found: &syn::TypeImplTrait) {
            self.0 = Some(found.span());
        }
    }

    let mut anonymous = Anonymous(None);
    anonymous.visit_type(within);
    anonymous.0
}
