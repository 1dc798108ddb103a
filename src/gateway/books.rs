//! What one worker writes down of requests: their lines for the access log, and what is counted. Puts
//! the words of the request path into those of `telemetry`.

use std::fmt;

use crate::gateway::control::NoOutcome;
use crate::gateway::desk::{LoginError, NoLogin, Outcome as LoginOutcome};
use crate::gateway::route::{Decision, Endpoint, Line, Routes};
use crate::telemetry::access::Ring;
use crate::telemetry::metrics::{Failure, LoginResult, Outcome, RouteId, UpstreamId, Worker};
use crate::upstream::{self, Answered, Index};
use crate::wechat::error::{CallError, RedeemError};

/// The label of requests that were refused before a route was found.
const NO_ROUTE: &str = "none";

/// The label of requests under `access.default`.
const DEFAULT_ROUTE: &str = "default";

/// The label of paths that only the gate itself may call.
const RESERVED_ROUTE: &str = "reserved";

/// The books of one worker.
pub(in crate::gateway) struct Books {
    pub(in crate::gateway) counts: Worker,
    /// `None` where requests get no line.
    pub(in crate::gateway) ring: Option<Ring>,
    pub(in crate::gateway) routes: RouteIds,
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Books(..)")
    }
}

/// Under which label each line of the route table is counted. A rule is named by its path, so that
/// two rules of one path count together.
#[derive(Clone, Debug)]
pub struct RouteIds {
    labels: Vec<String>,
    endpoints: [RouteId; Endpoint::ALL.len()],
    rules: Vec<RouteId>,
    default: RouteId,
    none: RouteId,
    reserved: RouteId,
}

impl RouteIds {
    /// Of this table.
    pub fn of(routes: &Routes) -> Self {
        let mut labels: Vec<String> = Vec::new();
        let mut id = |label: &str| {
            let known = labels.iter().position(|known| known == label);
            RouteId::at(known.unwrap_or_else(|| {
                labels.push(label.to_owned());
                labels.len() - 1
            }))
        };
        let [none, default, reserved] = [NO_ROUTE, DEFAULT_ROUTE, RESERVED_ROUTE].map(&mut id);
        // A path begins with a slash, and none of the names does.
        let endpoints = Endpoint::ALL.map(|endpoint| id(endpoint.name()));
        let rules = routes.rules.iter().map(|rule| id(rule.path.as_str()));
        Self {
            rules: rules.collect(),
            endpoints,
            default,
            none,
            reserved,
            labels,
        }
    }

    /// All labels, each at its place.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What is counted under before there is a decision.
    pub(in crate::gateway) fn none(&self) -> RouteId {
        self.none
    }

    /// What a decision is counted under.
    pub(in crate::gateway) fn of_decision(&self, decision: Decision) -> RouteId {
        match decision {
            Decision::Forward(Line::Default) | Decision::OpenData(Line::Default) => self.default,
            Decision::Forward(Line::Rule(index)) | Decision::OpenData(Line::Rule(index)) => {
                self.rules.get(index).copied().unwrap_or(self.default)
            }
            Decision::Endpoint(endpoint) => {
                let place = Endpoint::ALL.iter().position(|it| *it == endpoint);
                let id = place.and_then(|place| self.endpoints.get(place));
                id.copied().unwrap_or(self.none)
            }
            Decision::Reserved => self.reserved,
        }
    }
}

/// An app server as it is counted.
pub(in crate::gateway) fn upstream_id(upstream: Index) -> UpstreamId {
    UpstreamId::at(upstream.get())
}

/// What came of a request to an app server.
pub(in crate::gateway) fn of_answered(answered: &Result<Answered, upstream::Error>) -> Outcome {
    let status = match answered {
        Ok(Answered::Answer(response)) => response.status,
        Ok(Answered::Tunnel(response, _)) => response.status,
        Err(error) => return Outcome::Failure(failure(error)),
    };
    Outcome::Status(status.as_u16())
}

