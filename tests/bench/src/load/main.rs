//! The load generator of the measurements: asks a proxy for the same thing over and over, on a
//! fixed number of connections, each with one request on its way; counts the answers, checks what
//! each is, and prints one line of JSON. Measures nothing of the proxy itself.

mod connect;
mod http1;
mod http2;
mod idle;
mod login;
mod run;
mod websocket;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::connect::{Connect, Plain, Tls};
use crate::run::{Limit, Run};

/// How long the last answers may take once no more requests are sent.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
#[command(about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask again and again
    Ask(Ask),
    /// Hold connections that have asked once, until standard input closes
    Idle(Idle),
    /// Log users in, and print their tokens
    Login(Login),
}

#[derive(Args)]
struct Target {
    /// Where the proxy listens
    #[arg(long = "target", value_name = "ADDR")]
    address: SocketAddr,
    /// Connections
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// TLS, with whatever certificate, never resumed
    #[arg(long)]
    tls: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Manner {
    /// HTTP/1.1, one request after the other
    KeepAlive,
    /// HTTP/1.1, a connection for each request
    Fresh,
    /// HTTP/2, some requests at once
    Http2,
    /// Messages over WebSocket, each sent when the last came back
    Websocket,
}

#[derive(Args)]
struct Ask {
    #[command(flatten)]
    target: Target,
    /// A file of bearer tokens, one a line; requests take turns
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// What to ask for
    #[arg(long, default_value = "/api/items?page=1&size=20")]
    path: String,
    /// Length of the right answer
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    expect: u64,
    /// Send a body of this length, by POST
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    upload: usize,
    /// How requests use connections
    #[arg(long, value_enum, default_value_t = Manner::KeepAlive)]
    manner: Manner,
    /// Requests on their way at once on a connection of HTTP/2
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// End after so many requests
    #[arg(long, conflicts_with = "seconds")]
    requests: Option<u64>,
    /// End after so many seconds
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before that whose latencies are not counted
    #[arg(long, default_value_t = 0.0)]
    warm: f64,
}

#[derive(Args)]
struct Idle {
    #[command(flatten)]
    target: Target,
    /// A file of bearer tokens, one a line; connections take turns
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
}

#[derive(Args)]
struct Login {
    #[command(flatten)]
    target: Target,
    /// How many users
    #[arg(long)]
    users: u64,
    /// Number of the first user
    #[arg(long, default_value_t = 0)]
    first: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let local = tokio::task::LocalSet::new();
    match Arguments::parse().command {
        Command::Ask(arguments) => local.run_until(ask(arguments)).await,
        Command::Idle(arguments) => local.run_until(hold(arguments)).await,
        Command::Login(arguments) => local.run_until(log_in(arguments)).await,
    }
}

async fn ask(arguments: Ask) -> io::Result<()> {
    let limit = match arguments.requests {
        Some(requests) => Limit::Requests(requests),
        None => Limit::Seconds {
            warm: arguments.warm,
            measured: arguments.seconds,
        },
    };
    let run = Run::new(limit, run::read_tokens(&arguments.tokens)?);
    let address = arguments.target.address;
    if arguments.target.tls {
        let http2 = arguments.manner == Manner::Http2;
        ask_over(&run, Tls::new(address, http2), &arguments).await;
    } else {
        ask_over(&run, Plain(address), &arguments).await;
    }
    say(&run.report())
}

/// Runs all connections to their end.
async fn ask_over<C: Connect>(run: &Rc<Run>, connect: C, arguments: &Ask) {
    let tasks: Vec<_> = (0..arguments.target.connections)
        .map(|_number| {
            let (run, connect) = (Rc::clone(run), connect.clone());
            match arguments.manner {
                Manner::KeepAlive | Manner::Fresh => {
                    let asked = http1::Asked {
                        path: arguments.path.clone(),
                        expect: arguments.expect,
                        body: vec![b'x'; arguments.upload],
                        fresh: arguments.manner == Manner::Fresh,
                    };
                    tokio::task::spawn_local(http1::keep_asking(run, connect, asked))
                }
                Manner::Http2 => {
                    let asked = http2::Asked {
                        path: arguments.path.clone(),
                        expect: arguments.expect,
                        streams: arguments.streams,
                    };
                    tokio::task::spawn_local(http2::keep_asking(run, connect, asked))
                }
                Manner::Websocket => {
                    tokio::task::spawn_local(websocket::keep_sending(run, connect))
                }
            }
        })
        .collect();
    run.end(tasks, PATIENCE).await;
}

async fn hold(arguments: Idle) -> io::Result<()> {
    let tokens = run::read_tokens(&arguments.tokens)?;
    let run = Run::new(Limit::Requests(u64::MAX), tokens);
    let address = arguments.target.address;
    if arguments.target.tls {
        hold_over(&run, Tls::new(address, false), &arguments).await
    } else {
        hold_over(&run, Plain(address), &arguments).await
    }
}

async fn hold_over<C: Connect>(run: &Rc<Run>, connect: C, arguments: &Idle) -> io::Result<()> {
    let held = idle::open(run, connect, arguments.target.connections).await;
    say(&run.report())?;
    // Whoever started this closes the pipe when it has seen enough.
    tokio::task::spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()))
        .await
        .map_err(io::Error::other)??;
    drop(held);
    Ok(())
}

async fn log_in(arguments: Login) -> io::Result<()> {
    let Target {
        address,
        connections,
        tls,
    } = arguments.target;
    let users = arguments.first..arguments.first + arguments.users;
    let tokens = if tls {
        login::all(Tls::new(address, false), connections, users).await?
    } else {
        login::all(Plain(address), connections, users).await?
    };
    say(&tokens.join("\n"))
}

fn say(line: &impl std::fmt::Display) -> io::Result<()> {
    use io::Write as _;
    writeln!(io::stdout(), "{line}")?;
    io::stdout().flush()
}
