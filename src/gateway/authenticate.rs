//! From what a request shows to who it is from.

use crate::crypto::token;
use crate::domain::clock::Timestamp;
use crate::domain::identity::{Presented, TokenClaim};
use crate::domain::session::Live;
use crate::gateway::refusal::Refusal;
use crate::gateway::route::Require;
use crate::gateway::{Gateway, Visit};

impl Gateway {
    /// Finds the session of a request that has just come in, as far as the rule asks for one.
    pub(in crate::gateway) fn authenticate(
        &self,
        visit: &mut Visit<'_>,
        presented: &Presented,
        require: Require,
    ) -> Result<Option<Live>, Refusal> {
        let arrived = visit.arrived;
        self.authenticate_at(arrived, visit, presented, require)
    }

    fn authenticate_at(
        &self,
        now: Timestamp,
        visit: &mut Visit<'_>,
        presented: &Presented,
        require: Require,
    ) -> Result<Option<Live>, Refusal> {
        match (require, presented.token()) {
            (Require::Public, _) | (Require::Optional, TokenClaim::None) => Ok(None),
            (Require::Session, TokenClaim::None) => Err(Refusal::SessionRequired),
            // A token that is not taken is an error even where none is needed: the client should
            // learn that it has to log in again.
            (_, claim) => self.find_session(now, visit, claim).map(Some),
        }
    }

    /// The live session that the gate's own routes need.
    pub(in crate::gateway) fn session_of(
        &self,
        visit: &mut Visit<'_>,
        presented: &Presented,
    ) -> Result<Live, Refusal> {
        // Something may have been waited for since it came in.
        let now = self.shared.clock.now();
        let found = self.authenticate_at(now, visit, presented, Require::Session)?;
        found.ok_or(Refusal::SessionRequired)
    }

    fn find_session(
        &self,
        now: Timestamp,
        visit: &mut Visit<'_>,
        claim: &TokenClaim,
    ) -> Result<Live, Refusal> {
        let TokenClaim::Token(token) = claim else {
            return Err(Refusal::SessionExpired);
        };
        let lifetimes = &visit.settings.session.lifetimes;
        let store = &self.shared.store;
        let found = store.find(&token::digest(token), now, lifetimes);
        if found.is_none() {
            self.books.counts.session_unknown();
        }
        // A session of an app that is no longer configured is kept, but not taken.
        let found = found.filter(|live| visit.settings.app(&live.holder().app).is_some());
        let live = found.ok_or(Refusal::SessionExpired)?;
        visit.entry.identified(&live);
        Ok(live)
    }
}
