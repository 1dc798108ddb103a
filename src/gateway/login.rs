//! `POST {paths.login}`: a code from `wx.login` becomes a session.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{REFERER, SET_COOKIE};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::crypto::token;
use crate::domain::fields::HeaderFields;
use crate::domain::id::AppId;
use crate::domain::identity::{Clean, Presented, TokenClaim};
use crate::domain::limits;
use crate::domain::referer::Referer;
use crate::domain::secret::LoginCode;
use crate::gateway::cross_site::Page;
use crate::gateway::desk::{Brought, LoggedIn, LoginError, NoLogin};
use crate::gateway::fields::{Field, Fields, encoding};
use crate::gateway::hook::{Hook, HookData};
use crate::gateway::refusal::{Refusal, UnknownApp};
use crate::gateway::reply::{json, require_post};
use crate::gateway::{App, AppHints, Gateway, Settings, Visit, books, texts};
use crate::server::body::RequestBody;
use crate::telemetry::metrics::{LoginResult, Metrics};

#[derive(Serialize)]
struct LoginAnswer<'a> {
    token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle_expires_in: Option<u64>,
    appid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    openid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unionid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// A login that is counted when it is over, also when its client does not wait for that.
struct LoginTally<'a> {
    metrics: &'a Metrics,
    app: &'a AppId,
    result: LoginResult,
}

impl Drop for LoginTally<'_> {
    fn drop(&mut self) {
        self.metrics.logged_in(self.app, self.result);
    }
}

