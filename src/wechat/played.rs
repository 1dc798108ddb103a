//! A WeChat that somebody plays, in the place of the network: for simulations. Everything that the
//! client does about its answers, it does about these.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use reqwest::Url;

/// What WeChat says to one request, whenever it does.
pub type Saying = Pin<Box<dyn Future<Output = Said> + Send>>;

/// An answer of WeChat's.
#[derive(Debug)]
pub struct Said {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// A WeChat that is played. It is asked by URL, and so told secrets and codes as WeChat is.
#[derive(Clone)]
pub struct Played(Arc<dyn Fn(&Url) -> Saying + Send + Sync>);

impl Played {
    /// One that answers like this.
    pub fn new(say: impl Fn(&Url) -> Saying + Send + Sync + 'static) -> Self {
        Self(Arc::new(say))
    }

    pub(super) fn ask(&self, url: &Url) -> Saying {
        (self.0)(url)
    }
}

impl fmt::Debug for Played {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Played(..)")
    }
}
