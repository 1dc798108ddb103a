//! From what a request shows to who it is from.

use crate::crypto::token;
use crate::domain::clock::Timestamp;
use crate::domain::identity::{Presented, TokenClaim};
use crate::domain::session::Live;
use crate::domain::token::TokenDigest;
use crate::gateway::refusal::Refusal;
use crate::gateway::route::Require;
use crate::gateway::{Gateway, Visit};
use crate::store::Found;

/// Who a request is from, as far as that is known without waiting.
#[derive(Debug)]
pub(in crate::gateway) enum Standing {
    /// This session's user, or nobody.
    Known(Option<Live>),
    /// The store has to be asked about this token.
    Unseen(TokenDigest),
}

impl Gateway {
    /// Finds the session of a request that has just come in, as far as the rule asks for one.
    pub(in crate::gateway) fn authenticate(
        &self,
        visit: &mut Visit<'_>,
        presented: &Presented,
        require: Require,
    ) -> Result<Standing, Refusal> {
        let arrived = visit.arrived;
        self.authenticate_at(arrived, visit, presented, require)
    }

    fn authenticate_at(
        &self,
        now: Timestamp,
        visit: &mut Visit<'_>,
        presented: &Presented,
        require: Require,
    ) -> Result<Standing, Refusal> {
        match (require, presented.token()) {
            (Require::Public, _) | (Require::Optional, TokenClaim::None) => {
                Ok(Standing::Known(None))
            }
            (Require::Session, TokenClaim::None) => Err(Refusal::SessionRequired),
            // A token that is not taken is an error even where none is needed: the client should
            // learn that it has to log in again.
            (_, claim) => self.find_session(now, visit, claim),
        }
    }

    /// The live session that the gate's own routes need.
    pub(in crate::gateway) async fn session_of(
        &self,
        visit: &mut Visit<'_>,
        presented: &Presented,
    ) -> Result<Live, Refusal> {
        // Something may have been waited for since it came in.
        let now = self.shared.clock.now();
        match self.authenticate_at(now, visit, presented, Require::Session)? {
            Standing::Known(found) => found.ok_or(Refusal::SessionRequired),
            // Seldom, and so in a box.
            Standing::Unseen(digest) => Box::pin(self.first_sight(visit, digest)).await,
        }
    }

    fn find_session(
        &self,
        now: Timestamp,
        visit: &mut Visit<'_>,
        claim: &TokenClaim,
    ) -> Result<Standing, Refusal> {
        let TokenClaim::Token(token) = claim else {
            return Err(Refusal::SessionExpired);
        };
        let lifetimes = &visit.settings.session.lifetimes;
        let digest = token::digest(token);
        let found = match self.shared.store.find(&digest, now, lifetimes) {
            Found::Live(live) => Some(live),
            Found::Unknown => None,
            Found::Unseen => return Ok(Standing::Unseen(digest)),
            Found::Unusable(why) => return Err(why.into()),
        };
        let live = self.admit(visit, found)?;
        Ok(Standing::Known(Some(live)))
    }

    /// Waits for what the store says of a token.
    pub(in crate::gateway) async fn first_sight(
        &self,
        visit: &mut Visit<'_>,
        digest: TokenDigest,
    ) -> Result<Live, Refusal> {
        let lifetimes = &visit.settings.session.lifetimes;
        let found = self.shared.store.first_sight(&digest, lifetimes).await?;
        self.admit(visit, found)
    }

    /// Takes a session that was found, if it is of an app that is configured: any other is kept, but
    /// not taken.
    fn admit(&self, visit: &mut Visit<'_>, found: Option<Live>) -> Result<Live, Refusal> {
        if found.is_none() {
            self.books.counts.session_unknown();
        }
        let found = found.filter(|live| visit.settings.app(&live.holder().app).is_some());
        let live = found.ok_or(Refusal::SessionExpired)?;
        visit.entry.identified(&live);
        Ok(live)
    }
}
