//! `GET` and `DELETE {paths.session}`, `POST {paths.logout}`: what a client may know of its session,
//! and its end.

use bytes::Bytes;
use http::{Method, Response, Uri};
use serde::Serialize;

use crate::domain::identity::{Clean, Presented};
use crate::domain::session::Live;
use crate::gateway::refusal::Refusal;
use crate::gateway::reply::{json, require_post};
use crate::gateway::{Gateway, Visit};
use crate::server::body::RequestBody;
use crate::store::ending::Ended;

#[derive(Serialize)]
struct SessionAnswer<'a> {
    appid: &'a str,
    /// Seconds.
    expires_in: u64,
    /// Seconds since 1970-01-01 UTC.
    created_at: u64,
}

impl Gateway {
    /// Tells about the session, or ends it.
    pub(in crate::gateway) async fn session(
        &self,
        visit: &mut Visit<'_>,
        request: &Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<Bytes>, Refusal> {
        match *request.method() {
            Method::GET => {
                let live = self.session_of(visit, (request, presented)).await?;
                let ends_at = live.session().ends_at(&visit.settings.session.lifetimes);
                let answer = SessionAnswer {
                    appid: live.holder().app.as_str(),
                    expires_in: ends_at.seconds_from(self.shared.clock.now()),
                    created_at: live.session().created().as_secs(),
                };
                Ok(json(visit.style.envelope, &answer))
            }
            Method::DELETE => self.end(visit, request, presented).await,
            _ => Err(Refusal::MethodNotAllowed {
                allowed: "GET, DELETE",
            }),
        }
    }

    /// Ends the session.
    pub(in crate::gateway) async fn logout(
        &self,
        visit: &mut Visit<'_>,
        request: &Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<Bytes>, Refusal> {
        require_post(request)?;
        self.end(visit, request, presented).await
    }

    async fn end(
        &self,
        visit: &mut Visit<'_>,
        request: &Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<Bytes>, Refusal> {
        let live: Live = self.session_of(visit, (request, presented)).await?;
        visit.forgets_cookie = true;
        let store = &self.shared.store;
        let ended = if query_says(request.uri(), "all", "true") {
            store.end_with_others(live.session()).await
        } else {
            store.end(live.session()).await
        };
        match ended {
            Ended::Everywhere => Ok(visit.style.envelope.done()),
            Ended::HereOnly => Err(Refusal::EndedHereOnly),
        }
    }
}

/// The query parameter of a request, if it is there with this value.
fn query_says(uri: &Uri, name: &str, value: &str) -> bool {
    let query = uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(n, v)| n == name && v == value)
}
