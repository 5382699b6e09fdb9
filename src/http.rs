//! What every HTTP client begins with. Invariant: TLS has the roots and the cryptography that the connections under
//! load have, and asks the machine for nothing.

use std::sync::Arc;

/// A builder of clients for `http` and `https`.
pub fn builder() -> reqwest::ClientBuilder {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(config)
}
