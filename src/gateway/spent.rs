//! Tickets that were exchanged, for as long as they are good: each can be once. Bounded for each session
//! and in all; where there is no room nothing is exchanged. Knows nothing of what other gates know.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;

use crate::domain::clock::Timestamp;
use crate::domain::ticket::{CLOCK_SKEW, LIFE, TicketId};
use crate::domain::token::TokenDigest;

/// How long one is remembered: it is no longer good then, by whichever gate's clock.
pub(in crate::gateway) const REMEMBERED_FOR: Duration = LIFE.saturating_add(CLOCK_SKEW);

/// Tickets of one session at once: a person opens a page now and then.
const MAX_OF_SESSION: usize = 32;

/// All at once, some megabytes. A session alone cannot fill it.
const MAX_SPENT: usize = 65_536;

/// Why a ticket cannot be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::gateway) enum NotSpent {
    /// It was before.
    #[error("the ticket was exchanged before")]
    Again,
    /// Too many others were of late.
    #[error("too many tickets were exchanged")]
    TooMany,
}

/// Tickets that were exchanged at this gate.
#[derive(Debug, Default)]
pub struct SpentTickets(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    /// In the order in which they came, which is that in which they may be forgotten.
    order: VecDeque<(Timestamp, TokenDigest)>,
    /// In the same order.
    of_session: HashMap<TokenDigest, VecDeque<TicketId>>,
}

impl SpentTickets {
    /// Notes that a ticket of this session is exchanged.
    pub(in crate::gateway) fn spend(
        &self,
        (id, session): (TicketId, TokenDigest),
        now: Timestamp,
    ) -> Result<(), NotSpent> {
        let mut spent = self.0.lock();
        spent.forget(now);
        let is_full = spent.order.len() >= MAX_SPENT;
        let of_session = spent.of_session.get(&session);
        if of_session.is_some_and(|spent| spent.contains(&id)) {
            return Err(NotSpent::Again);
        }
        if is_full || of_session.is_some_and(|spent| spent.len() >= MAX_OF_SESSION) {
            return Err(NotSpent::TooMany);
        }
        spent.of_session.entry(session).or_default().push_back(id);
        spent.order.push_back((now, session));
        Ok(())
    }
}

impl Spent {
    /// Lets go of those that are no longer good. A clock that was set back makes them stay for longer.
    fn forget(&mut self, now: Timestamp) {
        while let Some((spent, session)) = self.order.front()
            && now.since(*spent) >= REMEMBERED_FOR
        {
            let ids = self.of_session.get_mut(session);
            let left = ids.map_or(0, |ids| {
                ids.pop_front();
                ids.len()
            });
            if left == 0 {
                self.of_session.remove(session);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn ticket(number: usize) -> TicketId {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        TicketId::new(bytes)
    }

    fn session(number: usize) -> TokenDigest {
        TokenDigest::new(*ticket(number).as_bytes())
    }

    #[test]
    fn a_ticket_is_spent_once_as_long_as_it_is_good() {
        let spent = SpentTickets::default();
        let spend = |after| spent.spend((ticket(1), session(1)), NOW.plus(after));
        assert_eq!(spend(Duration::ZERO), Ok(()));
        assert_eq!(spend(Duration::ZERO), Err(NotSpent::Again));
        let last = REMEMBERED_FOR
            .checked_sub(Duration::from_millis(1))
            .unwrap();
        assert_eq!(spend(last), Err(NotSpent::Again));
        // By then it opens no more.
        assert_eq!(spend(REMEMBERED_FOR), Ok(()));
    }

    #[test]
    fn one_session_fills_its_own_room_only() {
        let spent = SpentTickets::default();
        for number in 0..MAX_OF_SESSION {
            assert_eq!(spent.spend((ticket(number), session(1)), NOW), Ok(()));
        }
        let one_more = (ticket(MAX_OF_SESSION), session(1));
        assert_eq!(spent.spend(one_more, NOW), Err(NotSpent::TooMany));
        assert_eq!(spent.spend((ticket(0), session(2)), NOW), Ok(()));
        assert_eq!(spent.spend(one_more, NOW.plus(REMEMBERED_FOR)), Ok(()));
    }

    #[test]
    fn all_together_have_so_much_room_and_what_is_over_is_forgotten() {
        let spent = SpentTickets::default();
        for number in 0..MAX_SPENT {
            assert_eq!(spent.spend((ticket(number), session(number)), NOW), Ok(()));
        }
        let one_more = (ticket(MAX_SPENT), session(MAX_SPENT));
        assert_eq!(spent.spend(one_more, NOW), Err(NotSpent::TooMany));
        assert_eq!(
            spent.spend((ticket(0), session(0)), NOW),
            Err(NotSpent::Again)
        );
        assert_eq!(spent.spend(one_more, NOW.plus(REMEMBERED_FOR)), Ok(()));
        assert_eq!(spent.0.lock().of_session.len(), 1);
    }
}
