//! Reading bytes that do not say what they are, within bounds.
//!
//! Postcard's bytes can be followed only by the type that reads them, so there is nothing to walk over
//! first ([`nesting`](super::nesting)). Its reader recurses once for each list, map, option and enum with
//! a field, and believes how many elements a list claims, also when they take no bytes: a megabyte of
//! ones would overflow the stack of a recursive type, and nine bytes keep a `Vec<()>` busy for
//! years. So every step down and every element goes through [`Bounded`], and is counted.

use std::cell::Cell;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::nesting::{DEPTH_MAX, Fault};

/// Elements for each byte there is, and some for types that take none: fields that are units.
const ELEMENTS_PER_BYTE: usize = 8;
const ELEMENTS_FREE: usize = 1024;

/// How far a reader has come.
pub(super) struct Bounds {
    depth: Cell<usize>,
    elements: Cell<usize>,
    fault: Cell<Option<Fault>>,
}

impl Bounds {
    /// For a value of `bytes` bytes.
    pub(super) fn of(bytes: usize) -> Bounds {
        let elements = bytes.saturating_mul(ELEMENTS_PER_BYTE).saturating_add(ELEMENTS_FREE);
        Bounds { depth: Cell::new(0), elements: Cell::new(elements), fault: Cell::new(None) }
    }

    /// The bound that was passed, if one was.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.get()
    }

    fn refuse<T, E: Error>(&self, fault: Fault) -> Result<T, E> {
        self.fault.set(Some(fault));
        Err(E::custom(fault))
    }

    fn deeper<T, E: Error>(&self, read: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.depth.get() == DEPTH_MAX {
            return self.refuse(Fault::Deep);
        }
        self.depth.set(self.depth.get() + 1);
        let read = read();
        self.depth.set(self.depth.get() - 1);
        read
    }

    fn element<E: Error>(&self) -> Result<(), E> {
        match self.elements.get().checked_sub(1) {
            Some(left) => self.elements.set(left),
            None => return self.refuse(Fault::Many),
        }
        Ok(())
    }
}

/// Any part of a reader, watched over.
pub(super) struct Bounded<'b, T> {
    pub(super) inner: T,
    pub(super) bounds: &'b Bounds,
}

impl<'b, T> Bounded<'b, T> {
    fn around<U>(&self, inner: U) -> Bounded<'b, U> {
        Bounded { inner, bounds: self.bounds }
    }
}

macro_rules! forward {
    ($($method:ident($($arg:ident: $type:ty),*);)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.around(visitor);
            self.inner.$method($($arg,)* visitor)
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    forward! {
        deserialize_any();
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_newtype_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple(len: usize);
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
        deserialize_ignored_any();
    }
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i8(i8);
        visit_i16(i16);
        visit_i32(i32);
        visit_i64(i64);
        visit_i128(i128);
        visit_u8(u8);
        visit_u16(u16);
        visit_u32(u32);
        visit_u64(u64);
        visit_u128(u128);
        visit_f32(f32);
        visit_f64(f64);
        visit_char(char);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
        visit_bytes(&[u8]);
        visit_borrowed_bytes(&'de [u8]);
        visit_byte_buf(Vec<u8>);
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inside: D) -> Result<V::Value, D::Error> {
        let (bounds, inside) = (self.bounds, self.around(inside));
        bounds.deeper(|| self.inner.visit_some(inside))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inside: D) -> Result<V::Value, D::Error> {
        let inside = self.around(inside);
        self.inner.visit_newtype_struct(inside)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let (bounds, list) = (self.bounds, self.around(list));
        bounds.deeper(|| self.inner.visit_seq(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let (bounds, map) = (self.bounds, self.around(map));
        bounds.deeper(|| self.inner.visit_map(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variants: A) -> Result<V::Value, A::Error> {
        let variants = self.around(variants);
        self.inner.visit_enum(variants)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<S::Value, D::Error> {
        let reader = self.around(reader);
        self.inner.deserialize(reader)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.bounds.element()?;
        let seed = self.around(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        self.bounds.element()?;
        let seed = self.around(seed);
        self.inner.next_key_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.around(seed);
        self.inner.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (name, inside) = self.inner.variant_seed(seed)?;
        Ok((name, Bounded { inner: inside, bounds: self.bounds }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let (bounds, seed) = (self.bounds, self.around(seed));
        bounds.deeper(|| self.inner.newtype_variant_seed(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.around(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}
