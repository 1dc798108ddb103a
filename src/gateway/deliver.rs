//! What the gate obtained for a user goes to the app server instead of the client, who could say
//! anything when passing it on. The client gets what the app server answers.

use http::Uri;
use http::uri::PathAndQuery;

use crate::domain::identity::{Clean, Identity, Message, Presented};
use crate::domain::response::Response;
use crate::domain::session::Live;
use crate::gateway::body::AnswerBody;
use crate::gateway::originate::OwnRequest;
use crate::gateway::refusal::Refusal;
use crate::gateway::{Deliver, Gateway, Visit};

/// Where something will go once it has been obtained. Found out while the request is still whole.
pub(in crate::gateway) enum Recipient {
    Client,
    AppServer(PathAndQuery, Box<OwnRequest>),
}

impl Gateway {
    /// Who gets what this request asks for.
    pub(in crate::gateway) fn recipient<B>(
        &self,
        visit: &mut Visit<'_>,
        deliver: &Deliver,
        request: &Clean<B>,
        presented: &Presented,
    ) -> Result<Recipient, Refusal> {
        let path = match deliver {
            Deliver::Client => return Ok(Recipient::Client),
            Deliver::Path(path) => path.clone(),
            Deliver::SamePath => same_path(request.uri())?,
        };
        let own_request = self.own_request(visit, request, presented);
        Ok(Recipient::AppServer(path, Box::new(own_request)))
    }

    /// Delivers JSON, in the name of the session that it was obtained for.
    pub(in crate::gateway) async fn deliver(
        &self,
        visit: &mut Visit<'_>,
        recipient: Recipient,
        live: Live,
        text: String,
    ) -> Result<Response<AnswerBody>, Refusal> {
        match recipient {
            Recipient::Client => {
                let answer = visit.style.envelope.success(text);
                Ok(visit.share(answer.map(AnswerBody::whole).into()))
            }
            Recipient::AppServer(path, own_request) => {
                let hangs_on = live.clone();
                let message = Message::json(path, text);
                let identity = Identity::Session(live);
                let answer = self
                    .originate(visit, *own_request, message, identity)
                    .await?;
                let hang = || self.hang(visit, &hangs_on);
                Ok(answer.map(|body| AnswerBody::streamed(body, hang)))
            }
        }
    }
}

/// The path of a request that one of the gate's own routes took, so a plain one.
fn same_path(uri: &Uri) -> Result<PathAndQuery, Refusal> {
    uri.path().parse().map_err(|_not_one| Refusal::Internal)
}
