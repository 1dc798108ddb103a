//! Sessions of the memory store that outlive the process: all of them in a file, written on stop and
//! every minute when something has changed, and beside it a file of what has ended since. Knows nothing
//! of requests, and decides nothing about how long a session lives.
//!
//! **What is promised.** After an orderly stop nothing is lost. After a crash of the process or of the
//! machine, what came since the last snapshot was begun may be lost, and nothing that somebody was told to
//! have ended comes back. A snapshot is begun a minute after the one before is done: what is lost came in
//! the last minute and the time that two snapshots take to write.
//!
//! **Why nothing comes back**, wherever between two steps the crash is. An ending takes effect in memory,
//! is then appended to the file of endings (`FILE.ended`), and is told when the disk has it. A snapshot is
//! made in this order:
//!
//! 1. The place in the list of endings is marked. Every ending before the mark took effect in memory
//!    before what follows.
//! 2. The sessions that live are copied and written to `FILE.new`, which is synced.
//! 3. `FILE.new` becomes `FILE`.
//! 4. The directory is synced: from here on the new snapshot is there after any crash.
//! 5. The endings since the mark are written to `FILE.ended.new`, which is synced and becomes
//!    `FILE.ended`; the directory is synced. Endings that come meanwhile wait, and are appended to it.
//!
//! A crash before step 3 leaves the old snapshot and all endings since it was begun, which are in the
//! old file of endings, and stay there. From step 3 to step 5 either snapshot may be there, and beside it
//! the old file of endings, to which every ending goes until step 5: all endings since the older snapshot
//! was begun, so more than enough for the newer. In step 5 the new snapshot is there for certain, with
//! either file of endings: both have all since the mark, and what ended before the mark is not in the
//! snapshot. An ending is only ever added, and names one session by the hash of its token, or all of a user
//! up to a count of logins, so one too many does no harm.
//!
//! Logout everywhere names the user, beside the sessions that it found: the store lets go of sessions for
//! want of room and tells no file of it, so the snapshot may have more of the user than the store. For
//! the same reason a session that was let go of, and that nobody ended, may be back after a crash.
//!
//! Each snapshot has a name (`Identity`), drawn at random. A file of endings says since the beginning of
//! which snapshot it has all of them, and a snapshot says which file of endings was beside it when it was
//! written. Beside a snapshot only that one is believed, or the one since its own beginning; any other has
//! the snapshot refused, and so has none. A start goes on with the file of endings that it finds, under
//! the name that it has, until its own first snapshot: whichever of two snapshots a crash has left, that
//! file belongs to it.
//!
//! What cannot be told from a crash: both files put back together from an old copy; of the file of endings
//! alone, the one from before the snapshot was done, or the present one with endings cut off at its end.
//! Who does that brings back what ended since. Delete the files instead.
//!
//! What is refused is kept aside as `FILE.refused`, and the gate starts without sessions: its users log in
//! again without noticing. A file that is not believed in part is not believed at all. What is no regular
//! file is not touched, and what cannot be read is not refused: then the gate does not start.

mod disk;
mod endings;
mod file;
mod frame;
mod record;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::crypto::seal::Sealer;
use crate::domain::clock::Timestamp;
use crate::domain::id::UserKey;
use crate::domain::secret::SealKeys;
use crate::domain::session::{Lifetimes, Session};
use crate::store::ending::Ending;
use crate::store::memory::MemoryStore;
use crate::store::snapshot::disk::{Disk, Real, beside};
use crate::store::snapshot::endings::{Endings, Ends, Entry, MAX_ORDERS, Order, Said, Trouble};
use crate::store::snapshot::file::Head;
use crate::store::snapshot::frame::{Identity, Refused};
use crate::store::users::{User, Users};
use crate::telemetry::event;

/// How often sessions are written when something has changed.
pub(in crate::store) const EVERY: Duration = Duration::from_mins(1);

/// What is read at once.
const READ_BYTES: usize = 256 * 1024;

/// Where sessions are written, and under which keys.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    /// `store.snapshot_file`.
    pub path: PathBuf,
    /// What it is sealed under.
    pub keys: SealKeys,
}

