//! Where pages are kept: two caches of larder, one for everyone and one in which each page has an owner.
//!
//! The second is a [`UserCache`]: a page of one user has no name that another could ask for. All of a
//! URL's pages end together, whoever they belong to, under either scheme, and whatever of their queries
//! did not count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Cache, Entry, Error, HOUR, Larder, Lifetime, Tag, Target, UserCache};

use crate::layer::UserId;
use crate::request_key::RequestKey;
use crate::rule::Whose;
use crate::stored::Page;

/// No body that is stored may be larger: a page holds several.
pub(crate) const BODY_BYTES_MOST: usize = 8 << 20;
const PAGE_BYTES_MAX: usize = 72 << 20;
/// A URL that is longer is not cached.
const URL_BYTES_MAX: usize = 7 << 10;
/// With room for a user, and for the lengths of the parts.
const KEY_BYTES_MAX: usize = 8 << 10;
/// How long the handler and its body may take, to be stored.
pub(crate) const LOAD_MAX: Duration = Duration::from_secs(60);

pub(crate) type Seen = Entry<Page>;

/// A page as it was found, and when: it goes on ageing in our hands.
#[derive(Clone)]
pub(crate) struct Looked {
    page: Seen,
    at: Instant,
}

impl Looked {
    pub(crate) fn now(page: Seen) -> Looked {
        Looked { page, at: Instant::now() }
    }

    /// How long ago it was stored.
    pub(crate) fn on_page(&self) -> Duration {
        self.page.age().saturating_add(self.at.elapsed())
    }
}

impl std::ops::Deref for Looked {
    type Target = Page;

    fn deref(&self) -> &Page {
        &self.page
    }
}

pub(crate) struct Pages {
    larder: Larder,
    everyone: Cache<RequestKey, Page>,
    own: UserCache<RequestKey, Page>,
}

/// Where the page of one request is, or would be.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) cache: Cache<RequestKey, Page>,
    pub(crate) key: Arc<RequestKey>,
    pub(crate) whose: Whose,
    pub(crate) user: Option<UserId>,
}

impl Pages {
    pub(crate) fn open(larder: &Larder) -> Result<Pages, Error> {
        let lifetime = Lifetime::fresh_for(HOUR).jitter(0.0);
        let everyone = larder.cache("http").lifetime(lifetime).max_load(LOAD_MAX);
        let everyone = everyone.value_bytes_max(PAGE_BYTES_MAX).key_bytes_max(KEY_BYTES_MAX);
        let own = larder.cache("http-user").lifetime(lifetime).max_load(LOAD_MAX);
        let own = own.value_bytes_max(PAGE_BYTES_MAX).key_bytes_max(KEY_BYTES_MAX);
        Ok(Pages {
            larder: larder.clone(),
            everyone: everyone.tagged_by(tags_of_everyones).shared()?,
            own: own.tagged_by(tags_of_own).per_user()?,
        })
    }

    pub(crate) fn of_everyone(&self, key: RequestKey) -> Place {
        Place {
            cache: self.everyone.clone(),
            key: Arc::new(key),
            whose: Whose::Everyone,
            user: None,
        }
    }

    pub(crate) fn of_user(&self, user: UserId, key: RequestKey) -> Place {
        let cache = Cache::clone(&self.own.of(user.as_str()));
        Place { cache, key: Arc::new(key), whose: Whose::OneUser, user: Some(user) }
    }

    /// All pages of a URL, whose ever. The URL is as it was sent: no query is cut down.
    pub(crate) fn of_url(&self, key: &RequestKey) -> Vec<Target> {
        let mut targets = vec![Target::from(key.url_tag()), Target::from(key.path_tag())];
        // What is too long to be a key is no page; and it must not keep the others from ending.
        if key.len() <= URL_BYTES_MAX {
            targets.extend(key.all_of().map(|key| self.everyone.entry(&key)));
        }
        targets
    }

    /// All pages of one user.
    pub(crate) fn all_of_user(&self, user: &UserId) -> Target {
        self.own.of(user.as_str()).all()
    }

    pub(crate) async fn end(&self, targets: Vec<Target>) -> Result<(), Error> {
        self.larder.invalidate(targets).await
    }
}

/// None where the key is all that ends it.
fn tags_of_everyones(key: &RequestKey) -> Option<Tag> {
    match () {
        () if key.is_without_variance() => Some(key.path_tag()),
        () if key.is_rewritten() => Some(key.url_tag()),
        () => None,
    }
}

fn tags_of_own(key: &RequestKey) -> [Tag; 1] {
    [if key.is_without_variance() { key.path_tag() } else { key.url_tag() }]
}
