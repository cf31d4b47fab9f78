//! A struct to the fields of a Redis hash, and back.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, FieldsNamed, LitStr, Path, Result,
    parse_quote,
};

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    written(input).unwrap_or_else(Error::into_compile_error)
}

fn written(input: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    let larder = larder(&input.attrs)?;
    if let Some(lifetime) = input.generics.lifetimes().next() {
        let text = "what is read from a hash owns its parts: there is nothing to borrow from";
        return Err(Error::new(lifetime.span(), text));
    }
    let kept = named(&input)?.named.iter().map(Kept::of).collect::<Result<Vec<_>>>()?;
    apart(&kept)?;

    let [out, fields] = ["out", "fields"].map(|name| Ident::new(name, Span::mixed_site()));
    let names = kept.iter().map(|field| &field.name);
    let puts = kept.iter().map(|field| field.put(&out));
    let takes = kept.iter().map(|field| field.take(&fields));
    let name = &input.ident;
    let (of_impl, of_type, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #of_impl #larder::structures::HashObject for #name #of_type #bounds {
            const FIELDS: &'static [&'static str] = &[#(#names),*];

            fn to_fields(
                &self,
            ) -> ::core::result::Result<
                ::std::vec::Vec<(&'static str, ::std::vec::Vec<u8>)>,
                #larder::Error,
            > {
                let mut #out = #larder::structures::FieldWriter::new();
                #(#puts)*
                ::core::result::Result::Ok(#out.into_fields())
            }

            fn from_fields(
                #fields: &mut #larder::structures::FieldReader<'_>,
            ) -> ::core::result::Result<Self, #larder::Error> {
                ::core::result::Result::Ok(Self { #(#takes),* })
            }
        }
    })
}

fn named(input: &DeriveInput) -> Result<&FieldsNamed> {
    let text = "only a struct with named fields can be kept field by field";
    match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if !fields.named.is_empty() => Ok(fields),
            Fields::Named(_) | Fields::Unit => {
                let text = "without fields there is nothing to keep: Redis has no empty hash";
                Err(Error::new(input.ident.span(), text))
            }
            Fields::Unnamed(fields) => Err(Error::new(fields.span(), text)),
        },
        Data::Enum(data) => Err(Error::new(data.enum_token.span, text)),
        Data::Union(data) => Err(Error::new(data.union_token.span, text)),
    }
}

/// One field, and how it is kept.
struct Kept<'a> {
    field: &'a Field,
    /// In the hash. Its span is where it is told.
    name: LitStr,
    /// Absent, it is the default of its type.
    or_default: bool,
    json: bool,
}

impl Kept<'_> {
    fn of(field: &Field) -> Result<Kept<'_>> {
        let own = field.ident.as_ref().map(|ident| (ident.unraw().to_string(), ident.span()));
        let (own, at) = own.unwrap_or_else(|| (String::new(), field.span()));
        let mut kept = Kept { field, name: LitStr::new(&own, at), or_default: false, json: false };
        let mut told = Vec::new();
        settings(&field.attrs, "field", |setting| {
            once(&mut told, &setting)?;
            if setting.path.is_ident("rename") {
                kept.name = setting.value()?.parse()?;
                if kept.name.value().is_empty() {
                    return Err(Error::new(kept.name.span(), "a field has a name"));
                }
            } else if setting.path.is_ident("default") {
                kept.or_default = true;
            } else if setting.path.is_ident("with") {
                let with: LitStr = setting.value()?.parse()?;
                if with.value() != "json" {
                    let text =
                        "a field is kept as text or MessagePack unless told, or `with = \"json\"`";
                    return Err(Error::new(with.span(), text));
                }
                kept.json = true;
            } else {
                return Err(unknown(&setting, "`rename = \"..\"`, `default`, `with = \"json\"`"));
            }
            Ok(())
        })?;
        Ok(kept)
    }

    /// Where its type stands: what cannot be written or read is named there.
    fn at(&self) -> Span {
        Span::mixed_site().located_at(self.field.ty.span())
    }

    fn put(&self, out: &Ident) -> TokenStream {
        let Kept { field: Field { ident, .. }, name, json, .. } = self;
        let put = Ident::new(if *json { "put_json" } else { "put" }, self.at());
        let value = Ident::new("value", self.at());
        let put = quote_spanned!(self.at()=> #out.#put(#name, #value)?;);
        quote!(let #value = &self.#ident; #put)
    }

    fn take(&self, fields: &Ident) -> TokenStream {
        let Kept { field: Field { ident, ty, .. }, name, .. } = self;
        let take = match (self.json, self.or_default) {
            (false, false) => quote_spanned!(self.at()=> #fields.take::<#ty>(#name)?),
            (false, true) => quote_spanned!(self.at()=> #fields.take_or_default::<#ty>(#name)?),
            (true, false) => quote_spanned!(self.at()=> #fields.take_json::<#ty>(#name)?),
            (true, true) => quote_spanned! {self.at()=>
                #fields.take_json::<::core::option::Option<#ty>>(#name)?.unwrap_or_default()
            },
        };
        quote!(#ident: #take)
    }
}

/// Each name once: the second would be read from what the first wrote.
fn apart(kept: &[Kept<'_>]) -> Result<()> {
    let mut taken = BTreeMap::new();
    for field in kept {
        let own = field.field.ident.to_token_stream().to_string();
        if let Some(other) = taken.insert(field.name.value(), own.clone()) {
            let text =
                format!("`{own}` and `{other}` would both be kept as {:?}", field.name.value());
            return Err(Error::new(field.name.span(), text));
        }
    }
    Ok(())
}

/// `#[object(crate = ..)]`
fn larder(attributes: &[Attribute]) -> Result<Path> {
    let (mut found, mut told) = (None, Vec::new());
    settings(attributes, "object", |setting| {
        once(&mut told, &setting)?;
        if !setting.path.is_ident("crate") {
            return Err(unknown(&setting, "`crate = ..`"));
        }
        found = Some(setting.value()?.call(Path::parse_mod_style)?);
        Ok(())
    })?;
    Ok(found.unwrap_or_else(|| parse_quote!(::larder)))
}

fn settings(
    attributes: &[Attribute],
    name: &str,
    mut each: impl FnMut(ParseNestedMeta<'_>) -> Result<()>,
) -> Result<()> {
    let mut ours = attributes.iter().filter(|attribute| attribute.path().is_ident(name));
    ours.try_for_each(|attribute| attribute.parse_nested_meta(&mut each))
}

fn once(told: &mut Vec<Path>, setting: &ParseNestedMeta<'_>) -> Result<()> {
    if told.contains(&setting.path) {
        let name = setting.path.to_token_stream();
        return Err(setting.error(format!("`{name}` is told twice")));
    }
    told.push(setting.path.clone());
    Ok(())
}

fn unknown(setting: &ParseNestedMeta<'_>, known: &str) -> Error {
    let name = setting.path.to_token_stream().to_string().replace(' ', "");
    setting.error(format!("there is no setting `{name}` here: there is {known}"))
}