/// Why a gate cannot start with its snapshot file.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What is refused cannot be kept aside.
    #[error("{}, of store.snapshot_file, is refused and cannot be renamed", .0.display())]
    Aside(PathBuf, #[source] io::Error),
    /// Another process has it.
    #[error(
        "another gate uses store.snapshot_file {}: it is running still, or two have the same file \
         configured",
        .0.display()
    )]
    InUse(PathBuf),
    /// It cannot be told whether another process has it.
    #[error("{} cannot be locked, which store.snapshot_file needs", .0.display())]
    Lock(PathBuf, #[source] io::Error),
    /// A link, a pipe, a device: it is nobody's to rename.
    #[error("{} is no regular file, as store.snapshot_file and what lies beside it have to be", .0.display())]
    NotAFile(PathBuf),
    /// What it says is not known, so it is not refused either.
    #[error("{}, of store.snapshot_file, cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// No thread for the endings.
    #[error("cannot start the thread that saves endings")]
    Thread(#[source] io::Error),
}

/// Sessions could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the sessions could not be saved to store.snapshot_file; the log says why")]
pub struct NotSaved;

/// What is counted of snapshots.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// When the last one was written.
    pub last: Option<Timestamp>,
    /// How many could not be written.
    pub failed: u64,
    /// Endings that were not safe when it was told what came of them.
    pub endings_not_saved: u64,
}

/// Keeps the files of one store.
#[derive(Debug)]
pub(in crate::store) struct Snapshots {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    sealer: Sealer,
    /// Who has it writes a snapshot.
    writing: Mutex<()>,
    /// Whether the sessions are others than those of the last snapshot.
    changed: AtomicBool,
    orders: SyncSender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
    last: AtomicU64,
    failed: AtomicU64,
    trouble: Arc<Trouble>,
}

impl Snapshots {
    /// Takes the files for this process, and reads into the store what lives of their sessions.
    pub(in crate::store) fn open(
        settings: &SnapshotFile,
        max_sessions: u64,
        (now, lifetimes): (Timestamp, &Lifetimes),
    ) -> Result<MemoryStore, OpenError> {
        Self::open_on(Arc::new(Real), settings, max_sessions, (now, lifetimes))
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        settings: &SnapshotFile,
        max_sessions: u64,
        (now, lifetimes): (Timestamp, &Lifetimes),
    ) -> Result<MemoryStore, OpenError> {
        let SnapshotFile { path, keys } = settings;
        for path in [path, &beside(path, ENDED), &beside(path, LOCK)] {
            look_at(path)?;
        }
        let lock = lock(path)?;
        let sealer = Sealer::new(keys);
        let store = MemoryStore::new(max_sessions);
        let began = Instant::now();
        let (store, found) = match load(path, &sealer, &store, (now, lifetimes)) {
            Ok(found) => {
                let sessions = store.len();
                let millis = began.elapsed().as_millis();
                tracing::info!(message = event::SNAPSHOT_READ, sessions, millis);
                (store, found)
            }
            Err(refused) => {
                set_aside(path, refused)?;
                (MemoryStore::new(max_sessions), None)
            }
        };
        let snapshots = Self::start(disk, (path, sealer), found, lock)?;
        Ok(store.with_snapshots(snapshots))
    }

    fn start(
        disk: Arc<dyn Disk>,
        (path, sealer): (&Path, Sealer),
        found: Option<Said>,
        lock: File,
    ) -> Result<Self, OpenError> {
        // What was read is written once more: under the current key, and without what has run out.
        let changed = AtomicBool::new(found.is_some());
        let (orders, given) = mpsc::sync_channel(MAX_ORDERS);
        let mut endings = Endings::new(
            Arc::clone(&disk),
            beside(path, ENDED),
            sealer.clone(),
            found.unwrap_or_else(Said::nothing),
        );
        endings.begin();
        let trouble = endings.trouble();
        let thread = std::thread::Builder::new()
            .name("endings".to_owned())
            .spawn(move || {
                endings.run(&given);
                // Held for as long as anything may be written.
                drop(lock);
            });
        Ok(Self {
            disk,
            path: path.to_path_buf(),
            sealer,
            writing: Mutex::new(()),
            changed,
            orders,
            thread: Mutex::new(Some(thread.map_err(OpenError::Thread)?)),
            last: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            trouble,
        })
    }

    /// Notes that the sessions are others than those of the last snapshot.
    pub(in crate::store) fn note_change(&self) {
        // Most often it is noted already, and a cache line that is only read is in every core's cache.
        if !self.changed.load(Ordering::Relaxed) {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// Writes down that these have ended, or will. They have to be so in memory already.
    pub(in crate::store) fn end<'a>(&self, ended: impl Iterator<Item = &'a Session>) -> Ending {
        self.write_down(ended.map(Entry::of).collect())
    }

    /// Writes down that these have ended, and with them whatever the last snapshot has of the user. The
    /// stamp is the store's, after they were ended in memory.
    pub(in crate::store) fn end_user<'a>(
        &self,
        (user, stamp): (&UserKey, u64),
        ended: impl Iterator<Item = &'a Session>,
    ) -> Ending {
        let of_user = Entry::of_user(user, stamp);
        self.write_down(ended.map(Entry::of).chain([of_user]).collect())
    }

