//! `POST {paths.decrypt}`: opens what `wx.getUserInfo` and its kin gave the client, with keys that
//! never leave the gate.
//!
//! The encryption proves nothing about the data (AES-CBC has no integrity), and telling why it
//! could not be opened would let a client make data of its own: so every failure is one answer, and
//! every key is tried to the end.

use std::iter;
use std::sync::Arc;

use http::Response;

use crate::crypto::signature;
use crate::crypto::user_data::{self, Expected};
use crate::domain::id::UserKey;
use crate::domain::identity::{Clean, Presented};
use crate::domain::limits;
use crate::domain::secret::SessionKey;
use crate::domain::session::Live;
use crate::gateway::body::AnswerBody;
use crate::gateway::fields::{Field, Fields, encoding};
use crate::gateway::refusal::{Budget, Refusal};
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
        let live = self.session_of(visit, presented)?;
        let encoding = encoding(request.headers())?;
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
        let opened = self.open(visit, &live, &sealed)?;
        self.hand_over(visit, recipient, live, opened).await
    }

    /// Tries all of the user's keys, newest first, each in full; gives what the first that fits
    /// opens.
    pub(in crate::gateway) fn open(
        &self,
        visit: &Visit<'_>,
        live: &Live,
        sealed: &Sealed<'_>,
    ) -> Result<String, Refusal> {
        let holder = live.holder();
        let settings = &visit.settings.decrypt;
        let now = self.shared.clock.now();
        let (budgets, session) = (&self.shared.budgets, live.session().digest());
        let rate = visit.settings.rates.decrypt_failures_per_session;
        budgets.decrypt(session, rate, now).map_err(|used_up| {
            let counts = &self.books.counts;
            counts.decrypted(DecryptResult::RateLimited, KeyAge::None);
            Budget::DecryptFailures.refusal(used_up)
        })?;
        let user = UserKey::new(&holder.app, &holder.openid);
        let expected = Expected {
            app: &holder.app,
            openid: Some(&holder.openid),
            now,
            max_age: settings.max_age,
        };
        let mut opened = None;
        let mut why = "no session key is known";
        let keys = self.shared.store.keys(&user, now, settings.key_grace);
        let ages = iter::once(KeyAge::Current).chain(iter::repeat(KeyAge::Replaced));
        for (key, age) in keys.iter().zip(ages) {
            match (sealed.open_with(key, &expected), &opened) {
                (Ok(text), None) => opened = Some((text, age)),
                (Err(error), _) => why = error,
                (Ok(_), Some(_)) => {}
            }
        }
        let (result, age) = match &opened {
            Some((_, age)) => (DecryptResult::Ok, *age),
            None => (DecryptResult::Failed, KeyAge::None),
        };
        self.books.counts.decrypted(result, age);
        if opened.is_none() {
            let request_id = visit.entry.request_id().to_str().unwrap_or_default();
            let appid = holder.app.as_str();
            tracing::info!(message = event::DECRYPT_FAILED, why, appid, request_id);
        }
        let (opened, _age) = opened.ok_or(Refusal::DecryptFailed)?;
        budgets.decrypted(session, rate);
        Ok(opened)
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
