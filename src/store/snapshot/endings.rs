//! The file of endings beside a snapshot: what has ended since the snapshot was begun. An ending is told
//! to whoever asked for it only when it is in this file and the disk has it. A thread of its own
//! writes; endings of one moment share one write and one sync. Knows sessions and users by a hash only.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use crate::crypto::seal::{OVERHEAD_BYTES, Sealer, TAG_BYTES};
use crate::domain::clock::Timestamp;
use crate::domain::id::{AppId, OpenId, UserKey};
use crate::domain::session::Session;
use crate::domain::token::TokenDigest;
use crate::store::ending::{Ended, Late};
use crate::store::snapshot::disk::{self, Disk, Writing};
use crate::store::snapshot::frame::{self, Identity, Kind, Refused};
use crate::telemetry::event;

const KIND: Kind = Kind {
    magic: b"wxgate endings\n",
    head: "wxgate endings head v1",
};

const ENTRY: &str = "wxgate ending v1";

/// Of a session or a user, a hash, and until when.
const TEXT_BYTES: usize = 1 + 32 + 8;
pub(super) const ENTRY_BYTES: usize = TEXT_BYTES + OVERHEAD_BYTES;

/// Endings since the last snapshot that are kept, here and in the file: more than a gate sees in many
/// minutes; 48 MiB of memory, and 86 MiB of disk. Beyond, when no snapshot succeeds any more, endings
/// are not safe.
const MAX_ENTRIES: usize = 1024 * 1024;

/// Orders that wait for the thread. Beyond, endings are not safe: the disk is stuck.
pub(super) const MAX_ORDERS: usize = 4096;

/// Orders of one write and sync.
const MAX_BATCH: usize = 4096;

/// What has ended, or will end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// One session, at this moment.
    Session(TokenDigest, Timestamp),
    /// All sessions of a user up to this stamp: also those that the store had let go of for want of
    /// room, and knows no longer, while the snapshot still has them.
    User(UserHash, u64),
}

/// Who a user is, in 32 bytes.
type UserHash = [u8; 32];

fn hash_user(app: &AppId, openid: &OpenId) -> UserHash {
    let mut hash = Sha256::new();
    hash.update(app.as_str());
    // In no identifier.
    hash.update([0]);
    hash.update(openid.as_str());
    hash.finalize().into()
}

impl Entry {
    pub(super) fn of(session: &Session) -> Self {
        Self::Session(*session.digest(), session.written().cut)
    }

    pub(super) fn of_user(user: &UserKey, stamp: u64) -> Self {
        Self::User(hash_user(user.app(), user.openid()), stamp)
    }

    fn to_bytes(self) -> Vec<u8> {
        let (kind, hash, until) = match self {
            Self::Session(digest, at) => (0, *digest.as_bytes(), at.as_millis()),
            Self::User(hash, stamp) => (1, hash, stamp),
        };
        [&[kind][..], &hash, &until.to_be_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&kind, rest) = bytes.split_first()?;
        let (&hash, until) = rest.split_first_chunk()?;
        let until = u64::from_be_bytes(until.try_into().ok()?);
        match kind {
            0 => Some(Self::Session(
                TokenDigest::new(hash),
                Timestamp::from_millis(until),
            )),
            1 => Some(Self::User(hash, until)),
            _ => None,
        }
    }
}

/// What the thread is told to do.
pub(super) enum Order {
    /// Write these down.
    End(Vec<Entry>, oneshot::Sender<Ended>),
    /// Say how many entries there are: those belong before the snapshot that begins now.
    Mark(Sender<io::Result<Mark>>),
    /// This snapshot holds, which was begun at this mark: forget what came before.
    Restart {
        since: Identity,
        mark: Mark,
        done: Sender<io::Result<()>>,
    },
    /// End the thread.
    Stop,
}

/// A place in the list of endings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    entries: usize,
    /// The snapshot since which the file on the disk has all endings.
    pub(super) since: Identity,
}

/// The file, and what is in it or should be.
pub(super) struct Endings {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    sealer: Sealer,
    /// The snapshot since which these are all.
    since: Identity,
    entries: Vec<Entry>,
    /// Nothing when it is not known what the file ends with: then it is written anew.
    file: Option<Box<dyn Writing>>,
    /// Entries that the file has.
    saved: usize,
    /// Who waits for entries that the file does not have yet.
    waiting: Vec<oneshot::Sender<Ended>>,
    trouble: Arc<Trouble>,
}

/// What is told and counted of endings that are not safe.
#[derive(Debug)]
pub(super) struct Trouble {
    file: PathBuf,
    failing: AtomicBool,
    /// Endings whose askers were told that they are not safe.
    not_saved: AtomicU64,
}

