//! Fetching expositions: over HTTP, or replayed from texts. Invariant: what is answered as a [`Scrape`] looked like an
//! exposition; everything else is an error that says what to mend, and never shows a password of the URL.

use super::Scrape;
use super::line::sample_line;
use crate::clock::{self, Span};
use crate::connection::{Roots, shown_url};
use crate::http;
use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

/// Bytes of an exposition at most: a million series have 100 MB, and what does not end would fill the memory.
const MOST: usize = 256 << 20;

/// Why there is no exposition.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The URL is malformed, or neither `http` nor `https`.
    #[error("`{url}` is no usable metrics URL: {why}; write http://HOST:PORT/metrics, or https")]
    BadUrl {
        /// The URL, without its secrets.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection was made.
    #[error("nothing answers at {url} ({why}); is the server's HTTP port open, and is it this one?")]
    Unreachable {
        /// The URL, without its secrets.
        url: String,
        /// The cause at the bottom.
        why: String,
    },
    /// The file of authorities cannot be read.
    #[error("the authorities that {url} may have its certificate from cannot be read: {why}; correct sslrootcert")]
    BadAuthorities {
        /// The URL, without its secrets.
        url: String,
        /// The file, and what is wrong with it.
        why: String,
    },
    /// No known authority says that the server is who it says.
    #[error(
        "{url} shows a certificate that cannot be believed ({why}); give its authority's as sslrootcert of the \
            server's address or in PGSSLROOTCERT (sslmode=disable looks at neither), and the host by the name that \
            the certificate has"
    )]
    NotBelieved {
        /// The URL, without its secrets.
        url: String,
        /// What is wrong with the certificate.
        why: String,
    },
    /// HTTP status 404, 405 or 410.
    #[error(
        "{url} answers {status}: there are no metrics at this path; give the path that serves them, on the internal \
            port \
         if the server has one"
    )]
    NotThere {
        /// The URL, without its secrets.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// Any other HTTP status that is no success.
    #[error("{url} answers {status}; the server refuses to give its metrics, see its log")]
    Refused {
        /// The URL, without its secrets.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The scrape took longer than it may.
    #[error("{url} did not answer whole within {seconds} s; give it longer, or measure without metrics")]
    TimedOut {
        /// The URL, without its secrets.
        url: String,
        /// The limit for a whole scrape, in seconds.
        seconds: f64,
    },
    /// The connection ended in the midst of the answer.
    #[error("{url} broke off while answering: {why}; the server may have been stopped")]
    BrokenOff {
        /// The URL, without its secrets.
        url: String,
        /// The cause at the bottom.
        why: String,
    },
    /// The answer is longer than 256 MB.
    #[error("{url} answers more than {} MB; is this the metrics path? measure without metrics", MOST >> 20)]
    TooLong {
        /// The URL, without its secrets.
        url: String,
    },
    /// The answer's first lines hold no readable sample.
    #[error("{url} does not answer in Prometheus' text format but with `{start}`; is this the metrics path?")]
    NotAnExposition {
        /// The URL, without its secrets.
        url: String,
        /// The answer's first 60 characters at most.
        start: String,
    },
    /// A replay has no scrape left.
    #[error("the recording has no further scrape (it held {held})")]
    Exhausted {
        /// Scrapes that the replay began with.
        held: usize,
    },
}

/// A source of expositions.
pub trait Scraper: Send + Sync {
    /// One exposition, with the duration of the request.
    fn scrape(&self) -> BoxFuture<'_, Result<Scrape, ScrapeError>>;
    /// Where it comes from, without password.
    fn source(&self) -> String;
}

/// Scrapes over HTTP, on one connection that is kept alive.
pub struct HttpScraper {
    client: reqwest::Client,
    url: reqwest::Url,
    /// The URL without its secrets, for messages.
    shown: String,
    timeout: Duration,
}

impl HttpScraper {
    /// `timeout` bounds a whole scrape. A server under load may need a second for an exposition of a megabyte. Of an
    /// `https` server that has its certificate from none of the public authorities, it needs the connection's own.
    ///
    /// # Errors
    /// A URL that is malformed, or neither `http` nor `https`; a file of authorities that cannot be read.
    pub fn new(url: &str, timeout: Duration, authorities: Option<&Roots>) -> Result<HttpScraper, ScrapeError> {
        let bad = |why: String| ScrapeError::BadUrl { url: shown_url(url), why };
        let parsed = reqwest::Url::parse(url).map_err(|e| bad(e.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(bad(format!("its scheme is `{}`, not `http` or `https`", parsed.scheme())));
        }
        let unread = |why: String| ScrapeError::BadAuthorities { url: shown_url(url), why };
        // A proxy of the environment is for other hosts than the one under test.
        let client =
            http::builder_with(authorities).map_err(unread)?.no_proxy().timeout(timeout).pool_max_idle_per_host(1);
        let client = client.build().map_err(|e| bad(e.to_string()))?;
        Ok(HttpScraper { client, shown: shown_url(url), url: parsed, timeout })
    }

    async fn fetch(&self) -> Result<Scrape, ScrapeError> {
        let url = || self.shown.clone();
        let start = clock::now();
        let response = self.client.get(self.url.clone()).send().await.map_err(|e| self.explain(e))?;
        let status = response.status();
        if !status.is_success() {
            let status = status.as_u16();
            return Err(match status {
                404 | 405 | 410 => ScrapeError::NotThere { url: url(), status },
                _ => ScrapeError::Refused { url: url(), status },
            });
        }
        let body = http::body(response, MOST).await.map_err(|e| self.explain(e))?;
        let body = body.ok_or_else(|| ScrapeError::TooLong { url: self.shown.clone() })?;
        let span = Span::new(start, clock::now());
        let text = String::from_utf8_lossy(&body).into_owned();
        if !looks_like_exposition(&text) {
            let start = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
            return Err(ScrapeError::NotAnExposition { url: url(), start });
        }
        Ok(Scrape { span, text })
    }

    fn explain(&self, error: reqwest::Error) -> ScrapeError {
        let url = self.shown.clone();
        if error.is_timeout() {
            return ScrapeError::TimedOut { url, seconds: self.timeout.as_secs_f64() };
        }
        let (connecting, error) = (error.is_connect(), error.without_url());
        if let Some(why) = not_believed(&error) {
            return ScrapeError::NotBelieved { url, why };
        }
        let why = innermost(&error);
        if connecting { ScrapeError::Unreachable { url, why } } else { ScrapeError::BrokenOff { url, why } }
    }
}

impl Scraper for HttpScraper {
    fn scrape(&self) -> BoxFuture<'_, Result<Scrape, ScrapeError>> {
        Box::pin(self.fetch())
    }

    fn source(&self) -> String {
        self.shown.clone()
    }
}

/// The cause at the bottom of a chain of errors: reqwest's own text only says that a request failed.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// What TLS has against the server's certificate; `None`: the error is another one.
fn not_believed(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(at) = cause {
        if let Some(rustls::Error::InvalidCertificate(why)) = at.downcast_ref() {
            return Some(why.to_string());
        }
        // An error of a stream does not name what it holds as its source.
        let held = at.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = held.map(|held| -> &(dyn std::error::Error + 'static) { held }).or_else(|| at.source());
    }
    None
}

/// Whether the text's first lines hold a readable sample. An error page of a proxy holds none; a single garbled line
/// between good ones is counted by the parser instead.
fn looks_like_exposition(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.take(20).any(|line| sample_line(line).is_some())
}

/// Gives recorded expositions back in their order.
pub struct ReplayScraper {
    scrapes: Mutex<VecDeque<Scrape>>,
    held: usize,
}

impl ReplayScraper {
    /// Replays these scrapes, the first one first.
    pub fn new(scrapes: impl IntoIterator<Item = Scrape>) -> ReplayScraper {
        let scrapes: VecDeque<Scrape> = scrapes.into_iter().collect();
        ReplayScraper { held: scrapes.len(), scrapes: Mutex::new(scrapes) }
    }
}

impl Scraper for ReplayScraper {
    fn scrape(&self) -> BoxFuture<'_, Result<Scrape, ScrapeError>> {
        let next = self.scrapes.lock().expect("no holder of this lock panics").pop_front();
        Box::pin(std::future::ready(next.ok_or(ScrapeError::Exhausted { held: self.held })))
    }

    fn source(&self) -> String {
        "recorded".to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_the_url_is_not_shown() {
        let error = HttpScraper::new("ftp://me:secret@host/metrics", Duration::from_secs(1), None).err().unwrap();
        assert_eq!(
            error.to_string(),
            "`ftp://me:***@host/metrics` is no usable metrics URL: its scheme is `ftp`, not `http` or `https`; \
             write http://HOST:PORT/metrics, or https"
        );
    }

    #[tokio::test]
    async fn a_replay_gives_its_scrapes_in_order_and_then_says_that_it_is_at_its_end() {
        let scrape = |text: &str| Scrape { span: Span::new(0, 1), text: text.to_string() };
        let replay = ReplayScraper::new([scrape("a 1\n"), scrape("a 2\n")]);
        assert_eq!(replay.scrape().await.unwrap().text, "a 1\n");
        assert_eq!(replay.scrape().await.unwrap().text, "a 2\n");
        assert!(matches!(replay.scrape().await, Err(ScrapeError::Exhausted { held: 2 })));
    }
}
