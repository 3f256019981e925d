//! What becomes of a payload on its way to the wire: text, one zlib stream, or a part of a stream that lasts as long
//! as the connection.
//!
//! See: Discord documentation, Events, Gateway, "Encoding and Compression".

use std::fmt;

use flate2::{Compress, Compression, FlushCompress, Status};
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

/// What a flushed part of a zlib stream ends with.
pub(super) const SYNC_MARK: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// 256 KiB (observed).
const ZSTD_WINDOW_LOG: u32 = 18;
/// Room for what a flush adds to a message that cannot be made smaller.
const FLUSH_ROOM: usize = 128;

/// A payload as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Encoded {
    Text(String),
    Binary(Vec<u8>),
}

impl Encoded {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it is text, and its bytes.
    pub(super) fn into_parts(self) -> (bool, Vec<u8>) {
        match self {
            Self::Text(text) => (true, text.into_bytes()),
            Self::Binary(bytes) => (false, bytes),
        }
    }
}

/// How a connection's payloads are encoded.
pub(super) enum Codec {
    Plain,
    /// Payloads from this size on become a zlib stream of their own.
    Payload {
        from: usize,
    },
    /// One deflate stream for the connection, flushed after each payload.
    Zlib(Box<Compress>),
    /// One zstd frame for the connection, flushed after each payload; it never ends.
    Zstd(Box<CCtx<'static>>),
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Payload { .. } => "Payload",
            Self::Zlib(_) => "Zlib",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Codec {
    /// The codec that `compress=` in the URL asks for; nothing where there is no such one.
    pub(super) fn asked_for(name: &str) -> Option<Self> {
        match name {
            "" => Some(Self::Plain),
            "zlib-stream" => Some(Self::Zlib(Box::new(Compress::new(
                Compression::fast(),
                true,
            )))),
            "zstd-stream" => {
                let mut context = CCtx::try_create()?;
                for parameter in [
                    CParameter::CompressionLevel(1),
                    CParameter::WindowLog(ZSTD_WINDOW_LOG),
                    CParameter::ChecksumFlag(false),
                    CParameter::ContentSizeFlag(false),
                ] {
                    context.set_parameter(parameter).ok()?;
                }
                Some(Self::Zstd(Box::new(context)))
            }
            _ => None,
        }
    }

    pub(super) const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    pub(super) const fn is_zlib_stream(&self) -> bool {
        matches!(self, Self::Zlib(_))
    }

    /// Encodes one payload. `None` is a codec that broke, which it does not: the connection is to be dropped.
    pub(super) fn encode(&mut self, text: String) -> Option<Encoded> {
        Some(match self {
            Self::Plain => Encoded::Text(text),
            Self::Payload { from } if text.len() < *from => Encoded::Text(text),
            Self::Payload { .. } => {
                let mut whole = Compress::new(Compression::fast(), true);
                Encoded::Binary(deflate(&mut whole, text.as_bytes(), FlushCompress::Finish)?)
            }
            Self::Zlib(stream) => {
                Encoded::Binary(deflate(stream, text.as_bytes(), FlushCompress::Sync)?)
            }
            Self::Zstd(context) => Encoded::Binary(zstd(context, text.as_bytes())?),
        })
    }

    /// Bytes in the place of a payload that no decoder takes, whatever came before: a deflate block and a zstd block of
    /// the reserved kind, and for the rest what is no zlib header.
    pub(super) fn junk(&self) -> Vec<u8> {
        match self {
            Self::Zlib(_) => [&[7, 7, 7, 7][..], &SYNC_MARK].concat(),
            _ => vec![7; 8],
        }
    }
}

fn deflate(stream: &mut Compress, input: &[u8], flush: FlushCompress) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len() / 2 + FLUSH_ROOM);
    let begin = stream.total_in();
    loop {
        let done = usize::try_from(stream.total_in() - begin).ok()?;
        let status = stream
            .compress_vec(input.get(done..)?, &mut out, flush)
            .ok()?;
        let all = stream.total_in() - begin == u64::try_from(input.len()).ok()?;
        // Room left over says that the flush is complete.
        if all && (status == Status::StreamEnd || out.len() < out.capacity()) {
            return Some(out);
        }
        // More than a flush mark takes, or a flush that was complete would put in another one.
        out.reserve(input.len() / 2 + FLUSH_ROOM);
    }
}

