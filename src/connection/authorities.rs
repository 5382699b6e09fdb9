//! Certificates in files, as TLS needs them. Invariant: what is read of a file is whole, or the error names the file.

use super::Roots;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::path::Path;

impl Roots {
    /// The certificates of these authorities.
    ///
    /// # Errors
    /// A file that cannot be read, or has no certificate of an authority in it.
    pub fn read(&self) -> Result<RootCertStore, String> {
        let Roots::File(file) = self else {
            return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
        };
        let mut store = RootCertStore::empty();
        for certificate in read_pem::<CertificateDer>(file, "certificate")? {
            store.add(certificate).map_err(|cause| format!("{}: {cause}", file.display()))?;
        }
        Ok(store)
    }
}

/// All items of a kind in a PEM file, at least one.
///
/// # Errors
/// A file that cannot be read, or has no `what` in it.
pub fn read_pem<T: PemObject>(file: &Path, what: &str) -> Result<Vec<T>, String> {
    let said = |cause: String| format!("{}: {cause}", file.display());
    let items = T::pem_file_iter(file).and_then(Iterator::collect).map_err(|cause: pem::Error| said(cause.to_string()));
    let items: Vec<T> = items?;
    if items.is_empty() { Err(said(format!("no {what} in it"))) } else { Ok(items) }
}
