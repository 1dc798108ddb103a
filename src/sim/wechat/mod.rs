//! A WeChat that needs no account: it answers logins and the APIs of app servers as the real one
//! does, makes what phones hand over, and fails on order. `[wechat] base_url` points at it.
//!
//! It refuses to know who calls. All its users are made up, so its control routes are open to
//! whoever reaches them, and it belongs on a loopback address or a test network.

mod api;
mod call;
mod codes;
mod content_calls;
mod control;
mod data_calls;
mod login;
mod misbehave;
mod push;
mod push_control;
mod push_send;
mod session_calls;
mod token_calls;
mod tokens;
mod user_data;
mod users;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::crypto::session_key;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::id::{AppId, OpenId};
use crate::domain::secret::AppSecret;
use crate::server::plain::{self, Handler, PlainBody};
use crate::sim::wechat::call::{Answer, Call};
use crate::sim::wechat::codes::{IssuedCodes, Redeemed};
use crate::sim::wechat::data_calls::SealedLately;
use crate::sim::wechat::misbehave::Queue;
use crate::sim::wechat::tokens::Tokens;
use crate::sim::wechat::users::{User, Users};

pub use crate::sim::wechat::api::Api;
pub use crate::sim::wechat::misbehave::Misbehaviour;
pub use crate::sim::wechat::push::{BadMessage, PushFormat, PushMode, PushRequest, PushSettings};
pub use crate::sim::wechat::push_send::{Delivered, SendError};
pub use crate::sim::wechat::user_data::{Raw, Sealed};
pub use crate::sim::wechat::users::UserName;

/// What happens to a code that was not issued here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// It logs in as the user `devtools`, as often as wanted: the developer tools make real codes,
    /// of which no simulator can know.
    Lenient,
    /// It is invalid.
    Strict,
}

/// Which mini programs there are.
#[derive(Clone, Debug)]
pub enum Apps {
    /// Every appid, with every secret.
    Any,
    /// These, each with its secret.
    Only(Vec<(AppId, AppSecret)>),
}

/// How a simulated WeChat behaves from the beginning.
#[derive(Clone, Debug)]
pub struct Options {
    /// What happens to a code that was not issued here.
    pub codes: Codes,
    /// Which mini programs there are.
    pub apps: Apps,
    /// By which codes expire and watermarks are dated.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            codes: Codes::Strict,
            apps: Apps::Any,
            clock: Clock::System,
        }
    }
}

/// What goes into user data that is not as usual.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The data, instead of a profile. It gets a watermark unless it has one.
    pub data: Option<Map<String, Value>>,
    /// When the data was obtained, instead of now.
    pub at: Option<Timestamp>,
}

/// A handle on one simulated WeChat. Whoever has one controls it, while it is served or not.
#[derive(Clone)]
pub struct MockWechat(Arc<World>);

struct World {
    options: Options,
    state: Mutex<State>,
}

struct State {
    users: Users,
    codes: IssuedCodes,
    phone_codes: IssuedCodes,
    sealed: SealedLately,
    tokens: Tokens,
    misbehaviour: BTreeMap<Api, Queue>,
    calls: BTreeMap<Api, u64>,
}

impl fmt::Debug for MockWechat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockWechat(..)")
    }
}

impl MockWechat {
    /// A world in which nobody has logged in yet.
    pub fn new(options: Options) -> Self {
        Self(Arc::new(World {
            options,
            state: Mutex::new(State {
                users: Users::new(),
                codes: IssuedCodes::new(),
                phone_codes: IssuedCodes::new(),
                sealed: SealedLately::new(),
                tokens: Tokens::new(),
                misbehaviour: BTreeMap::new(),
                calls: BTreeMap::new(),
            }),
        }))
    }

