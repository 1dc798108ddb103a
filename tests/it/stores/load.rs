//! A bounded load on several gates: requests of sessions that every gate knows, and logouts. Each
//! answer is judged when it comes, by what is known of its session. Knows nothing of what is done to
//! the gates and to Redis meanwhile.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::STUCK;
use crate::support::app::until;
use crate::support::process::Gate;
use crate::support::raw::{Connection, Request};

/// For how long a gate believes a copy here. Longer than the longest pause between two attempts to
/// connect, so that a gate that has not come back yet believes nothing for longer either.
pub(super) const LOCAL_CACHE_TTL: Duration = Duration::from_millis(2200);

/// Clients, and how often each of them asks at most: some seven hundred requests a second.
const CLIENTS: usize = 7;
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Who logs out, and how often at most.
const ENDERS: usize = 2;
const END_EVERY: Duration = Duration::from_millis(40);

/// Sessions that nobody ends, and sessions that are there to be ended.
const STAY: usize = 12;
const LEAVE: usize = 88;

/// Logins at once, before the load begins.
const LOGINS_AT_ONCE: usize = 8;

/// What was done about a session's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    /// Somebody has asked for it, and has no answer by which it is sure.
    Asked,
    /// Since this moment its client knows that it is over.
    Sure(Instant),
}

#[derive(Debug)]
struct Member {
    token: String,
    end: Mutex<End>,
}

/// A gate that is asked.
#[derive(Clone, Copy, Debug)]
struct Target {
    address: SocketAddr,
    /// Whether it may go without a word.
    doomed: bool,
}

/// What has come of the load so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: usize,
    pub(super) taken: usize,
    /// Answers 503 to a request.
    pub(super) unavailable: usize,
    /// Not answered, by a gate that was killed.
    pub(super) cut: usize,
    /// Logouts that were sent, those that were answered 204, and 503.
    pub(super) endings: usize,
    pub(super) acknowledged: usize,
    pub(super) unconfirmed: usize,
    /// How long after its acknowledged end a session was still taken, at most.
    pub(super) latest_use: Duration,
    /// How long a request of a session that nobody ends took, at most.
    pub(super) slowest: Duration,
    wrong: Vec<String>,
}

#[derive(Debug)]
struct Board {
    members: Vec<Member>,
    targets: Mutex<Vec<Target>>,
    tally: Mutex<Tally>,
}

/// A running load. It ends with this.
#[derive(Debug)]
pub(super) struct Load {
    board: Arc<Board>,
    running: JoinSet<()>,
    stop: CancellationToken,
}

impl Load {
    /// Logs users in at the first of the gates, shows their sessions to all, and begins.
    pub(super) async fn start(gates: &[&Gate]) -> Self {
        let first = gates.first().unwrap();
        let names = (0..STAY + LEAVE).map(|number| format!("user{number}"));
        let logins = names.map(|name| async move { first.login(&name).await });
        let tokens: Vec<_> = stream::iter(logins)
            .buffer_unordered(LOGINS_AT_ONCE)
            .collect()
            .await;
        let members = tokens.into_iter().map(|token| Member {
            token,
            end: Mutex::new(End::NotYet),
        });
        let targets = gates.iter().map(|gate| Target::at(gate.address));
        let board = Arc::new(Board {
            members: members.collect(),
            targets: Mutex::new(targets.collect()),
            tally: Mutex::default(),
        });
        let mut load = Self {
            board,
            running: JoinSet::new(),
            stop: CancellationToken::new(),
        };
        load.everything_is_as_it_should_be().await;
        for number in 0..CLIENTS {
            let (board, stop) = (Arc::clone(&load.board), load.stop.clone());
            load.running.spawn(board.ask(number, stop));
        }
        for number in 0..ENDERS {
            let (board, stop) = (Arc::clone(&load.board), load.stop.clone());
            load.running.spawn(board.end(number, stop));
        }
        load
    }

    /// Asks this gate too.
    pub(super) fn add(&self, gate: &Gate) {
        self.board.targets.lock().push(Target::at(gate.address));
    }

    /// From now on this gate may go without a word, and whoever notices asks the others.
    pub(super) fn doom(&self, gate: &Gate) {
        for target in &mut *self.board.targets.lock() {
            target.doomed |= target.address == gate.address;
        }
    }

