//! CPU profiles that servers take of themselves, asked for over HTTP in the window, as every Go server has them
//! (`/debug/pprof/profile?seconds=N` of <https://pkg.go.dev/net/http/pprof>). Invariant: a server that refuses, hangs
//! or answers something else costs its own profile only, with the reason; nobody waits longer than [`GRACE`] for it
//! after the seconds that it was asked for; and nothing that is kept or shown has a secret of its address.

use crate::clock::{self, Nanos, Span};
use crate::connection::shown_url;
use crate::http::{self, Api, Credentials};
use crate::import::read_server_profile;
use crate::load::LoadError;
use crate::run::{Companion, Missing, Part, ServerProfile};
use anyhow::{Context, Result};
use reqwest::Url;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// After the seconds that it was asked for a server has so long to send what it has.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes that an answer may have.
const LARGEST: usize = 1 << 26;

/// A server that takes a CPU profile of itself.
pub struct ServerProfiler {
    /// What it is called among the companions: `HOST:PORT`.
    name: String,
    api: Arc<Api>,
    /// How long it is asked for.
    seconds: u64,
}

/// A profile that was asked for.
pub struct Asking {
    name: String,
    shown: String,
    seconds: u64,
    started: Nanos,
    answer: JoinHandle<Result<(Vec<u8>, Nanos), Refused>>,
}

