//! The command line, and the only place that ends the process. What the commands do is in the
//! library.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use http::Method;
use listenfd::ListenFd;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use wxgate::admin::DEFAULT_PORT as DEFAULT_ADMIN_PORT;
use wxgate::app::manager::{Manager, State};
use wxgate::app::{self, Surroundings, dev, explain};
use wxgate::config::{self, Loaded};
use wxgate::domain::clock::Clock;
use wxgate::server::inherited::{self, Inherited};
use wxgate::telemetry::log::Log;
use wxgate::telemetry::style::Style;
use wxgate::telemetry::{Format, Level, Settings, UserField, event};

/// `EX_CONFIG` of sysexits.h: systemd can be told not to restart for it.
const BAD_CONFIGURATION: u8 = 78;

/// How long a health check waits for its answer: less than container engines allow by default.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// A reverse-proxy authentication sidecar for WeChat mini programs.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until told to stop (SIGTERM or SIGINT drains; a second one stops at once)
    Run {
        /// The configuration file
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration without listening; prints all faults
    Check {
        /// The configuration file
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Try it all on this machine: gate, simulated WeChat and demo app, no account needed
    Dev {
        /// Where the gate listens
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4180")]
        listen: SocketAddr,
        /// Your own app server instead of the demo app, such as <http://127.0.0.1:3000>
        #[arg(long, value_name = "URL")]
        upstream: Option<String>,
    },
    /// Run the simulated WeChat alone
    MockWechat {
        /// Where it listens
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4182")]
        listen: SocketAddr,
    },
    /// Look at how requests are decided
    Routes {
        #[command(subcommand)]
        command: RoutesCommand,
    },
    /// Ask a running gate whether it is alive, for container health checks
    Healthcheck {
        /// The configuration file of the gate: tells where its admin listener is
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// What to ask instead [default: <http://127.0.0.1:4189/healthz>]
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
}

#[derive(Subcommand)]
enum RoutesCommand {
    /// Tell which rule decides on a request, every reading of its path, and what is injected
    Explain {
        /// The method, such as GET
        #[arg(value_parser = |text: &str| text.to_ascii_uppercase().parse::<Method>())]
        method: Method,
        /// The path, such as /me
        path: String,
        /// The configuration file
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
        Command::Dev { listen, upstream } => develop(listen, upstream.as_deref()),
        Command::MockWechat { listen } => mock_wechat(listen),
        Command::Routes {
            command:
                RoutesCommand::Explain {
                    method,
                    path,
                    config,
                },
        } => load(&config).map(|loaded| print(&explain::explain(&loaded.config, &method, &path))),
        Command::Healthcheck { config, url } => healthcheck(config.as_deref(), url),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => code,
    }
}

/// Says what went wrong, with everything behind it.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    let mut line = format!("wxgate: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    complain(&line);
    ExitCode::FAILURE
}

#[expect(
    clippy::print_stdout,
    reason = "what a command has to say goes to standard output"
)]
fn print(text: &str) {
    print!("{text}");
    // A pipe that was closed has nobody to tell.
    drop(io::stdout().flush());
}

#[expect(
    clippy::print_stderr,
    reason = "what went wrong goes to standard error"
)]
fn complain(text: &str) {
    eprintln!("{text}");
}

/// Reads a configuration, or says all that is wrong with it.
fn load(path: &Path) -> Result<Loaded, ExitCode> {
    let env = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    config::load(path, env).map_err(|faults| {
        complain(&faults.to_string());
        ExitCode::from(BAD_CONFIGURATION)
    })
}

fn check(path: &Path) -> Result<(), ExitCode> {
    let loaded = load(path)?;
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    print(&format!("{}: good\n", path.display()));
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| failed(&error))
}

/// Starts the log on standard output and has all events written to it.
fn start_log(settings: &Settings) -> Result<Log, ExitCode> {
    let style = match settings.format {
        Format::Text => Style::Text,
        Format::Auto if io::stdout().is_terminal() => Style::Text,
        Format::Auto | Format::Json => Style::Json,
    };
    let log = Log::start(settings, style, Clock::System, Box::new(io::stdout()))
        .map_err(|error| failed(&error))?;
    tracing_subscriber::registry().with(log.clone()).init();
    Ok(log)
}

