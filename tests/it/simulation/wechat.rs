//! A WeChat that is played: it knows codes and whose they are, answers, is slow, refuses, errs and
//! keeps silent. It sees how often it is asked about a code.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use wxgate::domain::clock::Timestamp;
use wxgate::wechat::played::{Played, Said, Saying};

use crate::simulation::dice::Dice;
use crate::simulation::ledger::Ledger;
use crate::simulation::world::wall;

/// How long a code is good, and how long a refused one is remembered by the gate.
const CODE_LIFE: Duration = Duration::from_mins(5);

/// How long a repeated code has the same answer: the default of `login.retry_window`.
const RETRY_WINDOW: Duration = Duration::from_secs(10);

/// A code, and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Code {
    user: usize,
    issued: Timestamp,
    used: bool,
    /// When it led to a session.
    succeeded: Option<Timestamp>,
    /// When it was refused for what it is.
    refused: Option<Timestamp>,
    /// Whether an answer about it was lost: then the gate does not blame it for being used up.
    lost: bool,
    /// Calls about it that are under way.
    under_way: usize,
    presented: Vec<Option<usize>>,
}

/// The codes that there are.
#[derive(Debug, Default)]
pub(super) struct Codes(HashMap<String, Code>);

impl Codes {
    /// A fresh code of this user.
    pub(super) fn issue(&mut self, user: usize, now: Timestamp) -> String {
        let code = format!("code-{}", self.0.len());
        self.0.insert(
            code.clone(),
            Code {
                user,
                issued: now,
                used: false,
                succeeded: None,
                refused: None,
                lost: false,
                under_way: 0,
                presented: Vec::new(),
            },
        );
        code
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// A login brings this code, and the token of this session.
    pub(super) fn present(&mut self, code: &str, session: Option<usize>) {
        if let Some(code) = self.0.get_mut(code) {
            code.presented.push(session);
        }
    }

    /// The sessions whose tokens came with this code, login by login.
    pub(super) fn presented(&self, code: &str) -> Vec<Option<usize>> {
        self.0
            .get(code)
            .map(|code| code.presented.clone())
            .unwrap_or_default()
    }

    pub(super) fn user(&self, code: &str) -> Option<usize> {
        self.0.get(code).map(|code| code.user)
    }

    /// Fails when WeChat must not be asked about this code now.
    fn ask(&mut self, code: &str, now: Timestamp) -> Result<(), String> {
        let Some(known) = self.0.get_mut(code) else {
            return Ok(());
        };
        known.under_way += 1;
        if known.under_way > 1 {
            return Err(format!("{code} is asked about twice at once"));
        }
        if known
            .succeeded
            .is_some_and(|at| now.since(at) < RETRY_WINDOW)
        {
            return Err(format!("{code} is asked about again after its success"));
        }
        if known.refused.is_some_and(|at| now.since(at) < CODE_LIFE) {
            return Err(format!("{code} is asked about again after a refusal"));
        }
        Ok(())
    }

    /// Uses a code up; gives its user, or the errcode.
    fn redeem(&mut self, code: &str, now: Timestamp) -> Result<usize, i64> {
        let known = self.0.get_mut(code).ok_or(40_029)?;
        let refusal = if known.used { 40_163 } else { 40_029 };
        if known.used || now.since(known.issued) >= CODE_LIFE {
            return Err(refusal);
        }
        known.used = true;
        Ok(known.user)
    }
}

/// One call, for as long as somebody waits for it.
struct Call {
    ledger: Arc<Mutex<Ledger>>,
    code: String,
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut ledger = self.ledger.lock();
        if let Some(code) = ledger.codes.0.get_mut(&self.code) {
            code.under_way -= 1;
        }
    }
}

/// How WeChat is today: of a hundred calls, so many go wrong.
pub(super) fn played(dice: Dice, faults: usize, ledger: &Arc<Mutex<Ledger>>) -> Played {
    let (dice, ledger) = (Mutex::new(dice), Arc::clone(ledger));
    Played::new(move |url| -> Saying {
        let code = url.query_pairs().find(|(name, _)| name == "js_code");
        let code = code.map(|(_, code)| code.into_owned()).unwrap_or_default();
        let (dice, ledger) = (dice.lock().fork(), Arc::clone(&ledger));
        Box::pin(answer(dice, faults, Call { ledger, code }))
    })
}

async fn answer(mut dice: Dice, faults: usize, call: Call) -> Said {
    {
        let mut ledger = call.ledger.lock();
        let asked = ledger.codes.ask(&call.code, wall());
        ledger.hold(asked);
        ledger.note(|| format!("WeChat is asked about {}", call.code));
    }
    let goes_wrong = dice.chance(faults);
    let slow = if dice.chance(20) { 2500 } else { 60 };
    if goes_wrong && dice.chance(30) {
        // Lost on its way there: nothing is used up.
        return lost(&mut dice, &call).await;
    }
    let redeemed = call.ledger.lock().codes.redeem(&call.code, wall());
    tokio::time::sleep(dice.millis(slow)).await;
    if goes_wrong {
        // Lost on its way back: the code is used up all the same.
        return lost(&mut dice, &call).await;
    }
    let mut ledger = call.ledger.lock();
    let body = match redeemed {
        Ok(user) => {
            ledger.begin(user, &call.code);
            ledger.codes.0.get_mut(&call.code).unwrap().succeeded = Some(wall());
            let openid = ledger.openid(user);
            format!(r#"{{"openid":"{openid}","session_key":"MDEyMzQ1Njc4OWFiY2RlZg=="}}"#)
        }
        Err(errcode) => {
            let known = ledger.codes.0.get_mut(&call.code);
            if let Some(code) = known.filter(|code| !code.lost) {
                code.refused = Some(wall());
            }
            format!(r#"{{"errcode":{errcode},"errmsg":"no"}}"#)
        }
    };
    ledger.note(|| format!("WeChat says of {}: {body}", call.code));
    Said {
        status: 200,
        body: body.into_bytes(),
    }
}

async fn lost(dice: &mut Dice, call: &Call) -> Said {
    if let Some(code) = call.ledger.lock().codes.0.get_mut(&call.code) {
        code.lost = true;
    }
    tokio::time::sleep(dice.millis(300)).await;
    let errcode = |errcode: i64| Said {
        status: 200,
        body: format!(r#"{{"errcode":{errcode},"errmsg":"no"}}"#).into_bytes(),
    };
    match dice.below(6) {
        0 | 1 => errcode(-1),
        2 => errcode(45_011),
        3 => Said {
            status: 502,
            body: Vec::new(),
        },
        4 => Said {
            status: 200,
            body: b"<html>".to_vec(),
        },
        _ => std::future::pending().await,
    }
}
