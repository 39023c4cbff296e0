//! A certificate for `localhost` that nobody vouches for but whoever is told of it.

use std::path::PathBuf;
use std::process::Command;

use crate::folder::Folder;

/// A key and a certificate, as PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The file with the key.
    pub key: PathBuf,
    /// The file with the certificate: what a program that trusts it is told of.
    pub file: PathBuf,
}

impl Certificate {
    /// Makes one in a folder, valid for two days.
    ///
    /// # Panics
    ///
    /// When there is no `openssl`.
    #[must_use]
    pub fn new(folder: &Folder) -> Self {
        let (key, file) = (folder.file("key.pem"), folder.file("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&file)
            .output()
            .expect("openssl is installed, see tests/run");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { key, file }
    }
}
