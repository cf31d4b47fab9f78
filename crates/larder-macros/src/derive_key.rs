//! A type to a key: its fields in turn, an enum's variant first.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, Generics, LitInt, Path, Result, Type,
    WherePredicate, parse_quote,
};

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    written(input).unwrap_or_else(Error::into_compile_error)
}

fn written(input: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    let larder = larder(&input.attrs)?;
    let writer = Ident::new("out", Span::mixed_site());
    let body = match &input.data {
        Data::Struct(data) => {
            data.fields.iter().try_for_each(has_no_settings)?;
            let (names, parts) = (pattern(&data.fields), parts(&data.fields, &larder, &writer));
            quote! {
                let Self #names = self;
                #parts
            }
        }
        Data::Enum(data) if data.variants.is_empty() => quote!(match *self {}),
        Data::Enum(data) => {
            let numbers = numbers(data)?;
            let arms = data.variants.iter().zip(numbers).map(|(variant, number)| {
                let name = &variant.ident;
                let (names, parts) =
                    (pattern(&variant.fields), parts(&variant.fields, &larder, &writer));
                quote! {
                    Self::#name #names => {
                        #larder::ToKey::to_key(&#number, #writer);
                        #parts
                    }
                }
            });
            quote!(match self { #(#arms)* })
        }
        Data::Union(data) => {
            let text = "a union cannot be a key: nobody knows which of its fields counts";
            return Err(Error::new(data.union_token.span, text));
        }
    };
    let (name, generics) = (&input.ident, bounded(&input, &larder));
    let (of_impl, of_type, bounds) = generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #of_impl #larder::ToKey for #name #of_type #bounds {
            fn to_key(&self, #writer: &mut #larder::KeyWriter<'_>) {
                #body
            }
        }
    })
}

/// Names for all fields, by their places.
fn pattern(fields: &Fields) -> TokenStream {
    let names = fields.members().enumerate().map(|(place, member)| {
        let name = name_of(place);
        quote!(#member: #name)
    });
    quote!({ #(#names),* })
}

fn name_of(place: usize) -> Ident {
    format_ident!("part_{place}", span = Span::mixed_site())
}

fn parts(fields: &Fields, larder: &Path, writer: &Ident) -> TokenStream {
    let part = |(place, field): (usize, &Field)| {
        // What is no key is named where it is declared.
        let at = Span::mixed_site().located_at(field.ty.span());
        let mut name = name_of(place);
        name.set_span(at);
        if is_phantom(&field.ty) {
            // Nothing to write: there is one value of it. That it is the one of the standard library is
            // checked by its type.
            return quote_spanned!(at=> let _: &::core::marker::PhantomData<_> = #name;);
        }
        quote_spanned!(at=> #larder::ToKey::to_key(#name, #writer);)
    };
    fields.iter().enumerate().map(part).collect()
}

fn is_phantom(of: &Type) -> bool {
    let Type::Path(path) = of else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "PhantomData")
}

/// A number for each variant, told or its place. No two are the same.
fn numbers(data: &syn::DataEnum) -> Result<Vec<u32>> {
    let mut taken = BTreeMap::new();
    let mut numbers = Vec::new();
    for (place, variant) in (0_u32..).zip(&data.variants) {
        variant.fields.iter().try_for_each(has_no_settings)?;
        let (number, at) = number(&variant.attrs)?.unwrap_or((place, variant.ident.span()));
        if let Some(other) = taken.insert(number, &variant.ident) {
            let text = format!(
                "`{}` has the number {number}, as `{other}` does: their keys would be the same",
                variant.ident
            );
            return Err(Error::new(at, text));
        }
        numbers.push(number);
    }
    Ok(numbers)
}

/// `#[key(number = 3)]`
fn number(attributes: &[Attribute]) -> Result<Option<(u32, Span)>> {
    let mut found = None;
    settings(attributes, |setting| {
        if !setting.path.is_ident("number") {
            return Err(unknown(&setting, "on a variant there is `number = ..`"));
        }
        if found.is_some() {
            return Err(setting.error("`number` is told twice"));
        }
        let number: LitInt = setting.value()?.parse()?;
        found = Some((number.base10_parse()?, number.span()));
        Ok(())
    })?;
    Ok(found)
}

/// `#[key(crate = ..)]`
fn larder(attributes: &[Attribute]) -> Result<Path> {
    let mut found = None;
    settings(attributes, |setting| {
        if !setting.path.is_ident("crate") {
            return Err(unknown(&setting, "on a type there is `crate = ..`"));
        }
        if found.is_some() {
            return Err(setting.error("`crate` is told twice"));
        }
        found = Some(setting.value()?.call(Path::parse_mod_style)?);
        Ok(())
    })?;
    Ok(found.unwrap_or_else(|| parse_quote!(::larder)))
}

fn has_no_settings(field: &Field) -> Result<()> {
    settings(&field.attrs, |setting| {
        if setting.path.is_ident("skip") {
            return Err(setting.error(
                "a field cannot be left out: two keys that differ there would share one entry. \
                 Write `ToKey` by hand if that is meant",
            ));
        }
        Err(unknown(&setting, "on a field there is none"))
    })
}

fn settings(
    attributes: &[Attribute],
    each: impl FnMut(syn::meta::ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let mut each = each;
    let ours = attributes.iter().filter(|attribute| attribute.path().is_ident("key"));
    ours.into_iter().try_for_each(|attribute| attribute.parse_nested_meta(&mut each))
}

fn unknown(setting: &syn::meta::ParseNestedMeta<'_>, known: &str) -> Error {
    let name = setting.path.to_token_stream().to_string().replace(' ', "");
    setting.error(format!("there is no setting `{name}` of a key here: {known}"))
}

/// Each parameter that is part of a key must be a key, and what belongs to one (`T::Id`) as well. One that only a
/// `PhantomData` names need not be.
fn bounded(input: &DeriveInput, larder: &Path) -> Generics {
    let mut generics = input.generics.clone();
    let parameters: Vec<Ident> = generics.type_params().map(|found| found.ident.clone()).collect();
    let fields: Vec<&Field> = match &input.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => Vec::new(),
    };
    let mut named = Named { parameters: &parameters, bounds: Vec::new() };
    fields.iter().filter(|field| !is_phantom(&field.ty)).for_each(|field| {
        named.visit_type(&field.ty);
    });
    if !named.bounds.is_empty() {
        let bounds = named
            .bounds
            .into_iter()
            .map(|ty| -> WherePredicate { parse_quote!(#ty: #larder::ToKey) });
        generics.make_where_clause().predicates.extend(bounds);
    }
    generics
}

/// What of the parameters is named: `T`, `T::Id`, `<T as Kind>::Id`.
struct Named<'a> {
    parameters: &'a [Ident],
    bounds: Vec<Type>,
}

impl Visit<'_> for Named<'_> {
    fn visit_type_path(&mut self, path: &syn::TypePath) {
        let first = path.path.segments.first().map(|first| &first.ident);
        let own = path.qself.is_some() || first.is_some_and(|it| self.parameters.contains(it));
        if !own {
            return visit::visit_type_path(self, path);
        }
        let ty = Type::Path(path.clone());
        if !self.bounds.contains(&ty) {
            self.bounds.push(ty);
        }
    }
}
