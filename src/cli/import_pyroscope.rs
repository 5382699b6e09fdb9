//! `wireprof import pyroscope=URL`: which profile of which time, and where it is kept until it is read. Invariant: it
//! is kept in a private directory, which goes with [`Fetched`].

use super::Usage;
use super::push::token_of_environment;
use crate::connection::shown_url;
use crate::http::Credentials;
use crate::import::{PyroscopeQuery, fetch_pyroscope};
use crate::runtime;
use crate::workload::parse_duration;
use anyhow::{Context, Result, anyhow};
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What the argument begins with.
const API: &str = "pyroscope=";

/// What a continuous profiler is asked for.
#[derive(Args, Default)]
pub struct Continuous {
    /// Of pyroscope=URL: which profile, as in
    /// 'process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="environmentd"}'
    #[arg(long, value_name = "TYPE{SELECTOR}")]
    query: Option<String>,
    /// Of pyroscope=URL: its first instant, RFC 3339 or a time ago
    #[arg(long, value_name = "TIME", value_parser = instant)]
    from: Option<SystemTime>,
    /// Of pyroscope=URL: its last instant, RFC 3339 or a time ago [default: now]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    until: Option<SystemTime>,
    /// Of pyroscope=URL: the tenant (X-Scope-OrgID)
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
}

/// `2026-11-22T09:00:00Z`, or `30m` for half an hour ago.
fn instant(text: &str) -> Result<SystemTime, String> {
    let ago = parse_duration(text).and_then(|ago| SystemTime::now().checked_sub(ago));
    let told = || humantime::parse_rfc3339_weak(text).ok();
    ago.or_else(told).ok_or_else(|| format!("`{text}` is no time; write 2026-11-22T09:00:00Z, or 30m for a time ago"))
}

/// A profile that was fetched.
pub struct Fetched {
    /// Where it is kept.
    pub path: PathBuf,
    /// What it is, without secrets.
    pub shown: String,
    /// How long it covers.
    pub seconds: f64,
    _folder: tempfile::TempDir,
}

impl Continuous {
    /// Fetches what an argument names; `None`: it names a file.
    ///
    /// # Errors
    /// An option is missing or of no use; the server does not answer with a profile.
    pub fn fetched(&self, argument: &Path) -> Result<Option<Fetched>> {
        let Some(url) = argument.to_str().and_then(|text| text.strip_prefix(API)) else {
            let given = self.query.is_some() || self.from.is_some() || self.until.is_some() || self.tenant.is_some();
            let why = "--query, --from, --until and --tenant are of pyroscope=URL, and this is a file";
            return if given { Err(anyhow!(Usage(anyhow!(why)))) } else { Ok(None) };
        };
        let wanted = |option: &str| anyhow!(Usage(anyhow!("pyroscope=URL needs {option}: see wireprof import --help")));
        let text = self.query.clone().ok_or_else(|| wanted("--query"))?;
        let from = self.from.ok_or_else(|| wanted("--from"))?;
        let until = self.until.unwrap_or_else(SystemTime::now);
        let credentials = Credentials { token: token_of_environment(), tenant: self.tenant.clone() };
        let query = PyroscopeQuery { url: url.into(), query: text, from, until, credentials };
        let runtime = runtime::on_this_thread()?;
        let bytes = runtime.block_on(async {
            tokio::select! {
                bytes = fetch_pyroscope(&query) => bytes,
                _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
            }
        })?;
        let folder = tempfile::tempdir().context("there is no place for what is fetched")?;
        let path = folder.path().join("pyroscope");
        std::fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))?;
        let rfc = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
        let shown = format!("{} ({}, {} to {})", shown_url(url), query.query, rfc(from), rfc(until));
        let seconds = until.duration_since(from).unwrap_or(Duration::ZERO).as_secs_f64();
        Ok(Some(Fetched { path, shown, seconds, _folder: folder }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_a_time_ago() {
        let half_an_hour = SystemTime::now().duration_since(instant("30m").unwrap()).unwrap();
        assert!((half_an_hour.as_secs_f64() - 1_800.0).abs() < 60.0, "{half_an_hour:?}");
        let told = instant("2026-11-22T09:00:00Z").unwrap();
        assert_eq!(humantime::format_rfc3339_seconds(told).to_string(), "2026-11-22T09:00:00Z");
        assert!(instant("yesterday").is_err() && instant("30").is_err());
    }

    #[test]
    fn options_of_a_server_are_refused_for_a_file() {
        let tenant = Continuous { tenant: Some("a".into()), ..Continuous::default() };
        assert!(tenant.fetched(Path::new("x.pb.gz")).is_err());
        assert!(Continuous::default().fetched(Path::new("x.pb.gz")).unwrap().is_none());
        assert!(Continuous::default().fetched(Path::new("pyroscope=http://h")).is_err());
    }
}
