//! Whether an API is asked at all for a mini program, after it failed to answer or refused the app as
//! it is configured. Each API by itself, so that none of them shuts another out. Knows nothing of
//! connections, nor of what the calls are for.
//!
//! What one user can bring about must not shut out the others. So 45011, which WeChat counts by user
//! and minute, is an answer like any other here, as are all refusals of a code or a user; and an
//! errcode pauses an app only when no code that a client might send could be the reason.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::telemetry::event;
use crate::wechat::errcode::Errcode;
use crate::wechat::error::Refused;
use crate::wechat::report;

/// Calls in a row without an answer, after which the API is left alone. A login makes up to two
/// attempts before it counts as one.
const MAX_FAILURES: u32 = 5;

/// The first pause after that: about as long as a deployment or a switch of networks takes.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// The first pause after a fault of the configuration.
const FIRST_HOLD: Duration = Duration::from_secs(10);

/// Longest pause of either kind: who has mended things waits no longer than that.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Between two lines of log about one errcode of one app.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// For how long the previous AppSecret is tried first, once WeChat took it and not the new one.
const PREVIOUS_FIRST_FOR: Duration = Duration::from_mins(10);

/// The guards of all mini programs. A cheap handle. Grows to one for each API of each app that is
/// configured.
#[derive(Clone, Debug, Default)]
pub(super) struct Guards(Arc<Mutex<Table>>);

/// By app and path.
type Table = HashMap<(AppId, &'static str), Arc<Guard>>;

impl Guards {
    /// The guard of the API at this path for this mini program.
    pub(super) fn of(&self, app: &AppId, api: &'static str) -> Arc<Guard> {
        let new = || {
            Arc::new(Guard {
                app: app.clone(),
                api,
                state: Mutex::default(),
            })
        };
        let mut guards = self.0.lock();
        Arc::clone(guards.entry((app.clone(), api)).or_insert_with(new))
    }
}

/// Why a call is not made.
#[derive(Debug)]
pub(super) enum Closed {
    /// The API refused the app as it is configured, and was not asked again.
    Misconfigured(Refused),
    /// The API does not answer; for how long it is left alone.
    Paused(Duration),
}

/// What a call says about the API.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It answers: with a refusal of what was asked, or in a way that cannot be understood.
    Answers,
    /// It refuses the app as it is configured.
    Misconfigured(Refused),
    /// Nothing: the fault is elsewhere, or nothing was sent.
    Nothing,
    /// It does not answer, or is busy.
    Silent,
    /// It did what it should.
    Works,
}

/// An error of a call.
pub(super) trait Judged {
    /// What it says about the API that was called.
    fn verdict(&self) -> Verdict;
}

/// The guard of one API for one mini program.
#[derive(Debug)]
pub(super) struct Guard {
    app: AppId,
    api: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    /// Calls in a row without an answer.
    failures: u32,
    /// How long the last pause was.
    pause: Duration,
    /// The fault of the configuration that is not asked about again until then.
    hold: Option<(Timestamp, Refused)>,
    /// How long the last of these holds was.
    held: Duration,
    /// Whether WeChat has ever given a user for this app.
    worked: bool,
    /// Errcodes that are not told again until then. Few: those about the configuration.
    quiet: HashMap<i64, Timestamp>,
    /// Until when the previous AppSecret is tried first.
    previous_first: Option<Timestamp>,
    /// Whether it was told that the previous AppSecret is of no more use.
    told_new_works: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum Breaker {
    /// WeChat is asked.
    #[default]
    Closed,
    /// WeChat is not asked until then.
    Open(Timestamp),
    /// One call is under way to see whether WeChat is back; it has until then.
    Probing(Timestamp),
}

impl Guard {
    /// Lets a call pass that takes no longer than `timeout`, or says why not.
    pub(super) fn admit(&self, now: Timestamp, timeout: Duration) -> Result<(), Closed> {
        let mut state = self.state.lock();
        if let Some((until, refused)) = &state.hold
            && until.is_to_come(now, MAX_PAUSE)
        {
            return Err(Closed::Misconfigured(refused.clone()));
        }
        match state.breaker {
            Breaker::Closed => Ok(()),
            Breaker::Open(until) if until.is_to_come(now, MAX_PAUSE) => {
                Err(Closed::Paused(until.since(now)))
            }
            Breaker::Probing(until) if until.is_to_come(now, timeout) => {
                Err(Closed::Paused(until.since(now)))
            }
            // A probe that never came back makes room for another.
            Breaker::Open(_) | Breaker::Probing(_) => {
                state.breaker = Breaker::Probing(now.plus(timeout));
                Ok(())
            }
        }
    }

