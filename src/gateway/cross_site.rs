//! Which page made a request. A browser sends its cookies along whoever asks it to (CSRF): so what comes
//! by a cookie and does something must be shown to come from a page of the gate's own origin, or of one
//! in `cors.allowed_origins`. Who shows a token in another place has put it there on purpose.
//!
//! Believed is what no page can write: `Sec-Fetch-Site` (Fetch Metadata) and `Origin` (RFC 6454 §7).

use http::Method;

use crate::domain::fields::HeaderFields;
use crate::domain::identity::{Clean, Presented};
use crate::domain::names;
use crate::domain::web_origin::WebOrigin;
use crate::gateway::Settings;
use crate::gateway::refusal::Refusal;

/// Whether the request, by all that it may be taken for, does nothing (RFC 9110 §9.2.1).
pub(in crate::gateway) fn is_safe<B>(request: &Clean<B>) -> Result<bool, Refusal> {
    const SAFE: [Method; 3] = [Method::GET, Method::HEAD, Method::OPTIONS];
    let overridden = request.method_overrides()?;
    let mut asked = overridden.iter().chain([request.method()]);
    Ok(request.websocket().is_none() && asked.all(|method| SAFE.contains(method)))
}

/// What a request says of the page that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Page {
    /// It is one of the gate's own origin or of an allowed one; or a person typed the address.
    Own,
    /// It is another one, or a browser does not say.
    Foreign,
    /// No browser that says such things made the request.
    Unsaid,
}

impl Page {
    pub(in crate::gateway) fn of<B>(
        settings: &Settings,
        request: &Clean<B>,
        presented: &Presented,
    ) -> Self {
        let fields = request.fields();
        if !fields.has(names::SEC_FETCH_SITE) && !fields.has(names::ORIGIN) {
            return Self::Unsaid;
        }
        let host = fields.get(names::HOST).map(|host| host.value());
        let is_own =
            |origin: &WebOrigin| presented.origin().web_origin(host).as_ref() == Some(origin);
        let is_allowed = |origin: &WebOrigin| {
            settings
                .cors
                .as_ref()
                .is_some_and(|cors| cors.allows(origin))
        };
        let origin = origin(fields);
        let is_known = origin.is_some_and(|origin| is_own(&origin) || is_allowed(&origin));
        if is_known || is_same_origin(fields) {
            Self::Own
        } else {
            Self::Foreign
        }
    }
}

/// The only `Origin`, where it is one.
pub(in crate::gateway) fn origin(fields: &HeaderFields) -> Option<WebOrigin> {
    WebOrigin::parse(fields.only(names::ORIGIN)?.to_str()?).ok()
}

/// Whether the browser says that the page was of this origin, or that there was none.
pub(in crate::gateway) fn is_same_origin(fields: &HeaderFields) -> bool {
    let site = fields.only(names::SEC_FETCH_SITE);
    site.is_some_and(|site| matches!(site.value(), b"same-origin" | b"none"))
}

impl Settings {
    /// Refuses what a page of another site may have made with a cookie that it does not know.
    pub(in crate::gateway) fn check_page<B>(
        &self,
        request: &Clean<B>,
        presented: &Presented,
    ) -> Result<(), Refusal> {
        let comes_by_itself = presented.cookie().is_some();
        if comes_by_itself && !is_safe(request)? && Page::of(self, request, presented) != Page::Own
        {
            return Err(Refusal::CrossSite);
        }
        Ok(())
    }
}