fn failure(error: &upstream::Error) -> Failure {
    match error {
        upstream::Error::Broken(_) | upstream::Error::UnaskedUpgrade => Failure::Interrupted,
        upstream::Error::Connect(_) | upstream::Error::ConnectTimeout => Failure::Unreachable,
        upstream::Error::Http2(_) | upstream::Error::Request(_) => Failure::Request,
        upstream::Error::Overloaded => Failure::Overloaded,
        upstream::Error::ResponseTimeout => Failure::Timeout,
    }
}

/// What became of a login: as the client is told it, by the code of the problem.
pub(in crate::gateway) fn of_login(outcome: &Result<LoginOutcome, NoLogin>) -> LoginResult {
    match outcome {
        Ok(Ok(_)) => LoginResult::Ok,
        Ok(Err(LoginError::Redeem(error))) => of_redeem(error),
        Ok(Err(LoginError::Refused)) => LoginResult::LoginRefused,
        Err(NoLogin::Limited(_)) => LoginResult::RateLimited,
        Ok(Err(LoginError::NotAsked(_) | LoginError::Store(_)))
        | Err(NoLogin::NoOutcome(NoOutcome::Busy(_)) | NoLogin::Store(_)) => {
            LoginResult::Overloaded
        }
        Err(NoLogin::NoOutcome(NoOutcome::Lost)) => LoginResult::Internal,
    }
}

fn of_redeem(error: &RedeemError) -> LoginResult {
    match error {
        RedeemError::Busy(_) => LoginResult::WechatUnavailable,
        RedeemError::Call(error) => of_call(error),
        RedeemError::CodeInvalid(_) => LoginResult::LoginCodeInvalid,
        RedeemError::CodeUsed(_) => LoginResult::LoginCodeUsed,
        RedeemError::Misconfigured(_) => LoginResult::WechatMisconfigured,
        RedeemError::RateLimited(_) => LoginResult::RateLimited,
        RedeemError::Unknown(_) => LoginResult::WechatError,
        RedeemError::UserBlocked(_) => LoginResult::UserBlocked,
    }
}

fn of_call(error: &CallError) -> LoginResult {
    match error {
        CallError::HttpStatus { status } if *status >= 500 => LoginResult::WechatUnavailable,
        CallError::HttpStatus { .. } | CallError::Malformed(_) => LoginResult::WechatError,
        CallError::TooManyCalls => LoginResult::Overloaded,
        CallError::Interrupted { .. }
        | CallError::Paused { .. }
        | CallError::TimedOut
        | CallError::Unreachable { .. } => LoginResult::WechatUnavailable,
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::domain::path::PathPattern;
    use crate::gateway::route::{Require, Rule};

    #[test]
    fn rules_of_one_path_count_together_and_no_rule_as_one_of_the_gates_own_routes() {
        let rule = |path: &str, methods: &[Method]| Rule {
            path: PathPattern::parse(path).unwrap(),
            methods: methods.to_vec(),
            require: Require::Public,
            upstream: Index::FIRST,
        };
        let routes = Routes {
            endpoints: Vec::new(),
            reserved: Vec::new(),
            open_data: Vec::new(),
            rules: vec![
                rule("/items/**", &[Method::DELETE]),
                rule("/login", &[]),
                rule("/items/**", &[]),
            ],
            default: Require::Session,
            forward_preflight: false,
        };
        let ids = RouteIds::of(&routes);
        let label = |decision| {
            let id = ids.of_decision(decision);
            let labels = ids.labels().iter().enumerate();
            let mut found = labels.filter(|(place, _)| RouteId::at(*place) == id);
            found.next().unwrap().1.as_str()
        };
        for (decision, expected) in [
            (Decision::Forward(Line::Rule(0)), "/items/**"),
            (Decision::OpenData(Line::Rule(2)), "/items/**"),
            (Decision::Forward(Line::Rule(1)), "/login"),
            (Decision::Forward(Line::Default), "default"),
            (Decision::Endpoint(Endpoint::Login), "login"),
            (Decision::Endpoint(Endpoint::Session), "session"),
            (Decision::Reserved, "reserved"),
        ] {
            assert_eq!(label(decision), expected, "{decision:?}");
        }
        let distinct: std::collections::BTreeSet<_> = ids.labels().iter().collect();
        assert_eq!(distinct.len(), ids.labels().len());
    }
}