/// Why there is none.
#[derive(Debug)]
struct Refused {
    why: String,
    remedy: &'static str,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

/// Whether a companion is an address and no process.
pub fn is_address(companion: &str) -> bool {
    let scheme = companion.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    scheme.is_some_and(|scheme| ["http", "https"].contains(&scheme.as_str()))
}

/// The servers among the companions, asked for as many whole seconds as a window has, one at least.
///
/// # Errors
/// What is no address.
pub fn profilers(companions: &[String], window: Duration) -> Result<Vec<ServerProfiler>> {
    let seconds = window.as_secs().max(1);
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for text in companions.iter().filter(|companion| is_address(companion)) {
        let wrong = |why: &dyn std::fmt::Display| {
            let shown = shown_url(text);
            LoadError::Usage(format!(
                "--also {shown}: {why}; write it as in --also http://localhost:8080/debug/pprof/profile"
            ))
        };
        let mut url = Url::parse(text).map_err(|why| wrong(&why))?;
        let host = url.host_str().ok_or_else(|| wrong(&"it names no host"))?;
        let host = url.port_or_known_default().map_or(host.into(), |port| format!("{host}:{port}"));
        let path = url.path().to_string();
        let name = if names.insert(host.clone()) { host } else { format!("{host}{path}") };
        let others: Vec<(String, String)> =
            url.query_pairs().filter(|(name, _)| name != "seconds").map(|(a, b)| (a.into(), b.into())).collect();
        url.query_pairs_mut().clear().extend_pairs(others).append_pair("seconds", &seconds.to_string());
        let api = Api::new(url, Credentials::default(), Duration::from_secs(seconds) + GRACE)?;
        found.push(ServerProfiler { name, api: Arc::new(api), seconds });
    }
    Ok(found)
}

impl ServerProfiler {
    /// Has the server begin now; ends with what it gives.
    pub fn ask(&self) -> Asking {
        let (api, seconds) = (self.api.clone(), self.seconds);
        Asking {
            name: self.name.clone(),
            shown: self.api.shown(),
            seconds,
            started: clock::now(),
            answer: tokio::spawn(async move {
                let bytes = fetch(&api, seconds).await?;
                Ok((bytes, clock::now()))
            }),
        }
    }
}

async fn fetch(api: &Api, seconds: u64) -> Result<Vec<u8>, Refused> {
    let answer = api.get().send().await.map_err(|error| unanswered(error, seconds))?;
    let status = answer.status();
    let Some(bytes) = http::body(answer, LARGEST).await.map_err(|error| unanswered(error, seconds))? else {
        let why = format!("it answers with more than {LARGEST} bytes");
        return Err(Refused { why, remedy: "see that the address is that of a CPU profile" });
    };
    if status.is_success() {
        return Ok(bytes);
    }
    let remedy = match status.as_u16() {
        401 | 403 => "give a user that may profile it, as in http://USER:PASSWORD@HOST:PORT/...",
        404 | 405 => "give the path of its CPU profile; of Go's net/http/pprof it is /debug/pprof/profile",
        300..=399 => "give the address that it points to; no redirection is followed",
        _ => "see the server's own log; a Go program takes one CPU profile at a time",
    };
    Err(Refused { why: format!("it answers {}{}", status.as_u16(), api.said(&bytes)), remedy })
}

fn unanswered(error: reqwest::Error, seconds: u64) -> Refused {
    if error.is_timeout() {
        let why = format!("it had not answered {} s after {seconds} s of profile were asked for", GRACE.as_secs());
        return Refused { why, remedy: "see the server's own log" };
    }
    let error = anyhow::Error::from(error.without_url());
    let why = format!("it did not answer: {}", error.root_cause());
    Refused { why, remedy: "see that it runs and that the address is right" }
}

/// What the servers gave, as companions; what did not come has its reason.
pub async fn answers(asked: Vec<Asking>, window: Span, missing: &mut Vec<Missing>) -> Vec<Companion> {
    let mut found = Vec::new();
    for mut asking in asked {
        // It ends by itself: its client has a bound.
        let answer = (&mut asking.answer).await.unwrap_or_else(|error| {
            Err(Refused { why: format!("it could not be asked: {error}"), remedy: "report this" })
        });
        let read = answer.and_then(|(bytes, ended)| {
            let wrong = |error: anyhow::Error| Refused {
                why: format!("it answers with no CPU profile: {error:#}"),
                remedy: "give the path of its CPU profile in pprof's format",
            };
            tokio::task::block_in_place(|| companion(&asking, bytes, ended, window)).map_err(wrong)
        });
        match read {
            Ok(companion) => found.push(companion),
            Err(Refused { why, remedy }) => missing.push(Missing {
                what: Part::ServerProfile,
                why: format!("{}: {why}", asking.shown),
                remedy: remedy.into(),
            }),
        }
    }
    found
}

fn companion(asking: &Asking, bytes: Vec<u8>, ended: Nanos, window: Span) -> Result<Companion> {
    let (profile, report, profiled_seconds) = read_server_profile(bytes)?;
    let answered = Span::new(asking.started, ended.max(asking.started + 1));
    let overlap = answered.end.min(window.end).saturating_sub(answered.start.max(window.start));
    let server = ServerProfile {
        url: asking.shown.clone(),
        asked_seconds: asking.seconds,
        answered,
        profiled_seconds,
        overlap_seconds: overlap as f64 / 1e9,
    };
    // What it took, from the request on: its costs are divided by the queries of as many seconds.
    let seconds = profiled_seconds.unwrap_or(asking.seconds as f64);
    let nanos = (seconds * 1e9) as u64;
    let covers = Span::new(answered.start, answered.start.checked_add(nanos.max(1)).context("an absurd duration")?);
    let mut sampling = report;
    sampling.event = format!("the server's own sampler (HTTP, {})", server.url);
    sampling.covers = Some(covers);
    Ok(Companion {
        process: asking.name.clone(),
        sampling,
        account: None,
        server: Some(server),
        host: None,
        profile: Some(profile),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_process_and_is_asked_for_whole_seconds() {
        for (companion, is) in [("http://h/p", true), ("HTTPS://h", true), ("postgres", false), ("7", false)] {
            assert_eq!(is_address(companion), is, "{companion}");
        }
        let also = ["postgres", "http://me:canary@h:8080/debug/pprof/profile?seconds=90&a=b", "http://h:8080/other"];
        let found = profilers(&also.map(String::from), Duration::from_millis(2_900)).unwrap();
        let shown: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.api.shown(), one.seconds)).collect();
        assert_eq!(
            shown,
            [
                ("h:8080", "http://me:***@h:8080/debug/pprof/profile?a=b&seconds=2".to_string(), 2),
                ("h:8080/other", "http://h:8080/other?seconds=2".to_string(), 2),
            ]
        );
        let short = profilers(&also.map(String::from), Duration::from_millis(300)).unwrap();
        assert_eq!(short[0].seconds, 1);
        let wrong = profilers(&["http://me:canary@:x/".into()], Duration::from_secs(1)).err().unwrap().to_string();
        assert!(wrong.contains("--also ") && !wrong.contains("canary"), "{wrong}");
    }
}
