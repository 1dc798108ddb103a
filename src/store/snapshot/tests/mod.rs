//! Stores that outlive each other, on real files, with a disk between that can fail.

mod crash;
mod evicted;
mod refused;
mod trouble;

use std::collections::BTreeSet;
use std::io::Write;

use tempfile::TempDir;

use super::*;
use crate::domain::clock::{Clock, HeldClock};
use crate::domain::id::{AppId, OpenId, UnionId, UserKey};
use crate::domain::secret::{SealKey, SessionKey};
use crate::domain::session::Holder;
use crate::domain::token::TokenDigest;
use crate::store::ending::Ended;
use crate::store::snapshot::disk::Writing;
use crate::store::{Login, Store};

const DAY: Duration = Duration::from_hours(24);
const LIFETIMES: Lifetimes = Lifetimes {
    ttl: DAY,
    idle_ttl: None,
};
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const ROOM: u64 = 1_000_000;

fn app() -> AppId {
    AppId::parse("wx0123456789abcdef").unwrap()
}

fn user(name: &str) -> UserKey {
    UserKey::new(&app(), &OpenId::parse(name).unwrap())
}

fn digest(number: u64) -> TokenDigest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    bytes[31] = number.to_le_bytes()[0];
    TokenDigest::new(bytes)
}

fn keys(current: u8, previous: Option<u8>) -> SealKeys {
    let key = |byte| SealKey::new(vec![byte; 32]);
    SealKeys {
        current: key(current),
        previous: previous.map(key),
    }
}

/// A disk that is not waited for.
#[derive(Debug)]
struct Quick;

struct QuickFile(Box<dyn Writing>);

impl Disk for Quick {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writing>> {
        Ok(Box::new(QuickFile(Real.create(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }

    fn sync_directory(&self, _of: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Write for QuickFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Writing for QuickFile {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A folder, and the stores that have their snapshot there one after the other.
struct Place {
    folder: TempDir,
    keys: SealKeys,
    now: Timestamp,
    lifetimes: Lifetimes,
    room: u64,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            keys: keys(1, None),
            now: NOW,
            lifetimes: LIFETIMES,
            room: ROOM,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("sessions")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.file(), suffix)
    }

    fn settings(&self) -> SnapshotFile {
        SnapshotFile {
            path: self.file(),
            keys: self.keys.clone(),
        }
    }

    fn try_open(&self) -> Result<MemoryStore, OpenError> {
        Snapshots::open(&self.settings(), self.room, (self.now, &self.lifetimes))
    }

    fn open(&self) -> Life<'_> {
        self.on(Arc::new(Quick))
    }

    fn on(&self, disk: Arc<dyn Disk>) -> Life<'_> {
        let now = (self.now, &self.lifetimes);
        let store = Snapshots::open_on(disk, &self.settings(), self.room, now).unwrap();
        Life { store, place: self }
    }

    /// What a life leaves that logs these users in, by the number of their session, and stops.
    fn prepare(&self, users: &[(&str, u64)]) {
        let life = self.open();
        for (name, number) in users {
            life.login(name, *number);
        }
        life.stop();
    }

    /// The sessions that the next life finds, out of these.
    fn found(&self, numbers: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        let life = self.open();
        let found = numbers.into_iter().filter(|&number| life.lives(number));
        found.collect()
    }
}

/// A store between its start and its end. Dropping it is a crash.
struct Life<'a> {
    store: MemoryStore,
    place: &'a Place,
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        // The next one in the same process waits for the lock.
        self.snapshots().give_up();
    }
}

impl Life<'_> {
    fn snapshots(&self) -> &Snapshots {
        self.store.snapshots().unwrap()
    }

    fn begin(&self, name: &str, number: u64, change: impl FnOnce(&mut Login)) -> Ending {
        let holder = Holder {
            app: app(),
            openid: OpenId::parse(name).unwrap(),
            unionid: UnionId::parse(&format!("u{name}")).ok(),
        };
        let session = Session::begin(digest(number), holder, self.place.now);
        let mut login = Login {
            session: Arc::new(session),
            key: SessionKey::new([number.to_le_bytes()[0]; 16]),
            redeemed: self.place.now,
            replaces: None,
            max_per_user: None,
        };
        change(&mut login);
        self.store
            .begin(login, self.place.now, &self.place.lifetimes)
    }

    fn login(&self, name: &str, number: u64) {
        drop(self.begin(name, number, |_login| ()));
    }

    fn session(&self, number: u64) -> Option<Arc<Session>> {
        let Place { now, lifetimes, .. } = self.place;
        let live = self.store.find(&digest(number), *now, lifetimes)?;
        Some(Arc::clone(live.session()))
    }

    fn lives(&self, number: u64) -> bool {
        self.session(number).is_some()
    }

    fn end(&self, number: u64) -> Ending {
        self.store.end(&self.session(number).unwrap())
    }

    /// Whether it was written.
    fn save(&self) -> bool {
        let failed = self.snapshots().figures().failed;
        self.store.save(self.place.now, &self.place.lifetimes);
        self.snapshots().figures().failed == failed
    }

    fn stop(self) {
        assert!(self.save());
    }
}

#[tokio::test]
async fn what_has_run_out_while_the_gate_was_down_is_not_read() {
    let mut place = Place::new();
    place.prepare(&[("a", 1)]);
    place.now = NOW.plus(DAY / 2);
    place.prepare(&[("b", 2)]);
    place.now = NOW.plus(DAY);
    assert_eq!(place.found([1, 2]), [2].into());
    assert_eq!(place.open().store.len(), 1);
}

