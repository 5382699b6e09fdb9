//! Scraping over TLS, of a server whose certificate no public authority has signed, as a database cluster's has not.

use crate::skip::skip;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use wireprof::connection::Roots;
use wireprof::metrics::{HttpScraper, ScrapeError, Scraper};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 1\n";

/// A certificate for 127.0.0.1 and its key, as `NAME.crt` and `NAME.key`, signed by itself; `None`: no openssl.
fn certificate(folder: &Path, name: &str) -> Option<()> {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
    openssl.args(["-subj", "/CN=node", "-addext", "subjectAltName=IP:127.0.0.1"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
    let made = openssl.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let Ok(made) = made else {
        skip("openssl is not installed");
        return None;
    };
    assert!(made.success(), "openssl made no certificate");
    Some(())
}

/// Answers the first request of each connection with an exposition; the port.
fn serve(folder: &Path) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(folder.join("server.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key);
    let config = Arc::new(config.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream.unwrap());
            // A client that does not believe the certificate ends the handshake.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(ANSWER);
            }
        }
    });
    port
}

#[tokio::test]
async fn a_certificate_of_the_connections_own_authority_is_believed_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let Some(()) = certificate(folder.path(), "server").and_then(|()| certificate(folder.path(), "other")) else {
        return;
    };
    let port = serve(folder.path());
    let url = format!("https://127.0.0.1:{port}/metrics");
    let scrape = |url: String, authority: Option<&str>| {
        let authority = authority.map(|name| Roots::File(folder.path().join(name)));
        let scraper = HttpScraper::new(&url, Duration::from_secs(10), authority.as_ref());
        async move { scraper?.scrape().await }
    };
    assert_eq!(scrape(url.clone(), Some("server.crt")).await.unwrap().text, "a 1\n");
    for authority in [None, Some("other.crt")] {
        let error = scrape(url.clone(), authority).await.unwrap_err();
        assert!(matches!(error, ScrapeError::NotBelieved { .. }), "{error}");
        let told = error.to_string();
        assert!(told.starts_with(&format!("{url} shows a certificate that cannot be believed (")), "{told}");
        assert!(told.contains("); give its authority's as sslrootcert of the server's address"), "{told}");
    }
    let elsewhere = scrape(format!("https://localhost:{port}/metrics"), Some("server.crt")).await.unwrap_err();
    assert!(matches!(elsewhere, ScrapeError::NotBelieved { .. }), "{elsewhere}");
    let unread = scrape(url, Some("server.key")).await.unwrap_err().to_string();
    assert!(unread.contains("server.key: no certificate in it; correct sslrootcert"), "{unread}");
}
