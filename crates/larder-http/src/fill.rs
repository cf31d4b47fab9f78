//! A response that is stored as it passes.
//!
//! What is there at once is taken at once; most handlers answer with a body that is. Of one that comes
//! in pieces, a task reads on, and stores it when it ended whole: no error, no early end, the length that
//! was said, no trailers. Whatever else happens, the client gets all that the handler sent, and those
//! who wait for the page are told to go their own way.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, ETAG, HeaderMap, SET_COOKIE};
use http::{Response, StatusCode};
use http_body::{Body, Frame};
use larder::Lease;
use tokio::sync::mpsc;

use crate::answer::Question;
use crate::body::{BoxError, CachedBody, Piece, Rest, poll_piece};
use crate::forward::says_length;
use crate::layer::Shared;
use crate::pages::{LOAD_MAX, Place};
use crate::status::Told;
use crate::stored::{PASS, Page, Stored};
use crate::validator::{self, Reply};

/// A response on its way into the cache.
pub(crate) struct Filling {
    pub(crate) shared: Arc<Shared>,
    pub(crate) place: Place,
    pub(crate) lease: Lease<Page>,
    /// The other variants.
    pub(crate) base: Page,
    pub(crate) stored: Stored,
    /// When the head of the response was there.
    pub(crate) came: Instant,
    pub(crate) bytes_max: usize,
}

/// What of a body was read.
struct Taken {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    /// Trailers came: they would be lost.
    trailers: bool,
}

/// How far a body has come.
enum Read {
    Whole,
    Failed(BoxError),
    /// It has to be waited for.
    Pending,
    /// It is longer than is kept, or has what is not kept.
    Unfit,
}

impl Taken {
    fn new() -> Taken {
        Taken { frames: VecDeque::new(), bytes: 0, trailers: false }
    }

    /// True while it can be kept.
    fn take(&mut self, frame: &Frame<Bytes>, bytes_max: usize) -> bool {
        match frame.data_ref() {
            Some(data) => self.bytes += data.len(),
            None => self.trailers = true,
        }
        self.bytes <= bytes_max && !self.trailers
    }

    /// All of it as one piece; as it is, if it is one.
    fn joined<'a>(mut pieces: impl Iterator<Item = &'a Bytes>, bytes: usize) -> Bytes {
        let Some(first) = pieces.next() else { return Bytes::new() };
        if first.len() == bytes {
            return first.clone();
        }
        let mut all = BytesMut::with_capacity(bytes);
        all.extend_from_slice(first);
        pieces.for_each(|piece| all.extend_from_slice(piece));
        all.freeze()
    }
}