    /// Learns from what became of a call.
    pub(super) fn settle(&self, verdict: Verdict, now: Timestamp) {
        let mut state = self.state.lock();
        match verdict {
            Verdict::Nothing => {}
            Verdict::Silent => self.failed(&mut state, now),
            Verdict::Answers => self.answered(&mut state),
            Verdict::Misconfigured(refused) => {
                self.answered(&mut state);
                self.misconfigured(&mut state, refused, now);
            }
            Verdict::Works => {
                self.answered(&mut state);
                state.worked = true;
                state.hold = None;
                state.held = Duration::ZERO;
            }
        }
    }

    /// Whether the previous AppSecret should be tried first.
    pub(super) fn is_previous_first(&self, now: Timestamp) -> bool {
        let until = self.state.lock().previous_first;
        until.is_some_and(|until| until.is_to_come(now, PREVIOUS_FIRST_FOR))
    }

    /// WeChat took the previous AppSecret, and not the new one.
    pub(super) fn previous_works(&self, now: Timestamp) {
        self.state.lock().previous_first = Some(now.plus(PREVIOUS_FIRST_FOR));
        report::previous_secret_works(&self.app);
    }

    /// WeChat took the new AppSecret, with a previous one still configured.
    pub(super) fn new_works(&self) {
        let mut state = self.state.lock();
        state.previous_first = None;
        if !state.told_new_works {
            state.told_new_works = true;
            tracing::info!(message = event::NEW_SECRET_WORKS, appid = %self.app);
        }
    }

    fn answered(&self, state: &mut State) {
        state.failures = 0;
        state.pause = Duration::ZERO;
        if !matches!(state.breaker, Breaker::Closed) {
            state.breaker = Breaker::Closed;
            tracing::info!(message = event::WECHAT_RESUMED, api = self.api, appid = %self.app);
        }
    }

    fn failed(&self, state: &mut State, now: Timestamp) {
        state.failures = state.failures.saturating_add(1);
        match state.breaker {
            // Begun before the pause: nothing new.
            Breaker::Open(_) => return,
            Breaker::Closed if state.failures < MAX_FAILURES => return,
            Breaker::Closed | Breaker::Probing(_) => {}
        }
        state.pause = longer(state.pause, FIRST_PAUSE);
        state.breaker = Breaker::Open(now.plus(state.pause));
        let (failures, pause_s) = (state.failures, state.pause.as_secs());
        tracing::warn!(message = event::WECHAT_PAUSED, failures, pause_s, api = self.api, appid = %self.app);
    }

