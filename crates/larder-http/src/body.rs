//! The body of an answer: stored, handed through, or read by others as well.
//!
//! A body that may be stored is read by a task, at the pace of the handler, and every piece goes on at
//! once: a slow client holds up nobody who waits for the page. What is over the cap, or takes too long,
//! is handed back to the client whole, to be read at the client's own pace. If the process dies, or the
//! layer is dropped, what was not read to its end is not stored, and the client's body ends with an
//! error.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::background::Background;

/// What the body of an answer may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer that came through the layer.
pub struct CachedBody<B>(Kind<B>);

enum Kind<B> {
    /// Of a stored response; shared with all who are served it.
    Whole(Option<Bytes>),
    /// Of the handler's response, untouched.
    Through(Pin<Box<B>>),
    /// Of the handler's response, a part of which was read already.
    Begun { first: VecDeque<Frame<Bytes>>, rest: Rest<B> },
}

pub(crate) enum Rest<B> {
    End,
    Failed(Option<BoxError>),
    Body(Pin<Box<B>>),
    /// With what keeps the task that reads it.
    Read {
        pieces: mpsc::UnboundedReceiver<Piece<B>>,
        _keeps: Arc<Background>,
    },
}

/// What the task that reads a body hands on.
pub(crate) enum Piece<B> {
    Frame(Frame<Bytes>),
    End,
    Failed(BoxError),
    /// It reads no further.
    Rest(Pin<Box<B>>),
}

impl<B> CachedBody<B> {
    pub(crate) fn whole(bytes: Bytes) -> CachedBody<B> {
        CachedBody(Kind::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(crate) fn through(body: B) -> CachedBody<B> {
        CachedBody(Kind::Through(Box::pin(body)))
    }

    pub(crate) fn begun(first: VecDeque<Frame<Bytes>>, rest: Rest<B>) -> CachedBody<B> {
        CachedBody(Kind::Begun { first, rest })
    }
}

impl<B> std::fmt::Debug for CachedBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.0 {
            Kind::Whole(_) => "whole",
            Kind::Through(_) => "through",
            Kind::Begun { .. } => "begun",
        };
        f.debug_tuple("CachedBody").field(&kind).finish()
    }
}

/// One frame of the handler's body, its data as [`Bytes`].
pub(crate) fn poll_piece<B>(
    body: Pin<&mut B>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
where
    B: Body<Error: Into<BoxError>>,
{
    let frame = ready!(body.poll_frame(context));
    Poll::Ready(frame.map(|frame| match frame {
        Ok(frame) => Ok(frame.map_data(|mut data| data.copy_to_bytes(data.remaining()))),
        Err(why) => Err(why.into()),
    }))
}

impl<B> Body for CachedBody<B>
where
    B: Body<Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let (first, rest) = match &mut self.0 {
            Kind::Whole(bytes) => return Poll::Ready(bytes.take().map(Frame::data).map(Ok)),
            Kind::Through(body) => return poll_piece(body.as_mut(), context),
            Kind::Begun { first, rest } => (first, rest),
        };
        if let Some(frame) = first.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        loop {
            match rest {
                Rest::End => return Poll::Ready(None),
                Rest::Failed(why) => return Poll::Ready(why.take().map(Err)),
                Rest::Body(body) => return poll_piece(body.as_mut(), context),
                Rest::Read { pieces, .. } => match ready!(pieces.poll_recv(context)) {
                    Some(Piece::Frame(frame)) => return Poll::Ready(Some(Ok(frame))),
                    Some(Piece::End) => *rest = Rest::End,
                    Some(Piece::Failed(why)) => *rest = Rest::Failed(Some(why)),
                    Some(Piece::Rest(body)) => *rest = Rest::Body(body),
                    // A body that ended early must not look like one that ended.
                    None => {
                        let why =
                            "the body was cut off: its handler panicked, or the layer stopped";
                        *rest = Rest::Failed(Some(why.into()));
                    }
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_none(),
            Kind::Through(body) => body.is_end_stream(),
            Kind::Begun { first, rest } => {
                first.is_empty()
                    && match rest {
                        Rest::End | Rest::Failed(None) => true,
                        Rest::Body(body) => body.is_end_stream(),
                        Rest::Failed(Some(_)) | Rest::Read { .. } => false,
                    }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Through(body) => body.size_hint(),
            // Nothing is claimed, though it may be known: a server would trust the claim, and send a
            // Content-Length that is none over a connection that goes on.
            Kind::Begun { .. } => SizeHint::default(),
        }
    }
}
