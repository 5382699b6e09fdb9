//! One request after the other, repeated where the receiver is busy. Invariant: attempts and waits are bounded, and
//! what the receiver refused for good is not sent again.

use super::receiver::{Kind, Receiver};
use crate::http::{Api, Credentials};
use anyhow::Result;
use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceResponse;
use prost_otlp::Message;
use reqwest::StatusCode;
use reqwest::header::{HeaderValue, RETRY_AFTER};
use std::time::Duration;

/// How long a request may take, and how often it is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest time for one attempt.
    pub attempt: Duration,
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Wait before the second attempt; each further one is twice as long.
    pub wait: Duration,
    /// Longest wait, whatever the receiver asks for.
    pub longest_wait: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            attempt: Duration::from_secs(15),
            attempts: 5,
            wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(10),
        }
    }
}

/// Why a profile was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// HTTP status 401 or 403.
    #[error(
        "{url} answers {status}: the token is missing or wrong; give it in WIREPROF_PROFILER_TOKEN or --token-file"
    )]
    NotAllowed {
        /// The URL, without its secrets.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// HTTP status 404, 405 or 415: another API.
    #[error("{url} answers {status}: there is no such API; is it {kind}, and does it take profiles?")]
    NotThere {
        /// The URL, without its secrets.
        url: String,
        /// The HTTP status.
        status: u16,
        /// As the user writes it.
        kind: &'static str,
    },
    /// Any other answer that is no success, after all attempts where it may pass.
    #[error("{url} answers {status} after {attempts} attempts{said}; nothing of this profile was stored")]
    Refused {
        /// The URL, without its secrets.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How often it was asked.
        attempts: u32,
        /// The beginning of the answer, in brackets; empty where there is none.
        said: String,
    },
    /// It took the request, and not the profile.
    #[error("{url} took the request and rejected the profile{said}")]
    Rejected {
        /// The URL, without its secrets.
        url: String,
        /// Its reason, in brackets; empty where it gave none.
        said: String,
    },
    /// No answer after all attempts.
    #[error("{url} did not answer in {attempts} attempts ({why}); is it running, and is this its address?")]
    Silent {
        /// The URL, without its secrets.
        url: String,
        /// How often it was asked.
        attempts: u32,
        /// The cause at the bottom of the last one.
        why: String,
    },
}

/// Sends to one receiver.
pub struct Sender {
    kind: Kind,
    api: Api,
    bounds: Bounds,
}

/// How one attempt ended.
enum Attempt {
    Taken,
    Final(Refusal),
    /// It may be taken later; after this time if the receiver said one.
    Later(Refusal, Option<Duration>),
}

impl Sender {
    /// # Errors
    /// As [`Api::new`].
    pub fn new(receiver: &Receiver, credentials: Credentials, bounds: Bounds) -> Result<Sender> {
        let api = Api::new(receiver.url.clone(), credentials, bounds.attempt)?;
        Ok(Sender { kind: receiver.kind, api, bounds })
    }

    /// Which API the receiver has.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The receiver's address without secrets.
    pub fn shown(&self) -> String {
        self.api.shown()
    }

    /// Sends one profile's request until it is taken, refused for good, or asked for often enough; `again` is told of
    /// each wait.
    ///
    /// # Errors
    /// The profile was not taken.
    pub async fn send(&self, body: &[u8], again: &mut dyn FnMut(&Refusal, Duration)) -> Result<(), Refusal> {
        let mut wait = self.bounds.wait;
        for number in 1.. {
            match self.attempt(body, number).await {
                Attempt::Taken => return Ok(()),
                Attempt::Final(refusal) => return Err(refusal),
                Attempt::Later(refusal, _) if number >= self.bounds.attempts => return Err(refusal),
                Attempt::Later(refusal, asked) => {
                    let this = asked.unwrap_or(wait).min(self.bounds.longest_wait);
                    again(&refusal, this);
                    tokio::time::sleep(this).await;
                    wait *= 2;
                }
            }
        }
        unreachable!("attempts are bounded")
    }

    async fn attempt(&self, body: &[u8], number: u32) -> Attempt {
        let url = self.api.shown();
        let silent = |error: reqwest::Error| {
            let why = innermost(&error.without_url());
            Attempt::Later(Refusal::Silent { url: url.clone(), attempts: number, why }, None)
        };
        let answer = match self.request(body).send().await {
            Ok(answer) => answer,
            Err(error) => return silent(error),
        };
        let (status, later) = (answer.status(), answer.headers().get(RETRY_AFTER).and_then(seconds));
        let content = match limited(answer).await {
            Ok(content) => content,
            Err(error) => return silent(error),
        };
        if status.is_success() {
            return self.taken(&content, url);
        }
        let refusal = self.refused(status, number, &content, url);
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Attempt::Later(refusal, later),
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Attempt::Later(refusal, later)
            }
            _ => Attempt::Final(refusal),
        }
    }

    fn request(&self, body: &[u8]) -> reqwest::RequestBuilder {
        let request = self.api.call(self.kind.media_type(), body.to_vec());
        match self.kind {
            // Connect wants its version (https://connectrpc.com/docs/protocol).
            Kind::Pyroscope => request.header("Connect-Protocol-Version", "1"),
            Kind::Otlp => request,
        }
    }

    /// A success may still have rejected the profile (OTLP's partial success).
    fn taken(&self, content: &[u8], url: String) -> Attempt {
        if self.kind == Kind::Pyroscope {
            return Attempt::Taken;
        }
        match ExportProfilesServiceResponse::decode(content).ok().and_then(|answer| answer.partial_success) {
            Some(partial) if partial.rejected_profiles > 0 => {
                Attempt::Final(Refusal::Rejected { url, said: self.api.said(partial.error_message.as_bytes()) })
            }
            _ => Attempt::Taken,
        }
    }

    fn refused(&self, status: StatusCode, attempts: u32, content: &[u8], url: String) -> Refusal {
        let kind = self.kind.as_str();
        match status.as_u16() {
            status @ (401 | 403) => Refusal::NotAllowed { url, status },
            status @ (404 | 405 | 415 | 501) => Refusal::NotThere { url, status, kind },
            status => Refusal::Refused { url, status, attempts, said: self.api.said(content) },
        }
    }
}

/// The first 4 KiB of an answer; what follows is not read.
async fn limited(mut answer: reqwest::Response) -> Result<Vec<u8>, reqwest::Error> {
    const MOST: usize = 4096;
    let mut content = Vec::new();
    while content.len() < MOST
        && let Some(more) = answer.chunk().await?
    {
        content.extend_from_slice(&more[..more.len().min(MOST - content.len())]);
    }
    Ok(content)
}

/// `Retry-After` in seconds; a date is not read.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}
