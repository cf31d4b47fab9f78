//! What `larder` writes for you. Use it through `larder`, which hands on all that is here.
//!
//! What is written calls nothing but public names of `larder`. Misuse is an error at the place where it
//! stands, in words about what was written there.

use proc_macro::TokenStream;

mod cached;
mod derive_hash_object;
mod derive_key;

/// Puts a cache in front of an `async fn`: the body is asked only for what the cache does not have.
///
/// ```
/// use larder::{Larder, UserCache, cached};
///
/// #[derive(Clone)]
/// struct Repository {
///     tasks: UserCache<u64, String>,
/// }
///
/// impl Repository {
///     #[cached(cache = self.tasks, user = user, key = id, tags = ["task:{id}"], fresh_for = "60s")]
///     async fn title(&self, user: u64, id: u64) -> Result<String, larder::Error> {
///         Ok(format!("task {id} of {user}")) // the database is asked here
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// let larder = Larder::builder("doc").open().await?;
/// let repository = Repository { tasks: larder.cache("tasks").per_user()? };
/// assert_eq!(repository.title(7, 17).await?, "task 17 of 7"); // asks the body
/// assert_eq!(repository.title(7, 17).await?, "task 17 of 7"); // does not
/// larder.invalidate_tag("task:17").await?; // after the commit, always
/// # Ok(()) }
/// ```
///
/// # Settings
///
/// | setting | what it is |
/// |---|---|
/// | `cache = self.tasks` | the cache: an argument, a field, any expression that is one. Required |
/// | `key = (project, id)` | what the entry is asked for by: of the cache's key type. Required |
/// | `user = user` | whose entry it is, for a `UserCache`: `cache.of(&user)`. Without it that does not compile |
/// | `tags = ["lists", "user:{user}", tag]` | tags: a text, with arguments of the function in it, or whatever a `Tag` is made of |
/// | `besides = [database, now]` | arguments that the body uses and that do not change its answer |
/// | `fresh_for = "60s"` | the entry's lifetime, in the place of the cache's: `ms`, `s`, `m`, `h`, `d`, or a `Duration`. From 1 ms to 30 days |
/// | `stale_for = "1h"`, `none_for = "5s"` | the rest of that lifetime; each needs `fresh_for` |
/// | `lifetime = SHORT` | that lifetime as a `Lifetime` |
/// | `soft_deadline = "200ms"` | past it a stale entry is taken, if there is one |
/// | `fails_with = DbError` | what the body fails with, if that is not what the function does |
/// | `crate = my::larder` | where `larder` is found. `::larder` |
///
/// # What tells entries apart
/// The cache, the key, the user and the tags. An argument that the body uses and none of them names is refused: everybody
/// would be served what the first caller was. `besides` lets in what does not change the answer, such as a service or
/// a clock. `self` is not asked about. Two functions on one cache with the same key serve each other's values.
///
/// # What is returned
/// A `Result`, by that name. From `Result<T, E>` the value is cloned for every call; from `Result<Entry<T>, E>` it
/// is not: there the body gives a `T`, and the caller gets the `Entry`. In `Result<Option<T>, E>` "there is
/// none" is remembered too, for `none_for`; so it is with `Option<Entry<T>>`.
///
/// # Errors
/// Every failure reaches the caller as `E::from(larder::Error)`, the body's own as well: those who waited for
/// one load share its error. `error.cause::<E>()` is the body's own, typed, for all who waited in the process
/// that loaded. Where `E` is `Clone`, its `From` is the place to give it back as it was:
///
/// ```
/// # #[derive(Clone, Debug)] enum ApiError { NotFound, Cache(larder::Error) }
/// # impl std::fmt::Display for ApiError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { write!(f, "{self:?}") }
/// # }
/// # impl std::error::Error for ApiError {}
/// impl From<larder::Error> for ApiError {
///     fn from(error: larder::Error) -> ApiError {
///         match error.cause::<ApiError>() {
///             Some(own) => own.clone(),
///             None => ApiError::Cache(error),
///         }
///     }
/// }
/// ```
///
/// # What the body may use
/// A load runs in a task of its own and outlives a caller that hangs up, so it owns what it uses. Arguments that
/// the key, the user or a tag's expression use are cloned, others are moved; what is passed by reference is copied
/// (`&str` to a `String`, `&T` by `Clone`) and lent to the body. So `&self` needs a `Self` that is `Clone`,
/// cheaply: a struct of handles, or `self: Arc<Self>`. What the body does not use is not touched.
/// `&mut`, `&dyn`, and what borrows in another way cannot be copied and are refused. `self` within a format's
/// text (`"{self}"`) is not seen: name it before.
///
/// # Cost
/// Near, that of `get_near`: no future, no closure, one clone of the value unless an `Entry` is returned, and
/// one of each argument that the key uses and the body too. Tags and `soft_deadline` make a view for each call, which
/// allocates. Else, and where an entry is due to be renewed ahead, that of `get_or_load`.
#[proc_macro_attribute]
pub fn cached(options: TokenStream, function: TokenStream) -> TokenStream {
    cached::expand(options.into(), function.into()).into()
}

