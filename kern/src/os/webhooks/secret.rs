//! What a webhook is signed with: Standard Webhooks, version 1.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::{Error, Result};

const PREFIX: &str = "whsec_";
/// How many bytes it has.
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that is shared with a receiver. It is shown by nothing.
#[derive(Clone)]
pub(super) struct Secret(Vec<u8>);

impl Secret {
    /// Reads one as it is written.
    ///
    /// # Errors
    ///
    /// [`Error::Setup`]: it is none. Nothing of it is repeated.
    pub(super) fn new(text: &str) -> Result<Self> {
        let bytes = text.trim().strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        match bytes {
            Some(bytes) if LENGTHS.contains(&bytes.len()) => Ok(Self(bytes)),
            _ => {
                let what = "is `whsec_` and the Base64 of 24 to 64 random bytes, as of `openssl rand -base64 32`";
                Err(Error::Setup(format!("the secret of a webhook {what}")))
            }
        }
    }

    /// Signs what a request carries.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_its_prefix_and_enough_bytes() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for bytes in [24, 32, 64] {
            assert!(Secret::new(&of(bytes)).is_ok(), "{bytes}");
        }
        let bare = STANDARD.encode([7; 32]);
        for text in ["", "whsec_", "whsec_hunter2", &bare, &format!("WHSEC_{bare}"), &of(0), &of(23), &of(65)] {
            let refused = Secret::new(text).unwrap_err().to_string();
            assert!(text.len() < 10 || !refused.contains(&text[6..]), "{refused}");
        }
        assert_eq!(format!("{:?}", Secret::new(&of(32)).unwrap()), "[secret]");
    }

    /// The example of the specification.
    #[test]
    fn a_signature_is_that_of_the_specification() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
