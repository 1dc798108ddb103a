//! Crashes after every single step, of the process and of the machine.

use std::sync::atomic::AtomicUsize;

use super::*;

/// What is left of a step that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Crash {
    /// All of it: the process is gone, the system goes on.
    OfProcess,
    /// Nothing of it: the machine is gone.
    OfMachine,
}

/// A disk that fails for good after so many steps, the last of which it does by half.
#[derive(Clone, Debug)]
struct Frail {
    steps: Arc<AtomicUsize>,
    crash: Crash,
    /// Names that the directory does not have yet.
    renames: Arc<Mutex<Vec<(PathBuf, PathBuf)>>>,
}

impl Frail {
    fn new(steps: usize, crash: Crash) -> Self {
        Self {
            steps: Arc::new(AtomicUsize::new(steps)),
            crash,
            renames: Arc::default(),
        }
    }

    fn step(&self) -> io::Result<()> {
        let left = self
            .steps
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        left.map(|_| ())
            .map_err(|_none| io::Error::other("it is gone"))
    }
}

impl Disk for Frail {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writing>> {
        self.step()?;
        Ok(Box::new(FrailFile {
            file: Real.create(path)?,
            unsynced: Vec::new(),
            disk: self.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        match self.crash {
            Crash::OfProcess => fs::rename(from, to)?,
            Crash::OfMachine => {
                let names = (from.to_path_buf(), to.to_path_buf());
                self.renames.lock().push(names);
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        fs::remove_file(path)
    }

    fn sync_directory(&self, _of: &Path) -> io::Result<()> {
        self.step()?;
        for (from, to) in self.renames.lock().drain(..) {
            fs::rename(from, to)?;
        }
        Ok(())
    }
}

struct FrailFile {
    file: Box<dyn Writing>,
    unsynced: Vec<u8>,
    disk: Frail,
}

impl Write for FrailFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.disk.step();
        // The last write gets half way.
        let bytes = &bytes[..if outcome.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        }];
        match self.disk.crash {
            Crash::OfProcess => self.file.write_all(bytes)?,
            Crash::OfMachine => self.unsynced.extend_from_slice(bytes),
        }
        outcome.map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Writing for FrailFile {
    fn sync(&mut self) -> io::Result<()> {
        let outcome = self.disk.step();
        let half = self.unsynced.len() / 2;
        let length = if outcome.is_ok() {
            self.unsynced.len()
        } else {
            half
        };
        let synced: Vec<_> = self.unsynced.drain(..length).collect();
        self.file.write_all(&synced)?;
        outcome
    }
}

/// What somebody was told during a life, or has the right to expect after it.
#[derive(Debug, Default)]
struct Told {
    ended: BTreeSet<u64>,
    /// In a snapshot that was written, and nobody has tried to end them since.
    saved: BTreeSet<u64>,
}

impl Told {
    /// Ends a session. Whether it comes back is open until somebody is told.
    async fn end(&mut self, number: u64, ending: Ending) {
        self.saved.remove(&number);
        if ending.landed().await == Ended::Everywhere {
            self.ended.insert(number);
        }
    }

    fn save(&mut self, life: &Life<'_>, numbers: &[u64]) {
        if life.save() {
            self.saved.extend(numbers);
        }
    }
}

/// A life with everything in it that writes. It finds the sessions 1 and 2.
async fn live(life: &Life<'_>) -> Told {
    let mut told = Told::default();
    told.saved.extend([1, 2]);
    life.login("c", 3);
    told.end(1, life.end(1)).await;
    told.save(life, &[3]);
    life.login("d", 4);
    life.login("d", 5);
    told.end(3, life.end(3)).await;
    told.save(life, &[4, 5]);
    let (_, ending) = life.store.end_all(&user("d"));
    told.end(4, ending).await;
    // Of both there was one word.
    told.saved.remove(&5);
    if told.ended.contains(&4) {
        told.ended.insert(5);
    }
    life.login("f", 6);
    let cap = |login: &mut Login| login.max_per_user = Some(1);
    told.end(6, life.begin("f", 7, cap)).await;
    told.save(life, &[7]);
    told.save(life, &[7]);
    told
}

async fn check(steps: usize, crash: Crash) -> bool {
    let place = Place::new();
    place.prepare(&[("a", 1), ("b", 2)]);
    let disk = Frail::new(steps, crash);
    let life = place.on(Arc::new(disk.clone()));
    let told = live(&life).await;
    drop(life);
    let found = place.found(1..8);
    let back: Vec<_> = found.intersection(&told.ended).collect();
    assert!(back.is_empty(), "back after {steps} {crash:?}: {back:?}");
    let lost: Vec<_> = told.saved.difference(&found).collect();
    assert!(lost.is_empty(), "lost after {steps} {crash:?}: {lost:?}");
    assert!(!place.beside(REFUSED).exists(), "{steps} {crash:?}");
    // Whether it got to the end.
    disk.steps.load(Ordering::SeqCst) > 0
}

#[tokio::test]
async fn no_crash_after_whatever_step_brings_back_what_somebody_was_told_to_have_ended() {
    for crash in [Crash::OfProcess, Crash::OfMachine] {
        let mut steps = 0;
        while !check(steps, crash).await {
            steps += 1;
        }
        // Three snapshots, five endings, one file of endings at the start.
        assert!((40..120).contains(&steps), "{steps}");
    }
}

#[tokio::test]
async fn a_first_life_leaves_nothing_odd_wherever_it_is_cut_short() {
    for crash in [Crash::OfProcess, Crash::OfMachine] {
        for steps in 0..40 {
            let place = Place::new();
            let life = place.on(Arc::new(Frail::new(steps, crash)));
            life.login("a", 1);
            let mut told = Told::default();
            told.save(&life, &[1]);
            told.end(1, life.end(1)).await;
            life.login("b", 2);
            told.save(&life, &[2]);
            drop(life);
            let found = place.found([1, 2]);
            assert!(found.is_superset(&told.saved), "{steps} {crash:?}");
            assert!(found.is_disjoint(&told.ended), "{steps} {crash:?}");
            assert!(!place.beside(REFUSED).exists(), "{steps} {crash:?}");
        }
    }
}

/// A disk that may come to write snapshots, and no new files of endings.
#[derive(Clone, Debug, Default)]
pub(super) struct StuckAtEndings(Arc<AtomicBool>);

impl StuckAtEndings {
    pub(super) fn stick(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Disk for StuckAtEndings {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writing>> {
        let of_endings = path.to_string_lossy().contains(ENDED);
        if of_endings && self.0.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Quick.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Quick.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Quick.remove(path)
    }

    fn sync_directory(&self, of: &Path) -> io::Result<()> {
        Quick.sync_directory(of)
    }
}

/// The process is gone before the directory has the new snapshot's name, and the machine goes down at
/// some time in the life after: that life has read the new one, and the next finds the old one.
#[tokio::test]
async fn whichever_snapshot_two_crashes_leave_the_endings_belong_to_it() {
    let place = Place::new();
    place.prepare(&[("a", 1), ("b", 2)]);
    let before = fs::read(place.file()).unwrap();
    let disk = StuckAtEndings::default();
    let life = place.on(Arc::new(disk.clone()));
    life.login("c", 3);
    disk.stick();
    assert!(!life.save());
    drop(life);
    let life = place.open();
    assert!(life.lives(3));
    assert_eq!(life.end(1).landed().await, Ended::Everywhere);
    drop(life);
    let after = fs::read(place.file()).unwrap();
    assert!(before != after);
    for (snapshot, found) in [(before, vec![2]), (after, vec![2, 3])] {
        fs::write(place.file(), snapshot).unwrap();
        assert_eq!(place.found([1, 2, 3]), found.into_iter().collect());
        assert!(!place.beside(REFUSED).exists());
    }
}

type Act = Box<dyn FnOnce() + Send>;

/// A disk on which something happens before a file takes another's name.
#[derive(Clone, Default)]
pub(super) struct Meanwhile(Arc<Mutex<Option<Act>>>);

impl Meanwhile {
    pub(super) fn does(&self, act: impl FnOnce() + Send + 'static) {
        *self.0.lock() = Some(Box::new(act));
    }
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile(..)")
    }
}

impl Disk for Meanwhile {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Writing>> {
        Quick.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let act = self.0.lock().take();
        if let Some(act) = act {
            act();
        }
        Quick.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Quick.remove(path)
    }

    fn sync_directory(&self, of: &Path) -> io::Result<()> {
        Quick.sync_directory(of)
    }
}

#[tokio::test]
async fn an_ending_after_the_sessions_were_copied_is_among_those_since_the_snapshot() {
    let place = Place::new();
    let disk = Meanwhile::default();
    let life = place.on(Arc::new(disk.clone()));
    life.login("a", 1);
    life.login("b", 2);
    let session = life.session(1).unwrap();
    let (store, ending) = (life.store.clone(), Arc::new(Mutex::new(None)));
    let noted = Arc::clone(&ending);
    disk.does(move || *noted.lock() = Some(store.end(&session)));
    assert!(life.save());
    let ending = ending.lock().take().unwrap();
    assert_eq!(ending.landed().await, Ended::Everywhere);
    drop(life);
    assert_eq!(place.found([1, 2]), [2].into());
}

#[tokio::test]
async fn sessions_that_are_ended_while_snapshots_are_written_do_not_come_back() {
    const SESSIONS: u64 = 2000;
    let place = Place::new();
    let life = place.open();
    for number in 0..SESSIONS {
        life.login(&format!("u{}", number % 500), number);
    }
    let mut endings = Vec::new();
    std::thread::scope(|scope| {
        let life = &life;
        let ending = scope.spawn(|| {
            let odd = (0..SESSIONS).filter(|number| number % 2 == 1);
            odd.map(|number| life.end(number)).collect::<Vec<_>>()
        });
        // Once at least, however quick the other is.
        assert!(life.save());
        while !ending.is_finished() {
            assert!(life.save());
        }
        endings = ending.join().unwrap();
    });
    for ending in endings {
        assert_eq!(ending.landed().await, Ended::Everywhere);
    }
    drop(life);
    let even = (0..SESSIONS).filter(|number| number % 2 == 0);
    assert_eq!(place.found(0..SESSIONS), even.collect());
}