/// The listening sockets that this process was started with.
fn inherited() -> Result<Vec<Inherited>, ExitCode> {
    // Variables that are meant for somebody else are nothing to go by.
    let passed = if std::env::var_os("LISTEN_PID").is_some() {
        ListenFd::from_env()
    } else {
        ListenFd::empty()
    };
    inherited::take(passed).map_err(|error| failed(&error))
}

fn run(path: &Path) -> Result<(), ExitCode> {
    // First of all: it changes the environment, which is safe only while there is one thread.
    let inherited = inherited()?;
    let loaded = load(path)?;
    let log = start_log(&loaded.config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!(message = event::CONFIG_WARNING, %warning);
    }
    let manager = Manager::at(std::env::var_os("NOTIFY_SOCKET").as_deref());
    let surroundings = Surroundings {
        clock: Clock::System,
        log: Some(log.clone()),
    };
    let ran = runtime()?.block_on(async {
        let (stop, hurry) = orders().map_err(|error| failed(&error))?;
        let gate = app::start_on(inherited, loaded.config, &surroundings)
            .map_err(|error| failed(&error))?;
        manager.tell(State::Ready);
        stop.cancelled().await;
        manager.tell(State::Stopping);
        let stopped = gate.stop(hurry.cancelled()).await;
        stopped.map_err(|error| failed(&error))
    });
    log.close();
    ran
}

/// The orders to stop: the first SIGTERM or SIGINT, and the second.
fn orders() -> io::Result<(CancellationToken, CancellationToken)> {
    let (stop, hurry) = (CancellationToken::new(), CancellationToken::new());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let orders = [stop.clone(), hurry.clone()];
    tokio::spawn(async move {
        for order in orders {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            order.cancel();
        }
    });
    Ok((stop, hurry))
}

fn develop(listen: SocketAddr, upstream: Option<&str>) -> Result<(), ExitCode> {
    let settings = Settings {
        level: Level::Warn,
        format: Format::Auto,
        access: true,
        // Users are invented here, and a developer wants to know which one it was.
        user: UserField::OpenId,
    };
    let log = start_log(&settings)?;
    let surroundings = Surroundings {
        clock: Clock::System,
        log: Some(log.clone()),
    };
    let ran = runtime()?.block_on(async {
        let (stop, hurry) = orders().map_err(|error| failed(&error))?;
        let dev = dev::start(listen, upstream, &surroundings)
            .await
            .map_err(|error| failed(&error))?;
        print(&dev.greeting());
        stop.cancelled().await;
        dev.stop(hurry.cancelled()).await;
        Ok(())
    });
    log.close();
    ran
}

fn mock_wechat(listen: SocketAddr) -> Result<(), ExitCode> {
    let surroundings = Surroundings {
        clock: Clock::System,
        log: None,
    };
    runtime()?.block_on(async {
        let (stop, _hurry) = orders().map_err(|error| failed(&error))?;
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        print(&format!(
            "simulated WeChat on http://{address}\nset [wechat] base_url = \"http://{address}\"; \
             code mock-<name> logs in as that user; GET /_mock/ tells the rest\n"
        ));
        dev::mock_wechat(listener, &surroundings, stop).await;
        Ok(())
    })
}

fn healthcheck(config: Option<&Path>, url: Option<String>) -> Result<(), ExitCode> {
    let url = match url {
        Some(url) => url,
        None => health_url(config)?,
    };
    runtime()?.block_on(async {
        match app::ask_health(&url, HEALTH_TIMEOUT).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                complain(&format!("wxgate: {url} does not answer 200"));
                Err(ExitCode::FAILURE)
            }
            Err(error) => Err(failed(&error)),
        }
    })
}

/// Where the gate of this configuration tells of its health; of a default one without it.
fn health_url(config: Option<&Path>) -> Result<String, ExitCode> {
    let address = match config.map(load).transpose()? {
        Some(loaded) => loaded.config.admin.listen,
        None => Some(SocketAddr::from(([127, 0, 0, 1], DEFAULT_ADMIN_PORT))),
    };
    let Some(address) = address else {
        complain("wxgate: admin.listen is off, so nobody can be asked; give --url");
        return Err(ExitCode::FAILURE);
    };
    Ok(format!("http://{}/healthz", app::reachable(address)))
}
