//! Certificates and keys from PEM (RFC 7468).

use rustls_pki_types::pem::{Error as PemError, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Kind};

/// All certificates in `pem`, in their order; other sections are passed over. `what` names the
/// source in errors, such as a path.
pub(crate) fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(wrong(format!(
            "{what} holds no certificate: a PEM file is wanted, with -----BEGIN CERTIFICATE-----"
        ))),
        Ok(found) => Ok(found),
        Err(e) => Err(wrong(format!("{what} is not valid PEM: {e}"))),
    }
}

/// The first private key in `pem`: PKCS #8, PKCS #1 or SEC 1.
pub(crate) fn private_key(pem: &[u8], what: &str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|e| match e {
        PemError::NoItemsFound if is_encrypted(pem) => {
            wrong(format!("the key in {what} is encrypted: decrypt it first"))
        }
        PemError::NoItemsFound => wrong(format!(
            "{what} holds no private key: a PEM file is wanted, with -----BEGIN PRIVATE KEY-----"
        )),
        e => wrong(format!("{what} is not valid PEM: {e}")),
    })
}

fn is_encrypted(pem: &[u8]) -> bool {
    let header = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    pem.windows(header.len()).any(|window| window == header)
}

fn wrong(what: String) -> Error {
    Error::new(Kind::Setting(what))
}
