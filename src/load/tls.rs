//! TLS for all connections. Invariant: as with libpq, `require` encrypts without asking who the server is unless
//! there is a file of authorities, `verify-ca` asks for a certificate of a known authority, `verify-full` for the
//! host's name in it, too.

use super::LoadError;
use crate::connection::{ClientCertificate, Encryption, Roots, Verify, read_pem};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;

/// A TLS configuration to be shared by all connections. The settings' files are read here.
pub fn configure(encryption: &Encryption, at: &str) -> Result<Arc<ClientConfig>, LoadError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let failed = |cause: String, remedy| LoadError::Tls { at: at.into(), cause, remedy };
    let known = [&rustls::version::TLS12, &rustls::version::TLS13];
    let versions: Vec<_> =
        known.into_iter().zip(encryption.versions).filter_map(|(v, used)| used.then_some(v)).collect();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|cause| failed(cause.to_string(), "use sslmode=disable"))?;
    let verifier: Arc<dyn ServerCertVerifier> = match (&encryption.roots, encryption.verify) {
        (None, _) | (_, Verify::Nothing) => Arc::new(Unverified(schemes)),
        (Some(roots), verify) => {
            let remedy = "give PEM files as sslrootcert and sslcrl";
            let chain = chain(roots, encryption, provider).map_err(|cause| failed(cause, remedy))?;
            if verify == Verify::AuthorityAndName { chain } else { Arc::new(AnyName(chain)) }
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match &encryption.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let read = identity(client)
                .and_then(|(chain, key)| builder.with_client_auth_cert(chain, key).map_err(|cause| cause.to_string()));
            read.map_err(|cause| failed(cause, "give PEM files as sslcert and sslkey, the key without a password"))?
        }
    };
    config.enable_sni = encryption.names_host;
    Ok(Arc::new(config))
}

/// Asks for a certificate that an authority has signed and not revoked, made out to the host.
fn chain(
    roots: &Roots,
    encryption: &Encryption,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let store = roots.read()?;
    let revoked = match &encryption.revoked {
        None => Vec::new(),
        Some(file) => read_pem::<CertificateRevocationListDer>(file, "list of revoked certificates")?,
    };
    let builder = WebPkiServerVerifier::builder_with_provider(store.into(), provider).with_crls(revoked);
    builder.build().map_err(|cause| cause.to_string())
}

fn identity(client: &ClientCertificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let key =
        PrivateKeyDer::from_pem_file(&client.key).map_err(|cause| format!("{}: {cause}", client.key.display()))?;
    Ok((read_pem(&client.certificate, "certificate")?, key))
}

/// A connection for one socket to the host of this name.
pub fn connection(config: &Arc<ClientConfig>, name: &str, at: &str) -> Result<ClientConnection, LoadError> {
    let failed =
        |cause: String| LoadError::Tls { at: at.into(), cause, remedy: "give a host name or address in the URL" };
    let name = ServerName::try_from(name.to_string()).map_err(|cause| failed(cause.to_string()))?;
    ClientConnection::new(config.clone(), name).map_err(|cause| failed(cause.to_string()))
}

/// Asks for a known authority and leaves the name alone, for `verify-ca`.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.0.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            // The name is looked at last, after chain, validity and revocation.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Accepts any certificate, for `prefer` and `require` without authorities.
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