impl Gateway {
    /// Redeems a code.
    pub(in crate::gateway) async fn login(
        &self,
        visit: &mut Visit<'_>,
        request: Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<Bytes>, Refusal> {
        require_post(&request)?;
        let encoding = encoding(request.fields())?;
        let page = Page::of(&visit.settings, &request, presented);
        let referer = referer(request.fields());
        let settings = Arc::clone(&visit.settings);
        let hook = settings.login.hook.clone();
        let hook = hook.map(|path| (path, self.own_request(visit, &request, presented)));
        let body = request
            .into_body()
            .read_all(limits::MAX_LOGIN_BODY_BYTES)
            .await?;
        let fields = Fields::parse(encoding, &body, &settings.field_names)?;
        let app = settings.choose_app(&fields, referer)?;
        visit.entry.logging_in(&app.id);
        let code = fields.required(Field::Code, &texts::CODE_MISSING)?;
        let code = LoginCode::parse(code).ok_or(Refusal::BadRequest(&texts::CODE_MALFORMED))?;
        let replaces = match presented.token() {
            // In a cookie it may have been sent along by a page that does not know it.
            TokenClaim::Token(_) if presented.cookie().is_some() && page != Page::Own => None,
            TokenClaim::Token(old) => Some(token::digest(old)),
            TokenClaim::None | TokenClaim::Malformed => None,
        };
        let hook = hook.map(|(path, own_request)| {
            let client = fields.others(&[Field::Code, Field::Appid]);
            Hook::prepare(path, &app.id, &client, own_request)
        });
        let client = (presented.origin().client(), &**visit.peer);
        let toll = self
            .shared
            .budgets
            .toll(&app.id, client, &settings.rate_limits);
        let brought = Brought {
            code,
            replaces,
            hook,
            toll,
        };
        let mut tally = LoginTally {
            metrics: &self.shared.metrics,
            app: &app.id,
            result: LoginResult::Cancelled,
        };
        let outcome = self.shared.desk.redeem(app, brought, &settings).await;
        tally.result = books::of_login(&outcome);
        drop(tally);
        let outcome = outcome?;
        let logged_in = outcome.map_err(|error| match error {
            LoginError::Redeem(error) => Refusal::Login {
                error,
                app: app.id.clone(),
            },
            LoginError::NotAsked(_) => Refusal::NoLogins,
            LoginError::Refused => Refusal::LoginRefused,
            LoginError::Store(_) => Refusal::LoginNotKept,
        })?;
        visit.entry.logged_in(&logged_in.holder);
        Ok(self.login_answer(&settings, &logged_in, page))
    }

    fn login_answer(
        &self,
        settings: &Settings,
        logged_in: &LoggedIn,
        page: Page,
    ) -> Response<Bytes> {
        let lifetimes = &settings.session.lifetimes;
        let ends_at = logged_in.since.plus(lifetimes.ttl);
        let expires_in = ends_at.seconds_from(self.shared.clock.now());
        let holder = &logged_in.holder;
        let exposed = |expose, id| if expose { id } else { None };
        let answer = LoginAnswer {
            // The one place where a token leaves the gate: to the client that logged in.
            token: logged_in.token.expose(),
            token_type: "Bearer",
            expires_in,
            idle_expires_in: lifetimes.idle_ttl.as_ref().map(Duration::as_secs),
            appid: holder.app.as_str(),
            openid: exposed(settings.login.expose_openid, Some(holder.openid.as_str())),
            unionid: exposed(
                settings.login.expose_unionid,
                holder
                    .unionid
                    .as_ref()
                    .map(crate::domain::id::UnionId::as_str),
            ),
            data: logged_in.data.as_ref().map(HookData::as_raw),
        };
        let mut response = json(settings.errors.envelope, &answer);
        // A page of another site that logs its own user in would have somebody else's browser keep that.
        let keeps = settings.cookie.as_ref().filter(|_| page != Page::Foreign);
        if let Some(set) = keeps.and_then(|cookie| cookie.set(&logged_in.token, expires_in)) {
            response.headers_mut().insert(SET_COOKIE, set);
        }
        response
    }
}

impl Settings {
    /// Which app a login is for: what the body says, else the `Referer`, else the only one there
    /// is. The `Referer` is the word of whoever sends it; it chooses, and proves nothing.
    fn choose_app(&self, fields: &Fields<'_>, referer: Option<AppId>) -> Result<&App, Refusal> {
        let (referer, named) = match self.login.app_hints {
            AppHints::Ignored => (None, None),
            AppHints::Binding => (
                referer,
                fields.optional(Field::Appid, &texts::APPID_NOT_TEXT)?,
            ),
        };
        if let Some(from) = referer.as_ref().filter(|from| self.app(from).is_none()) {
            // What the body names is shown only if it is configured: it came from the client.
            let named = named
                .and_then(|id| AppId::parse(id).ok())
                .and_then(|id| self.app(&id));
            let all = || {
                self.apps
                    .iter()
                    .map(|app| app.id.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let expected = named.map_or_else(all, |app| app.id.to_string());
            let from = from.clone();
            return Err(Refusal::UnknownApp(UnknownApp::Caller { from, expected }));
        }
        if let Some(named) = named {
            let app = AppId::parse(named).ok().and_then(|id| self.app(&id));
            return app.ok_or(Refusal::UnknownApp(UnknownApp::Named));
        }
        let chosen = match (&referer, self.apps.as_slice()) {
            (Some(from), _) => self.app(from),
            (None, [only]) => Some(only),
            (None, [first, ..]) if self.login.app_hints == AppHints::Ignored => Some(first),
            (None, _) => None,
        };
        chosen.ok_or(Refusal::UnknownApp(UnknownApp::Unnamed))
    }
}

fn referer(fields: &HeaderFields) -> Option<AppId> {
    let referer = fields.get(&REFERER)?.to_str()?;
    Referer::parse(referer)
        .ok()
        .map(|referer| referer.app().clone())
}

impl From<NoLogin> for Refusal {
    fn from(why: NoLogin) -> Self {
        match why {
            NoLogin::Limited(used_up) => used_up.into(),
            NoLogin::NoOutcome(why) => why.into(),
            NoLogin::Store(_) => Self::NoLogins,
        }
    }
}