    /// How many gates are asked.
    pub(super) fn gates(&self) -> usize {
        self.board.targets.lock().len()
    }

    pub(super) fn tally(&self) -> Tally {
        self.board.tally.lock().clone()
    }

    /// Lets the load go on until it has come to this.
    pub(super) async fn until(&self, what: &str, mut holds: impl FnMut(&Tally) -> bool) {
        until(what, || holds(&self.board.tally.lock())).await;
    }

    /// Lets the load go on until every gate was asked about every session once more, but for a few
    /// where one client is slower than the others.
    pub(super) async fn round(&self) {
        let asked = self.tally().requests;
        // Those that are under way were begun before.
        let whole = self.board.members.len() * self.gates() + CLIENTS;
        self.until("a whole round", |tally| tally.requests >= asked + whole)
            .await;
    }

    /// Lets the load go on for so long.
    pub(super) async fn goes_on_for(&self, duration: Duration) {
        let over = Instant::now() + duration;
        self.until("the time is over", |_| Instant::now() >= over)
            .await;
    }

    /// Lets the load go on for so long, and then for a round.
    pub(super) async fn lasts(&self, duration: Duration) {
        self.goes_on_for(duration).await;
        self.round().await;
    }

    /// Lets the load go on until so many more logouts were acknowledged.
    pub(super) async fn acknowledges(&self, more: usize) {
        let before = self.tally().acknowledged;
        let holds = |tally: &Tally| tally.acknowledged >= before + more;
        self.until("logouts are acknowledged", holds).await;
    }

    /// Ends the load, and gives what has come of it, if nothing went wrong.
    pub(super) async fn finish(&mut self) -> Tally {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended.unwrap();
        }
        let tally = self.tally();
        let shown = &tally.wrong[..tally.wrong.len().min(10)];
        assert!(
            tally.wrong.is_empty(),
            "{} answers, {shown:#?}",
            tally.wrong.len()
        );
        tally
    }

    /// At every gate: sessions that are over are not taken, and sessions that nobody wanted to end are.
    pub(super) async fn everything_is_as_it_should_be(&self) {
        let targets = self.board.targets.lock().clone();
        let members = &self.board.members;
        let pairs = targets
            .iter()
            .flat_map(|target| members.iter().map(|member| (target.address, member)));
        let asked = pairs.map(async |(address, member)| {
            let end = *member.end.lock();
            let status = member.asks("GET", "/me", address).send().await.status;
            match end {
                End::NotYet => assert_eq!(status, 200, "{address}"),
                // It was stopped in the midst of it.
                End::Asked => assert!([200, 401].contains(&status), "{address}: {status}"),
                End::Sure(_) => assert_eq!(status, 401, "{address}"),
            }
        });
        stream::iter(asked)
            .buffer_unordered(LOGINS_AT_ONCE)
            .collect::<()>()
            .await;
    }

    /// That none of its sessions is one any more, at any gate.
    pub(super) async fn all_are_over(&self) {
        let targets = self.board.targets.lock().clone();
        for target in targets {
            for member in &self.board.members {
                let answer = member.asks("GET", "/me", target.address).send().await;
                assert_eq!(answer.status, 401, "{answer:?}");
            }
        }
    }
}

impl Target {
    fn at(address: SocketAddr) -> Self {
        let doomed = false;
        Self { address, doomed }
    }
}

impl Member {
    fn asks(&self, method: &str, target: &str, gate: SocketAddr) -> Request {
        Request::new(gate, method, target).bearer(&self.token)
    }
}

impl Board {
    /// A client: asks in turn every gate about every session.
    async fn ask(self: Arc<Self>, number: usize, stop: CancellationToken) {
        let mut wires = Wires::default();
        let mut pace = pace(ASK_EVERY);
        for turn in (number..).step_by(CLIENTS) {
            pace.tick().await;
            if stop.is_cancelled() {
                return;
            }
            let target = self.target(turn);
            let member = &self.members[turn / self.targets.lock().len() % self.members.len()];
            let (before, sent) = (*member.end.lock(), Instant::now());
            let request = member.asks("GET", "/me", target.address);
            let status = wires.send("GET", request).await;
            self.judge(member, (before, sent), (target, status));
        }
    }