impl Trouble {
    fn new(file: PathBuf) -> Self {
        Self {
            file,
            failing: AtomicBool::new(false),
            not_saved: AtomicU64::new(0),
        }
    }

    /// How many askers were told that their endings are not safe.
    pub(super) fn not_saved(&self) -> u64 {
        self.not_saved.load(Ordering::Relaxed)
    }

    /// Somebody is told that an ending is not safe.
    fn count(&self) {
        self.not_saved.fetch_add(1, Ordering::Relaxed);
    }

    /// An ending is not safe, because there is no place for it to wait.
    pub(super) fn note_full(&self) {
        self.count();
        self.begin(&"too many endings wait for the disk");
    }

    /// Says once that saving fails.
    fn begin(&self, error: &dyn fmt::Display) {
        if !self.failing.swap(true, Ordering::Relaxed) {
            let file = self.file.display();
            tracing::error!(message = event::ENDINGS_NOT_SAVED, %error, %file);
        }
    }

    /// Says once that saving fails no longer.
    fn end(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(message = event::ENDINGS_SAVED_AGAIN);
        }
    }
}

impl Late for Trouble {
    fn note_late(&self) {
        self.count();
        self.begin(&"the disk takes too long");
    }
}

impl Endings {
    /// With the entries that the file has already. It is not gone on with, but written anew.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        path: PathBuf,
        sealer: Sealer,
        Said { since, entries }: Said,
    ) -> Self {
        let trouble = Arc::new(Trouble::new(path.clone()));
        Self {
            disk,
            path,
            sealer,
            since,
            entries,
            file: None,
            saved: 0,
            waiting: Vec::new(),
            trouble,
        }
    }

    pub(super) fn trouble(&self) -> Arc<Trouble> {
        Arc::clone(&self.trouble)
    }

    /// Follows orders until it is told to stop, or nobody is left to give any.
    pub(super) fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let mut batch = std::iter::once(first).chain(orders.try_iter().take(MAX_BATCH));
            let stopped = batch.try_for_each(|order| self.follow(order));
            self.save_and_tell();
            if stopped.is_break() {
                return;
            }
        }
    }

    fn follow(&mut self, order: Order) -> ControlFlow<()> {
        match order {
            Order::End(entries, who) => {
                if self.entries.len() + entries.len() <= MAX_ENTRIES {
                    self.entries.extend(entries);
                    self.waiting.push(who);
                } else {
                    self.trouble
                        .begin(&"there are too many since the last snapshot");
                    self.tell(who, Ended::HereOnly);
                }
            }
            Order::Mark(answer) => drop(answer.send(self.mark())),
            Order::Restart { since, mark, done } => {
                drop(done.send(self.restart(since, mark.entries)));
            }
            Order::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn mark(&mut self) -> io::Result<Mark> {
        // A new snapshot says what lies beside it, so that has to be known.
        if self.file.is_none() {
            self.rewrite()?;
        }
        Ok(Mark {
            entries: self.entries.len(),
            since: self.since,
        })
    }

    fn save_and_tell(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let ended = self.save();
        for who in std::mem::take(&mut self.waiting) {
            self.tell(who, ended);
        }
    }

    fn tell(&self, who: oneshot::Sender<Ended>, ended: Ended) {
        // Who has waited in vain is counted already.
        if ended == Ended::HereOnly && !who.is_closed() {
            self.trouble.count();
        }
        // Nobody may be waiting any more.
        let _gone = who.send(ended);
    }

    /// Has the disk keep every entry.
    fn save(&mut self) -> Ended {
        // What a write or a sync that failed has left in the file, nobody knows. So it is not gone on
        // with, but written anew under its name.
        let saved = self.append().or_else(|_failed| self.rewrite());
        self.note_outcome(saved)
    }

    /// Writes the file for the first time. Should that fail, every ending tries again.
    pub(super) fn begin(&mut self) {
        let written = self.rewrite();
        self.note_outcome(written);
    }

    fn note_outcome(&self, saved: io::Result<()>) -> Ended {
        match saved {
            Ok(()) => {
                self.trouble.end();
                Ended::Everywhere
            }
            Err(error) => {
                self.trouble.begin(&error);
                Ended::HereOnly
            }
        }
    }

    fn append(&mut self) -> io::Result<()> {
        // Without a file until it is known that the write has gone well.
        let mut file = self.file.take().ok_or(io::ErrorKind::NotFound)?;
        let new = self.entries.get(self.saved..).unwrap_or_default();
        file.write_all(&sealed(&self.sealer, self.since, (self.saved, new)))?;
        file.sync()?;
        self.saved = self.entries.len();
        self.file = Some(file);
        Ok(())
    }

    /// Writes the file anew, with every entry.
    fn rewrite(&mut self) -> io::Result<()> {
        self.restart(self.since, 0)
    }

    /// Writes the file anew, with the entries from the mark on, which are all since this snapshot was
    /// begun. When that fails, it is as if there had been no such order: the file has more than it needs.
    fn restart(&mut self, since: Identity, mark: usize) -> io::Result<()> {
        self.file = None;
        let entries = self.entries.get(mark..).unwrap_or_default();
        let bytes = sealed(&self.sealer, since, (0, entries));
        let file = disk::replace(self.disk.as_ref(), &self.path, |file| {
            frame::write_head(file, KIND, &self.sealer, &[since])?;
            file.write_all(&bytes)
        })?;
        self.since = since;
        self.entries.drain(..mark.min(self.entries.len()));
        self.saved = self.entries.len();
        self.file = Some(file);
        Ok(())
    }
}

/// Entries as the file has them, the first of which has this number.
fn sealed(sealer: &Sealer, since: Identity, (first, entries): (usize, &[Entry])) -> Vec<u8> {
    let mut all = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    let first = u64::try_from(first).unwrap_or_default();
    for (number, entry) in (first..).zip(entries) {
        let place = (since, number);
        all.extend(frame::seal(sealer, ENTRY, place, &entry.to_bytes()));
    }
    all
}

/// What a file of endings says.
#[derive(Debug)]
pub(super) struct Said {
    /// The snapshot since whose beginning it has all endings. There may be none of that name any more, or
    /// none yet.
    pub(super) since: Identity,
    pub(super) entries: Vec<Entry>,
}

impl Said {
    /// What there is to say where nothing was before.
    pub(super) fn nothing() -> Self {
        Self {
            since: Identity::draw(),
            entries: Vec::new(),
        }
    }
}

/// Endings by what has ended.
#[derive(Debug, Default)]
pub(super) struct Ends {
    sessions: HashMap<TokenDigest, Timestamp>,
    users: HashMap<UserHash, u64>,
}

impl Ends {
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mut ends = Self::default();
        for entry in entries {
            match *entry {
                Entry::Session(digest, at) => {
                    let first = ends.sessions.entry(digest).or_insert(at);
                    *first = at.min(*first);
                }
                Entry::User(hash, stamp) => {
                    let last = ends.users.entry(hash).or_insert(stamp);
                    *last = stamp.max(*last);
                }
            }
        }
        ends
    }

    /// Has a session end where one of these is of it.
    pub(super) fn apply(&self, session: &Session) {
        if let Some(at) = self.sessions.get(session.digest()) {
            session.cut(*at);
        }
        if self.users.is_empty() {
            return;
        }
        let holder = session.holder();
        let last = self.users.get(&hash_user(&holder.app, &holder.openid));
        if last.is_some_and(|last| session.stamp() <= *last) {
            session.end();
        }
    }

    /// The store has to count on from here: who logs in now must not be among those that ended.
    pub(super) fn last_stamp(&self) -> u64 {
        self.users.values().max().copied().unwrap_or_default()
    }
}

