//! Sending a push as WeChat does: five seconds for an answer, three tries in all. Only to this
//! machine: the control routes are open to whoever reaches them, and must not reach further than he
//! does. Knows nothing of what a push says.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::Url;
use reqwest::redirect::Policy;

use crate::sim::wechat::push::PushRequest;

/// How often a push is sent at most, by WeChat's documentation.
const MAX_TRIES: u32 = 3;

/// How long the receiver may take over its answer, by WeChat's documentation.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read, in bytes: an encrypted answer of any sense is shorter.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// How often the push was sent.
    pub tries: u32,
    /// The status of the last answer.
    pub status: StatusCode,
    /// The body of the last answer, or its beginning.
    pub body: String,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The doing of whoever named the URL.
    #[error("it is not an http URL of a loopback address")]
    Url,
    /// This machine's fault: there is no client to send with.
    #[error("the client could not be set up")]
    Client(#[source] reqwest::Error),
    /// The receiver's fault.
    #[error("there was no answer within five seconds, three times")]
    NoAnswer(#[source] reqwest::Error),
}

impl PushRequest {
    /// Sends it until there is an answer of status 200, three times at most.
    pub async fn send(&self, url: &str) -> Result<Delivered, SendError> {
        let url = self.url(url)?;
        let client = client()?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(&client, url.clone()).await {
                Ok((status, body)) if status == StatusCode::OK || tries >= MAX_TRIES => {
                    return Ok(Delivered {
                        tries,
                        status,
                        body,
                    });
                }
                Err(error) if tries >= MAX_TRIES => {
                    return Err(SendError::NoAnswer(error.without_url()));
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The receiver's URL with the query of this push.
    fn url(&self, receiver: &str) -> Result<Url, SendError> {
        let mut url = Url::parse(receiver).map_err(|_cause| SendError::Url)?;
        let host = url.host_str().unwrap_or_default();
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
        let loopback = host == "localhost" || ip.is_ok_and(|ip: IpAddr| ip.is_loopback());
        if url.scheme() != "http" || !loopback {
            return Err(SendError::Url);
        }
        let query = match url.query() {
            Some(query) => format!("{query}&{}", self.query),
            None => self.query.clone(),
        };
        url.set_query(Some(&query));
        Ok(url)
    }

    async fn attempt(
        &self,
        client: &reqwest::Client,
        url: Url,
    ) -> reqwest::Result<(StatusCode, String)> {
        let request = match &self.body {
            None => client.get(url),
            Some(body) => client
                .post(url)
                .header(CONTENT_TYPE, self.content_type)
                .body(body.clone()),
        };
        let mut answer = request.send().await?;
        let status = answer.status();
        let mut body = Vec::new();
        while body.len() < MAX_ANSWER_BYTES
            && let Some(piece) = answer.chunk().await?
        {
            body.extend_from_slice(&piece);
        }
        body.truncate(MAX_ANSWER_BYTES);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

fn client() -> Result<reqwest::Client, SendError> {
    // A client is built with TLS at hand even if it has no use for it. Somebody else may have chosen
    // it already, and can only have chosen the same.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(ANSWER_TIMEOUT)
        // Whatever the machine's own names say. Port 0 stands for the port of the URL.
        .resolve("localhost", SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))
        .build()
        .map_err(SendError::Client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_goes_to_this_machine_only_and_keeps_the_query_of_the_url() {
        let push = PushRequest {
            query: "b=2".to_owned(),
            content_type: "text/xml",
            body: None,
        };
        for url in [
            "",
            "push",
            "https://127.0.0.1/",
            "http://192.0.2.1/",
            "http://0.0.0.0/",
            "http://localhost.example.org/",
            "http://127.0.0.1@example.org/",
            "http://[::]/",
        ] {
            assert!(push.url(url).is_err(), "{url}");
        }
        for (url, expect) in [
            ("http://127.0.0.1:1/p", "http://127.0.0.1:1/p?b=2"),
            ("http://localhost/p?a=1", "http://localhost/p?a=1&b=2"),
            ("http://[::1]/", "http://[::1]/?b=2"),
        ] {
            assert_eq!(push.url(url).unwrap().as_str(), expect);
        }
    }
}
