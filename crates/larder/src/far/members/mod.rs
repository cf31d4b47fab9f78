//! Who carries a tag, written down so that people can list it, and memory be freed when it ends.
//!
//! Nothing rests on it: a tag ends by its generation, whether its members are known or not. So nobody waits for
//! it. What is to be written down stands in a bounded queue, is sent by a task of the handle's beside what is
//! stored, and sent once; a note for which there is no room, or whose server is away, or that waits when the
//! process dies, is lost, and its entry is not listed. One that is listed may be gone.
//!
//! A tag that ended gives its members to another task, which frees them in batches. What is stored under it
//! meanwhile is written down anew; an entry stored anew before its turn came goes with the rest, and is loaded once more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Far;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, FarError};
use crate::key::{Key, Shape, Tag};
#[cfg(feature = "redis")]
use crate::key::{Named, parse};
#[cfg(feature = "redis")]
use crate::redis::{Call, Commands, Reply, Script};

mod memory;

use memory::Notes;

#[cfg(feature = "redis")]
static NOTE: Script = Script::new(include_str!("note.lua"));
#[cfg(feature = "redis")]
static PAGE: Script = Script::new(include_str!("page.lua"));
#[cfg(feature = "redis")]
static FREE: Script = Script::new(include_str!("free.lua"));

/// Told to a server when a connection is made.
#[cfg(feature = "redis")]
pub(crate) static SCRIPTS: [&Script; 3] = [&NOTE, &PAGE, &FREE];

/// How many members of one tag are written down in Redis. The soonest to end are forgotten first.
#[cfg(feature = "redis")]
const MEMBERS_MAX: usize = 1_000_000;
/// How many notes wait to be sent.
const NOTES_WAITING_MAX: usize = 10_000;
/// How many tags wait for their members to be freed.
const ENDED_WAITING_MAX: usize = 1000;
/// How many notes go in one pipeline.
const TOGETHER: usize = 128;
/// How many members are freed at once.
const FREED: usize = 500;
/// The most members of one page.
const PAGE_MAX: usize = 1000;

/// An entry and the tags it carries.
pub(crate) struct Note {
    key: Key,
    tags: Vec<Tag>,
    keep: Duration,
}

/// See the [module](self).
pub(crate) struct Members {
    shape: Shape,
    app: Arc<str>,
    place: Place,
    far: Arc<dyn Far>,
    clock: Clock,
    notes: mpsc::Sender<Note>,
    ended: mpsc::Sender<Tag>,
    /// Does any cache of this process write its members down?
    used: AtomicBool,
    lost: AtomicU64,
}

enum Place {
    #[cfg(feature = "redis")]
    Redis(Commands),
    Memory(Mutex<Notes>),
}

/// What waits for the two tasks of the handle.
pub(crate) struct Tasks {
    pub(crate) to_note: mpsc::Receiver<Note>,
    pub(crate) to_free: mpsc::Receiver<Tag>,
}

impl Members {
    /// In Redis, where there is a road to it. Beside it what its two tasks take.
    pub(crate) fn new(
        app: &str,
        #[cfg(feature = "redis")] commands: Option<Commands>,
        far: Arc<dyn Far>,
        clock: Clock,
    ) -> Result<(Arc<Members>, Tasks), Error> {
        #[cfg(feature = "redis")]
        let place = commands.map_or_else(|| Place::Memory(Mutex::default()), Place::Redis);
        #[cfg(not(feature = "redis"))]
        let place = Place::Memory(Mutex::default());
        let (notes, to_note) = mpsc::channel(NOTES_WAITING_MAX);
        let (ended, to_free) = mpsc::channel(ENDED_WAITING_MAX);
        let shape = Shape::new(app, "members", "of")?;
        let (used, lost) = (AtomicBool::default(), AtomicU64::default());
        let app = app.into();
        let members = Members { shape, app, place, far, clock, notes, ended, used, lost };
        Ok((Arc::new(members), Tasks { to_note, to_free }))
    }

    /// From now on a tag that ends has its members freed.
    pub(crate) fn is_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// The entry carries these tags, for so long. Never waits.
    pub(crate) fn note(&self, key: &Key, tags: impl Iterator<Item = Tag>, keep: Duration) {
        let tags: Vec<Tag> = tags.collect();
        if tags.is_empty() {
            return;
        }
        match &self.place {
            Place::Memory(notes) => {
                let now = self.clock.now();
                let mut notes = notes.lock();
                tags.iter().for_each(|tag| notes.note(tag, key, now.plus(keep), now));
            }
            #[cfg(feature = "redis")]
            Place::Redis(_) => {
                let sent = self.notes.try_send(Note { key: key.clone(), tags, keep });
                if sent.is_err() {
                    self.lose(1);
                }
            }
        }
    }

