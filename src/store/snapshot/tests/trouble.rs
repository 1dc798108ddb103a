//! A disk that is slow or full: who is told what, and when.

use std::pin::pin;
use std::sync::mpsc::Receiver;
use std::task::Poll;

use super::crash::Meanwhile;
use super::*;

/// A disk that may be full, and whose syncs may have to wait to be let go.
#[derive(Clone, Debug, Default)]
struct Troubled {
    full: Arc<AtomicBool>,
    syncs: Arc<AtomicU64>,
    held: Arc<Mutex<Option<Receiver<()>>>>,
}

impl Troubled {
    fn look(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Disk for Troubled {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writing>> {
        self.look()?;
        let file = Real.create(path)?;
        Ok(Box::new(TroubledFile(file, self.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Real.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Real.remove(path)
    }

    fn sync_directory(&self, of: &Path) -> io::Result<()> {
        Real.sync_directory(of)
    }
}

struct TroubledFile(Box<dyn Writing>, Troubled);

impl Write for TroubledFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.look()?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Writing for TroubledFile {
    fn sync(&mut self) -> io::Result<()> {
        if let Some(held) = self.1.held.lock().as_ref() {
            // Let go for good when nobody is left to let it go.
            let _let_go = held.recv();
        }
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.sync()
    }
}

#[tokio::test]
async fn an_ending_is_told_only_when_the_disk_has_it() {
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let disk = Troubled::default();
    let life = place.on(Arc::new(disk.clone()));
    let (release, held) = mpsc::channel();
    *disk.held.lock() = Some(held);
    let ending = life.end(1);
    assert!(!life.lives(1));
    let mut landed = pin!(ending.landed());
    let at_once = std::future::poll_fn(|cx| Poll::Ready(landed.as_mut().poll(cx).is_ready()));
    assert!(!at_once.await);
    release.send(()).unwrap();
    assert_eq!(landed.await, Ended::Everywhere);
}

#[tokio::test(start_paused = true)]
async fn an_ending_that_the_disk_takes_too_long_for_is_counted_once_and_a_login_waits_for_less() {
    let place = Place::new();
    place.prepare(&[("a", 1), ("b", 2)]);
    let disk = Troubled::default();
    let life = place.on(Arc::new(disk.clone()));
    let (release, held) = mpsc::channel();
    *disk.held.lock() = Some(held);
    let began = Instant::now();
    let cap = |login: &mut Login| login.max_per_user = Some(1);
    let displaced = life.begin("b", 3, cap);
    assert_eq!(displaced.landed_at_login().await, Ended::HereOnly);
    assert_eq!(began.elapsed(), Duration::from_secs(1));
    assert_eq!(life.end(1).landed().await, Ended::HereOnly);
    assert_eq!(began.elapsed(), Duration::from_secs(6));
    assert_eq!(life.snapshots().figures().endings_not_saved, 2);
    // Though nobody waits for them, they are saved as soon as may be.
    drop(release);
    *disk.held.lock() = None;
    drop(life);
    assert_eq!(place.found([1, 2, 3]), [].into());
}

#[tokio::test]
async fn endings_that_come_while_the_disk_is_busy_share_a_sync() {
    let place = Place::new();
    let names: Vec<_> = (0..100).map(|number| ("a", number)).collect();
    place.prepare(&names);
    let disk = Troubled::default();
    let life = place.on(Arc::new(disk.clone()));
    let (release, held) = mpsc::channel();
    *disk.held.lock() = Some(held);
    let before = disk.syncs.load(Ordering::SeqCst);
    let endings: Vec<_> = (0..100).map(|number| life.end(number)).collect();
    for _sync in 0..100 {
        release.send(()).unwrap();
    }
    for ending in endings {
        assert_eq!(ending.landed().await, Ended::Everywhere);
    }
    // One was under way when the others came; no more than a few batches came of them.
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!((1..50).contains(&syncs), "{syncs}");
}

#[tokio::test]
async fn on_a_full_disk_an_ending_holds_here_only_and_is_saved_when_there_is_room() {
    let place = Place::new();
    place.prepare(&[("a", 1), ("b", 2)]);
    let disk = Troubled::default();
    let life = place.on(Arc::new(disk.clone()));
    disk.full.store(true, Ordering::SeqCst);
    assert_eq!(life.end(1).landed().await, Ended::HereOnly);
    assert!(!life.lives(1));
    assert_eq!(life.snapshots().figures().endings_not_saved, 1);
    disk.full.store(false, Ordering::SeqCst);
    // The next one takes the first along.
    assert_eq!(life.end(2).landed().await, Ended::Everywhere);
    drop(life);
    assert_eq!(place.found([1, 2]), [].into());
}

#[tokio::test]
async fn on_a_full_disk_the_snapshot_before_stays_and_the_next_one_has_everything() {
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let disk = Troubled::default();
    let life = place.on(Arc::new(disk.clone()));
    life.login("b", 2);
    disk.full.store(true, Ordering::SeqCst);
    let before = fs::read(place.file()).unwrap();
    assert!(!life.save());
    assert_eq!(life.snapshots().figures().failed, 1);
    assert!(fs::read(place.file()).unwrap() == before);
    assert!(!place.beside(".new").exists());
    disk.full.store(false, Ordering::SeqCst);
    // Though nothing has changed since.
    assert!(life.save());
    drop(life);
    assert_eq!(place.found([1, 2]), [1, 2].into());
}

#[tokio::test]
async fn a_gate_that_starts_on_a_full_disk_has_its_sessions_and_ends_them_here_only() {
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let disk = Troubled::default();
    disk.full.store(true, Ordering::SeqCst);
    let life = place.on(Arc::new(disk.clone()));
    assert!(life.lives(1));
    assert_eq!(life.end(1).landed().await, Ended::HereOnly);
}

#[tokio::test]
async fn a_last_snapshot_that_fails_is_told_of() {
    let place = Place::new();
    let disk = Troubled::default();
    let life = place.on(Arc::new(disk.clone()));
    life.login("a", 1);
    disk.full.store(true, Ordering::SeqCst);
    assert!(life.store.close(NOW, &LIFETIMES).is_err());
    let life = place.open();
    life.login("a", 1);
    assert!(life.store.close(NOW, &LIFETIMES).is_ok());
    drop(life);
    assert_eq!(place.found([1]), [1].into());
}

#[test]
fn what_a_snapshot_that_panicked_has_not_written_is_for_the_next() {
    let place = Place::new();
    let disk = Meanwhile::default();
    let life = place.on(Arc::new(disk.clone()));
    life.login("a", 1);
    disk.does(|| panic!("as a test"));
    let save = std::panic::AssertUnwindSafe(|| life.save());
    assert!(std::panic::catch_unwind(save).is_err());
    assert!(life.save());
    drop(life);
    assert_eq!(place.found([1]), [1].into());
}

#[tokio::test]
async fn a_gate_that_is_stopping_says_of_an_ending_that_it_is_not_safe() {
    let place = Place::new();
    place.prepare(&[("a", 1)]);
    let life = place.open();
    life.snapshots().give_up();
    assert_eq!(life.end(1).landed().await, Ended::HereOnly);
}
