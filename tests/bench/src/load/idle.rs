//! Connections that have asked once and are silent since: what a proxy keeps for each is measured
//! from outside.

use std::io;
use std::rc::Rc;

use crate::connect::Connect;
use crate::http1::{Connection, Template};
use crate::run::{Outcome, Run};

/// Opened at once, so that the proxy needs no more connections to its app server than that.
const OPENING: usize = 64;

const PATH: &str = "/api/items?page=1&size=20";

/// Opens so many connections and has each ask once. Gives those that were answered.
pub(crate) async fn open<C: Connect>(
    run: &Rc<Run>,
    connect: C,
    connections: usize,
) -> Vec<C::Stream> {
    let tasks: Vec<_> = (0..OPENING.min(connections))
        .map(|number| {
            let share = (number..connections).step_by(OPENING).count();
            let opening = open_share(Rc::clone(run), connect.clone(), share);
            tokio::task::spawn_local(opening)
        })
        .collect();
    let mut held = Vec::new();
    for task in tasks {
        // They do not panic, and nobody stops them.
        held.extend(task.await.unwrap_or_default());
    }
    held
}

async fn open_share<C: Connect>(run: Rc<Run>, connect: C, share: usize) -> Vec<C::Stream> {
    let template = Template::new("GET", PATH, &[("Connection", "keep-alive".to_owned())]);
    let mut head = Vec::new();
    let mut open = Vec::new();
    for _number in 0..share {
        let Some(began) = run.begin() else {
            break;
        };
        template.fill(&mut head, run.token());
        let outcome = match ask_once(&connect, &head).await {
            Ok((stream, 200)) => {
                open.push(stream);
                Outcome::Good
            }
            Ok(_) => Outcome::Wrong,
            Err(_) => Outcome::Failed,
        };
        run.note(began, outcome);
    }
    open
}

async fn ask_once<C: Connect>(connect: &C, head: &[u8]) -> io::Result<(C::Stream, u16)> {
    let mut connection = Connection::new(connect.connect().await?);
    connection.send(head).await?;
    let answer = connection.read_head().await?;
    connection.skip(answer.length).await?;
    Ok((connection.into_stream(), answer.status))
}