    /// The tag ended: its members are freed in the background. Never waits.
    pub(crate) fn ended(&self, tag: &Tag) {
        if self.used.load(Ordering::Relaxed) && self.ended.try_send(tag.clone()).is_err() {
            tracing::debug!("too many tags end: members of one stay until their time is over");
        }
    }

    fn lose(&self, notes: u64) {
        // The first of a thousand: while a server is away there are many.
        let before = self.lost.fetch_add(notes, Ordering::Relaxed);
        if before / 1000 != (before + notes) / 1000 || before == 0 {
            tracing::warn!(lost = before + notes, "members of tags were not written down");
        }
    }

    /// Some members.
    async fn page(
        &self,
        tag: &Tag,
        from: Option<&At>,
        count: usize,
    ) -> Result<(Vec<(Key, Duration)>, Option<At>), FarError> {
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(commands) => {
                let cursor = match from {
                    Some(At::Scan(cursor)) => *cursor,
                    _ => 0,
                };
                let index = self.index(tag)?.part("all");
                let call = Call::script(&PAGE, &[&index]).arg(cursor).arg(count);
                let (cursor, found) = Reply::from(commands.ask(call).await?).pair()?;
                let cursor = cursor.text()?.parse().map_err(|_| crate::redis::odd())?;
                let mut found = found.list()?.into_iter();
                let mut members = Vec::new();
                while let (Some(name), Some(left)) = (found.next(), found.next()) {
                    let left = Duration::from_millis(left.count()? as u64);
                    members.extend(self.key(&name.bytes()?).map(|key| (key, left)));
                }
                Ok((members, Some(At::Scan(cursor)).filter(|_| cursor != 0)))
            }
            Place::Memory(notes) => {
                self.far.link()?; // closed, if it was
                let after = match from {
                    Some(At::Behind(key)) => Some(key),
                    _ => None,
                };
                let (found, more) = notes.lock().page(tag, after, count, self.clock.now());
                let next = found.last().map(|(key, _)| At::Behind(key.clone()));
                Ok((found, next.filter(|_| more)))
            }
        }
    }

    /// Where the members of a tag are written down.
    #[cfg(feature = "redis")]
    fn index(&self, tag: &Tag) -> Result<Shape, FarError> {
        // A tag's name has at most 255 bytes.
        self.shape.of(tag.name()).map_err(|why| FarError::Refused(why.to_string()))
    }

    /// The entry of this name, if it is one of this app's: what else stands there is nobody's to free.
    #[cfg(feature = "redis")]
    fn key(&self, name: &[u8]) -> Option<Key> {
        let ours = name.strip_prefix(self.app.as_bytes())?.starts_with(b":");
        match parse(name) {
            Named::Value(name) if ours => Some(Key::new(name)),
            _ => None,
        }
    }

    /// Sends notes, for as long as the handle lives.
    pub(crate) async fn write_down(self: Arc<Self>, mut waiting: mpsc::Receiver<Note>) {
        let mut some = Vec::with_capacity(TOGETHER);
        while waiting.recv_many(&mut some, TOGETHER).await > 0 {
            self.send(&some).await;
            some.clear();
        }
    }

    async fn send(&self, notes: &[Note]) {
        #[cfg(feature = "redis")]
        if let Place::Redis(commands) = &self.place {
            let mut calls = Vec::new();
            for Note { key, tags, keep } in notes {
                let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX).max(1);
                for tag in tags {
                    let Ok(index) = self.index(tag) else { continue };
                    let call = Call::script(&NOTE, &[&index.part("all")]);
                    calls.push(call.arg(key.v()).arg(keep_ms).arg(MEMBERS_MAX));
                }
            }
            for some in calls.chunks(TOGETHER) {
                let answers = commands.ask_apart(some.to_vec()).await;
                let lost = answers.iter().filter(|answer| answer.is_err()).count();
                if lost > 0 {
                    self.lose(lost as u64);
                }
            }
        }
        #[cfg(not(feature = "redis"))]
        let _ = notes;
    }

    /// Frees the members of tags that ended, for as long as the handle lives.
    pub(crate) async fn free(self: Arc<Self>, mut waiting: mpsc::Receiver<Tag>) {
        while let Some(tag) = waiting.recv().await {
            if let Err(why) = self.free_all(&tag).await {
                tracing::debug!(%why, "members of a tag stay until their time is over");
            }
        }
    }

    async fn free_all(&self, tag: &Tag) -> Result<(), FarError> {
        match &self.place {
            #[cfg(feature = "redis")]
            Place::Redis(commands) => {
                let index = self.index(tag)?;
                let this_end = u128::from_le_bytes(self.clock.nonce());
                // Another end of the tag may begin before this one is done: each has a list of its own.
                let (all, going) = (index.part("all"), index.part(&format!("going.{this_end:x}")));
                let mut first = 1;
                loop {
                    let call = Call::script(&FREE, &[&all, &going]).arg(first).arg(FREED);
                    let (taken, names) = Reply::from(commands.ask(call).await?).pair()?;
                    if taken.count()? == 0 {
                        return Ok(());
                    }
                    let names = names.list()?;
                    let mut keys = Vec::with_capacity(names.len());
                    for name in names {
                        keys.extend(self.key(&name.bytes()?));
                    }
                    self.far.discard(&keys).await?;
                    first = 0;
                }
            }
            Place::Memory(notes) => {
                let keys = notes.lock().take(tag);
                for some in keys.chunks(FREED) {
                    self.far.discard(some).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        }
    }
}

/// Where a page begins.
#[derive(Clone, Debug)]
enum At {
    #[cfg(feature = "redis")]
    Scan(u64),
    Behind(Key),
}

/// Where a page of a tag's members begins. It means something to the tag it is of.
#[derive(Clone, Debug)]
pub struct MembersCursor(At);

/// An entry that carries a tag.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagMember {
    /// Its key, as people read it: `tasks:v1:{17;}`.
    pub key: String,
    /// How long it is kept, if nothing ends it before.
    pub expires_in: Duration,
}