/// Reads a file of endings.
///
/// What is not whole at the end was being written when the process or the machine went down: nobody was
/// told of it. Anything else that does not fit is damage. It might hide an ending that somebody was told
/// of, so then the file is worth nothing, and neither is the snapshot.
pub(super) fn read(file: &mut impl Read, sealer: &Sealer) -> Result<Said, Refused> {
    let [since] = frame::read_head(file, KIND, sealer)?;
    let mut entries = Vec::new();
    for number in 0.. {
        let Some(sealed) = read_entry(file)? else {
            break;
        };
        if entries.len() == MAX_ENTRIES {
            return Err(Refused::Damaged);
        }
        match frame::open(sealer, ENTRY, (since, number), &sealed) {
            Ok(text) => entries.push(Entry::from_bytes(&text).ok_or(Refused::Damaged)?),
            Err(_) if was_never_written(sealed, file)? => break,
            Err(refused) => return Err(refused),
        }
    }
    Ok(Said { since, entries })
}

/// The next entry as it is sealed, unless the rest is shorter than one.
fn read_entry(file: &mut impl Read) -> Result<Option<[u8; ENTRY_BYTES]>, Refused> {
    let mut sealed = [0; ENTRY_BYTES];
    match file.read_exact(&mut sealed) {
        Ok(()) => Ok(Some(sealed)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether a machine went down when the file had become longer on the disk, and what is in it from some
/// place in this entry on had not come there: then nothing follows but zeros. No sealed text ends so.
fn was_never_written(first: [u8; ENTRY_BYTES], file: &mut impl Read) -> Result<bool, Refused> {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let mut zeros = is_zero(first.last_chunk::<TAG_BYTES>().unwrap_or(&[1; TAG_BYTES]));
    while zeros && let Some(sealed) = read_entry(file)? {
        zeros = is_zero(&sealed);
    }
    Ok(zeros)
}
