//! The egress listener: everything it needs, put together before the control thread begins.

use std::net::TcpListener;

use tokio_util::sync::CancellationToken;

use crate::app::StartError;
use crate::domain::clock::Clock;
use crate::egress::{self, Parts, Settings};
use crate::server::tls::Tls;
use crate::wechat::access_token::Keepers;
use crate::wechat::client::Client;

/// A listener about to be served.
pub(in crate::app) struct Egress {
    listener: TcpListener,
    settings: Settings,
    parts: Parts,
}

impl Egress {
    /// Nothing when it is off.
    pub(in crate::app) fn prepare(
        (listener, settings): (Option<TcpListener>, &Option<Settings>),
        client: &Client,
        keepers: &Keepers,
        clock: &Clock,
    ) -> Result<Option<Self>, StartError> {
        let (Some(listener), Some(settings)) = (listener, settings) else {
            return Ok(None);
        };
        let tls = settings.tls.as_ref();
        let tls = tls.map(|files| Tls::open_http1(files, clock.clone()));
        Ok(Some(Self {
            listener,
            settings: settings.clone(),
            parts: Parts {
                client: client.clone(),
                keepers: keepers.clone(),
                tls: tls.transpose().map_err(StartError::EgressTls)?,
            },
        }))
    }

    /// How it is encrypted, if it is.
    pub(in crate::app) fn tls(&self) -> Option<Tls> {
        self.parts.tls.clone()
    }

    /// Serves it. Must run inside a runtime.
    pub(in crate::app) fn spawn(self, halt: CancellationToken) {
        if let Some(tls) = self.parts.tls.clone() {
            tokio::spawn(tls.watch());
        }
        tokio::spawn(egress::serve(
            self.listener,
            self.settings,
            self.parts,
            halt,
        ));
    }
}
