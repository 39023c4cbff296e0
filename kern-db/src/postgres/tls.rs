//! TLS to the server: rustls, with the provider that the model clients have already.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Error, Result};

/// Whose word on a server's certificate is taken.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    /// Only the authorities in this file. `None`: those of the machine.
    file: Option<String>,
}

impl Trust {
    pub(super) fn file(path: String) -> Self {
        Self { file: Some(path) }
    }

    /// Reads the certificates, and makes what connections are made with. Only said to be wrong where TLS is asked for:
    /// a machine without certificates may still speak to a socket of its own.
    pub(super) fn connector(&self) -> Result<MakeRustlsConnect> {
        let mut roots = RootCertStore::empty();
        match &self.file {
            Some(path) => {
                let wrong = |what: String| Error::Invalid(format!("`sslrootcert` cannot be used: {what}"));
                let read = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
                for certificate in read {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
                if roots.is_empty() {
                    return Err(wrong("there is no certificate in it".to_owned()));
                }
            }
            None => {
                // One that cannot be read vouches for nobody; the others still do.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        // Named, not the process's default: an application may have installed none, or another.
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Unavailable { action: "prepare TLS", source: Box::new(error) })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}
