//! A profile that a Pyroscope server keeps, fetched over its query API (`querier/v1/querier.proto` of
//! <https://github.com/grafana/pyroscope/tree/main/api>, by Connect). Invariant: what is fetched is bounded, no
//! redirection is followed, and no error shows a secret of the URL.

use crate::connection::shown_url;
use crate::http::{self, Api, Credentials};
use crate::run::pprof;
use anyhow::{Context, Result, bail};
use prost::Message;
use reqwest::Url;
use std::time::{Duration, SystemTime};

/// Bytes that an answer may have.
const LARGEST: usize = 1 << 28;
/// Longest time for the whole answer.
const PATIENCE: Duration = Duration::from_secs(60);
const PATH: &str = "/querier.v1.QuerierService/SelectMergeProfile";

/// `querier.v1.SelectMergeProfileRequest`
#[derive(Clone, PartialEq, Message)]
struct SelectMergeProfileRequest {
    #[prost(string, tag = "1")]
    profile_type: String,
    #[prost(string, tag = "2")]
    label_selector: String,
    /// ms since 1970.
    #[prost(int64, tag = "3")]
    start: i64,
    #[prost(int64, tag = "4")]
    end: i64,
}

/// Which profile of which time.
pub struct PyroscopeQuery {
    /// The server, as in `http://localhost:4040`.
    pub url: String,
    /// `TYPE{SELECTOR}`, as in `process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="environmentd"}`.
    pub query: String,
    /// The first instant.
    pub from: SystemTime,
    /// The instant behind the last.
    pub until: SystemTime,
    /// What the server knows the caller by.
    pub credentials: Credentials,
}

/// The profile as pprof.
///
/// # Errors
/// The server cannot be asked, refuses, or has no samples of this time.
pub async fn fetch_pyroscope(query: &PyroscopeQuery) -> Result<Vec<u8>> {
    let shown = shown_url(&query.url);
    let url = Url::parse(&query.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let Some(mut url) = url else { bail!("{shown} is no http URL; write it as in pyroscope=http://localhost:4040") };
    let path = format!("{}{PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    let api = Api::new(url, query.credentials.clone(), PATIENCE)?;
    let request = api.call("application/proto", body(query)?).header("Connect-Protocol-Version", "1");
    let failed = || format!("{shown} did not answer; is it running, and is this its address?");
    let answer = request.send().await.map_err(reqwest::Error::without_url).with_context(failed)?;
    let status = answer.status();
    if matches!(status.as_u16(), 401 | 403) {
        bail!("{shown} answers {}: the token is missing or wrong; give it in WIREPROF_PROFILER_TOKEN", status.as_u16());
    }
    let body = http::body(answer, LARGEST).await.map_err(reqwest::Error::without_url).with_context(failed)?;
    let Some(bytes) = body else { bail!("{shown} answers with more than {LARGEST} bytes: ask for a shorter time") };
    if !status.is_success() {
        let said = api.said(&bytes);
        bail!("{shown} answers {}{said}; does it have Pyroscope's query API?", status.as_u16());
    }
    let samples = pprof::count_samples(&bytes).with_context(|| format!("{shown} answers with no profile"))?;
    if samples == 0 {
        bail!("{shown} has no samples of `{}` in this time: look at --query, --from and --until", query.query);
    }
    Ok(bytes)
}

fn body(query: &PyroscopeQuery) -> Result<Vec<u8>> {
    let (kind, selector) = match query.query.split_once('{') {
        Some((kind, rest)) => (kind.trim(), format!("{{{rest}")),
        None => (query.query.trim(), "{}".to_string()),
    };
    if kind.matches(':').count() != 4 || !selector.ends_with('}') {
        bail!(
            "`{}` is no query; write TYPE{{LABEL=\"VALUE\"}}, as in \
             process_cpu:cpu:nanoseconds:cpu:nanoseconds{{service_name=\"environmentd\"}}",
            query.query
        );
    }
    let millis = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
    let (start, end) = (millis(query.from), millis(query.until));
    if start >= end {
        bail!("--from is not before --until");
    }
    let profile_type = kind.to_string();
    Ok(SelectMergeProfileRequest { profile_type, label_selector: selector, start, end }.encode_to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str, from: u64, until: u64) -> PyroscopeQuery {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let (url, query) = ("http://h".into(), text.into());
        PyroscopeQuery { url, query, from: at(from), until: at(until), credentials: Credentials::default() }
    }

    #[test]
    fn a_query_is_a_type_and_a_selector() {
        let kind = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
        for (text, selector) in [(format!("{kind}{{a=\"b\"}}"), "{a=\"b\"}"), (kind.to_string(), "{}")] {
            let request = SelectMergeProfileRequest::decode(&*body(&query(&text, 1, 2)).unwrap()).unwrap();
            let wanted = (kind, selector, 1_000, 2_000);
            assert_eq!((&*request.profile_type, &*request.label_selector, request.start, request.end), wanted);
        }
        for wrong in ["", "cpu", "cpu{a=\"b\"}", "a:b:c:d:e{a"] {
            assert!(body(&query(wrong, 1, 2)).is_err(), "{wrong}");
        }
        assert!(body(&query(kind, 2, 2)).is_err());
    }
}