    fn write_down(&self, entries: Vec<Entry>) -> Ending {
        if entries.is_empty() {
            return Ending::done();
        }
        self.note_change();
        let (told, ending) = Ending::on_its_way();
        if self.orders.try_send(Order::End(entries, told)).is_err() {
            // The order is dropped, which tells.
            self.trouble.note_full();
        }
        ending.when_late(Arc::clone(&self.trouble))
    }

    /// Writes a snapshot if something has changed, and gives the number of sessions in it. Takes as long
    /// as the disk needs. The next one has what this one has not.
    pub(in crate::store) fn write_changes(
        &self,
        users: &Users,
        (now, lifetimes): (Timestamp, &Lifetimes),
    ) -> Result<Option<u64>, NotSaved> {
        let _alone = self.writing.lock();
        // Before the sessions are copied: what changes from here on is for the next one.
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(None);
        }
        let unsaved = Unsaved(Some(&self.changed));
        let began = Instant::now();
        match self.write(users, (now, lifetimes)) {
            Ok(sessions) => {
                unsaved.no_longer();
                self.last.store(now.as_millis(), Ordering::Relaxed);
                let millis = began.elapsed().as_millis();
                tracing::debug!(message = event::SNAPSHOT_WRITTEN, sessions, millis);
                Ok(Some(sessions))
            }
            Err(error) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                let file = self.path.display();
                tracing::error!(message = event::SNAPSHOT_FAILED, %error, %file);
                Err(NotSaved)
            }
        }
    }

    /// The steps of the module's documentation.
    fn write(&self, users: &Users, now: (Timestamp, &Lifetimes)) -> io::Result<u64> {
        let mark = self.ask(Order::Mark)??;
        let head = Head {
            identity: Identity::draw(),
            beside: mark.since,
        };
        let mut sessions = 0;
        let written = disk::replace(self.disk.as_ref(), &self.path, |file| {
            sessions = file::write(file, (&self.sealer, head), users, now)?;
            Ok(())
        })?;
        drop(written);
        self.ask(|done| Order::Restart {
            since: head.identity,
            mark,
            done,
        })??;
        Ok(sessions)
    }

    fn ask<T>(&self, order: impl FnOnce(mpsc::Sender<T>) -> Order) -> io::Result<T> {
        let (answer, answered) = mpsc::channel();
        let gone = "the thread that saves endings is gone";
        self.orders
            .send(order(answer))
            .map_err(|_gone| io::Error::other(gone))?;
        answered.recv().map_err(|_gone| io::Error::other(gone))
    }

    /// Writes what has changed for the last time, ends the thread, and gives the files up. Endings from
    /// here on are not safe.
    pub(in crate::store) fn close(
        &self,
        users: &Users,
        now: (Timestamp, &Lifetimes),
    ) -> Result<(), NotSaved> {
        let written = self.write_changes(users, now);
        if let Ok(Some(sessions)) = written {
            tracing::info!(message = event::SNAPSHOT_LEFT, sessions);
        }
        self.give_up();
        written.map(|_sessions| ())
    }

    fn give_up(&self) {
        // It may be gone already.
        drop(self.orders.send(Order::Stop));
        if let Some(thread) = self.thread.lock().take() {
            // A thread that panicked has nothing left to be waited for.
            drop(thread.join());
        }
    }

    pub(in crate::store) fn figures(&self) -> Figures {
        let last = self.last.load(Ordering::Relaxed);
        Figures {
            last: (last != 0).then(|| Timestamp::from_millis(last)),
            failed: self.failed.load(Ordering::Relaxed),
            endings_not_saved: self.trouble.not_saved(),
        }
    }
}

/// Has what was taken for written count as changed, unless it was written: also when writing panics.
struct Unsaved<'a>(Option<&'a AtomicBool>);

impl Unsaved<'_> {
    fn no_longer(mut self) {
        self.0 = None;
    }
}

impl Drop for Unsaved<'_> {
    fn drop(&mut self) {
        if let Some(changed) = self.0 {
            changed.store(true, Ordering::Release);
        }
    }
}