    /// Answers on this listener until `stop`.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        plain::serve(listener, self, stop).await;
    }

    /// A code as `wx.login` gives one: it works once, for this mini program, for five minutes.
    pub fn issue_code(&self, app: &AppId, user: &UserName) -> String {
        let now = self.now();
        self.0.state.lock().codes.issue(app, user, now)
    }

    /// A code as a phone button gives one: it works once, for this mini program, for five minutes.
    pub fn issue_phone_code(&self, app: &AppId, user: &UserName) -> String {
        let now = self.now();
        self.0.state.lock().phone_codes.issue(app, user, now)
    }

    /// What `wx.getUserInfo` hands over, made with the user's session_key of this moment.
    pub fn user_data(&self, app: &AppId, name: &UserName, wanted: Wanted) -> Sealed {
        let user = self.find(app, name);
        let mut data = wanted
            .data
            .unwrap_or_else(|| user_data::profile(&user, name));
        let at = wanted.at.unwrap_or_else(|| self.now());
        user_data::watermark(&mut data, app, at);
        let raw = user_data::sign(&data, &user);
        self.seal(app, data, &user, Some(raw))
    }

    /// What a phone button hands over, made with the user's session_key of this moment.
    pub fn phone(&self, app: &AppId, name: &UserName) -> Sealed {
        let mut data = user_data::phone();
        user_data::watermark(&mut data, app, self.now());
        self.seal(app, data, &self.find(app, name), None)
    }

    /// Gives the user a new session_key, as a login on another phone may do.
    pub fn rotate(&self, app: &AppId, user: &UserName) {
        self.0.state.lock().users.rotate(app, user);
    }

    /// Makes the access tokens of a mini program invalid, as somebody does who resets its secret or
    /// asks for tokens by himself: uses are answered with 40001 until a new one is made.
    pub fn invalidate_tokens(&self, app: &AppId) {
        self.0.state.lock().tokens.invalidate(app);
    }

    /// Fails the next so many logins in this way, after what was ordered before.
    pub fn misbehave(&self, times: u32, how: Misbehaviour) {
        self.misbehave_at(Api::Jscode2session, times, how);
    }

    /// Fails the next so many calls of one API in this way, after what was ordered for it before.
    pub fn misbehave_at(&self, api: Api, times: u32, how: Misbehaviour) {
        let mut state = self.0.state.lock();
        let queue = state.misbehaviour.entry(api).or_insert_with(Queue::new);
        queue.push(times, how);
    }

    /// Takes all orders to misbehave back.
    pub fn behave(&self) {
        self.0.state.lock().misbehaviour.clear();
    }

    /// How often `sns/jscode2session` was called.
    pub fn calls(&self) -> u64 {
        self.calls_of(Api::Jscode2session)
    }

    /// How often an API was called, well or badly.
    pub fn calls_of(&self, api: Api) -> u64 {
        let state = self.0.state.lock();
        state.calls.get(&api).copied().unwrap_or_default()
    }

    /// The openid that a user has or would have.
    pub fn openid_of(&self, app: &AppId, user: &UserName) -> OpenId {
        users::openid(app, user)
    }

    /// The user's session_key of this moment, as WeChat writes it.
    pub fn session_key_text_of(&self, app: &AppId, user: &UserName) -> Zeroizing<String> {
        session_key::text(&self.find(app, user).key)
    }

    fn options(&self) -> &Options {
        &self.0.options
    }

    fn now(&self) -> Timestamp {
        self.0.options.clock.now()
    }

    fn find(&self, app: &AppId, name: &UserName) -> User {
        self.0.state.lock().users.find(app, name)
    }

    fn name_of(&self, app: &AppId, openid: &str) -> Option<UserName> {
        self.0.state.lock().users.name_of(app, openid)
    }

    /// Encrypts data and remembers having done it.
    fn seal(&self, app: &AppId, data: Map<String, Value>, user: &User, raw: Option<Raw>) -> Sealed {
        let sealed = user_data::seal(data, user, raw);
        let now = self.now();
        let mut state = self.0.state.lock();
        state.sealed.remember(&sealed.encrypted_data, app, now);
        sealed
    }

    fn redeem_issued(&self, app: &AppId, code: &str) -> Redeemed {
        let now = self.now();
        self.0.state.lock().codes.redeem(code, app, now)
    }

    /// Counts a call, and says what is to go wrong with it.
    fn note_call(&self, api: Api) -> Option<Misbehaviour> {
        let mut state = self.0.state.lock();
        *state.calls.entry(api).or_default() += 1;
        state.misbehaviour.get_mut(&api)?.next()
    }

    async fn answer_api(&self, api: Api, request: Request<Incoming>) -> Response<PlainBody> {
        let order = self.note_call(api);
        let call = match Call::read(request).await {
            Ok(call) => call,
            Err(error) => return plain::text(error.status(), error.to_string()),
        };
        let honest = || self.answer_honestly(api, &call);
        match order {
            None => honest().into_response(),
            Some(misbehaviour) => misbehaviour.answer(honest).await,
        }
    }

    fn answer_honestly(&self, api: Api, call: &Call) -> Answer {
        let answer = match api {
            Api::Jscode2session => return self.jscode2session(call),
            Api::Token => self.token(call),
            Api::StableToken => self.stable_token(call),
            Api::PhoneNumber => self.phone_number(call),
            Api::CheckEncrypted => self.check_encrypted(call),
            Api::CheckSession => self.check_session(call),
            Api::ResetSessionKey => self.reset_session_key(call),
            Api::CheckContent => self.check_content(call),
            Api::MiniProgramCode => self.mini_program_code(call),
            Api::SendSubscribed => self.send_subscribed(call),
        };
        answer.unwrap_or_else(Answer::from)
    }
}

impl Handler for MockWechat {
    async fn handle(&self, request: Request<Incoming>) -> Response<PlainBody> {
        match Api::at(request.uri().path()) {
            Some(api) => self.answer_api(api, request).await,
            None => self.answer_control(request).await,
        }
    }
}

#[cfg(test)]
mod tests;