/// Some members of a tag, and where to go on.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct MembersPage {
    /// In no order.
    pub members: Vec<TagMember>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<MembersCursor>,
}

/// The entries that carry a tag, of the caches that
/// [write their members down](crate::CacheBuilder::member_index).
///
/// For people to look at, not for programs to rely on: an entry that is listed may have ended by other ways, and
/// one whose note was lost is not listed.
#[derive(Clone)]
pub struct TagMembers {
    members: Arc<Members>,
    tag: Tag,
}

impl fmt::Debug for TagMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TagMembers").field(&self.tag).finish()
    }
}

impl TagMembers {
    pub(crate) fn new(members: Arc<Members>, tag: Tag) -> TagMembers {
        TagMembers { members, tag }
    }

    /// Some members, in no order: the first of several pages.
    ///
    /// Who is a member from the first page to the last is in at least one; one may be in two. A page has about
    /// `count` members, none perhaps; small tags come in one page, whatever `count` is.
    ///
    /// # Cost
    /// One round trip; O(count).
    ///
    /// # Errors
    /// [`ErrorKind::Far`]: no answer came; ask again. [`ErrorKind::Config`]: `count` is not from 1 to 1000.
    pub async fn page(&self, count: usize) -> Result<MembersPage, Error> {
        self.page_at(None, count).await
    }

    /// The page that begins where another ended: see [`page`](Self::page).
    ///
    /// # Cost, errors
    /// As [`page`](Self::page).
    pub async fn page_from(&self, at: &MembersCursor, count: usize) -> Result<MembersPage, Error> {
        self.page_at(Some(&at.0), count).await
    }

    async fn page_at(&self, at: Option<&At>, count: usize) -> Result<MembersPage, Error> {
        if !(1..=PAGE_MAX).contains(&count) {
            let text = format!("members of a tag: count is {count}; it is from 1 to {PAGE_MAX}");
            return Err(Error::new(ErrorKind::Config, text));
        }
        let page = self.members.page(&self.tag, at, count).await;
        let (found, next) = page.map_err(|why| {
            Error::new(why.kind(), "cannot read the members of a tag").because(why)
        })?;
        let member = |(key, left): (Key, _)| TagMember { key: key.to_string(), expires_in: left };
        let members = found.into_iter().map(member).collect();
        Ok(MembersPage { members, next: next.map(MembersCursor) })
    }
}
