//! What is used up of `[limits]`, by whom. Bounds what one address, or one session, can cost the
//! operator at WeChat, and how often one session can fail to have something decrypted or a phone code
//! answered. Memory is bounded as well: of too many addresses those that were not seen for longest are
//! forgotten.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::domain::clock::Timestamp;
use crate::domain::id::AppId;
use crate::domain::peer::{Address, Peer};
use crate::domain::rate::{Rate, Spent};
use crate::domain::token::TokenDigest;
use crate::gateway::refusal::Refusal;
use crate::telemetry::event;

/// Addresses that are remembered, and sessions whose data could not be decrypted: some megabytes for
/// each use.
const MAX_REMEMBERED: u64 = 65_536;

/// How long what was used up is remembered at most, without new use. Longer rates are forgotten a
/// little early by those who wait that long.
const REMEMBERED_FOR: Duration = Duration::from_hours(24);

/// Between two looks at the key of one session: they are calls to WeChat, and a client can bring them
/// about.
const KEY_CHECK_EVERY: Duration = Duration::from_mins(1);

/// The network of one subscriber, in bits of an IPv6 address (RFC 6177).
const SUBSCRIBER_BITS: u32 = 64;

/// `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Codes that WeChat refuses, of one client address.
    pub refused_logins_per_ip: Option<Rate>,
    /// Logins at one mini program.
    pub logins_per_app: Option<Rate>,
    /// Data that cannot be decrypted and phone codes that are not good, of one session.
    pub decrypt_failures_per_session: Option<Rate>,
}

/// Which of `[limits]` is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// `decrypt_failures_per_session`.
    DecryptFailures,
    /// `logins_per_app`.
    LoginsOfApp,
    /// `decrypt_failures_per_session`, used up by codes of the phone button.
    PhoneCodes,
    /// `refused_logins_per_ip`.
    RefusedLogins,
}

/// Nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp {
    /// Of what.
    pub budget: Budget,
    /// Seconds until there is something again.
    pub retry_after: u64,
}

impl Budget {
    /// Uses one up, or says that nothing is left.
    fn charge(self, spent: &mut Spent, rate: Rate, now: Timestamp) -> Result<(), UsedUp> {
        let charged = spent.try_spend(rate, now);
        charged.map_err(|retry_after| UsedUp {
            budget: self,
            retry_after,
        })
    }
}

impl From<UsedUp> for Refusal {
    fn from(used_up: UsedUp) -> Self {
        let UsedUp {
            budget,
            retry_after,
        } = used_up;
        Self::RateLimited {
            budget,
            retry_after,
        }
    }
}

/// What is used up, by everybody.
#[derive(Debug)]
pub struct Budgets {
    addresses: Cache<IpAddr, Arc<AddressBudget>>,
    apps: Cache<AppId, Arc<Mutex<Spent>>>,
    sessions: Cache<TokenDigest, Arc<Mutex<Spent>>>,
    key_checks: Cache<TokenDigest, Arc<Mutex<Spent>>>,
    warned: AtomicBool,
}

/// What one address has used up.
#[derive(Debug, Default)]
struct AddressBudget {
    state: Mutex<State>,
    /// WeChat has said what it thinks of one of its codes.
    heard: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    spent: Spent,
    /// Codes that WeChat is being asked about. Each may use one up.
    under_way: u32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            addresses: bounded(),
            apps: bounded(),
            sessions: bounded(),
            key_checks: bounded(),
            warned: AtomicBool::new(false),
        }
    }
}

fn bounded<K, V>() -> Cache<K, V>
where
    K: Eq + std::hash::Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(MAX_REMEMBERED)
        // The usual policy may take nobody new in, and who is not remembered has no limit.
        .eviction_policy(EvictionPolicy::lru())
        .time_to_idle(REMEMBERED_FOR)
        .build()
}

/// What a call to WeChat about a code is paid from. Nothing by default.
#[derive(Debug, Default)]
pub struct Toll {
    address: Option<(Arc<AddressBudget>, Rate)>,
    app: Option<(Arc<Mutex<Spent>>, Rate)>,
}

/// Why a code is not asked about.
pub(in crate::gateway) enum Unpaid {
    /// Calls under way may use up what the address has left. Ends when WeChat has answered one.
    NotYet(OwnedNotified),
    UsedUp(UsedUp),
}

/// A code that WeChat is being asked about. Nothing is charged for it unless WeChat refuses it.
#[derive(Debug)]
pub(in crate::gateway) struct Attempt(Option<(Arc<AddressBudget>, Rate)>);

impl Budgets {
    /// What a login of this mini program is paid from, if WeChat has to be asked.
    pub(in crate::gateway) fn toll(
        &self,
        app: &AppId,
        (client, peer): (Address, &Peer),
        limits: &RateLimits,
    ) -> Toll {
        let address = limits.refused_logins_per_ip.and_then(|rate| {
            let network = self.limited(client, peer)?;
            Some((self.addresses.get_with(network, Arc::default), rate))
        });
        let of_app = |rate| (self.apps.get_with_by_ref(app, Arc::default), rate);
        Toll {
            address,
            app: limits.logins_per_app.map(of_app),
        }
    }

