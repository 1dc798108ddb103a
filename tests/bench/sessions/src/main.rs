//! What a session costs: memory, and time and instructions to find it. Fills a store of the gate's
//! own with sessions of as many users, and looks them up in an order that no cache foresees.

use std::hint::black_box;
use std::ops::Range;
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use wxgate::domain::clock::Timestamp;
use wxgate::domain::id::{AppId, OpenId, UnionId};
use wxgate::domain::secret::{SealKey, SealKeys, SessionKey};
use wxgate::domain::session::{Holder, Lifetimes, Session};
use wxgate::domain::token::TokenDigest;
use wxgate::store::snapshot::SnapshotFile;
use wxgate::store::{Found, Login, Settings, Store};

const USAGE: &str = "\
usage: bench-sessions fill SESSIONS [unionid]
       bench-sessions find SESSIONS LOOKUPS [THREADS]
       bench-sessions full SESSIONS LOGINS
       bench-sessions snapshot SESSIONS [unionid]

fill  bytes of resident memory per session, what the allocator keeps for itself included
find  nanoseconds of CPU per lookup; for instructions see the file `run` beside
full  nanoseconds of CPU per login when every login makes an older session go
snapshot  size of a snapshot file, and how long it takes to write and to start from it";

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LIFETIMES: Lifetimes = Lifetimes {
    ttl: Duration::from_hours(7 * 24),
    idle_ttl: None,
};

/// Digits of base64url, of which openids are made.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["fill", sessions] => fill(sessions, false),
        ["fill", sessions, "unionid"] => fill(sessions, true),
        ["find", sessions, lookups] => find(sessions, lookups, "1"),
        ["find", sessions, lookups, threads] => find(sessions, lookups, threads),
        ["full", sessions, logins] => full(sessions, logins),
        ["snapshot", sessions] => snapshot(sessions, false),
        ["snapshot", sessions, "unionid"] => snapshot(sessions, true),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn fill(sessions: &str, unionid: bool) -> Result<(), Failure> {
    let sessions: u64 = sessions.parse()?;
    let people = People::new(unionid)?;
    let store = store_for(sessions);
    let before = resident()?;
    people.log_in(&store, 0..sessions)?;
    let grown = resident()?.saturating_sub(before);
    println!("{} bytes per session", grown / sessions.max(1));
    check(&store, sessions)
}

fn find(sessions: &str, lookups: &str, threads: &str) -> Result<(), Failure> {
    let (sessions, lookups, threads) = (sessions.parse()?, lookups.parse()?, threads.parse()?);
    let store = store_for(sessions);
    People::new(false)?.log_in(&store, 0..sessions)?;
    let store = &store;
    let taken: u64 = std::thread::scope(|scope| {
        let start = |thread| scope.spawn(move || look_up(store, sessions, lookups, thread));
        let running: Vec<_> = (0..threads).map(start).collect();
        let taken = running.into_iter().map(|thread| {
            let taken = thread.join().map_err(|_panic| "a thread panicked")?;
            taken.map_err(|why| why.to_string().into())
        });
        taken.sum::<Result<u64, Failure>>()
    })?;
    let all: u64 = lookups * threads;
    println!("{} ns of CPU per lookup", taken / all.max(1));
    Ok(())
}

fn full(sessions: &str, logins: &str) -> Result<(), Failure> {
    let (sessions, logins): (u64, u64) = (sessions.parse()?, logins.parse()?);
    let people = People::new(false)?;
    let store = store_for(sessions);
    people.log_in(&store, 0..sessions)?;
    let begun = on_cpu()?;
    people.log_in(&store, sessions..sessions + logins)?;
    let taken = on_cpu()? - begun;
    println!(
        "{} ns of CPU per login into a full store",
        taken / logins.max(1)
    );
    Ok(())
}

