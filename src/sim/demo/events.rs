//! Server-sent events: one a second, for as long as somebody listens.

use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;
use tokio::time;
use tokio_util::sync::CancellationToken;

use crate::server::plain::{self, BodySender, ClientGone, PlainBody};
use crate::sim::demo::identity::Identity;

const INTERVAL: Duration = Duration::from_secs(1);

/// A stream that counts, until `stop`.
pub(super) fn answer(who: Identity, stop: CancellationToken) -> Response<PlainBody> {
    let (sender, body) = PlainBody::stream();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            gone = count(&who, &sender) => gone,
        }
    });
    let mut response = plain::answer(StatusCode::OK, "text/event-stream", body);
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response
}

async fn count(who: &Identity, sender: &BodySender) -> Result<(), ClientGone> {
    let mut ticks = time::interval(INTERVAL);
    for count in 1_u64.. {
        ticks.tick().await;
        let event = json!({"count": count, "openid": who.openid.as_str()});
        sender.send(format!("data: {event}\n\n")).await?;
    }
    Ok(())
}
