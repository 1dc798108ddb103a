//! From what a request shows to who it is from.

use crate::crypto::token;
use crate::domain::clock::Timestamp;
use crate::domain::identity::{Clean, Presented, TokenClaim};
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
    pub(in crate::gateway) fn authenticate<B>(
        &self,
        visit: &mut Visit<'_>,
        request: (&Clean<B>, &Presented),
        require: Require,
    ) -> Result<Standing, Refusal> {
        let arrived = visit.arrived;
        match (require, request.1.token()) {
            (Require::Public, _) => Ok(Standing::Known(None)),
            (_, TokenClaim::None) => self.by_ticket(arrived, visit, request, require),
            // A token that is not taken is an error even where none is needed: the client should
            // learn that it has to log in again.
            _ => self.by_token(arrived, visit, request, require),
        }
    }

    /// The live session that the gate's own routes need. It takes a token: a ticket opens none of them.
    pub(in crate::gateway) async fn session_of<B>(
        &self,
        visit: &mut Visit<'_>,
        request: (&Clean<B>, &Presented),
    ) -> Result<Live, Refusal> {
        if matches!(request.1.token(), TokenClaim::None) {
            return Err(Refusal::SessionRequired);
        }
        // Something may have been waited for since it came in.
        let now = self.shared.clock.now();
        let found = match self.by_token(now, visit, request, Require::Session)? {
            Standing::Known(found) => found,
            // Seldom, and so in a box.
            Standing::Unseen(digest) => {
                let sees = self.sight_of(visit, digest, (request.1, Require::Session));
                Box::pin(sees).await?
            }
        };
        found.ok_or(Refusal::SessionRequired)
    }

    fn by_token<B>(
        &self,
        now: Timestamp,
        visit: &mut Visit<'_>,
        (request, presented): (&Clean<B>, &Presented),
        require: Require,
    ) -> Result<Standing, Refusal> {
        visit.settings.check_page(request, presented)?;
        let found = match presented.token() {
            TokenClaim::Token(token) => self.look_up(now, visit, token::digest(token)),
            TokenClaim::Malformed | TokenClaim::None => Err(Refusal::SessionExpired),
        };
        match found {
            Err(Refusal::SessionExpired) => {
                let nobody = visit.forget_cookie(presented, require);
                nobody.map(|()| Standing::Known(None))
            }
            found => found,
        }
    }

    /// Looks for the live session of a token.
    pub(in crate::gateway) fn look_up(
        &self,
        now: Timestamp,
        visit: &mut Visit<'_>,
        digest: TokenDigest,
    ) -> Result<Standing, Refusal> {
        let lifetimes = &visit.settings.session.lifetimes;
        let found = match self.shared.store.find(&digest, now, lifetimes) {
            Found::Live(live) => Some(live),
            Found::Unknown => None,
            Found::Unseen => return Ok(Standing::Unseen(digest)),
            Found::Unusable(why) => return Err(why.into()),
        };
        let live = self.admit(visit, found)?;
        Ok(Standing::Known(Some(live)))
    }

    /// Waits for what the store says of the token of a request.
    pub(in crate::gateway) async fn sight_of(
        &self,
        visit: &mut Visit<'_>,
        digest: TokenDigest,
        (presented, require): (&Presented, Require),
    ) -> Result<Option<Live>, Refusal> {
        match self.first_sight(visit, digest).await {
            Err(Refusal::SessionExpired) => {
                let nobody = visit.forget_cookie(presented, require);
                nobody.map(|()| None)
            }
            found => found.map(Some),
        }
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

impl Visit<'_> {
    /// What becomes of a request whose token opens nothing. One that came in a cookie is for the browser
    /// to forget, which cannot know better: where no session is needed it is as good as none.
    fn forget_cookie(&mut self, presented: &Presented, require: Require) -> Result<(), Refusal> {
        let cookie = presented.cookie().ok_or(Refusal::SessionExpired)?;
        let own = self.settings.cookie.as_deref();
        self.forgets_cookie |= own.is_some_and(|own| own.name() == cookie);
        match require {
            Require::Session => Err(Refusal::SessionExpired),
            Require::Optional | Require::Public => Ok(()),
        }
    }
}
