//! `wxgate routes explain`: how the gate decides on a request, told to the operator who wonders.
//! Uses the very functions that decide.

use std::fmt::Write as _;

use http::Method;

use crate::config::Config;
use crate::domain::aliases;
use crate::domain::field::FieldName;
use crate::domain::path::Matching;
use crate::domain::readings;
use crate::gateway::route::{Decision, Line, Require};
use crate::upstream::Index;

/// Tells how a request is decided. Lines for people.
pub fn explain(config: &Config, method: &Method, target: &str) -> String {
    let mut told = String::new();
    // Writing to a string cannot fail.
    let _written = write(&mut told, config, method, target);
    told
}

fn write(told: &mut String, config: &Config, method: &Method, target: &str) -> std::fmt::Result {
    let routes = &config.gateway.routes;
    let path = target.split('?').next().unwrap_or_default();
    writeln!(told, "request   {method} {path}")?;
    writeln!(told, "readings")?;
    let raw = routes.first_match(method, path.as_bytes(), Matching::Strict);
    // Shown one by one, so that the one that is decided differently can be seen.
    let shown = readings::all(path.as_bytes(), |reading| {
        let strict = routes.first_match(method, reading, Matching::Strict);
        let loose = routes.first_match(method, reading, Matching::Loose);
        let text = String::from_utf8_lossy(reading);
        let _written = write!(told, "  {text}  ->  {}", name(config, strict));
        if loose != strict {
            let loose = name(config, loose);
            let _written = write!(told, "  (case or trailing slash aside: {loose})");
        }
        told.push('\n');
        aliases::all(reading, |alias| {
            let there = routes.first_match(method, &alias.path, Matching::Strict);
            if there != raw {
                let (path, there) = (String::from_utf8_lossy(&alias.path), name(config, there));
                let _written = writeln!(told, "    served by some as {path}  ->  {there}");
            }
            true
        });
        true
    });
    if let Err(why) = shown {
        writeln!(told, "  {why}")?;
    }
    match routes.decide(method, &[], path.as_bytes()) {
        Err(why) => writeln!(told, "decision  refused with 400 ambiguous_path: {why}"),
        Ok(Decision::Endpoint(endpoint)) => {
            writeln!(
                told,
                "decision  answered by the gate itself ({})",
                endpoint.name()
            )
        }
        Ok(Decision::Reserved) => writeln!(
            told,
            "decision  answered with 404 not_found: only the gate itself may call it"
        ),
        Ok(decision @ (Decision::Forward(line) | Decision::OpenData(line))) => {
            let access = routes.access(line);
            writeln!(told, "decision  {}", name(config, decision))?;
            writeln!(
                told,
                "forwarded to {}",
                upstream_name(config, access.upstream)
            )?;
            writeln!(told, "injected  {}", injected(config, access.require))?;
            if matches!(decision, Decision::OpenData(_)) {
                writeln!(
                    told,
                    "with a body: needs a session; encryptedData and iv become openData"
                )?;
            }
            Ok(())
        }
    }
}

fn name(config: &Config, decision: Decision) -> String {
    let routes = &config.gateway.routes;
    match decision {
        Decision::Endpoint(endpoint) => format!("the gate's own route {}", endpoint.name()),
        Decision::Reserved => "a path of the app server that only the gate may call".to_owned(),
        Decision::OpenData(line) => {
            let line = name(config, Decision::Forward(line));
            format!("{line}, its body opened on the way (decrypt.in_flight)")
        }
        Decision::Forward(Line::Default) => format!("access.default = {}", routes.default.name()),
        Decision::Forward(Line::Rule(index)) => match routes.rules.get(index) {
            Some(rule) => {
                let (path, require) = (rule.path.as_str(), rule.require.name());
                format!("access.rules[{index}] {path} require = {require}")
            }
            None => format!("access.rules[{index}]"),
        },
    }
}

fn upstream_name(config: &Config, index: Index) -> String {
    config
        .upstreams
        .get(index.get())
        .map_or_else(String::new, |upstream| upstream.target.to_string())
}

fn injected(config: &Config, require: Require) -> String {
    let rules = &config.gateway.identity;
    let names = rules.names();
    let mut always = vec![&names.openid, &names.appid, &names.source];
    if rules.has_env() {
        always.push(&names.env);
    }
    let signers = rules.signers();
    always.extend(signers.assertion.as_ref().map(|_| &names.assertion));
    always.extend(signers.proof.as_ref().map(|_| &names.proof));
    let always = always
        .into_iter()
        .map(FieldName::spelling)
        .collect::<Vec<_>>()
        .join(", ");
    let always = format!("{always}, and {} when known", names.unionid);
    match require {
        Require::Session => always,
        Require::Optional => format!("with a session: {always}; without a token: nothing"),
        Require::Public => "nothing; a session token is removed and not looked at".to_owned(),
    }
}