    fn misconfigured(&self, state: &mut State, refused: Refused, now: Timestamp) {
        let number = refused.errcode.number();
        let quiet = state.quiet.get(&number);
        if !quiet.is_some_and(|until| until.is_to_come(now, TELL_EVERY)) {
            state.quiet.insert(number, now.plus(TELL_EVERY));
            report::misconfigured(&self.app, &refused);
        }
        // Of many calls under way at once, the first to come back says it for all.
        let hold = state.hold.as_ref();
        let is_held = hold.is_some_and(|(until, _)| until.is_to_come(now, MAX_PAUSE));
        if !is_held && state.may_hold(refused.errcode) {
            state.held = longer(state.held, FIRST_HOLD);
            state.hold = Some((now.plus(state.held), refused));
        }
    }
}

impl State {
    /// Whether this is about the configuration and nothing else. 50001 and 50002 may be about one
    /// user. 40013 may be about the code, once the app is known to work.
    fn may_hold(&self, errcode: Errcode) -> bool {
        match errcode {
            Errcode::AccountLimited | Errcode::Unauthorised => false,
            Errcode::BadAppId => !self.worked,
            _ => errcode.is_configuration(),
        }
    }
}

fn longer(last: Duration, first: Duration) -> Duration {
    last.saturating_mul(2).clamp(first, MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(6);
    const BEGIN: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn guard() -> Arc<Guard> {
        Guards::default().of(&AppId::parse("wx0123456789abcdef").unwrap(), "/api")
    }

    fn at(seconds: u64) -> Timestamp {
        BEGIN.plus(Duration::from_secs(seconds))
    }

    fn fail(guard: &Guard, times: u32, now: Timestamp) {
        for _ in 0..times {
            guard.settle(Verdict::Silent, now);
        }
    }

    fn paused(guard: &Guard, now: Timestamp) -> Option<u64> {
        match guard.admit(now, TIMEOUT) {
            Ok(()) => None,
            Err(Closed::Paused(left)) => Some(left.as_secs()),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn refused(errcode: i64) -> Verdict {
        let errcode = Errcode::from_number(errcode);
        Verdict::Misconfigured(Refused {
            errcode,
            rid: None,
            seen_ip: None,
        })
    }

    fn is_held(guard: &Guard, now: Timestamp) -> bool {
        matches!(guard.admit(now, TIMEOUT), Err(Closed::Misconfigured(_)))
    }

    #[test]
    fn what_one_user_brings_about_pauses_nobody() {
        let guard = guard();
        for _ in 0..100 {
            guard.settle(Verdict::Answers, at(0));
            guard.settle(refused(50001), at(0));
            guard.settle(refused(50002), at(0));
            guard.settle(Verdict::Nothing, at(0));
            assert!(guard.admit(at(0), TIMEOUT).is_ok());
        }
    }

    #[test]
    fn an_answer_between_failures_begins_the_count_anew() {
        let guard = guard();
        fail(&guard, 4, at(0));
        guard.settle(Verdict::Answers, at(0));
        fail(&guard, 4, at(0));
        assert_eq!(paused(&guard, at(0)), None);
        fail(&guard, 1, at(0));
        assert_eq!(paused(&guard, at(0)), Some(5));
    }

    #[test]
    fn one_call_sees_whether_wechat_is_back_and_pauses_grow_until_it_is() {
        let guard = guard();
        fail(&guard, 5, at(0));
        let mut now = 0;
        for pause in [5, 10, 20, 40, 60, 60] {
            assert_eq!(paused(&guard, at(now)), Some(pause));
            // Late failures of calls that began before change nothing.
            fail(&guard, 3, at(now));
            assert_eq!(paused(&guard, at(now + pause - 1)), Some(1));
            now += pause;
            assert_eq!(paused(&guard, at(now)), None, "the probe");
            assert_eq!(paused(&guard, at(now)), Some(6), "everybody else");
            fail(&guard, 1, at(now));
        }
        now += 60;
        assert_eq!(paused(&guard, at(now)), None);
        guard.settle(Verdict::Works, at(now));
        assert_eq!(paused(&guard, at(now)), None);
        assert_eq!(paused(&guard, at(now)), None);
        fail(&guard, 5, at(now));
        assert_eq!(paused(&guard, at(now)), Some(5));
    }

    #[test]
    fn a_probe_that_is_never_heard_of_again_makes_room_for_another() {
        let guard = guard();
        fail(&guard, 5, at(0));
        assert_eq!(paused(&guard, at(5)), None);
        assert_eq!(paused(&guard, at(10)), Some(1));
        assert_eq!(paused(&guard, at(11)), None);
        assert_eq!(paused(&guard, at(11)), Some(6));
    }

    #[test]
    fn a_wrong_configuration_is_held_ever_longer_and_mended_by_one_success() {
        for errcode in [40001, 40013, 40125, 40164, 40243, 41002, 50004, 89503] {
            let guard = guard();
            let mut now = 0;
            for hold in [10, 20, 40, 60, 60] {
                assert!(guard.admit(at(now), TIMEOUT).is_ok(), "{errcode}");
                guard.settle(refused(errcode), at(now));
                guard.settle(refused(errcode), at(now));
                assert!(is_held(&guard, at(now + hold - 1)), "{errcode}");
                assert!(!is_held(&guard, at(now + hold)), "{errcode}");
                now += hold;
            }
            guard.settle(Verdict::Works, at(now));
            guard.settle(refused(40125), at(now));
            assert!(is_held(&guard, at(now + 9)));
            assert!(!is_held(&guard, at(now + 10)));
        }
    }

    proptest! {
        #[test]
        fn a_clock_that_is_set_back_shuts_nothing_for_longer_than_the_longest_pause(
            failures in 5_u32..20,
            back_seconds in 0_u64..1_000_000_000,
            probed in any::<bool>(),
        ) {
            let silent = guard();
            let wrong = guard();
            for _ in 0..failures {
                fail(&silent, 1, at(0));
                wrong.settle(refused(40125), at(0));
            }
            if probed {
                prop_assert!(silent.admit(at(5), TIMEOUT).is_ok());
            }
            let back = Timestamp::from_millis(BEGIN.as_millis() - back_seconds * 1000);
            let after = back.plus(MAX_PAUSE);
            prop_assert!(silent.admit(after, TIMEOUT).is_ok());
            prop_assert!(wrong.admit(after, TIMEOUT).is_ok());
        }
    }

    #[test]
    fn no_code_can_shut_an_app_that_works() {
        let guard = guard();
        guard.settle(Verdict::Works, at(0));
        guard.settle(refused(40013), at(0));
        assert!(!is_held(&guard, at(0)));
    }

    #[test]
    fn one_api_that_is_paused_pauses_no_other() {
        let guards = Guards::default();
        let app = AppId::parse("wx0123456789abcdef").unwrap();
        fail(&guards.of(&app, "/one"), 5, at(0));
        assert_eq!(paused(&guards.of(&app, "/one"), at(0)), Some(5));
        assert_eq!(paused(&guards.of(&app, "/other"), at(0)), None);
    }
}
