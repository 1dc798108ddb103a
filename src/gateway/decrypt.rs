//! `POST {paths.decrypt}`: opens what `wx.getUserInfo` and its kin gave the client, with keys that
//! never leave the gate.
//!
//! The encryption proves nothing about the data (AES-CBC has no integrity), and telling why it
//! could not be opened would let a client make data of its own: so every failure is one answer, and
//! every key is tried to the end.

use std::iter;
use std::sync::Arc;

use crate::crypto::signature;
use crate::crypto::user_data::{self, Expected};
use crate::domain::id::UserKey;
use crate::domain::identity::{Clean, Presented};
use crate::domain::limits;
use crate::domain::response::Response;
use crate::domain::secret::SessionKey;
use crate::domain::session::Live;
use crate::gateway::body::AnswerBody;
use crate::gateway::budgets::Budget;
use crate::gateway::fields::{Field, Fields, encoding};
use crate::gateway::refusal::Refusal;
use crate::gateway::reply::require_post;
use crate::gateway::{Gateway, Visit, texts};
use crate::server::body::RequestBody;
use crate::telemetry::event;
use crate::telemetry::metrics::{DecryptResult, KeyAge};

/// What a client hands over to be opened.
pub(in crate::gateway) struct Sealed<'a> {
    encrypted_data: &'a str,
    iv: &'a str,
    /// `rawData` and its `signature`.
    signed: Option<(&'a str, &'a str)>,
}

impl Gateway {
    /// Opens user data.
    pub(in crate::gateway) async fn decrypt(
        &self,
        visit: &mut Visit<'_>,
        request: Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<AnswerBody>, Refusal> {
        require_post(&request)?;
        let live = self.session_of(visit, (&request, presented)).await?;
        let encoding = encoding(request.fields())?;
        let deliver = visit.settings.decrypt.deliver.clone();
        let recipient = self.recipient(visit, &deliver, &request, presented)?;
        let body = request
            .into_body()
            .read_all(limits::MAX_DECRYPT_BODY_BYTES)
            .await?;
        let settings = Arc::clone(&visit.settings);
        let fields = Fields::parse(encoding, &body, &settings.field_names)?;
        if fields.has("sessionKey") {
            let appid = live.holder().app.as_str();
            tracing::debug!(message = event::CLIENT_HOLDS_SESSION_KEY, appid);
        }
        let sealed = Sealed::read(&fields)?;
        let opened = self.open(visit, &live, &sealed).await?;
        self.deliver(visit, recipient, live, opened).await
    }

    /// Opens data within what the session may use up, and looks whether it is what it seems to be.
    /// A WeChat that cannot be asked about that is no failure of the client's.
    pub(in crate::gateway) async fn open(
        &self,
        visit: &Visit<'_>,
        live: &Live,
        sealed: &Sealed<'_>,
    ) -> Result<String, Refusal> {
        let (budgets, session) = (&self.shared.budgets, live.session().digest());
        let rate = visit.settings.rate_limits.decrypt_failures_per_session;
        let counts = &self.books.counts;
        let now = self.shared.clock.now();
        budgets
            .charge_failure(Budget::DecryptFailures, session, rate, now)
            .inspect_err(|_| counts.decrypted(DecryptResult::RateLimited, KeyAge::None))?;
        let opened = self.open_and_check(visit, live, sealed).await;
        if !matches!(opened, Ok(Err(_))) {
            budgets.refund_failure(session, rate);
        }
        match opened.inspect_err(|_| counts.decrypted(DecryptResult::Unavailable, KeyAge::None))? {
            Ok((text, age)) => {
                counts.decrypted(DecryptResult::Ok, age);
                Ok(text)
            }
            Err((result, why)) => {
                counts.decrypted(result, KeyAge::None);
                let request_id = visit.request_id.as_str();
                let appid = live.holder().app.as_str();
                tracing::info!(message = event::DECRYPT_FAILED, why, appid, request_id);
                Err(Refusal::DecryptFailed)
            }
        }
    }

    /// The data and which key opened it, or why it is not taken.
    async fn open_and_check(
        &self,
        visit: &Visit<'_>,
        live: &Live,
        sealed: &Sealed<'_>,
    ) -> Result<Result<(String, KeyAge), (DecryptResult, &'static str)>, Refusal> {
        let keys = self.keys_of(visit, live).await?;
        let (text, age) = match self.try_keys(visit, live, keys, sealed) {
            Ok(opened) => opened,
            Err(why) => return Ok(Err((DecryptResult::Failed, why))),
        };
        if visit.settings.decrypt.authenticate_phone {
            let looked = self.authenticate_phone(live, sealed.encrypted_data, &text);
            if let Err(why) = looked.await? {
                return Ok(Err((DecryptResult::NotAuthentic, why)));
            }
        }
        Ok(Ok((text, age)))
    }

    /// The user's keys that may be tried, newest first: all there are, whatever is to be opened.
    async fn keys_of(&self, visit: &Visit<'_>, live: &Live) -> Result<Vec<SessionKey>, Refusal> {
        let holder = live.holder();
        let user = UserKey::new(&holder.app, &holder.openid);
        let (now, grace) = (self.shared.clock.now(), visit.settings.decrypt.key_grace);
        Ok(self.shared.store.keys(&user, now, grace).await?)
    }

    /// Tries all of the user's keys, newest first, each in full; gives what the first that fits
    /// opens, and which it is.
    fn try_keys(
        &self,
        visit: &Visit<'_>,
        live: &Live,
        keys: Vec<SessionKey>,
        sealed: &Sealed<'_>,
    ) -> Result<(String, KeyAge), &'static str> {
        let holder = live.holder();
        let expected = Expected {
            app: &holder.app,
            openid: Some(&holder.openid),
            now: self.shared.clock.now(),
            max_age: visit.settings.decrypt.max_age,
        };
        let mut opened = Err("no session key is known");
        let ages = iter::once(KeyAge::Current).chain(iter::repeat(KeyAge::Replaced));
        for (key, age) in keys.iter().zip(ages) {
            let tried = sealed.open_with(key, &expected);
            if opened.is_err() {
                opened = tried.map(|text| (text, age));
            }
        }
        if opened.is_err() {
            self.look_at_key(visit, live, keys);
        }
        opened
    }

