//! The calls to WeChat: which connection, how long, how often. What an answer means is the business
//! of [`reply`]. No error that leaves here holds a URL, since the URL holds
//! the secret and the code.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use reqwest::header::{DATE, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Proxy, RequestBuilder, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::domain::clock::Clock;
use crate::domain::id::AppId;
use crate::domain::limits;
use crate::domain::secret::{AppSecret, LoginCode};
use crate::telemetry::metrics::Calls;
use crate::wechat::count::{self, Asking};
use crate::wechat::error::{CallError, Malformed, RedeemError};
use crate::wechat::guard::{Closed, Guard, Guards, Judged, Verdict};
use crate::wechat::played::{Played, Said};
use crate::wechat::reply::{self, Redeemed};
use crate::wechat::skew::Skew;
use crate::wechat::{Credential, Settings};

/// Marks every call, so that the gate sees when the name of WeChat leads back to itself.
pub static LOOP_MARK: HeaderName = HeaderName::from_static("x-wxgate-egress");

/// Where login codes are redeemed.
pub(super) const JSCODE2SESSION: &str = "/sns/jscode2session";

/// Why there is no client: the operator's settings. Repeats none of them.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `base_url` is no URL with a host.
    #[error("the base URL of WeChat is not a URL with a host")]
    BaseUrl,
    /// `ca_pem` holds no certificate, or a broken one.
    #[error("the additional certificates are not PEM certificates")]
    Certificates,
    /// The HTTP client does not come about.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// `proxy_url` is no URL of a proxy.
    #[error("the proxy's URL is not one of a proxy")]
    ProxyUrl,
    /// The TLS library does not offer what is needed.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// The one way to WeChat. Clones share their connections and the limit on calls.
#[derive(Clone)]
pub struct Client {
    pub(super) http: reqwest::Client,
    /// Who is asked instead, in a simulation.
    played: Option<Played>,
    /// Scheme and host.
    base_url: Url,
    /// A permit per call that may be under way.
    calls: Arc<Semaphore>,
    max_in_flight: usize,
    /// How long a whole call may take.
    pub(super) timeout: Duration,
    pub(super) clock: Clock,
    guards: Guards,
    pub(super) counts: Calls,
    skew: Arc<Skew>,
}

