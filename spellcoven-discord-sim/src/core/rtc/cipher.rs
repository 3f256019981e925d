//! Transport encryption: the two modes of today, and those that Discord gave up in 2024.
//!
//! See: Discord documentation, Topics, Voice Connections, "Transport Encryption and Sending Voice". Its byte layout of
//! the `rtpsize` modes is confirmed by several libraries; that of RTCP is observed.

use std::fmt;

use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use xsalsa20poly1305::XSalsa20Poly1305;

use super::settings::VoiceSettings;

/// Bytes of every mode's authentication tag.
const TAG: usize = 16;
/// Bytes of the counter at a packet's end.
const COUNTER: usize = 4;
/// Bytes of the fixed RTP header (RFC 3550, 5.1).
const HEADER: usize = 12;
/// Bytes of an RTCP packet that stay clear.
pub(super) const RTCP_CLEAR: usize = 8;

/// A key for media.
#[derive(Clone)]
pub(super) struct Secret([u8; 32]);

impl Secret {
    pub(super) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// For op 4.
    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A mode of transport encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Aes256GcmRtpsize,
    XChaCha20Rtpsize,
    XSalsa20,
    XSalsa20Suffix,
    XSalsa20Lite,
    XSalsa20LiteRtpsize,
    Aes256Gcm,
}

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Aes256GcmRtpsize => "aead_aes256_gcm_rtpsize",
            Self::XChaCha20Rtpsize => "aead_xchacha20_poly1305_rtpsize",
            Self::XSalsa20 => "xsalsa20_poly1305",
            Self::XSalsa20Suffix => "xsalsa20_poly1305_suffix",
            Self::XSalsa20Lite => "xsalsa20_poly1305_lite",
            Self::XSalsa20LiteRtpsize => "xsalsa20_poly1305_lite_rtpsize",
            Self::Aes256Gcm => "aead_aes256_gcm",
        }
    }

    /// Whether the header's variable parts stay clear, too.
    const fn is_rtpsize(self) -> bool {
        matches!(
            self,
            Self::Aes256GcmRtpsize | Self::XChaCha20Rtpsize | Self::XSalsa20LiteRtpsize
        )
    }

    /// How many bytes of an RTP packet stay clear; `None` for one that is too short.
    pub(super) fn clear_len(self, packet: &[u8]) -> Option<usize> {
        let first = *packet.first()?;
        let mut clear = HEADER;
        if self.is_rtpsize() {
            clear += usize::from(first & 0x0F) * 4;
            clear += if first & 0x10 == 0 { 0 } else { 4 };
        }
        (packet.len() >= clear).then_some(clear)
    }

    /// Whether the counter is in the packet's last four bytes.
    const fn has_counter(self) -> bool {
        !matches!(self, Self::XSalsa20 | Self::XSalsa20Suffix)
    }
}

impl VoiceSettings {
    /// The modes that are offered, the preferred first.
    pub(super) fn modes(&self) -> impl Iterator<Item = Mode> + use<> {
        let aes = self.offer_aes.then_some(Mode::Aes256GcmRtpsize);
        let xchacha = self.offer_xchacha.then_some(Mode::XChaCha20Rtpsize);
        let legacy: &[Mode] = if self.offer_legacy {
            &[
                Mode::XSalsa20LiteRtpsize,
                Mode::Aes256Gcm,
                Mode::XSalsa20Lite,
                Mode::XSalsa20Suffix,
                Mode::XSalsa20,
            ]
        } else {
            &[]
        };
        aes.into_iter().chain(xchacha).chain(legacy.iter().copied())
    }
}

/// A key in a mode.
pub(super) struct Cipher {
    mode: Mode,
    key: Key,
}