    /// The network whose logins are counted together; none where an address says nothing about who
    /// is behind it: a proxy on this machine or in this network that nobody declared to be one.
    fn limited(&self, client: Address, peer: &Peer) -> Option<IpAddr> {
        // Where the peer is not trusted, it is the client. Behind two proxies of which only the inner
        // one is trusted, the client seems to be the outer one.
        let outermost = if peer.is_trusted() {
            client
        } else {
            peer.address()
        };
        if is_nearby(outermost) {
            if !self.warned.swap(true, Ordering::Relaxed) {
                let add = as_trusted(outermost);
                tracing::warn!(message = event::NEARBY_NOT_LIMITED, add);
            }
            return None;
        }
        match client {
            Address::Ip(ip) => Some(subscriber(ip)),
            Address::Unix => None,
        }
    }

    /// Charges a try to have something decrypted, or a phone code answered, as a failure until it is
    /// known to be none.
    pub(in crate::gateway) fn charge_failure(
        &self,
        budget: Budget,
        session: &TokenDigest,
        rate: Option<Rate>,
        now: Timestamp,
    ) -> Result<(), UsedUp> {
        let Some(rate) = rate else { return Ok(()) };
        let spent = self.sessions.get_with(*session, Arc::default);
        budget.charge(&mut spent.lock(), rate, now)
    }

    /// It was none.
    pub(in crate::gateway) fn refund_failure(&self, session: &TokenDigest, rate: Option<Rate>) {
        if let (Some(rate), Some(spent)) = (rate, self.sessions.get(session)) {
            spent.lock().give_back(rate);
        }
    }

    /// Charges a look at the key of this session, if there may be one: once within a while, however
    /// much fails meanwhile.
    pub(in crate::gateway) fn charge_key_check(
        &self,
        session: &TokenDigest,
        now: Timestamp,
    ) -> bool {
        let Some(rate) = Rate::new(1, KEY_CHECK_EVERY) else {
            return false;
        };
        let spent = self.key_checks.get_with(*session, Arc::default);
        spent.lock().try_spend(rate, now).is_ok()
    }
}

impl Toll {
    /// Pays for one call, or says why not. A call that may be refused holds a place of its address: so
    /// no flood of parallel logins gets past the limit, and honest people behind one address are not
    /// refused for being many; they wait.
    pub(in crate::gateway) fn pay(&self, now: Timestamp) -> Result<Attempt, Unpaid> {
        let attempt = match &self.address {
            Some((address, rate)) => AddressBudget::begin(address, *rate, now)?,
            None => Attempt(None),
        };
        if let Some((spent, rate)) = &self.app {
            let charged = Budget::LoginsOfApp.charge(&mut spent.lock(), *rate, now);
            charged.map_err(Unpaid::UsedUp)?;
        }
        Ok(attempt)
    }
}

impl AddressBudget {
    fn begin(address: &Arc<Self>, rate: Rate, now: Timestamp) -> Result<Attempt, Unpaid> {
        let mut state = address.state.lock();
        match state.spent.left(rate, now) {
            0 => Err(Unpaid::UsedUp(UsedUp {
                budget: Budget::RefusedLogins,
                retry_after: state.spent.seconds_to_wait(rate, now),
            })),
            // Enlisted under the lock, so that nothing is heard unnoticed in between.
            left if left <= state.under_way => {
                Err(Unpaid::NotYet(Arc::clone(&address.heard).notified_owned()))
            }
            _ => {
                state.under_way += 1;
                Ok(Attempt(Some((Arc::clone(address), rate))))
            }
        }
    }
}

impl Attempt {
    /// Charges the address: WeChat refused the code.
    pub(in crate::gateway) fn charge_refused(self, now: Timestamp) {
        if let Some((address, rate)) = &self.0 {
            address.state.lock().spent.spend(*rate, now);
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some((address, _)) = &self.0 {
            let mut state = address.state.lock();
            state.under_way = state.under_way.saturating_sub(1);
            drop(state);
            address.heard.notify_waiters();
        }
    }
}

/// The network that the address is of, if it is shared by one subscriber's devices. One of NAT64's
/// (RFC 6052 §2.1) is an IPv4 address in disguise: their first 96 bits are the same for everybody.
fn subscriber(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(ip) = ip else { return ip };
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = ip.segments() {
        return Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into();
    }
    let mask = u128::MAX << SUBSCRIBER_BITS;
    Ipv6Addr::from_bits(ip.to_bits() & mask).into()
}

/// Whether the address is of this machine or of a network of its own: RFC 1918, RFC 4193, RFC 6598,
/// loopback and link-local ones.
fn is_nearby(address: Address) -> bool {
    match address {
        Address::Ip(IpAddr::V4(ip)) => {
            let shared = ip.octets().first() == Some(&100) && ip.to_bits() >> 22 == 0x191;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
        }
        Address::Ip(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
        Address::Unix => true,
    }
}

/// What `server.trusted_proxies` would have to say.
fn as_trusted(address: Address) -> String {
    match address {
        Address::Ip(ip @ IpAddr::V4(_)) => format!("{ip}/32"),
        Address::Ip(ip @ IpAddr::V6(_)) => format!("{ip}/128"),
        Address::Unix => "unix".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_networks_of_ones_own_are_nearby() {
        for near in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "169.254.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "::1",
            "fd00::1",
            "fe80::1",
        ] {
            let ip: IpAddr = near.parse().unwrap();
            assert!(is_nearby(ip.into()), "{near}");
        }
        for far in [
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.32.0.1",
            "2001:db8::1",
        ] {
            let ip: IpAddr = far.parse().unwrap();
            assert!(!is_nearby(ip.into()), "{far}");
        }
        assert_eq!(
            as_trusted(IpAddr::from(Ipv4Addr::LOCALHOST).into()),
            "127.0.0.1/32"
        );
    }
}
