//! TLS for the load's connections. Invariant: as with libpq, `require` encrypts without asking who the server is, and
//! `verify-full` asks for a certificate of a known authority with the host's name in it.

use super::LoadError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is asked of the server's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verify {
    Nothing,
    /// Signed by an authority of the file, or of the public ones where there is no file, and made out to the host.
    Full {
        roots: Option<PathBuf>,
    },
}

/// A TLS configuration to be shared by all connections.
pub fn configure(verify: &Verify, at: &str) -> Result<Arc<ClientConfig>, LoadError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let failed = |cause: String, remedy| LoadError::Tls { at: at.into(), cause, remedy };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| failed(cause.to_string(), "use sslmode=disable"))?;
    let config = match verify {
        Verify::Nothing => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(schemes))).with_no_client_auth()
        }
        Verify::Full { roots } => {
            let store = match roots {
                Some(file) => read_roots(file).map_err(|cause| failed(cause, "give a PEM file as sslrootcert"))?,
                None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            };
            builder.with_root_certificates(store).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// A connection for one socket to the host of this name.
pub fn connection(config: &Arc<ClientConfig>, name: &str, at: &str) -> Result<ClientConnection, LoadError> {
    let failed =
        |cause: String| LoadError::Tls { at: at.into(), cause, remedy: "give a host name or address in the URL" };
    let name = ServerName::try_from(name.to_string()).map_err(|cause| failed(cause.to_string()))?;
    ClientConnection::new(config.clone(), name).map_err(|cause| failed(cause.to_string()))
}

fn read_roots(file: &Path) -> Result<RootCertStore, String> {
    let said = |cause: String| format!("{}: {cause}", file.display());
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|cause| said(cause.to_string()))? {
        let certificate = certificate.map_err(|cause| said(cause.to_string()))?;
        store.add(certificate).map_err(|cause| said(cause.to_string()))?;
    }
    if store.is_empty() { Err(said("no certificate in it".into())) } else { Ok(store) }
}

/// Accepts any certificate, for `prefer` and `require`.
#[derive(Debug)]
struct Unverified(Vec<SignatureScheme>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
