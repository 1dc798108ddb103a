//! `POST {paths.phone}`: a code of the phone button becomes the phone number that the user gave, by
//! WeChat's own word and for this user alone.
//!
//! WeChat charges for numbers. A code is made by a tap on a phone and works once, so nobody gets more
//! of them than the users give; what a client can make up is bounded like what it cannot decrypt.

use std::sync::Arc;

use crate::crypto::user_data::{self, UserDataError};
use crate::domain::identity::{Clean, Presented};
use crate::domain::limits;
use crate::domain::response::Response;
use crate::domain::secret::PhoneCode;
use crate::domain::session::Live;
use crate::gateway::body::AnswerBody;
use crate::gateway::budgets::Budget;
use crate::gateway::fields::{Field, Fields, encoding};
use crate::gateway::refusal::Refusal;
use crate::gateway::reply::require_post;
use crate::gateway::{Gateway, Visit, texts};
use crate::server::body::RequestBody;
use crate::wechat::error::Refused;
use crate::wechat::phone::PhoneError;

/// What is wrong with a code. For the log: a client is told that it is not good.
#[derive(Debug, thiserror::Error)]
pub(in crate::gateway) enum BadCode {
    /// It is invalid, too old, used, or another user's or mini program's.
    #[error("WeChat does not take it (errcode {})", .0.errcode)]
    Refused(Refused),
    /// What it stands for has not just been given, by the clock of this machine.
    #[error(transparent)]
    Age(#[from] UserDataError),
}

impl Gateway {
    /// Obtains a phone number.
    pub(in crate::gateway) async fn phone(
        &self,
        visit: &mut Visit<'_>,
        request: Clean<RequestBody>,
        presented: &Presented,
    ) -> Result<Response<AnswerBody>, Refusal> {
        require_post(&request)?;
        let live = self.session_of(visit, (&request, presented)).await?;
        let encoding = encoding(request.fields())?;
        let settings = Arc::clone(&visit.settings);
        let recipient = self.recipient(visit, &settings.phone, &request, presented)?;
        let body = request
            .into_body()
            .read_all(limits::MAX_PHONE_BODY_BYTES)
            .await?;
        let fields = Fields::parse(encoding, &body, &settings.field_names)?;
        let code = fields.required(Field::Code, &texts::PHONE_CODE_MISSING)?;
        let code =
            PhoneCode::parse(code).ok_or(Refusal::BadRequest(&texts::PHONE_CODE_MALFORMED))?;
        let info = self.phone_info(visit, &live, code).await?;
        self.deliver(visit, recipient, live, info).await
    }

    /// Asks WeChat, within what the session may use up. Counts as a failure until it is known to be
    /// none: who hangs up has used one up as well.
    async fn phone_info(
        &self,
        visit: &Visit<'_>,
        live: &Live,
        code: PhoneCode,
    ) -> Result<String, Refusal> {
        let (budgets, session) = (&self.shared.budgets, live.session().digest());
        let rate = visit.settings.rate_limits.decrypt_failures_per_session;
        let now = self.shared.clock.now();
        budgets.charge_failure(Budget::PhoneCodes, session, rate, now)?;
        let outcome = self.ask_for_phone(visit, live, code).await;
        if !matches!(outcome, Err(Refusal::PhoneCode { .. })) {
            budgets.refund_failure(session, rate);
        }
        outcome
    }

    async fn ask_for_phone(
        &self,
        visit: &Visit<'_>,
        live: &Live,
        code: PhoneCode,
    ) -> Result<String, Refusal> {
        let holder = live.holder();
        let bad = |why| Refusal::PhoneCode {
            why: Box::new(why),
            app: holder.app.clone(),
        };
        let answered = self.shared.inquiries.phone_number(holder, code).await?;
        let phone = answered.map_err(|error| match error {
            PhoneError::CodeInvalid(refused) => bad(BadCode::Refused(refused)),
            PhoneError::Call(error) => Refusal::WeChat {
                error: Box::new(error),
                app: holder.app.clone(),
            },
        })?;
        if let Some(max_age) = visit.settings.decrypt.max_age {
            user_data::check_age(phone.given.as_secs(), self.shared.clock.now(), max_age)
                .map_err(|why| bad(why.into()))?;
        }
        // What came as JSON goes as JSON.
        serde_json::to_string(&phone.info).map_err(|_never| Refusal::Internal)
    }
}
