//! HTTP/2: some connections, on each some requests on their way at once.

use std::rc::Rc;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::{HeaderValue, Request, Version};

use crate::connect::Connect;
use crate::http1::{CLIENT_FIELDS, HOST};
use crate::run::{Outcome, Run};

/// What may be on its way to us, for a stream and for a connection: more than any answer is long.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// What a run asks for.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Length of the right answer.
    pub(crate) expect: u64,
    /// Requests on their way at once.
    pub(crate) streams: usize,
}

/// Asks on one connection until the run is over.
pub(crate) async fn keep_asking<C: Connect>(run: Rc<Run>, connect: C, asked: Asked) {
    let Ok(stream) = connect.connect().await else {
        return lost(&run);
    };
    let opened = Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .enable_push(false)
        .handshake::<_, Bytes>(stream)
        .await;
    let Ok((sender, connection)) = opened else {
        return lost(&run);
    };
    // Ends with the last sender; a connection that fails, fails its requests.
    tokio::task::spawn_local(async move { drop(connection.await) });
    let asking: Vec<_> = (0..asked.streams)
        .map(|_number| {
            let asking = ask_in_turn(Rc::clone(&run), sender.clone(), asked.clone());
            tokio::task::spawn_local(asking)
        })
        .collect();
    drop(sender);
    for one in asking {
        // They do not panic, and nobody stops them.
        drop(one.await);
    }
}

/// A connection that did not come about counts as a request that failed.
fn lost(run: &Run) {
    if let Some(began) = run.begin() {
        run.note(began, Outcome::Failed);
    }
}

async fn ask_in_turn(run: Rc<Run>, mut sender: SendRequest<Bytes>, asked: Asked) {
    while let Some(began) = run.begin() {
        let outcome = ask(&mut sender, run.token(), &asked).await;
        run.note(began, outcome.unwrap_or(Outcome::Failed));
        if outcome.is_err() {
            // As likely as not the whole connection.
            return;
        }
    }
}

async fn ask(sender: &mut SendRequest<Bytes>, token: &str, asked: &Asked) -> Result<Outcome, ()> {
    let request = request(token, asked).map_err(drop)?;
    poll_ready(sender).await?;
    let (answer, _body) = sender.send_request(request, true).map_err(drop)?;
    let (head, mut body) = answer.await.map_err(drop)?.into_parts();
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(drop)?;
        length += u64::try_from(piece.len()).map_err(drop)?;
        body.flow_control()
            .release_capacity(piece.len())
            .map_err(drop)?;
    }
    Ok(if head.status == 200 && length == asked.expect {
        Outcome::Good
    } else {
        Outcome::Wrong
    })
}

async fn poll_ready(sender: &mut SendRequest<Bytes>) -> Result<(), ()> {
    std::future::poll_fn(|context| sender.poll_ready(context))
        .await
        .map_err(drop)
}

fn request(token: &str, asked: &Asked) -> Result<Request<()>, http::Error> {
    let mut request = Request::get(format!("http://{HOST}{}", asked.path))
        .version(Version::HTTP_2)
        .header(
            "authorization",
            HeaderValue::try_from(format!("Bearer {token}"))?,
        );
    for (name, value) in CLIENT_FIELDS {
        request = request.header(name, HeaderValue::from_static(value));
    }
    request.body(())
}
