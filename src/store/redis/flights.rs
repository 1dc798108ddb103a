//! Questions about tokens that are under way: whoever asks about the same token meanwhile waits for
//! the same answer, and an ending that is told meanwhile is not overlooked for an answer that was on
//! its way already.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::session::Session;
use crate::domain::token::TokenDigest;
use crate::store::Unusable;

/// What Redis said of a token.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// This session, of which this is the one copy here.
    Found(Arc<Session>),
    /// It has no session.
    Unknown,
    /// Nothing.
    Unusable(Unusable),
}

/// Waits for what Redis says of a token.
pub(super) type Awaited = watch::Receiver<Option<Sight>>;

/// All that are under way. A cheap handle.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<TokenDigest, Flight>>>);

#[derive(Debug)]
struct Flight {
    awaited: Awaited,
    ended: bool,
}

/// Somebody's question, or the place for one.
pub(super) enum Joined {
    Flight(Awaited),
    Own(Landing, Awaited),
}

/// Whoever asks. The question is off the list when this goes, also by a bug.
#[derive(Debug)]
pub(super) struct Landing {
    flights: Flights,
    digest: TokenDigest,
    sight: watch::Sender<Option<Sight>>,
    landed: bool,
}

impl Flights {
    /// Joins a question about this token, or begins one.
    pub(super) fn join(&self, digest: &TokenDigest) -> Joined {
        let mut flights = self.0.lock();
        if let Some(flight) = flights.get(digest) {
            return Joined::Flight(flight.awaited.clone());
        }
        let (sight, awaited) = watch::channel(None);
        let flight = Flight {
            awaited: awaited.clone(),
            ended: false,
        };
        flights.insert(*digest, flight);
        let landing = Landing {
            flights: self.clone(),
            digest: *digest,
            sight,
            landed: false,
        };
        Joined::Own(landing, awaited)
    }

    /// The session of this token has ended, whatever the answer that is under way says.
    pub(super) fn ended(&self, digest: &TokenDigest) {
        if let Some(flight) = self.0.lock().get_mut(digest) {
            flight.ended = true;
        }
    }
}

impl Landing {
    /// The token that is asked about.
    pub(super) fn digest(&self) -> &TokenDigest {
        &self.digest
    }

    /// Tells everybody. `take` makes something of the answer, and is not called when the session has
    /// ended meanwhile.
    pub(super) fn land(mut self, take: impl FnOnce() -> Sight) {
        let mut flights = self.flights.0.lock();
        let ended = flights
            .remove(&self.digest)
            .is_none_or(|flight| flight.ended);
        self.landed = true;
        // Under the lock, so that an ending comes before it or after it.
        let sight = if ended { Sight::Unknown } else { take() };
        drop(flights);
        self.sight.send_replace(Some(sight));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if !self.landed {
            self.flights.0.lock().remove(&self.digest);
        }
    }
}