/// What is added to the name of the snapshot file: for the endings, for the lock, for what is refused.
const ENDED: &str = ".ended";
const LOCK: &str = ".lock";
const REFUSED: &str = ".refused";

/// A file that is not believed.
struct RefusedFile {
    path: PathBuf,
    why: Refused,
}

/// Keeps other processes away. The lock is on a file of its own, for the snapshot is a new file every
/// time.
fn lock(path: &Path) -> Result<File, OpenError> {
    let name = beside(path, LOCK);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    disk::for_owner_only(&mut options);
    let opened = options.open(&name);
    let file = opened.map_err(|error| OpenError::Lock(name.clone(), error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(OpenError::Lock(name, error)),
    }
}

/// Reads both files into the store, and gives what has ended. Without a snapshot there is nothing, whatever
/// has ended.
fn load(
    path: &Path,
    sealer: &Sealer,
    store: &MemoryStore,
    (now, lifetimes): (Timestamp, &Lifetimes),
) -> Result<Option<Said>, RefusedFile> {
    let refused = |path: &Path| {
        let path = path.to_path_buf();
        move |why| RefusedFile { path, why }
    };
    let Some(mut file) = open(path).map_err(refused(path))? else {
        return Ok(None);
    };
    let head = file::read_head(&mut file, sealer).map_err(refused(path))?;
    let ended = beside(path, ENDED);
    let said = match open(&ended).map_err(refused(&ended))? {
        Some(mut file) => endings::read(&mut file, sealer).map_err(refused(&ended))?,
        None => return Err(refused(path)(Refused::Apart)),
    };
    if ![head.identity, head.beside].contains(&said.since) {
        return Err(refused(path)(Refused::Apart));
    }
    let ends = Ends::of(&said.entries);
    let mut newest: Option<Arc<Session>> = None;
    let take = |mut user: User| {
        user.sessions.retain(|session| {
            ends.apply(session);
            session.is_live(now, lifetimes)
        });
        let sessions = user.sessions.iter().chain(&newest);
        newest = sessions
            .max_by_key(|session| session.stamp())
            .map(Arc::clone);
        store.restore(user);
    };
    file::read(&mut file, (sealer, head.identity), take).map_err(refused(path))?;
    store.count_from(ends.last_stamp());
    // There may be less room than there was.
    if let Some(newest) = newest {
        store.make_room(&newest);
    }
    Ok(Some(said))
}

/// Whether there is a regular file, which may be read, renamed and replaced; an error when it is something
/// else. A pipe would have the start wait, and a link leads to a file of somebody else's.
fn look_at(path: &Path) -> Result<bool, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(true),
        Ok(_) => Err(OpenError::NotAFile(path.to_path_buf())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(OpenError::Read(path.to_path_buf(), error)),
    }
}

/// Opens a file that may be believed for where and how it lies there; nothing when there is none.
fn open(path: &Path) -> Result<Option<BufReader<File>>, Refused> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(Refused::Read)?,
    };
    // Of the file itself: another may have its name by now.
    if !file.metadata().map_err(Refused::Read)?.is_file() {
        return Err(Refused::NotAFile);
    }
    only_for_owner(&file)?;
    Ok(Some(BufReader::with_capacity(READ_BYTES, file)))
}

#[cfg(unix)]
fn only_for_owner(file: &File) -> Result<(), Refused> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata().map_err(Refused::Read)?.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(Refused::Mode(mode)),
    }
}

/// Access lists of other systems are not looked at.
#[cfg(not(unix))]
fn only_for_owner(_file: &File) -> Result<(), Refused> {
    Ok(())
}

/// Keeps both files for whoever wants to know what was wrong with them. The snapshot goes first: without
/// it there is nothing to come back. Gives an error for files of which it is not known what they say.
fn set_aside(path: &Path, refused: RefusedFile) -> Result<(), OpenError> {
    let RefusedFile { path: file, why } = refused;
    let why = match why {
        Refused::NotAFile => return Err(OpenError::NotAFile(file)),
        Refused::Read(error) => return Err(OpenError::Read(file, error)),
        why => why,
    };
    let kept_as = beside(path, REFUSED);
    let (file, shown) = (file.display(), kept_as.display());
    tracing::error!(message = event::SNAPSHOT_REFUSED, %file, %why, kept_as = %shown);
    let ended = beside(path, ENDED);
    for (from, to) in [(path, &kept_as), (&ended, &beside(&ended, REFUSED))] {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(OpenError::Aside(from.to_path_buf(), error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
