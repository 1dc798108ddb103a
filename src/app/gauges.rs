//! What is counted by, and what a scrape looks up from whoever knows it.

use std::borrow::Borrow as _;
use std::time::Duration;

use crate::app::process;
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::gateway::RouteIds;
use crate::server::tls::Tls;
use crate::store::Store;
use crate::telemetry::metrics::{self, Listener, Plan};
use crate::wechat;
use crate::wechat::access_token::Keepers;
use crate::wechat::client::Client;

/// The labels that the configuration decides.
pub(in crate::app) fn plan(config: &Config, routes: &RouteIds) -> Plan {
    let relayed = config.egress.iter().flat_map(|egress| &egress.rules.allow);
    let relayed = relayed.map(|path| {
        let path: &str = path.borrow();
        path.to_owned()
    });
    let own = wechat::APIS.map(str::to_owned);
    let apps = config.gateway.apps.iter();
    let upstreams = config.upstreams.iter();
    Plan {
        apps: apps.map(|app| app.id.clone()).collect(),
        routes: routes.labels().to_vec(),
        upstreams: upstreams.map(|it| it.name.clone()).collect(),
        apis: own.into_iter().chain(relayed).collect(),
    }
}

/// Handles of those who know.
pub(in crate::app) struct Gauges {
    pub(in crate::app) apps: Vec<AppId>,
    pub(in crate::app) store: Store,
    pub(in crate::app) keepers: Keepers,
    pub(in crate::app) wechat: Client,
    pub(in crate::app) tls: Vec<(Listener, Tls)>,
}

impl metrics::Gauges for Gauges {
    fn sessions(&self) -> Vec<(AppId, u64)> {
        let census = self.store.census();
        let of = |app: &AppId| {
            let counted = census.iter().find(|(known, _)| known == app);
            (app.clone(), counted.map_or(0, |(_, count)| *count))
        };
        self.apps.iter().map(of).collect()
    }

    fn sessions_evicted(&self) -> u64 {
        self.store.evicted()
    }

    fn redis(&self) -> Option<(bool, usize)> {
        self.store.redis()
    }

    fn snapshots(&self) -> Option<metrics::Snapshots> {
        let figures = self.store.snapshot_figures()?;
        Some(metrics::Snapshots {
            last: figures.last,
            failed: figures.failed,
            endings_not_saved: figures.endings_not_saved,
        })
    }

    fn process(&self) -> metrics::Process {
        process::look()
    }

    fn access_token_ages(&self) -> Vec<(AppId, Duration)> {
        self.keepers.ages()
    }

    fn clock_skew(&self) -> Option<i64> {
        self.wechat.clock_skew()
    }

    fn certificate_ends(&self) -> Vec<(Listener, Timestamp)> {
        let end = |(listener, tls): &(Listener, Tls)| Some((*listener, tls.certificate_end()?));
        self.tls.iter().filter_map(end).collect()
    }
}
