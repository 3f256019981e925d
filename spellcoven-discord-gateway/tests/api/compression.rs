//! Transport compression: what arrives as a stream is told as if it were text, and what is no such stream ends the
//! connection and nothing else.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use spellcoven_discord_gateway::{Compression, ConnectionState, ProtocolConfig, proto::Output};

use crate::support::*;

/// The other side's stream.
enum Deflate {
    #[cfg(feature = "zlib")]
    Zlib(flate2::Compress),
    #[cfg(feature = "zstd")]
    Zstd(zstd_safe::CCtx<'static>),
}

impl Deflate {
    fn new(compression: Compression) -> Self {
        match compression {
            #[cfg(feature = "zlib")]
            Compression::Zlib => {
                Self::Zlib(flate2::Compress::new(flate2::Compression::default(), true))
            }
            #[cfg(feature = "zstd")]
            Compression::Zstd => Self::Zstd(zstd_safe::CCtx::create()),
            other => panic!("{other:?} is no stream"),
        }
    }

    fn write(&mut self, text: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 1024);
        match self {
            #[cfg(feature = "zlib")]
            Self::Zlib(stream) => {
                let flush = flate2::FlushCompress::Sync;
                stream
                    .compress_vec(text.as_bytes(), &mut out, flush)
                    .unwrap();
            }
            #[cfg(feature = "zstd")]
            Self::Zstd(context) => {
                let mut input = zstd_safe::InBuffer::around(text.as_bytes());
                while input.pos() < text.len() {
                    let at = out.len();
                    let mut target = zstd_safe::OutBuffer::around_pos(&mut out, at);
                    context.compress_stream(&mut target, &mut input).unwrap();
                }
                let at = out.len();
                let mut target = zstd_safe::OutBuffer::around_pos(&mut out, at);
                assert_eq!(context.flush_stream(&mut target).unwrap(), 0);
            }
        }
        out
    }
}

/// Every stream that is compiled in.
fn streams() -> Vec<Compression> {
    vec![
        #[cfg(feature = "zlib")]
        Compression::Zlib,
        #[cfg(feature = "zstd")]
        Compression::Zstd,
    ]
}

fn compressed(compression: Compression) -> ProtocolConfig {
    let mut config = config(1);
    config.compression = compression;
    config
}

impl Rig {
    fn binary(&mut self, bytes: &[u8]) {
        self.protocol.handle_binary(bytes, self.now);
        self.said
            .extend(std::iter::from_fn(|| self.protocol.poll_output()));
    }

    /// An active session over a stream, and the other side of it.
    fn streaming(compression: Compression, limit: usize) -> (Self, Deflate) {
        let mut config = compressed(compression);
        config.max_message_size = limit;
        let mut rig = Self::new(config);
        let mut deflate = Deflate::new(compression);
        rig.protocol.handle_connected(rig.now);
        rig.binary(&deflate.write(&hello(INTERVAL)));
        rig.protocol.identify_granted(rig.now);
        rig.binary(&deflate.write(&ready(1, "session-1", &[])));
        assert_eq!(rig.protocol.state(), ConnectionState::Active);
        rig.now += Duration::from_secs(30);
        rig.said.clear();
        (rig, deflate)
    }

    /// It closed with a code that keeps the session, and resumes at `number` over a fresh stream.
    fn resumes_after(&mut self, compression: Compression, number: u64) {
        let closed = self
            .said
            .iter()
            .any(|output| matches!(output, Output::Close { code: 4000 }));
        assert!(closed, "{:?}", self.said);
        assert_eq!(self.protocol.stats().malformed, 1);
        assert_eq!(
            self.protocol.session().map(|session| session.seq),
            Some(number)
        );
        while self.protocol.state() != ConnectionState::Connecting {
            self.wake();
        }
        self.said.clear();
        self.protocol.handle_connected(self.now);
        let mut deflate = Deflate::new(compression);
        self.binary(&deflate.write(&hello(INTERVAL)));
        assert_eq!(self.protocol.state(), ConnectionState::Resuming);
        self.binary(&deflate.write(&resumed(number + 1)));
        assert_eq!(self.protocol.state(), ConnectionState::Active);
    }
}

fn event(number: u64) -> String {
    dispatch(
        number,
        "VOICE_CHANNEL_EFFECT_SEND",
        json!({"n": number, "text": "x".repeat(number as usize % 5000)}),
    )
}

#[test]
fn the_url_asks_for_it_on_every_connection() {
    for compression in streams() {
        let (mut rig, _) = Rig::streaming(compression, 1 << 20);
        let name = format!("&compress={compression:?}-stream").to_lowercase();
        rig.closed(None);
        let connect = rig.said.iter().find_map(|output| match output {
            Output::Connect { url } => Some(url.clone()),
            _ => None,
        });
        let url = connect.unwrap_or_else(|| {
            rig.said.clear();
            rig.next_connect().0
        });
        assert_eq!(url, format!("{RESUME}/?v=10&encoding=json{name}"));
    }
}