enum Key {
    Aes(Box<LessSafeKey>),
    XChaCha(Box<XChaCha20Poly1305>),
    XSalsa(Box<XSalsa20Poly1305>),
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

fn aes_nonce(counter: [u8; COUNTER]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[..COUNTER].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(nonce)
}

fn long_nonce(head: &[u8]) -> [u8; 24] {
    let mut nonce = [0; 24];
    for (to, from) in nonce.iter_mut().zip(head) {
        *to = *from;
    }
    nonce
}

impl Cipher {
    pub(super) fn new(mode: Mode, secret: &Secret) -> Self {
        let bytes = secret.bytes();
        let key = match mode {
            Mode::Aes256GcmRtpsize | Mode::Aes256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, bytes)
                    .expect("a key of 32 bytes is what AES-256 takes");
                Key::Aes(Box::new(LessSafeKey::new(key)))
            }
            Mode::XChaCha20Rtpsize => {
                Key::XChaCha(Box::new(XChaCha20Poly1305::new(&(*bytes).into())))
            }
            _ => Key::XSalsa(Box::new(XSalsa20Poly1305::new(&(*bytes).into()))),
        };
        Self { mode, key }
    }

    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Opens a packet in place, of which the first `clear` bytes stay clear. The clear packet is at the front of
    /// `packet` then, in the length that is returned; with it the counter, where the mode has one.
    pub(super) fn open(&self, packet: &mut [u8], clear: usize) -> Option<(usize, Option<u32>)> {
        let trailer = match self.mode {
            Mode::XSalsa20 => 0,
            Mode::XSalsa20Suffix => 24,
            _ => COUNTER,
        };
        let end = packet.len().checked_sub(trailer)?;
        if end < clear + TAG {
            return None;
        }
        let (sealed, trailer) = packet.split_at_mut(end);
        let (head, body) = sealed.split_at_mut(clear);
        let counter: Option<[u8; COUNTER]> = (&*trailer).try_into().ok();
        let len = body.len() - TAG;
        match &self.key {
            Key::Aes(key) => {
                key.open_in_place(aes_nonce(counter?), Aad::from(&*head), body)
                    .ok()?;
            }
            Key::XChaCha(key) => {
                let nonce = XNonce::from(long_nonce(trailer));
                let (text, tag) = body.split_last_chunk_mut::<TAG>()?;
                key.decrypt_in_place_detached(&nonce, head, text, &(*tag).into())
                    .ok()?;
            }
            Key::XSalsa(key) => {
                let nonce = match self.mode {
                    Mode::XSalsa20 => long_nonce(head.get(..HEADER)?),
                    _ => long_nonce(trailer),
                };
                // libsodium's secretbox: the tag comes first, and nothing but the text is authenticated.
                let (tag, text) = body.split_first_chunk_mut::<TAG>()?;
                key.decrypt_in_place_detached(&nonce.into(), b"", text, &(*tag).into())
                    .ok()?;
                body.copy_within(TAG.., 0);
            }
        }
        let counter = counter.filter(|_| self.mode.has_counter());
        Some((clear + len, counter.map(u32::from_be_bytes)))
    }

    /// Seals a clear packet in place, of which the first `clear` bytes stay clear; `counter` is used up.
    pub(super) fn seal(&self, packet: &mut Vec<u8>, clear: usize, counter: u32) -> Option<()> {
        let bytes = counter.to_be_bytes();
        let (head, body) = packet.split_at_mut_checked(clear)?;
        match &self.key {
            Key::Aes(key) => {
                let tag = key
                    .seal_in_place_separate_tag(aes_nonce(bytes), Aad::from(&*head), body)
                    .ok()?;
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&bytes);
            }
            Key::XChaCha(key) => {
                let nonce = XNonce::from(long_nonce(&bytes));
                let tag = key.encrypt_in_place_detached(&nonce, head, body).ok()?;
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&bytes);
            }
            Key::XSalsa(key) => {
                let nonce = match self.mode {
                    Mode::XSalsa20 => long_nonce(head.get(..HEADER)?),
                    _ => long_nonce(&bytes),
                };
                let tag = key
                    .encrypt_in_place_detached(&nonce.into(), b"", body)
                    .ok()?;
                let text = body.len();
                packet.extend_from_slice(&[0; TAG]);
                packet.copy_within(clear..clear + text, clear + TAG);
                packet.get_mut(clear..clear + TAG)?.copy_from_slice(&tag);
                match self.mode {
                    Mode::XSalsa20 => {}
                    Mode::XSalsa20Suffix => packet.extend_from_slice(&nonce),
                    _ => packet.extend_from_slice(&bytes),
                }
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Secret = Secret::new([7; 32]);

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(|byte| char::from(byte).to_digit(16).unwrap() as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    /// Checked with two independent libraries each.
    #[test]
    fn vectors_of_the_modes_of_today() {
        let clear = "b1780001 00000002 00001005 00000009 bede0001";
        let text = "109e0000 01020304 00000004";
        let rtp = format!("{clear}{text}");
        let aes = "637539b9a2653a15d2c0b297 9a4bc9fa149ab1c670a6710f283452fe 00000005";
        let chacha = "dc17095244d70edf1c1d689e a179eacd71f62d5745fa9510a6a9c535 00000005";
        for (mode, sealed) in [
            (Mode::Aes256GcmRtpsize, aes),
            (Mode::XChaCha20Rtpsize, chacha),
        ] {
            let cipher = Cipher::new(mode, &KEY);
            let mut packet = hex(&rtp);
            let len = mode.clear_len(&packet).unwrap();
            assert_eq!(len, 20);
            cipher.seal(&mut packet, len, 5).unwrap();
            assert_eq!(packet, hex(&format!("{clear}{sealed}")));
            assert_eq!(cipher.open(&mut packet, len), Some((32, Some(5))));
            assert_eq!(packet[..32], hex(&rtp));
        }
        let cipher = Cipher::new(Mode::Aes256GcmRtpsize, &KEY);
        let mut report = hex("80c9000100001005");
        cipher.seal(&mut report, RTCP_CLEAR, 6).unwrap();
        let sealed = "80c9000100001005 1a135a6c5821efa98962da883a7fc537 00000006";
        assert_eq!(report, hex(sealed));
        let mut loss = hex("81ce000200001005 00000000");
        loss.truncate(12);
        cipher.seal(&mut loss, RTCP_CLEAR, 7).unwrap();
        assert_eq!(loss.len(), 32);
    }

    #[test]
    fn every_mode_opens_what_it_seals_and_nothing_else() {
        let packet = hex("9178000100000002000010050000000abede0001 10ff0000 f8fffe");
        let all = VoiceSettings {
            offer_legacy: true,
            ..VoiceSettings::default()
        };
        assert_eq!(all.modes().count(), 7);
        for mode in all.modes() {
            let cipher = Cipher::new(mode, &KEY);
            let clear = mode.clear_len(&packet).unwrap();
            let mut sealed = packet.clone();
            cipher.seal(&mut sealed, clear, 9).unwrap();
            for at in clear..sealed.len() {
                let mut turned = sealed.clone();
                turned[at] ^= 1;
                assert_eq!(cipher.open(&mut turned, clear), None, "{mode:?} {at}");
            }
            for len in 0..sealed.len() {
                let mut short = sealed[..len].to_vec();
                let _ = cipher.open(&mut short, clear.min(len));
            }
            let (len, _) = cipher.open(&mut sealed, clear).unwrap();
            assert_eq!(sealed[..len], packet, "{mode:?}");
        }
    }
}