fn zstd(context: &mut CCtx<'static>, input: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len() / 2 + FLUSH_ROOM);
    let mut source = InBuffer::around(input);
    loop {
        let position = out.len();
        let mut target = OutBuffer::around_pos(&mut out, position);
        let all = source.pos() == input.len();
        let left = if all {
            context.flush_stream(&mut target).ok()?
        } else {
            context.compress_stream(&mut target, &mut source).ok()?;
            1
        };
        if all && left == 0 {
            return Some(out);
        }
        if out.capacity() - out.len() < FLUSH_ROOM {
            out.reserve(input.len() / 2 + FLUSH_ROOM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(codec: &mut Codec, text: &str) -> Vec<u8> {
        match codec.encode(text.to_owned()) {
            Some(Encoded::Binary(bytes)) => bytes,
            other => panic!("no binary frame but {other:?}"),
        }
    }

    /// Small, large, and hard to compress.
    fn payloads() -> Vec<String> {
        let mut rng = fastrand::Rng::with_seed(3);
        let noise = (0..300_000).map(|_| rng.alphanumeric()).collect();
        let mut all = vec!["{}".to_owned(), "a".repeat(2_000_000), noise];
        all.extend((0..300).map(|n| format!(r#"{{"n":{n}}}"#)));
        all
    }

    #[test]
    fn a_zlib_stream_is_one_stream_with_a_mark_after_each_payload() {
        let mut codec = Codec::asked_for("zlib-stream").unwrap();
        let mut inflate = flate2::Decompress::new(true);
        for (number, text) in payloads().iter().enumerate() {
            let bytes = binary(&mut codec, text);
            assert!(bytes.ends_with(&SYNC_MARK));
            assert!(!bytes[..bytes.len() - 4].ends_with(&SYNC_MARK), "one mark");
            assert_eq!(bytes[0] == 0x78, number == 0, "one header");
            let mut out = Vec::with_capacity(text.len() + 64);
            inflate
                .decompress_vec(&bytes, &mut out, flate2::FlushDecompress::Sync)
                .unwrap();
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn a_zstd_stream_is_one_frame_as_discord_begins_it() {
        let mut codec = Codec::asked_for("zstd-stream").unwrap();
        let mut context = zstd_safe::DCtx::create();
        for (number, text) in payloads().iter().enumerate() {
            let bytes = binary(&mut codec, text);
            if number == 0 {
                // Magic, a descriptor without content size and checksum, a window of 256 KiB.
                assert_eq!(bytes[..6], [0x28, 0xB5, 0x2F, 0xFD, 0, 0x40]);
            }
            let mut out = Vec::with_capacity(text.len() + 64);
            let mut input = InBuffer::around(&bytes);
            while input.pos() < bytes.len() {
                let position = out.len();
                let mut target = OutBuffer::around_pos(&mut out, position);
                let hint = context.decompress_stream(&mut target, &mut input).unwrap();
                assert_ne!(hint, 0, "the frame does not end");
            }
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn payload_compression_leaves_small_ones_alone() {
        let mut codec = Codec::Payload { from: 100 };
        assert_eq!(
            codec.encode("{}".to_owned()),
            Some(Encoded::Text("{}".to_owned()))
        );
        let text = "x".repeat(100);
        let bytes = binary(&mut codec, &text);
        let mut out = Vec::with_capacity(200);
        let status = flate2::Decompress::new(true)
            .decompress_vec(&bytes, &mut out, flate2::FlushDecompress::Finish)
            .unwrap();
        assert_eq!((status, out), (Status::StreamEnd, text.into_bytes()));
    }
}