    /// Has WeChat asked whether the newest key is the user's of this moment. The same after every
    /// failure, and nobody waits for it: a client notices nothing.
    fn look_at_key(&self, visit: &Visit<'_>, live: &Live, keys: Vec<SessionKey>) {
        let (session, now) = (live.session().digest(), self.shared.clock.now());
        if let Some(newest) = keys.into_iter().next()
            && self.shared.budgets.charge_key_check(session, now)
        {
            let request_id = &visit.request_id;
            self.shared
                .inquiries
                .check_key(live.holder(), newest, request_id);
        }
    }
}

impl<'a> Sealed<'a> {
    /// Data that comes alone.
    pub(in crate::gateway) fn without_signature(encrypted_data: &'a str, iv: &'a str) -> Self {
        Self {
            encrypted_data,
            iv,
            signed: None,
        }
    }

    fn read(fields: &'a Fields<'_>) -> Result<Self, Refusal> {
        const WRONG: &texts::Text = &texts::DECRYPT_FIELDS;
        let signed = match (
            fields.optional(Field::RawData, WRONG)?,
            fields.optional(Field::Signature, WRONG)?,
        ) {
            (Some(raw_data), Some(signature)) => Some((raw_data, signature)),
            (None, None) => None,
            _ => return Err(Refusal::BadRequest(WRONG)),
        };
        Ok(Self {
            encrypted_data: fields.required(Field::EncryptedData, WRONG)?,
            iv: fields.required(Field::Iv, WRONG)?,
            signed,
        })
    }

    /// Opens the data with one key, and checks the signature with the same.
    fn open_with(&self, key: &SessionKey, expected: &Expected<'_>) -> Result<String, &'static str> {
        let opened = user_data::open(key, self.iv, self.encrypted_data, expected);
        let signed = self
            .signed
            .is_none_or(|(raw_data, given)| signature::verify_raw_data(raw_data, key, given));
        match opened {
            Ok(_) if !signed => Err("signature_mismatch"),
            Ok(text) => Ok(text),
            Err(error) => Err(error.name()),
        }
    }
}