/// An answer as it came, whatever it says.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base_url", &self.base_url.as_str())
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Sets up a client. Makes no connection.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        // The cause would repeat the URL.
        let base_url = Url::parse(&settings.base_url).map_err(|_cause| SetupError::BaseUrl)?;
        let host = base_url.host_str().ok_or(SetupError::BaseUrl)?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(settings.ca_pem.as_deref())?)
            .http1_only()
            // A redirect would carry the secret to whoever it names.
            .redirect(Policy::none())
            .referer(false)
            .default_headers(HeaderMap::from_iter([(LOOP_MARK.clone(), HeaderValue::from_static("1"))]))
            .no_proxy()
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(limits::WECHAT_IDLE_CONNECTION);
        if !settings.resolve.is_empty() {
            // Port 0 stands for the port of the URL.
            let to_addr = |ip: &_| SocketAddr::new(*ip, 0);
            let addrs: Vec<_> = settings.resolve.iter().map(to_addr).collect();
            builder = builder.resolve_to_addrs(host, &addrs);
        }
        if let Some(proxy_url) = &settings.proxy_url {
            // The cause would repeat the URL, which may hold a password.
            builder = builder.proxy(Proxy::all(proxy_url).map_err(|_cause| SetupError::ProxyUrl)?);
        }
        let http = builder
            .build()
            .map_err(|error| SetupError::Client(error.without_url()))?;
        let max_in_flight = settings.max_in_flight.min(Semaphore::MAX_PERMITS);
        Ok(Self {
            http,
            played: None,
            base_url,
            calls: Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            timeout: settings.timeout,
            clock: Clock::System,
            guards: Guards::default(),
            counts: Calls::default(),
            skew: Arc::default(),
        })
    }

    /// The same client by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same client, its calls counted there.
    #[must_use]
    pub fn with_counts(self, counts: Calls) -> Self {
        Self { counts, ..self }
    }

    /// The same client, with this WeChat in the place of the network: for everything but calls that are
    /// passed on.
    #[must_use]
    pub fn with_played(self, played: Played) -> Self {
        let played = Some(played);
        Self { played, ..self }
    }

    /// How many calls may be under way at once.
    pub fn max_in_flight(&self) -> usize {
        self.max_in_flight
    }

    /// Seconds by which this machine's clock is ahead of WeChat's (negative: behind), by the last
    /// answer; `None` before there was one.
    pub fn clock_skew(&self) -> Option<i64> {
        self.skew.seconds()
    }

    /// Asks WeChat who a login code stands for. A code is good for one call that succeeds, so the
    /// caller sees to it that two requests with one code become one call.
    pub async fn redeem(
        &self,
        credential: &Credential,
        code: &LoginCode,
    ) -> Result<Redeemed, RedeemError> {
        self.guarded(&credential.app, JSCODE2SESSION, async |asking, guard| {
            self.redeem_with_either(asking, guard, credential, code)
                .await
        })
        .await
    }

    /// Makes a call of an API for a mini program, if its guard and the limit on calls let it pass, and
    /// for no longer than a call may take. The guard hears what comes of it.
    pub(super) async fn guarded<T, E>(
        &self,
        app: &AppId,
        api: &'static str,
        call: impl AsyncFnOnce(&mut Asking, &Guard) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: From<CallError> + From<Closed> + Judged,
    {
        let _permit = self
            .calls
            .try_acquire()
            .map_err(|_full| CallError::TooManyCalls)?;
        let guard = self.guards.of(app, api);
        guard.admit(self.clock.now(), self.timeout)?;
        let mut asking = Asking::new(&self.counts, api);
        let called = tokio::time::timeout(self.timeout, call(&mut asking, &guard)).await;
        let outcome = called.unwrap_or_else(|_elapsed| {
            asking.timed_out();
            Err(CallError::TimedOut.into())
        });
        let verdict = outcome
            .as_ref()
            .map_or_else(E::verdict, |_answer| Verdict::Works);
        guard.settle(verdict, self.clock.now());
        outcome
    }

    /// Tries the other AppSecret when WeChat does not take the first, which does not touch the code.
    async fn redeem_with_either(
        &self,
        asking: &mut Asking,
        guard: &Guard,
        credential: &Credential,
        code: &LoginCode,
    ) -> Result<Redeemed, RedeemError> {
        let (app, new) = (&credential.app, &credential.secret);
        let Some(previous) = &credential.previous_secret else {
            return self.redeem_with_retry(asking, app, new, code).await;
        };
        let previous_first = guard.is_previous_first(self.clock.now());
        let (first, second) = if previous_first {
            (previous, new)
        } else {
            (new, previous)
        };
        let mut outcome = self.redeem_with_retry(asking, app, first, code).await;
        let mut is_previous = previous_first;
        if matches!(&outcome, Err(error) if error.is_about_secret()) {
            outcome = self.redeem_with_retry(asking, app, second, code).await;
            is_previous = !previous_first;
        }
        if outcome.is_ok() {
            if !is_previous {
                guard.new_works();
            } else if !previous_first {
                guard.previous_works(self.clock.now());
            }
        }
        outcome
    }

    async fn redeem_with_retry(
        &self,
        asking: &mut Asking,
        app: &AppId,
        secret: &AppSecret,
        code: &LoginCode,
    ) -> Result<Redeemed, RedeemError> {
        let first = self.attempt(asking, app, secret, code).await;
        let may_have_used_code = match &first {
            Err(RedeemError::Busy(_)) => true,
            Err(RedeemError::Call(error)) => match error {
                CallError::Unreachable { .. } => false,
                CallError::HttpStatus { status } if *status >= 500 => true,
                CallError::Interrupted { source } if closed_unanswered(source) => true,
                _ => return first,
            },
            _ => return first,
        };
        tokio::time::sleep(limits::WECHAT_RETRY_PAUSE).await;
        match self.attempt(asking, app, secret, code).await {
            // The code was used by our own first attempt, most likely: no fault of the client.
            Err(RedeemError::CodeUsed(refused)) if may_have_used_code => {
                Err(RedeemError::Busy(refused))
            }
            second => second,
        }
    }

    async fn attempt(
        &self,
        asking: &mut Asking,
        app: &AppId,
        secret: &AppSecret,
        code: &LoginCode,
    ) -> Result<Redeemed, RedeemError> {
        // Exposed to WeChat: this is what they are for. `query` encodes, so that a code cannot add
        // parameters.
        let query = [
            ("appid", app.as_str()),
            ("secret", secret.expose()),
            ("js_code", code.expose()),
            ("grant_type", "authorization_code"),
        ];
        let url = self.endpoint(JSCODE2SESSION);
        let request = self.http.get(url).query(&query);
        let Answer { status, body } = self.send(asking, request).await?;
        let outcome = reply::redeemed(status, &body);
        asking.answered(status, count::of_answer(&outcome));
        Ok(outcome?)
    }

    /// Where an API is.
    pub(super) fn endpoint(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(path);
        url
    }

    /// Sends a request once, and reads the answer to its end. How long that may take, and what the
    /// answer says, is the caller's business.
    pub(super) async fn send(
        &self,
        asking: &mut Asking,
        request: RequestBuilder,
    ) -> Result<Answer, CallError> {
        let request = request.build().map_err(transport)?;
        asking.begin(request.method());
        let answer = self.exchange(request).await;
        answer.inspect_err(|error| asking.failed(error))
    }

    async fn exchange(&self, request: reqwest::Request) -> Result<Answer, CallError> {
        if let Some(played) = &self.played {
            let Said { status, body } = played.ask(request.url()).await;
            let body = Zeroizing::new(body);
            return Ok(Answer { status, body });
        }
        let mut response = self.http.execute(request).await.map_err(transport)?;
        if let Some(Ok(date)) = response.headers().get(DATE).map(HeaderValue::to_str) {
            self.skew.note(date, self.clock.now());
        }
        let status = response.status().as_u16();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > limits::MAX_WECHAT_ANSWER_BYTES {
                return Err(Malformed::TooLong.into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}

/// TLS 1.2 and 1.3 with one named provider: the process may hold several, and must not be asked.
fn tls(ca_pem: Option<&[u8]>) -> Result<ClientConfig, SetupError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    if let Some(pem) = ca_pem {
        let public = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_cause| SetupError::Certificates)?;
            roots
                .add(certificate)
                .map_err(|_cause| SetupError::Certificates)?;
        }
        if roots.len() == public {
            return Err(SetupError::Certificates);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

pub(super) fn transport(error: reqwest::Error) -> CallError {
    let source = Arc::new(error.without_url());
    // Asked first: a connection that took too long to be made has carried nothing.
    if source.is_connect() {
        CallError::Unreachable { source }
    } else if source.is_timeout() {
        CallError::TimedOut
    } else if is_not_http(&source) {
        Malformed::Http.into()
    } else {
        CallError::Interrupted { source }
    }
}

/// Whether what came back is not HTTP.
fn is_not_http(error: &reqwest::Error) -> bool {
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<hyper::Error>())
        .any(hyper::Error::is_parse)
}

/// Whether the connection was closed before any answer, as happens to one that was idle. The same
/// call may then be made again: the worst is that WeChat calls the code used.
fn closed_unanswered(error: &reqwest::Error) -> bool {
    error.is_request()
        && causes(error).any(|cause| {
            let hyper = cause.downcast_ref::<hyper::Error>();
            let io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            hyper.is_some_and(hyper::Error::is_incomplete_message)
                || matches!(
                    io,
                    Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
                )
        })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
