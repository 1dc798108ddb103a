//! Keys that sign who a request is from: claims (RFC 7519) as a compact JWS (RFC 7515), with Ed25519
//! (RFC 8037) or P-256 (RFC 7518 §3.4); and their public halves, for whoever verifies (RFC 7517).
//! Knows no claim by name.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject as _};
use serde::Serialize;
use zeroize::Zeroize as _;

/// How PEM says that a key is encrypted: PKCS #8 (RFC 7468 §11), and the older form (RFC 1421).
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// A signature of either kind has 64 bytes: this many characters in base64url.
const SIGNATURE_CHARS: usize = 86;

/// Why a file holds no key to sign with. Its text never repeats what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// What looks like PEM is not.
    #[error("is not PEM from its begin to its end")]
    Broken,
    /// A key of another kind.
    #[error("has a private key that is neither Ed25519 nor P-256")]
    Kind,
    /// No private key; perhaps a certificate or a public key.
    #[error("has no private key in it")]
    NoKey,
    /// A key in the form of SEC 1.
    #[error(
        "has a private key in the older form (BEGIN EC PRIVATE KEY), which `openssl pkcs8 -topk8 -nocrypt` converts"
    )]
    OlderForm,
    /// There is nobody to type it.
    #[error("has a private key behind a passphrase")]
    Passphrase,
}

/// A key that signs, with its public half. Does not print; the library wipes it.
pub struct SigningKey {
    pair: Pair,
    public: PublicKey,
    /// The first part of everything that it signs, with the dot that follows.
    header: String,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

/// The public half of a key as it is published (RFC 7517 §4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicKey {
    kid: String,
    kty: &'static str,
    crv: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
    typ: &'a str,
}

impl SigningKey {
    /// Takes the first private key of a PEM text: PKCS #8 (RFC 5958), Ed25519 or P-256.
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyFault> {
        let says = |mark: &&[u8]| pem.windows(mark.len()).any(|window| window == *mark);
        if ENCRYPTED.iter().any(says) {
            return Err(KeyFault::Passphrase);
        }
        let mut key = PrivateKeyDer::from_pem_slice(pem).map_err(|cause| match cause {
            pem::Error::NoItemsFound => KeyFault::NoKey,
            // The cause would repeat a line of the file.
            _ => KeyFault::Broken,
        })?;
        let pair = match &key {
            PrivateKeyDer::Pkcs8(der) => Pair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Sec1(_) => Err(KeyFault::OlderForm),
            _ => Err(KeyFault::Kind),
        };
        key.zeroize();
        Self::new(pair?)
    }

    fn new(pair: Pair) -> Result<Self, KeyFault> {
        let public = pair.public()?;
        let header = Header {
            alg: public.alg,
            kid: &public.kid,
            typ: "JWT",
        };
        Ok(Self {
            header: encode_json(&header) + ".",
            public,
            pair,
        })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The claims with their signature. Nothing when the system has no randomness for one.
    pub fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let claims = encode_json(claims);
        // Exactly as long as it will be: it is kept.
        let length = self.header.len() + claims.len() + ".".len() + SIGNATURE_CHARS;
        let mut text = String::with_capacity(length);
        text.push_str(&self.header);
        text.push_str(&claims);
        let signature = match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(text.as_bytes()),
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), text.as_bytes()),
        };
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature.ok()?, &mut text);
        Some(text)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public.kid)
    }
}

impl Pair {
    fn from_pkcs8(der: &[u8]) -> Result<Self, KeyFault> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self::Ed25519(pair));
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        // What the library says of it tells an operator nothing.
        pair.map(Self::P256).map_err(|_rejected| KeyFault::Kind)
    }

    fn public(&self) -> Result<PublicKey, KeyFault> {
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed25519(pair) => {
                let x = base64(pair.public_key().as_ref());
                Ok(PublicKey::new(("OKP", "Ed25519", "EdDSA"), x, None))
            }
            // A point that is written out (SEC 1 §2.3.3): a byte that says so, and its coordinates.
            Self::P256(pair) => match pair.public_key().as_ref() {
                [4, point @ ..] if point.len() == 64 => {
                    let (x, y) = point.split_at(32);
                    let kind = ("EC", "P-256", "ES256");
                    Ok(PublicKey::new(kind, base64(x), Some(base64(y))))
                }
                _ => Err(KeyFault::Kind),
            },
        }
    }
}

impl PublicKey {
    fn new(
        (kty, crv, alg): (&'static str, &'static str, &'static str),
        x: String,
        y: Option<String>,
    ) -> Self {
        Self {
            kid: thumbprint(kty, crv, &x, y.as_deref()),
            kty,
            crv,
            usage: "sig",
            alg,
            x,
            y,
        }
    }

    /// By what the key is told from others: a hash of nothing but itself, so the same everywhere.
    pub fn id(&self) -> &str {
        &self.kid
    }
}

/// RFC 7638 §3: over the members that make the key, in the order of their names, without white space.
fn thumbprint(kty: &str, crv: &str, x: &str, y: Option<&str>) -> String {
    let y = y.map_or_else(String::new, |y| format!(",\"y\":\"{y}\""));
    let text = format!("{{\"crv\":\"{crv}\",\"kty\":\"{kty}\",\"x\":\"{x}\"{y}}}");
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

fn encode_json(value: &impl Serialize) -> String {
    // Structs of texts and numbers cannot fail to serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A: the private key behind 16 bytes that say that it is one.
    const RFC_8037: &str = "-----BEGIN PRIVATE KEY-----\n\
                            MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
                            -----END PRIVATE KEY-----\n";

    #[test]
    fn key_id_and_signature_are_those_of_the_rfc() {
        let key = SigningKey::from_pem(RFC_8037.as_bytes()).unwrap();
        let public = key.public();
        assert_eq!(public.x, "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
        assert_eq!(public.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // What the RFC signs has a header of its own, so this is under the keys and no JWS of ours.
        let Pair::Ed25519(pair) = &key.pair else {
            panic!("another kind");
        };
        let text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        assert_eq!(
            URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes())),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn a_key_does_not_print() {
        let key = SigningKey::from_pem(RFC_8037.as_bytes()).unwrap();
        assert_eq!(
            format!("{key:?}"),
            "SigningKey(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)"
        );
    }

    #[test]
    fn what_is_no_key_says_what_it_is() {
        let body = "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v";
        let block =
            |label: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        for (text, fault) in [
            (String::new(), KeyFault::NoKey),
            (body.to_owned(), KeyFault::NoKey),
            (block("CERTIFICATE"), KeyFault::NoKey),
            (block("PUBLIC KEY"), KeyFault::NoKey),
            (block("PRIVATE KEY"), KeyFault::Kind),
            (block("RSA PRIVATE KEY"), KeyFault::Kind),
            (block("EC PRIVATE KEY"), KeyFault::OlderForm),
            (block("ENCRYPTED PRIVATE KEY"), KeyFault::Passphrase),
            (
                block("RSA PRIVATE KEY").replace(body, "Proc-Type: 4,ENCRYPTED\n\nAAAA"),
                KeyFault::Passphrase,
            ),
            (
                format!("-----BEGIN PRIVATE KEY-----\n{body}"),
                KeyFault::Broken,
            ),
        ] {
            let found = SigningKey::from_pem(text.as_bytes()).unwrap_err();
            assert_eq!(found, fault, "{text}");
            assert!(!found.to_string().contains(body), "{found}");
        }
    }
}
