//! What every HTTP client begins with, and APIs that want to know their caller. Invariant: TLS has the roots and the
//! cryptography that the connections under load have, and asks the machine for nothing; no text that is shown has a
//! secret of an API's address or of its caller.

use crate::connection::{HIDDEN, Roots, Secret, shown_url};
use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::{Client, RequestBuilder, Response, Url, redirect};
use rustls::RootCertStore;
use std::sync::Arc;
use std::time::Duration;

/// A builder of clients for `http` and `https`, which believe the public authorities.
pub fn builder() -> reqwest::ClientBuilder {
    believing(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

/// The same of clients that believe the authorities of a connection too, where it names some (`sslrootcert`).
///
/// # Errors
/// Their file cannot be read.
pub fn builder_with(authorities: Option<&Roots>) -> Result<reqwest::ClientBuilder, String> {
    let Some(own) = authorities else { return Ok(builder()) };
    let mut roots = own.read()?;
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Ok(believing(roots))
}

fn believing(roots: RootCertStore) -> reqwest::ClientBuilder {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(config)
}

/// An answer's body; `None`: it is longer than `most` bytes, of which no more are kept.
///
/// # Errors
/// The connection's.
pub async fn body(mut answer: Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&part);
    }
    Ok(Some(body))
}

/// What an API knows its caller by.
#[derive(Clone, Default)]
pub struct Credentials {
    /// Sent as `Authorization: Bearer`.
    pub token: Option<Secret>,
    /// Sent as `X-Scope-OrgID`: the tenant of a server that has several.
    pub tenant: Option<String>,
}

/// A function of a server. No redirection is followed.
pub struct Api {
    client: Client,
    url: Url,
    credentials: Credentials,
    /// What an answer may repeat and nobody is shown.
    secrets: Vec<String>,
}

impl Api {
    /// The function at this address; `patience` is the longest time for a whole answer.
    ///
    /// # Errors
    /// The address has a user, and there is a token too; the client cannot be made.
    pub fn new(url: Url, credentials: Credentials, patience: Duration) -> Result<Api> {
        let client = builder().redirect(redirect::Policy::none()).timeout(patience).build();
        let client = client.context("the HTTP client cannot be made")?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let mut secrets: Vec<String> = Vec::new();
        if let Some(token) = &credentials.token {
            let has_user = !url.username().is_empty() || url.password().is_some();
            ensure!(!has_user, "{} names a user, and there is a token too: give one of them", shown_url(url.as_str()));
            secrets.push(String::from_utf8_lossy(token.expose()).into_owned());
        }
        if let Some(password) = url.password() {
            let (user, plain) = (decoded(url.username()), decoded(password));
            secrets.extend([BASE64_STANDARD.encode(format!("{user}:{plain}")), plain, password.to_string()]);
        }
        secrets.retain(|secret| !secret.is_empty());
        Ok(Api { client, url, credentials, secrets })
    }

    /// Its address without secrets.
    pub fn shown(&self) -> String {
        shown_url(self.url.as_str())
    }

    /// A call by `POST`, to be sent.
    pub fn call(&self, media_type: &str, body: Vec<u8>) -> RequestBuilder {
        self.known(self.client.post(self.url.clone()).body(body).header("Content-Type", media_type))
    }

    /// What is at the address by `GET`, to be sent.
    pub fn get(&self) -> RequestBuilder {
        self.known(self.client.get(self.url.clone()))
    }

    /// With what the server knows its caller by.
    fn known(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(token) = &self.credentials.token {
            request = request.bearer_auth(String::from_utf8_lossy(token.expose()));
        }
        match &self.credentials.tenant {
            Some(tenant) => request.header("X-Scope-OrgID", tenant),
            None => request,
        }
    }

    /// The beginning of an answer in brackets, to stand behind a word: without control characters, and without the
    /// secrets that it may repeat. Empty where there is nothing to read.
    pub fn said(&self, answer: &[u8]) -> String {
        let text = String::from_utf8_lossy(answer).into_owned();
        let text = self.secrets.iter().fold(text, |text, secret| text.replace(secret, HIDDEN));
        let plain: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        if plain.trim().is_empty() { String::new() } else { format!(" ({})", plain.trim()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_repeats_of_a_secret_is_not_shown() {
        let api = |url: &str, token: Option<&str>| {
            let credentials = Credentials { token: token.map(Secret::new), tenant: None };
            Api::new(Url::parse(url).unwrap(), credentials, Duration::from_secs(1))
        };
        let by_user = api("http://me:can%40ary@h/", None).unwrap();
        // echo -n me:can@ary | base64
        assert_eq!(by_user.said(b"Basic bWU6Y2FuQGFyeQ== or can@ary\x1b[31m?"), " (Basic *** or ***[31m?)");
        assert!(!by_user.shown().contains("ary"), "{}", by_user.shown());
        assert_eq!(api("http://h/", Some("canary")).unwrap().said(b"Bearer canary"), " (Bearer ***)");
        assert_eq!(api("http://h/", None).unwrap().said(b" \n"), "");
        let both = api("http://me:canary@h/", Some("other")).err().unwrap().to_string();
        assert!(both.contains("give one of them") && !both.contains("canary"), "{both}");
    }
}
