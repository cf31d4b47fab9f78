//! Ending stored pages by hand: from code, or over a router that the app mounts and protects.
//!
//! Nothing that a plain client sends purges. The router is off unless it is mounted, and knows nothing of
//! who may use it: put it behind the app's own authentication, or on a port of its own.

use http::{Request, Uri};
use larder::Target;

use crate::error::Error;
use crate::layer::{CacheLayer, UserId};
use crate::request_key::RequestKey;

impl CacheLayer {
    /// All that is stored of a URL, whose ever it is, as something to end by
    /// [`Larder::invalidate`](larder::Larder::invalidate) beside keys and tags.
    ///
    /// The URL is absolute, with the path and the query as clients send them. `http` and `https` are the
    /// same here.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let larder = larder::Larder::builder("doc").open().await?;
    /// # let cache = larder_http::CacheLayer::new(&larder).audience(larder_http::Audience::Public)?;
    /// larder.invalidate(cache.url("https://example.com/tasks?page=2")?).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// What is no absolute URL.
    pub fn url(&self, url: &str) -> Result<Vec<Target>, Error> {
        let refused = |why: &str| Error::new(format!("cannot purge {url}: {why}"));
        let uri: Uri = url.parse().map_err(|_| refused("it is no URL"))?;
        if uri.scheme().is_none() || uri.authority().is_none() {
            return Err(refused("it is not absolute, as in https://example.com/path"));
        }
        let (parts, ()) =
            Request::get(uri).body(()).map_err(|_| refused("it is no URL"))?.into_parts();
        let key = RequestKey::of(&parts).ok_or_else(|| refused("nothing can be stored of it"))?;
        Ok(self.shared().pages.of_url(&key))
    }

    /// All that is stored for one user, as something to end likewise.
    pub fn user(&self, user: &UserId) -> Target {
        self.shared().pages.all_of_user(user)
    }
}

#[cfg(feature = "axum")]
pub use router::router;

#[cfg(feature = "axum")]
mod router {
    use axum::extract::rejection::JsonRejection;
    use axum::extract::{Json, State};
    use axum::http::StatusCode;
    use axum::response::{IntoResponse, Response};
    use axum::routing::post;
    use larder::{ErrorKind, Tag, Target};
    use serde::{Deserialize, Serialize};

    use crate::layer::{CacheLayer, UserId};

    /// As many may be named in one request.
    const NAMED_MAX: usize = 1024;

    /// What is to end.
    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[derive(Default)]
    struct Named {
        urls: Vec<String>,
        tags: Vec<String>,
        users: Vec<String>,
    }

    #[derive(Serialize)]
    struct Said {
        #[serde(skip_serializing_if = "Option::is_none")]
        purged: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }

    /// `POST /purge` with `{"urls": [..], "tags": [..], "users": [..]}`, each of them optional: ends all
    /// that is stored of them, everywhere, in one round trip.
    ///
    /// Answers 200 with `{"purged": n}` when it is done, 400 with `{"error": ..}` for what cannot be meant,
    /// and nothing has ended then, 503 when Redis has not confirmed it: it is said again until it has,
    /// and this process serves none of it meanwhile.
    ///
    /// **Whoever reaches it may purge.** Mount it behind the app's own authentication:
    ///
    /// ```
    /// # async fn only_admins(request: axum::extract::Request, next: axum::middleware::Next) -> axum::response::Response { next.run(request).await }
    /// # fn mounted(app: axum::Router, cache: &larder_http::CacheLayer) -> axum::Router {
    /// app.nest("/admin", larder_http::purge::router(cache).layer(axum::middleware::from_fn(only_admins)))
    /// # }
    /// ```
    pub fn router<S: Clone + Send + Sync + 'static>(cache: &CacheLayer) -> axum::Router<S> {
        axum::Router::new().route("/purge", post(purge)).with_state(cache.clone())
    }

    async fn purge(
        State(cache): State<CacheLayer>,
        named: Result<Json<Named>, JsonRejection>,
    ) -> Response {
        let refused = |why: String| said(StatusCode::BAD_REQUEST, None, Some(why));
        let named = match named {
            Ok(Json(named)) => named,
            Err(why) => return refused(why.body_text()),
        };
        let count = named.urls.len() + named.tags.len() + named.users.len();
        if count == 0 || count > NAMED_MAX {
            return refused(format!("from 1 to {NAMED_MAX} urls, tags and users, not {count}"));
        }
        let mut targets: Vec<Target> = Vec::new();
        for url in &named.urls {
            match cache.url(url) {
                Ok(more) => targets.extend(more),
                Err(why) => return refused(why.to_string()),
            }
        }
        targets.extend(named.tags.iter().map(|tag| Target::from(Tag::new(tag))));
        targets.extend(named.users.iter().map(|user| cache.user(&UserId::new(user))));
        match cache.shared().pages.end(targets).await {
            Ok(()) => said(StatusCode::OK, Some(count), None),
            Err(why) if why.kind() == ErrorKind::Key => refused(why.to_string()),
            Err(why) => said(StatusCode::SERVICE_UNAVAILABLE, None, Some(why.to_string())),
        }
    }

    fn said(status: StatusCode, purged: Option<usize>, error: Option<String>) -> Response {
        (status, Json(Said { purged, error })).into_response()
    }
}