#[test]
fn a_stream_goes_on_from_message_to_message() {
    for compression in streams() {
        let (mut rig, mut deflate) = Rig::streaming(compression, 1 << 20);
        for number in 2..400 {
            rig.binary(&deflate.write(&event(number)));
            assert_eq!(rig.protocol.session().unwrap().seq, number);
        }
        assert_eq!(rig.protocol.stats().malformed, 0);
    }
}

#[cfg(feature = "zlib")]
#[test]
fn a_zlib_payload_may_come_in_several_messages() {
    let (mut rig, mut deflate) = Rig::streaming(Compression::Zlib, 1 << 20);
    for number in 2..200 {
        let bytes = deflate.write(&event(number));
        for part in bytes.chunks(7) {
            assert_eq!(rig.protocol.session().unwrap().seq, number - 1);
            rig.binary(part);
        }
        assert_eq!(rig.protocol.session().unwrap().seq, number);
    }
    assert_eq!(rig.protocol.stats().malformed, 0);
}

#[test]
fn a_payload_of_the_limit_is_taken_and_a_larger_one_is_not() {
    for compression in streams() {
        let limit = 100_000;
        let (mut rig, mut deflate) = Rig::streaming(compression, limit);
        let empty = dispatch(2, "X", json!("")).len();
        let exact = dispatch(2, "X", json!("a".repeat(limit - empty)));
        assert_eq!(exact.len(), limit);
        rig.binary(&deflate.write(&exact));
        assert_eq!(rig.protocol.session().unwrap().seq, 2, "{compression:?}");
        let larger = dispatch(3, "X", json!("a".repeat(limit - empty + 1)));
        rig.binary(&deflate.write(&larger));
        rig.resumes_after(compression, 2);
    }
}

#[test]
fn a_bomb_ends_the_connection_and_costs_no_more_than_the_limit() {
    for compression in streams() {
        let (mut rig, mut deflate) = Rig::streaming(compression, 1 << 20);
        let bomb = dispatch(2, "X", json!("a".repeat(40 << 20)));
        let bytes = deflate.write(&bomb);
        assert!(bytes.len() < 1 << 20, "it comes small");
        rig.binary(&bytes);
        rig.resumes_after(compression, 1);
    }
}

#[test]
fn junk_ends_the_connection_and_the_session_goes_on() {
    for compression in streams() {
        let (mut rig, _) = Rig::streaming(compression, 1 << 20);
        rig.binary(&[7, 7, 7, 7, 7, 0, 0, 0xFF, 0xFF]);
        rig.resumes_after(compression, 1);
    }
}

#[cfg(feature = "zlib")]
#[test]
fn a_payload_that_never_ends_is_not_kept_for_ever() {
    let (mut rig, _) = Rig::streaming(Compression::Zlib, 10_000);
    for _ in 0..11 {
        rig.binary(&[1; 1000]);
    }
    rig.resumes_after(Compression::Zlib, 1);
}

#[cfg(feature = "zlib")]
#[test]
fn a_stream_that_ends_ends_the_connection() {
    let (mut rig, mut deflate) = Rig::streaming(Compression::Zlib, 1 << 20);
    let mut out = Vec::with_capacity(100);
    match &mut deflate {
        Deflate::Zlib(stream) => {
            let finish = flate2::FlushCompress::Finish;
            stream.compress_vec(b"", &mut out, finish).unwrap();
        }
        #[cfg(feature = "zstd")]
        Deflate::Zstd(_) => panic!("zlib was asked for"),
    }
    out.extend([0, 0, 0xFF, 0xFF]);
    rig.binary(&out);
    rig.resumes_after(Compression::Zlib, 1);
}

#[test]
fn text_is_json_whatever_was_asked_for() {
    for compression in streams() {
        let mut rig = Rig::new(compressed(compression));
        rig.identify();
        assert_eq!(rig.protocol.stats().malformed, 0);
    }
}

proptest! {
    /// No bytes at any place do harm.
    #[test]
    fn bytes_in_the_place_of_a_payload(
        before in 0_u64..5,
        junk in prop::collection::vec(any::<u8>(), 0..400),
        marked in any::<bool>(),
    ) {
        for compression in streams() {
            let (mut rig, mut deflate) = Rig::streaming(compression, 5000);
            for number in 0..before {
                rig.binary(&deflate.write(&event(number + 2)));
            }
            let mut junk = junk.clone();
            if marked {
                junk.extend([0, 0, 0xFF, 0xFF]);
            }
            rig.binary(&junk);
            prop_assert!(rig.protocol.session().is_some());
        }
    }
}