#[tokio::test]
async fn a_session_that_was_replaced_has_no_longer_than_the_rest_of_its_grace() {
    let mut place = Place::new();
    let life = place.open();
    life.login("a", 1);
    let replace = |login: &mut Login| login.replaces = Some(digest(1));
    assert_eq!(
        life.begin("a", 2, replace).landed().await,
        Ended::Everywhere
    );
    life.stop();
    assert_eq!(place.found([1, 2]), [1, 2].into());
    place.now = NOW.plus(Duration::from_mins(1));
    assert_eq!(place.found([1, 2]), [2].into());
}

#[tokio::test]
async fn an_idle_session_counts_from_its_last_use_that_was_written() {
    let mut place = Place::new();
    place.lifetimes.idle_ttl = Some(Duration::from_hours(2));
    place.prepare(&[("a", 1), ("b", 2)]);
    place.now = NOW.plus(Duration::from_hours(1));
    let life = place.open();
    assert!(life.lives(1));
    life.stop();
    place.now = NOW.plus(Duration::from_hours(2));
    assert_eq!(place.found([1, 2]), [1].into());
}

#[test]
fn who_the_users_are_and_which_keys_they_have_is_kept() {
    let mut place = Place::new();
    let life = place.open();
    life.login("a", 1);
    life.login("a", 2);
    life.stop();
    place.now = NOW.plus(Duration::from_mins(1));
    let life = place.open();
    for number in [1, 2] {
        let session = life.session(number).unwrap();
        let holder = session.holder();
        assert_eq!(holder.app, app());
        assert_eq!(holder.openid.as_str(), "a");
        assert_eq!(holder.unionid.as_ref().unwrap().as_str(), "ua");
        assert_eq!(session.created(), NOW);
    }
    let keys = |grace| life.store.keys(&user("a"), place.now, grace);
    let bytes = |grace| {
        keys(grace)
            .iter()
            .map(|key| key.expose()[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(bytes(Duration::from_mins(1)), [2, 1]);
    assert_eq!(bytes(Duration::from_secs(59)), [2]);
    assert_eq!(life.store.end_all(&user("a")).0, 2);
}

#[test]
fn a_user_with_very_many_sessions_has_them_all_and_in_order() {
    let place = Place::new();
    place.prepare(&(0..600).map(|number| ("a", number)).collect::<Vec<_>>());
    let life = place.open();
    assert_eq!(life.store.len(), 600);
    let cap = |login: &mut Login| login.max_per_user = Some(2);
    drop(life.begin("a", 600, cap));
    let left: Vec<_> = (0..=600).filter(|&number| life.lives(number)).collect();
    assert_eq!(left, [599, 600]);
}

#[test]
fn where_there_is_less_room_than_before_the_least_used_are_left_out() {
    let place = Place::new();
    let life = place.open();
    for number in 0..8 {
        life.login(&number.to_string(), number);
    }
    life.login("9", 9);
    assert!(life.lives(3));
    life.stop();
    let store = Snapshots::open(&place.settings(), 2, (NOW, &LIFETIMES)).unwrap();
    let lives = |number| store.find(&digest(number), NOW, &LIFETIMES).is_some();
    let left: Vec<_> = (0..10).filter(|&number| lives(number)).collect();
    assert_eq!(left, [3, 9]);
    store.snapshots().unwrap().give_up();
}

#[test]
fn a_file_is_taken_by_one_gate_at_a_time() {
    let place = Place::new();
    let life = place.open();
    let second = place.try_open().unwrap_err();
    assert!(matches!(second, OpenError::InUse(_)), "{second}");
    assert!(
        second.to_string().starts_with("another gate uses"),
        "{second}"
    );
    life.login("a", 1);
    life.stop();
    assert_eq!(place.found([1]), [1].into());
}

#[test]
fn a_new_key_reads_what_the_one_before_has_sealed() {
    let mut place = Place::new();
    place.prepare(&[("a", 1)]);
    place.keys = keys(2, Some(1));
    // Though nobody logs in or out.
    place.prepare(&[]);
    place.keys = keys(2, None);
    assert_eq!(place.found([1]), [1].into());
}

#[cfg(unix)]
#[test]
fn every_file_is_readable_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let mut names = Vec::new();
    for entry in fs::read_dir(place.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["sessions", "sessions.ended", "sessions.lock"]);
}

#[test]
fn nothing_of_a_user_can_be_read_in_the_files() {
    let place = Place::new();
    place.prepare(&[("oPlantedOpenid", 1)]);
    for file in [place.file(), place.beside(ENDED)] {
        let text = String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        assert!(
            !text.contains("Planted") && !text.contains("wx0123"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_changed_is_written_within_a_minute_and_nothing_else_is() {
    let place = Place::new();
    let life = place.open();
    let store = Store::Memory(life.store.clone());
    let clock = HeldClock::at(NOW);
    let keeping = store.keep_saved(Clock::Held(clock), || LIFETIMES);
    let keeping = tokio::spawn(keeping);
    tokio::time::sleep(EVERY * 3).await;
    assert!(!place.file().exists());
    life.login("a", 1);
    tokio::time::sleep(EVERY + Duration::from_secs(1)).await;
    let written = fs::read(place.file()).unwrap();
    tokio::time::sleep(EVERY * 3).await;
    assert!(written == fs::read(place.file()).unwrap());
    keeping.abort();
    drop(life);
    assert_eq!(place.found([1]), [1].into());
}
