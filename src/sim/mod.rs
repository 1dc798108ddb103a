//! The world around the gate, made up: a WeChat that needs no account, and an app server that needs
//! no past. They are the tools of `wxgate dev` and `wxgate mock-wechat`, and the fakes of the tests.
//!
//! Both are ordinary HTTP servers on the other side of a socket. Nothing in the gate knows that
//! they exist, and they know nothing of the gate.

pub mod demo;
mod recent;
pub mod wechat;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::TcpListener;

    /// A client that goes straight to 127.0.0.1.
    pub(super) fn client() -> reqwest::Client {
        // Every client is built with TLS at hand; that another test was first does not matter.
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.install_default().ok();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        client.build().unwrap()
    }

    /// A listener on a free port.
    pub(super) async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }
}
