//! Responses to `GET`, kept whole beside the data that they are made of.
//!
//! **Whose.** A response is kept for the user of the verified [`Session`], under its full URL. There is no
//! page for everyone here, and no header that a client writes decides whose a page is. The layers stand
//! inside of [`verified`](crate::session::verified): who is not known never comes as far. A response also
//! carries a tag that names its user, and larder serves none that lacks the tag of whoever asks.
//!
//! **How long.** Half a minute, and less if it ends before. It begins with data that may be a minute old,
//! so where an invalidation is lost a task shows for a minute and a half.
//!
//! **When it ends.** A response carries the tag of what it shows, and so does the data: a write ends both by
//! one name, in one command, and never one without the other. The tag's generation is read before the handler
//! runs, so a response that is overtaken by a write is not kept. Whether this process keeps responses or
//! not, its writes end those of the others.

use std::time::Duration;

use axum::http::request::Parts;
use axum::routing::MethodRouter;
use larder::{Larder, Lifetime, Tag, Target};
use larder_http::{Audience, CacheLayer, Rule, UserId as Owner};

use super::model::{TaskId, UserId};
use crate::session::Session;
use crate::state::App;

/// As long as a page's data.
const LIFETIME: Lifetime = Lifetime::fresh_for(Duration::from_secs(30));

/// Carried by all that shows one task of a user, or that there is none.
pub(super) fn task_tag(user: &UserId, id: TaskId) -> Tag {
    Tag::from_parts(&("task", user, id))
}

/// Carried by all that shows several tasks of a user.
pub(super) fn pages_tag(user: &UserId) -> Tag {
    Tag::from_parts(&("pages", user))
}

/// The layers for the routes that read. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Responses {
    task: CacheLayer,
    pages: CacheLayer,
}

impl Responses {
    /// # Errors
    /// If larder has caches called `http` or `http-user` already, with other settings.
    pub(super) fn open(larder: &Larder) -> Result<Responses, larder_http::Error> {
        Ok(Responses { task: layer(larder, of_task)?, pages: layer(larder, of_pages)? })
    }

    /// The route of one task, whose id is the last of the path.
    pub(super) fn of_task(&self, route: MethodRouter<App>) -> MethodRouter<App> {
        route.route_layer(self.task.clone())
    }

    /// A route that lists a user's tasks.
    pub(super) fn of_pages(&self, route: MethodRouter<App>) -> MethodRouter<App> {
        route.route_layer(self.pages.clone())
    }

    /// All that is kept for one user.
    pub(super) fn all(&self, user: &UserId) -> Target {
        self.task.user(&owner(user))
    }
}

/// What is not tagged is not kept: nothing could end it.
fn layer(
    larder: &Larder,
    tag: fn(&Session, &Parts) -> Option<Tag>,
) -> Result<CacheLayer, larder_http::Error> {
    let tags = move |request: &Parts| tag(request.extensions.get::<Session>()?, request);
    let audience = Audience::each(move |request| {
        let session = request.extensions.get::<Session>()?;
        tag(session, request).map(|_| owner(&session.user))
    });
    // A proxy sets some of the forwarded fields on every request. No handler here reads one: an answer follows
    // from the URL and the session alone.
    CacheLayer::new(larder)
        .rule(Rule::for_route(LIFETIME))
        .bypass_on([])
        .make_etags()
        .tagged_by(tags)
        .audience(audience)
}

/// An id that the path writes in another way than plainly goes past the cache: the handler would decode it
/// (`%30` for `0`), and it would have to be decoded here as well, and always alike.
fn of_task(session: &Session, request: &Parts) -> Option<Tag> {
    let (_, id) = request.uri.path().rsplit_once('/')?;
    TaskId::parse(id).map(|id| task_tag(&session.user, id))
}

fn of_pages(session: &Session, _: &Parts) -> Option<Tag> {
    Some(pages_tag(&session.user))
}

fn owner(user: &UserId) -> Owner {
    Owner::new(user.as_str())
}
