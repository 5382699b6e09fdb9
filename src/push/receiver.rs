//! Who receives: `pyroscope=URL` or `otlp=URL`. Invariant: what is shown of it has no secret.

use crate::connection::shown_url;
use anyhow::{Result, bail};
use reqwest::Url;
use std::str::FromStr;

/// Which API the receiver has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pyroscope's push API (Connect, protobuf).
    Pyroscope,
    /// OTLP over HTTP, protobuf.
    Otlp,
}

impl Kind {
    /// As the user writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Pyroscope => "pyroscope",
            Kind::Otlp => "otlp",
        }
    }

    /// The path of the API, appended to the user's URL where that does not end with it.
    fn path(self) -> &'static str {
        match self {
            Kind::Pyroscope => "/push.v1.PusherService/Push",
            Kind::Otlp => "/v1development/profiles",
        }
    }

    /// The body's media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Kind::Pyroscope => "application/proto",
            Kind::Otlp => "application/x-protobuf",
        }
    }
}

/// Where profiles go.
#[derive(Clone, Debug)]
pub struct Receiver {
    /// Its API.
    pub kind: Kind,
    /// Where requests go, secrets included: it is never shown.
    pub(super) url: Url,
}

impl FromStr for Receiver {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Receiver> {
        let (kind, url) = match text.split_once('=') {
            Some(("pyroscope", url)) => (Kind::Pyroscope, url),
            Some(("otlp", url)) => (Kind::Otlp, url),
            _ => bail!("write pyroscope=URL or otlp=URL, as in pyroscope=http://localhost:4040"),
        };
        let Ok(mut parsed) = Url::parse(url) else {
            bail!("{} is no URL; write it as in {}=http://localhost:4040", shown_url(url), kind.as_str())
        };
        if !matches!(parsed.scheme(), "http" | "https") {
            bail!("{}: profiles are sent over http or https", shown_url(url));
        }
        let path = parsed.path().trim_end_matches('/');
        if !path.ends_with(kind.path()) {
            let whole = format!("{path}{}", kind.path());
            parsed.set_path(&whole);
        }
        Ok(Receiver { kind, url: parsed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_api_is_appended_once() {
        let url = |text: &str| text.parse::<Receiver>().map(|receiver| receiver.url.to_string());
        let push = "http://h:4040/push.v1.PusherService/Push";
        assert_eq!(url("pyroscope=http://h:4040").unwrap(), push);
        assert_eq!(url("pyroscope=http://h:4040/").unwrap(), push);
        assert_eq!(url(&format!("pyroscope={push}")).unwrap(), push);
        assert_eq!(url("otlp=https://h/tenant").unwrap(), "https://h/tenant/v1development/profiles");
    }

    #[test]
    fn what_is_no_receiver_is_refused_without_its_secrets() {
        for text in ["http://h:4040", "jaeger=http://h", "otlp=ftp://u:canary@h/x", "pyroscope=canary canary"] {
            let refused = text.parse::<Receiver>().unwrap_err().to_string();
            assert!(!refused.contains("u:canary"), "{refused}");
        }
    }
}
