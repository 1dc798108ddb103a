//! Users, gates, and copies of sessions, for a week: how often Redis is asked, and what the gates know.
//! Every number comes from a seed, so it is the same on every machine. Knows nothing of Redis but that it
//! is asked about a session of which a gate has no fresh copy.

use crate::scale::page::number;

/// Users that are simulated. What comes out is about each of them, and so about any number.
const USERS: u32 = 1000;
const DAY: f64 = 86_400.0;
const DAYS: u8 = 7;

/// How a user's requests find a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Routing {
    /// Each goes anywhere.
    Request,
    /// Those of a visit go to one gate, as those of one connection do.
    Visit,
    /// All of a user's go to one gate.
    User,
}

/// How unevenly users come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// All alike, once a day.
    Uniform,
    /// Once a day on the average, and the n-th user by the n-th part of how often the first comes.
    Zipf,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) gates: u32,
    pub(super) routing: Routing,
    pub(super) activity: Activity,
    /// `local_cache_ttl`, in seconds.
    pub(super) ttl: f64,
    /// Requests in a visit, and seconds between two, on the average.
    pub(super) requests: f64,
    pub(super) gap: f64,
}

/// What has come of a week.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    requests: f64,
    /// Requests for which Redis was asked.
    looks: f64,
    /// Requests of the last day, and those of which the gate had a copy, however old.
    last_day: f64,
    known: f64,
    /// Copies in all gates at the end.
    copies: f64,
    /// For each user who logs out in the end: how many other gates have a fresh copy then, and for how
    /// long the last of them is believed if nobody tells.
    believers: f64,
    windows: Vec<f64>,
}

impl Scenario {
    /// Visits as mini programs have them: twenty requests in two minutes.
    pub(super) fn usual(gates: u32, routing: Routing, activity: Activity, ttl: f64) -> Self {
        Self {
            gates,
            routing,
            activity,
            ttl,
            requests: 20.0,
            gap: 6.0,
        }
    }

    pub(super) fn run(self) -> Outcome {
        let mut outcome = Outcome::default();
        for user in 0..USERS {
            Week::new(self, user).run(&mut outcome);
        }
        outcome.windows.sort_by(f64::total_cmp);
        outcome
    }

    /// How often a user comes in a day.
    fn visits_a_day(self, user: u32) -> f64 {
        match self.activity {
            Activity::Uniform => 1.0,
            Activity::Zipf => {
                let all: f64 = (1..=USERS).map(|rank| 1.0 / f64::from(rank)).sum();
                f64::from(USERS) / f64::from(user + 1) / all
            }
        }
    }
}

impl Outcome {
    /// The part of all requests for which Redis is asked.
    pub(super) fn looks(&self) -> f64 {
        self.looks / self.requests
    }

    /// Requests of a million users in a second, over the week.
    pub(super) fn requests_of_a_million(&self) -> f64 {
        self.requests / f64::from(USERS) / (f64::from(DAYS) * DAY) * 1e6
    }

    /// The part of all requests that could be served if Redis went away now.
    pub(super) fn known(&self) -> f64 {
        self.known / self.last_day
    }

    /// Copies that a gate has of a million sessions.
    pub(super) fn copies_of_a_million(&self, gates: u32) -> f64 {
        self.copies / f64::from(USERS) / f64::from(gates) * 1e6
    }

    /// Other gates that believe in a session that has just ended, on the average.
    pub(super) fn believers(&self) -> f64 {
        self.believers / f64::from(USERS)
    }

    /// For how long, in 99 of 100 cases.
    pub(super) fn window(&self) -> f64 {
        self.windows[self.windows.len() * 99 / 100]
    }
}

/// One user's week.
struct Week {
    scenario: Scenario,
    visits_a_day: f64,
    random: Random,
    /// When each gate asked about the session last.
    asked: Vec<Option<f64>>,
    home: usize,
}

impl Week {
    fn new(scenario: Scenario, user: u32) -> Self {
        let mut random = Random(u64::from(user) << 32 | 1);
        let asked = vec![None; usize::try_from(scenario.gates).unwrap()];
        Self {
            scenario,
            visits_a_day: scenario.visits_a_day(user),
            home: random.below(asked.len()),
            random,
            asked,
        }
    }

    fn run(mut self, outcome: &mut Outcome) {
        let pause = DAY / self.visits_a_day;
        let mut now = self.random.wait(pause);
        let mut last = None;
        while now < f64::from(DAYS) * DAY {
            let at = self.visit(&mut now, last.is_none(), outcome);
            last = Some((at, now));
            now += self.random.wait(pause);
        }
        outcome.copies += number(self.asked.iter().flatten().count());
        if let Some(last) = last {
            self.log_out(last, outcome);
        }
    }

    /// Goes on to the last request of a visit, and says which gate had that.
    fn visit(&mut self, now: &mut f64, mut login: bool, outcome: &mut Outcome) -> usize {
        let of_visit = self.random.below(self.asked.len());
        loop {
            let gate = self.route(of_visit);
            self.request(gate, *now, login, outcome);
            login = false;
            // One more, with the same chance each time.
            if self.random.part() * self.scenario.requests < 1.0 {
                return gate;
            }
            *now += self.random.wait(self.scenario.gap);
        }
    }

    fn route(&mut self, of_visit: usize) -> usize {
        match self.scenario.routing {
            Routing::Request => self.random.below(self.asked.len()),
            Routing::Visit => of_visit,
            Routing::User => self.home,
        }
    }

    /// The first is a login, after which its gate has a copy.
    fn request(&mut self, gate: usize, now: f64, login: bool, outcome: &mut Outcome) {
        let asked = self.asked[gate];
        let is_fresh = login || asked.is_some_and(|asked| now - asked < self.scenario.ttl);
        outcome.requests += 1.0;
        outcome.looks += if is_fresh { 0.0 } else { 1.0 };
        if login || !is_fresh {
            self.asked[gate] = Some(now);
        }
        if now >= f64::from(DAYS - 1) * DAY {
            outcome.last_day += 1.0;
            outcome.known += if login || asked.is_some() { 1.0 } else { 0.0 };
        }
    }

    fn log_out(&self, (at, now): (usize, f64), outcome: &mut Outcome) {
        let others = self
            .asked
            .iter()
            .enumerate()
            .filter(|(gate, _)| *gate != at);
        let left = others.filter_map(|(_, asked)| Some(self.scenario.ttl - (now - (*asked)?)));
        let left: Vec<_> = left.filter(|left| *left > 0.0).collect();
        outcome.believers += number(left.len());
        let longest = left.into_iter().fold(0.0, f64::max);
        outcome.windows.push(longest);
    }
}

/// Numbers that look random, always the same.
struct Random(u64);

impl Random {
    /// `SplitMix64`.
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap()
    }

    /// From 0 to 1, without 1.
    fn part(&mut self) -> f64 {
        f64::from(self.bits()) / (f64::from(u32::MAX) + 1.0)
    }

    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap();
        usize::try_from((u64::from(self.bits()) * bound) >> 32).unwrap()
    }

    /// Until something that happens this often on the average.
    fn wait(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }
}

#[test]
fn a_user_without_pauses_at_one_gate_is_asked_about_as_the_formula_says() {
    let scenario = Scenario {
        gates: 1,
        routing: Routing::User,
        activity: Activity::Uniform,
        ttl: 10.0,
        requests: 2000.0,
        gap: 6.0,
    };
    // A copy is believed for its time, and then there is a gap until somebody asks.
    let expected = 6.0 / (10.0 + 6.0);
    let found = scenario.run().looks();
    assert!((found - expected).abs() < 0.01, "{found}, {expected}");
}