impl Filling {
    /// The body ended. Stores it, if it is as long as was said.
    fn whole(mut self, body: Bytes, said: Option<u64>) -> Option<Stored> {
        let no_body =
            matches!(self.stored.status(), StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
        if !no_body && said.is_some_and(|said| said != body.len() as u64) {
            self.spoiled();
            return None;
        }
        self.stored.body = body;
        if self.shared.settings.makes_etags
            && self.stored.status() == StatusCode::OK
            && !self.stored.headers.contains_key(ETAG)
            && let Some(etag) = validator::etag_of(&self.stored.body)
        {
            self.stored.headers.insert(ETAG, etag);
            self.stored.made_etag = true;
        }
        let since = self.came.elapsed();
        let stored = self.stored.older_by(since);
        let page = self.base.later(since).with_news(stored.clone());
        self.shared.store(&self.place, self.lease, page);
        Some(stored)
    }

    /// It cannot be stored: nobody is to wait for it.
    fn spoiled(self) {
        let page = self.base.later(self.came.elapsed()).passing_for(PASS);
        self.shared.store(&self.place, self.lease, page);
    }
}

/// The response as it goes to the client, which stores itself if it ends whole.
///
/// `unstored` is told where that is known to fail while the head can still say so.
pub(crate) async fn fill<B>(
    filling: Filling,
    question: Question<'_>,
    response: Response<B>,
    told: Told,
    unstored: Told,
) -> Response<CachedBody<B>>
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let (mut head, body) = response.into_parts();
    let said = says_length(&head.headers).unwrap_or_default();
    filling.shared.tidy(&mut head.headers);
    let mut body = Box::pin(body);
    let mut taken = Taken::new();
    let not_modified = is_not_modified(question, head.status, &head.headers, &filling.stored);
    let read = read_at_once(body.as_mut(), &mut taken, filling.bytes_max).await;
    let (told, body) = match read {
        Read::Whole => {
            let pieces = taken.frames.iter().filter_map(Frame::data_ref);
            let bytes = Taken::joined(pieces, taken.bytes);
            match filling.whole(bytes.clone(), said) {
                Some(stored) => {
                    if let Some(etag) = stored.headers.get(ETAG) {
                        head.headers.entry(ETAG).or_insert_with(|| etag.clone());
                    }
                    (told, CachedBody::whole(bytes))
                }
                None => (unstored, CachedBody::begun(taken.frames, Rest::End)),
            }
        }
        Read::Failed(why) => {
            filling.spoiled();
            (unstored, CachedBody::begun(taken.frames, Rest::Failed(Some(why))))
        }
        Read::Unfit => {
            filling.spoiled();
            (unstored, CachedBody::begun(taken.frames, Rest::Body(body)))
        }
        Read::Pending => {
            let background = filling.shared.background.upgrade();
            let right = background.as_ref().and_then(|background| background.read());
            let (Some(background), Some(right)) = (background, right) else {
                filling.spoiled();
                unstored.tell(&mut head.headers);
                let body = CachedBody::begun(taken.frames, Rest::Body(body));
                return Response::from_parts(head, body);
            };
            let (pieces, to_come) = mpsc::unbounded_channel();
            let kept: Vec<Bytes> =
                taken.frames.iter().filter_map(Frame::data_ref).cloned().collect();
            let first = std::mem::take(&mut taken.frames);
            let reading = read_on(filling, body, taken, kept, pieces, said);
            background.spawn(async move {
                reading.await;
                drop(right);
            });
            (told, CachedBody::begun(first, Rest::Read { pieces: to_come, _keeps: background }))
        }
    };
    told.tell(&mut head.headers);
    if not_modified {
        // The task reads on and stores; this client has what it asked about.
        let mut headers = validator::not_modified_fields(&head.headers);
        headers.remove(CONTENT_LENGTH);
        for cookie in head.headers.get_all(SET_COOKIE) {
            headers.append(SET_COOKIE, cookie.clone());
        }
        told.tell(&mut headers);
        let mut response = Response::new(CachedBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.headers_mut() = headers;
        return response;
    }
    Response::from_parts(head, body)
}

/// The client's own condition, which the handler was not asked.
fn is_not_modified(
    question: Question<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    stored: &Stored,
) -> bool {
    let Question { method, headers: asked } = question;
    validator::reply(method, asked, status, headers, 0, stored.received()) == Reply::NotModified
}

/// As much as is there.
async fn read_at_once<B>(mut body: Pin<&mut B>, taken: &mut Taken, bytes_max: usize) -> Read
where
    B: Body<Error: Into<BoxError>>,
{
    loop {
        let polled = poll_fn(|context| Poll::Ready(poll_piece(body.as_mut(), context))).await;
        match polled {
            Poll::Pending => return Read::Pending,
            Poll::Ready(None) => return Read::Whole,
            Poll::Ready(Some(Err(why))) => return Read::Failed(why),
            Poll::Ready(Some(Ok(frame))) => {
                let fits = taken.take(&frame, bytes_max);
                taken.frames.push_back(frame);
                if !fits {
                    return Read::Unfit;
                }
            }
        }
    }
}

/// Reads the body to its end, hands on every piece, and stores it. What does not fit is handed back.
async fn read_on<B>(
    filling: Filling,
    mut body: Pin<Box<B>>,
    mut taken: Taken,
    mut kept: Vec<Bytes>,
    pieces: mpsc::UnboundedSender<Piece<B>>,
    said: Option<u64>,
) where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let until = tokio::time::Instant::now() + LOAD_MAX;
    loop {
        let next = poll_fn(|context| poll_piece(body.as_mut(), context));
        match tokio::time::timeout_at(until, next).await {
            Ok(None) => {
                filling.whole(Taken::joined(kept.iter(), taken.bytes), said);
                let _ = pieces.send(Piece::End);
                return;
            }
            Ok(Some(Err(why))) => {
                filling.spoiled();
                let _ = pieces.send(Piece::Failed(why));
                return;
            }
            Ok(Some(Ok(frame))) => {
                let fits = taken.take(&frame, filling.bytes_max);
                kept.extend(frame.data_ref().cloned());
                // The client may be gone: the others still wait for the page.
                let _ = pieces.send(Piece::Frame(frame));
                if !fits {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    filling.spoiled();
    let _ = pieces.send(Piece::Rest(body));
}
