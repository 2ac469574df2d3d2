//! The headers of Standard Webhooks, version 1 (<https://github.com/standard-webhooks/standard-webhooks>, `spec`).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes that a key may have, by the standard.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The longest id that is sent as it is, in bytes.
const ID_BYTES_MAX: usize = 255;

/// A key that is shared with the receiver. It is never displayed.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads `whsec_` and 24 to 64 bytes in Base64.
    ///
    /// # Errors
    /// A clause that says what is wrong, without a part of the secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (least, most) = (KEY_BYTES.start(), KEY_BYTES.end());
        let problem = || format!("must be {PREFIX} followed by {least} to {most} bytes in Base64");
        let key = text.trim().strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        key.filter(|key| KEY_BYTES.contains(&key.len())).map(Self).ok_or_else(problem)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Signs deliveries.
#[derive(Debug, Clone)]
pub struct Signer {
    secret: Secret,
}

impl Signer {
    /// Signs with this secret.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self { secret }
    }

    /// The signature of an event with this id, sent at `now_s`, seconds since the Unix epoch. The id is one of
    /// [`header_id`].
    pub(crate) fn signature(&self, id: &str, now_s: i64, payload: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret.0).expect("a key of any length");
        let timestamp = now_s.to_string();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", payload] {
            mac.update(part);
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// The `webhook-id` of an event. An id that no header can have is sent as the SHA-256 of it, in hexadecimal digits.
pub(crate) fn header_id(id: &[u8]) -> String {
    // A dot would separate the parts that are signed.
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'.';
    match std::str::from_utf8(id) {
        Ok(text) if (1..=ID_BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain) => {
            text.to_owned()
        }
        _ => Sha256::digest(id).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes whatever is written");
            text
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's reference libraries.
    #[test]
    fn the_signature_is_that_of_the_standard() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let payload = br#"{"test": 2432232314}"#;
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signature = Signer::new(secret).signature(id, 1_614_265_330, payload);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_out_of_bounds_is_refused_without_showing_it() {
        for text in ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_S3CRET", "whsec_!!!!"] {
            let problem = Secret::parse(text).unwrap_err();
            assert_eq!(problem, "must be whsec_ followed by 24 to 64 bytes in Base64");
        }
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret");
    }

    #[test]
    fn an_id_that_no_header_can_have_is_sent_as_its_digest() {
        assert_eq!(header_id(b"tx-1"), "tx-1");
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(header_id(b""), empty);
        for id in [&b"a b"[..], b"a\nb", b"a.b", "é".as_bytes(), &[0xff], &[b'x'; 256]] {
            let sent = header_id(id);
            assert!(
                sent.len() == 64 && sent.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{sent}"
            );
        }
    }
}