/// Writes `ToKey`: a struct as a tuple of its fields, an enum as one that begins with its variant's number.
///
/// ```
/// use larder::{Tag, ToKey};
///
/// #[derive(ToKey)]
/// struct Page {
///     list: String,
///     number: u32,
/// }
///
/// #[derive(ToKey)]
/// enum Listing {
///     Open(Page),
///     Search { words: String },
/// }
///
/// let page = Page { list: "inbox".into(), number: 3 };
/// assert_eq!(Tag::from_parts(&page), Tag::from_parts(&("inbox", 3)));
/// assert_eq!(Tag::from_parts(&Listing::Open(page)), Tag::from_parts(&(0, "inbox", 3)));
/// ```
///
/// Two different values never write the same. Every field counts, so none can be left out, save for
/// `PhantomData`; who wants two values to share an entry writes `ToKey` by hand.
///
/// A variant's number is its place, from 0; `#[key(number = 3)]` says another. When fields or variants move, or
/// are added anywhere but behind the last variant, other values write what old ones wrote: give the cache a
/// new schema number.
///
/// `#[key(crate = my::larder)]` on the type says where `larder` is found.
#[proc_macro_derive(ToKey, attributes(key))]
pub fn derive_to_key(input: TokenStream) -> TokenStream {
    derive_key::expand(input.into()).into()
}

/// Writes `HashObject`: a struct with named fields, kept in a Redis hash field by field.
///
/// ```
/// use larder::structures::{HashObject, Object};
///
/// #[derive(HashObject)]
/// struct Profile {
///     name: String,
///     #[field(default)]
///     visits: u64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), larder::Error> {
/// let larder = larder::Larder::builder("doc").open().await?;
/// let profiles: Object<Profile> = larder.object("profile").open()?;
/// profiles.of(&7).set_all(&Profile { name: "Ann".into(), visits: 0 }).await?;
/// assert_eq!(profiles.of(&7).increment("visits", 1).await?, 1);
/// # Ok(()) }
/// ```
///
/// Each field is called as in the struct, and is what serde can write and read: numbers, strings, bools and enums
/// without fields are text, which `redis-cli` shows and `HINCRBY` counts; all else is MessagePack. A field that is
/// `None` is absent. The bounds that a generic struct needs for that are its own to write.
///
/// | on a field | |
/// |---|---|
/// | `#[field(rename = "n")]` | what it is called in the hash. Two of one name are refused |
/// | `#[field(default)]` | absent, it is the `Default` of its type: a field that was added later |
/// | `#[field(with = "json")]` | written as JSON, whatever its type: with larder's feature `json` |
///
/// `#[object(crate = my::larder)]` on the struct says where `larder` is found.
#[proc_macro_derive(HashObject, attributes(field, object))]
pub fn derive_hash_object(input: TokenStream) -> TokenStream {
    derive_hash_object::expand(input.into()).into()
}