    /// Ends one session after the other.
    async fn end(self: Arc<Self>, number: usize, stop: CancellationToken) {
        let mut wires = Wires::default();
        let mut pace = pace(END_EVERY);
        let mut places = (number..LEAVE).step_by(ENDERS);
        let mut place = places.next();
        for turn in number.. {
            pace.tick().await;
            let Some(at) = place.filter(|_| !stop.is_cancelled()) else {
                return;
            };
            let member = &self.members[STAY + at];
            *member.end.lock() = End::Asked;
            let logout = ["/wx/logout", "/wx/logout?all=true"][usize::from(at % 4 == 0)];
            let target = self.target(turn);
            let request = member.asks("POST", logout, target.address);
            let status = wires.send("POST", request).await;
            self.note_ending(member, (target, status));
            // The next gate is asked when this one cannot say that it is done.
            if matches!(*member.end.lock(), End::Sure(_)) {
                place = places.next();
            }
        }
    }

    fn target(&self, turn: usize) -> Target {
        let targets = self.targets.lock();
        targets[turn % targets.len()]
    }

    fn judge(
        &self,
        member: &Member,
        (before, sent): (End, Instant),
        (target, status): (Target, Option<u16>),
    ) {
        let Some(status) = self.answered(target, status) else {
            return;
        };
        let after = *member.end.lock();
        let mut tally = self.tally.lock();
        tally.requests += 1;
        tally.taken += usize::from(status == 200);
        tally.unavailable += usize::from(status == 503);
        let fits = match (before, after) {
            (End::NotYet, End::NotYet) => {
                tally.slowest = tally.slowest.max(sent.elapsed());
                status == 200
            }
            (End::NotYet | End::Asked, _) => [200, 401, 503].contains(&status),
            (End::Sure(since), _) if status == 200 => {
                let used = sent.duration_since(since);
                tally.latest_use = tally.latest_use.max(used);
                used < LOCAL_CACHE_TTL
            }
            (End::Sure(_), _) => [401, 503].contains(&status),
        };
        if !fits {
            let address = target.address;
            let ago = match before {
                End::Sure(since) => format!(", over for {:?}", sent.duration_since(since)),
                other => format!(", {other:?}"),
            };
            tally.wrong.push(format!("{status} at {address}{ago}"));
        }
    }

    fn note_ending(&self, member: &Member, (target, status): (Target, Option<u16>)) {
        self.tally.lock().endings += 1;
        let Some(status) = self.answered(target, status) else {
            return;
        };
        let mut tally = self.tally.lock();
        match status {
            204 => tally.acknowledged += 1,
            // Over by a logout that could not be confirmed, and was told later.
            401 => {}
            503 => {
                tally.unconfirmed += 1;
                return;
            }
            _ => {
                tally
                    .wrong
                    .push(format!("{status} to a logout at {}", target.address));
                return;
            }
        }
        *member.end.lock() = End::Sure(Instant::now());
    }

    /// The status, if there was an answer. Without one the gate is not asked again.
    fn answered(&self, target: Target, status: Option<u16>) -> Option<u16> {
        if status.is_none() {
            let address = target.address;
            let mut targets = self.targets.lock();
            let doomed = targets.iter().find(|target| target.address == address);
            // Somebody else may have noticed before.
            let doomed = doomed.is_none_or(|target| target.doomed);
            let mut tally = self.tally.lock();
            if doomed {
                targets.retain(|target| target.address != address);
                tally.cut += 1;
            } else {
                tally.wrong.push(format!("no answer from {address}"));
            }
        }
        status
    }
}

/// The connections of one client, one to each gate.
#[derive(Default)]
struct Wires(HashMap<SocketAddr, Connection>);

impl Wires {
    /// The status; none when the gate is gone.
    async fn send(&mut self, method: &str, request: Request) -> Option<u16> {
        let gate = request.to();
        let mut wire = match self.0.remove(&gate) {
            Some(wire) => wire,
            None => Connection::try_open(gate).await?,
        };
        wire.write(&request.bytes()).await;
        let answer = timeout(STUCK, wire.try_answer(method)).await;
        let answer = answer.expect("the gate is stuck")?;
        if answer.header("connection") != Some("close") {
            self.0.insert(gate, wire);
        }
        Some(answer.status)
    }
}

fn pace(every: Duration) -> tokio::time::Interval {
    let mut pace = interval(every);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
