//! XAES-256-GCM (C2SP): AES-256-GCM whose nonces may be drawn at random without counting them.
//! Knows nothing of what it encrypts, or of where its keys come from.
//!
//! AES-GCM alone has nonces of 96 bits: drawn at random, one key is good for 2^32 messages (NIST SP
//! 800-38D §8.3), which a gate that seals every session and every piece of every snapshot under a key of
//! years may reach. Here the nonce has 192 bits: one half gives every message a key of its own, by AES
//! as a key derivation (NIST SP 800-108, CMAC in counter mode), the other half is that key's nonce.
//! 2^80 messages are then less likely to meet than 2^32 before. It is made of what is here anyway, where
//! XChaCha20-Poly1305 would be a cipher more.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInOut as _;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a nonce.
pub(super) const NONCE_BYTES: usize = 24;

/// Bytes of a tag.
pub const TAG_BYTES: usize = 16;

/// A nonce: one half for the key, one for the cipher.
pub(super) type Nonce = [u8; NONCE_BYTES];

/// A key, made ready.
#[derive(Clone)]
pub(super) struct Xaes {
    cipher: Aes256,
    /// The subkey K1 of CMAC (NIST SP 800-38B §6.1): every message here is of whole blocks.
    k1: [u8; 16],
}

impl Drop for Xaes {
    fn drop(&mut self) {
        self.k1.zeroize();
    }
}

impl Xaes {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let cipher = Aes256::new(key.into());
        let mut zero = [0; 16].into();
        cipher.encrypt_block(&mut zero);
        let doubled = u128::from_be_bytes(zero.into());
        let carry = if doubled >> 127 == 1 { 0x87 } else { 0 };
        Self {
            cipher,
            k1: ((doubled << 1) ^ carry).to_be_bytes(),
        }
    }

    /// Encrypts a text where it lies and gives its tag. `None` beyond 64 GiB (NIST SP 800-38D
    /// §5.2.1.1).
    pub(super) fn encrypt(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let (key_half, nonce_half) = halves(nonce);
        self.cipher_of(key_half)
            .encrypt_inout_detached(&nonce_half.into(), associated, text.into())
            .map(Into::into)
            .ok()
    }

    /// Decrypts a text where it lies. `None`, and the text as good as random, if its tag or what is
    /// associated with it is another.
    pub(super) fn decrypt(
        &self,
        nonce: &Nonce,
        associated: &[u8],
        text: &mut [u8],
        tag: [u8; TAG_BYTES],
    ) -> Option<()> {
        let (key_half, nonce_half) = halves(nonce);
        self.cipher_of(key_half)
            .decrypt_inout_detached(&nonce_half.into(), associated, text.into(), &tag.into())
            .ok()
    }

    /// AES-256-GCM under the key of this half of a nonce.
    fn cipher_of(&self, half: [u8; 12]) -> Aes256Gcm {
        let mut key = Zeroizing::new([0; 32]);
        for (counter, part) in (1..).zip(key.chunks_exact_mut(16)) {
            let mut block = [0; 16];
            let [_, number, label, _, context @ ..] = &mut block;
            *number = counter;
            *label = b'X';
            *context = half;
            let whitened = u128::from_be_bytes(block) ^ u128::from_be_bytes(self.k1);
            let mut block = whitened.to_be_bytes().into();
            self.cipher.encrypt_block(&mut block);
            part.copy_from_slice(&block);
            block.as_mut_slice().zeroize();
        }
        Aes256Gcm::new((&*key).into())
    }
}

fn halves(nonce: &Nonce) -> ([u8; 12], [u8; 12]) {
    let (key_half, nonce_half) = nonce.split_at(12);
    (
        key_half.try_into().unwrap_or_default(),
        nonce_half.try_into().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: [u8; 12], tag: [u8; TAG_BYTES]) -> String {
        let mut wide = [0; 16];
        wide[4..].copy_from_slice(&text);
        let [text, tag] = [wide, tag].map(u128::from_be_bytes);
        format!("{text:024x}{tag:032x}")
    }

    /// The vectors of the specification: one for each value of the bit that K1 depends on.
    #[test]
    fn the_vectors_of_the_specification_are_met() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (key, associated, expect) in [
            (
                [1; 32],
                &b""[..],
                "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
            ),
            (
                [3; 32],
                b"c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
            ),
        ] {
            let xaes = Xaes::new(&key);
            let mut text = *b"XAES-256-GCM";
            let tag = xaes.encrypt(nonce, associated, &mut text).unwrap();
            assert_eq!(hex(text, tag), expect);
            xaes.decrypt(nonce, associated, &mut text, tag).unwrap();
            assert_eq!(&text, b"XAES-256-GCM");
        }
    }
}