fn snapshot(sessions: &str, unionid: bool) -> Result<(), Failure> {
    let sessions: u64 = sessions.parse()?;
    let folder = std::env::temp_dir().join(format!("bench-sessions-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = snapshot_in(&folder, sessions, unionid);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn snapshot_in(folder: &Path, sessions: u64, unionid: bool) -> Result<(), Failure> {
    let path = folder.join("sessions");
    let key = SealKey::parse("JVPZFZKcXCuF3YeNFV+mm5cMLMYuhhwwyUFx3Gd/R0Q=");
    let settings = Settings {
        max_sessions: sessions,
        snapshot: Some(SnapshotFile {
            path: path.clone(),
            keys: SealKeys {
                current: key.ok_or("no key")?,
                previous: None,
            },
        }),
        ..Settings::default()
    };
    let store = Store::open(&settings, NOW, &LIFETIMES)?;
    People::new(unionid)?.log_in(&store, 0..sessions)?;
    let begun = Instant::now();
    assert!(store.close(NOW, &LIFETIMES).is_ok(), "cannot save");
    let written = begun.elapsed().as_millis();
    drop(store);
    let size = std::fs::metadata(&path)?.len() / sessions.max(1);
    let begun = Instant::now();
    let store = Store::open(&settings, NOW, &LIFETIMES)?;
    let read = begun.elapsed().as_millis();
    println!("{size} bytes per session, written in {written} ms, read in {read} ms");
    check(&store, sessions)
}

/// A store with room for exactly so many sessions.
fn store_for(sessions: u64) -> Store {
    Store::in_memory(&Settings {
        max_sessions: sessions,
        ..Settings::default()
    })
}

/// Finds sessions, and takes from each what goes into a request. Gives nanoseconds.
fn look_up(store: &Store, sessions: u64, lookups: u64, thread: u64) -> std::io::Result<u64> {
    let begun = on_cpu()?;
    for lookup in 0..lookups {
        let number = mix(lookup ^ (thread << 48)) % sessions;
        if let Found::Live(live) = store.find(&digest(number), NOW, &LIFETIMES) {
            black_box(live.holder().openid.header().clone());
            black_box(live.holder().app.header().clone());
        }
    }
    Ok(on_cpu()? - begun)
}

/// A few of the sessions are there: nothing was measured that is not kept.
fn check(store: &Store, sessions: u64) -> Result<(), Failure> {
    let found = (0..sessions)
        .step_by(997)
        .filter(|&number| {
            let found = store.find(&digest(number), NOW, &LIFETIMES);
            !matches!(found, Found::Live(_))
        })
        .count();
    match found {
        0 => Ok(()),
        missing => Err(format!("{missing} sessions are missing").into()),
    }
}

/// Users who log in.
struct People {
    app: AppId,
    unionid: bool,
}

impl People {
    fn new(unionid: bool) -> Result<Self, Failure> {
        let app = AppId::parse("wx0123456789abcdef")?;
        Ok(Self { app, unionid })
    }

    fn log_in(&self, store: &Store, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let unionid = self.unionid.then(|| id('u', !number));
            let holder = Holder {
                app: self.app.clone(),
                openid: OpenId::parse(&id('o', number))?,
                unionid: unionid.as_deref().map(UnionId::parse).transpose()?,
            };
            let login = Login {
                session: Session::begin(digest(number), holder, NOW).into(),
                key: SessionKey::new([7; 16]),
                redeemed: NOW,
                replaces: None,
                max_per_user: Some(10),
            };
            let begun = pin!(store.begin(login, NOW, &LIFETIMES));
            // In memory nothing is waited for.
            let begun = begun.poll(&mut Context::from_waker(Waker::noop()));
            assert!(begun.is_ready(), "a login waits");
        }
        Ok(())
    }
}

/// The hash of the token of this session.
fn digest(number: u64) -> TokenDigest {
    let mut bytes = [0; 32];
    for (place, part) in (0..).zip(bytes.chunks_exact_mut(8)) {
        part.copy_from_slice(&mix(number ^ (place << 56)).to_le_bytes());
    }
    TokenDigest::new(bytes)
}

/// An id as long as WeChat's: a letter and 27 random digits of base64url.
fn id(first: char, number: u64) -> String {
    let digit = |place: u64| {
        let index = usize::try_from(mix(number ^ (place << 56)) % 64).unwrap_or_default();
        DIGITS.get(index).map_or('A', |&digit| char::from(digit))
    };
    std::iter::once(first).chain((1..28).map(digit)).collect()
}

/// Splits a number so that nothing of the next can be told from it (Steele et al., 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<u64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.ok_or("no VmRSS")?.trim().parse()?;
    Ok(kib * 1024)
}

/// Nanoseconds for which this thread has been running: on a busy machine, less than have passed.
fn on_cpu() -> std::io::Result<u64> {
    let accounts = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let running = accounts.split(' ').next().and_then(|ns| ns.parse().ok());
    running.ok_or_else(|| std::io::Error::other("no account of this thread"))
}
