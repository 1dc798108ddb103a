//! New connections to an app server.

use tokio::net::{TcpStream, UnixStream};

use crate::upstream::socket::Socket;
use crate::upstream::{Error, Settings, Target};

/// Connects, within the time allowed.
pub(in crate::upstream) async fn connect(settings: &Settings) -> Result<Socket, Error> {
    let connected = async {
        match &settings.target {
            Target::Http { host, port, .. } => {
                let socket = TcpStream::connect((host.as_str(), *port)).await;
                let socket = socket.map_err(Error::Connect)?;
                // Requests are written whole; waiting for more to send would only delay them.
                drop(socket.set_nodelay(true));
                Ok(Socket::Tcp(socket))
            }
            Target::Unix(path) => {
                let socket = UnixStream::connect(path).await.map_err(Error::Connect)?;
                Ok(Socket::Unix(socket))
            }
        }
    };
    let connected = tokio::time::timeout(settings.connect_timeout, connected).await;
    connected.map_err(|_elapsed| Error::ConnectTimeout)?
}
