//! Transport compression: one stream for each connection, one message at a time.
//!
//! Source: Discord documentation, "Gateway", Encoding and Compression.

use super::Compression;

/// Of the buffers no more than this is kept from one message to the next.
const KEPT: usize = 1 << 20;
/// What the output grows by at least.
const STEP: usize = 16 << 10;

/// Why a message could not be inflated. The state of the stream is lost with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InflateError {
    /// The message would be larger than allowed, before or after.
    TooLarge,
    /// The bytes are not what the stream goes on with.
    #[cfg(any(feature = "zlib", feature = "zstd"))]
    Corrupt,
    /// The stream has ended, which it does with its connection only.
    #[cfg(any(feature = "zlib", feature = "zstd"))]
    Ended,
}

impl InflateError {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::TooLarge => "larger than allowed",
            #[cfg(any(feature = "zlib", feature = "zstd"))]
            Self::Corrupt => "not what the stream goes on with",
            #[cfg(any(feature = "zlib", feature = "zstd"))]
            Self::Ended => "the stream has ended",
        }
    }
}

/// The stream of one connection after another, with buffers that last.
#[derive(Debug)]
pub(super) struct Inflate {
    stream: Stream,
    limit: usize,
    out: Vec<u8>,
}

impl Inflate {
    pub(super) fn new(compression: Compression, limit: usize) -> Self {
        Self {
            stream: Stream::new(compression),
            limit,
            out: Vec::new(),
        }
    }

    /// A new connection: nothing is left of the stream before.
    pub(super) fn reset(&mut self) {
        self.stream.reset();
    }

    /// The message that a binary message completes; `None` where more must come first. The buffer is to be
    /// [given back](Self::give_back).
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>, InflateError> {
        if bytes.len() > self.limit {
            return Err(InflateError::TooLarge);
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        let done = self.stream.push(bytes, &mut out, self.limit);
        match done {
            Ok(true) => Ok(Some(out)),
            Ok(false) => {
                self.give_back(out);
                Ok(None)
            }
            Err(error) => {
                self.give_back(out);
                Err(error)
            }
        }
    }

    pub(super) fn give_back(&mut self, mut out: Vec<u8>) {
        out.clear();
        out.shrink_to(KEPT);
        self.out = out;
    }
}

#[derive(Debug)]
enum Stream {
    /// A binary message is a payload as it is.
    None,
    #[cfg(feature = "zlib")]
    Zlib(zlib::Stream),
    #[cfg(feature = "zstd")]
    Zstd(zstd::Stream),
}

impl Stream {
    fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            #[cfg(feature = "zlib")]
            Compression::Zlib => Self::Zlib(zlib::Stream::new()),
            #[cfg(feature = "zstd")]
            Compression::Zstd => Self::Zstd(zstd::Stream::new()),
        }
    }

    fn reset(&mut self) {
        match self {
            Self::None => {}
            #[cfg(feature = "zlib")]
            Self::Zlib(stream) => stream.reset(),
            #[cfg(feature = "zstd")]
            Self::Zstd(stream) => stream.reset(),
        }
    }

    /// Whether `out` is a whole message now.
    fn push(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<bool, InflateError> {
        match self {
            Self::None => {
                grow(out, bytes.len(), limit)?;
                out.extend_from_slice(bytes);
                Ok(true)
            }
            #[cfg(feature = "zlib")]
            Self::Zlib(stream) => stream.push(bytes, out, limit),
            #[cfg(feature = "zstd")]
            Self::Zstd(stream) => stream.push(bytes, out, limit),
        }
    }
}

/// Makes room for `more` bytes, or for as many of them as the limit leaves, and one byte over it, which tells a message
/// that has the limit's size from one that is larger.
fn grow(out: &mut Vec<u8>, more: usize, limit: usize) -> Result<(), InflateError> {
    let left = limit.saturating_add(1).saturating_sub(out.len());
    if left == 0 {
        return Err(InflateError::TooLarge);
    }
    out.reserve_exact(more.max(STEP).max(out.len()).min(left));
    Ok(())
}

#[cfg(feature = "zlib")]
mod zlib {
    use flate2::{Decompress, FlushDecompress, Status};

    use super::{InflateError, KEPT, grow};

    /// What a message ends with.
    const MARK: [u8; 4] = [0, 0, 0xFF, 0xFF];

    #[derive(Debug)]
    pub(super) struct Stream {
        inflate: Decompress,
        /// The beginning of a message that comes in several.
        held: Vec<u8>,
    }

    impl Stream {
        pub(super) fn new() -> Self {
            Self {
                inflate: Decompress::new(true),
                held: Vec::new(),
            }
        }

        pub(super) fn reset(&mut self) {
            self.inflate.reset(true);
            self.held.clear();
            self.held.shrink_to(KEPT);
        }

        pub(super) fn push(
            &mut self,
            bytes: &[u8],
            out: &mut Vec<u8>,
            limit: usize,
        ) -> Result<bool, InflateError> {
            if self.held.is_empty() && bytes.ends_with(&MARK) {
                inflate(&mut self.inflate, bytes, out, limit)?;
                return Ok(true);
            }
            if self.held.len() + bytes.len() > limit {
                return Err(InflateError::TooLarge);
            }
            self.held.extend_from_slice(bytes);
            if !self.held.ends_with(&MARK) {
                return Ok(false);
            }
            inflate(&mut self.inflate, &self.held, out, limit)?;
            self.held.clear();
            self.held.shrink_to(KEPT);
            Ok(true)
        }
    }

    fn inflate(
        stream: &mut Decompress,
        bytes: &[u8],
        out: &mut Vec<u8>,
        limit: usize,
    ) -> Result<(), InflateError> {
        let begin = stream.total_in();
        loop {
            if out.len() == out.capacity() {
                grow(out, bytes.len().saturating_mul(4), limit)?;
            }
            let (read, written) = (stream.total_in(), out.len());
            let done = usize::try_from(read - begin).unwrap_or(usize::MAX);
            let rest = bytes.get(done..).unwrap_or_default();
            let status = stream
                .decompress_vec(rest, out, FlushDecompress::Sync)
                .map_err(|_| InflateError::Corrupt)?;
            if out.len() > limit {
                return Err(InflateError::TooLarge);
            }
            if status == Status::StreamEnd {
                return Err(InflateError::Ended);
            }
            let all = stream.total_in() - begin == bytes.len() as u64;
            if all && out.len() < out.capacity() {
                return Ok(());
            }
            let stands = stream.total_in() == read && out.len() == written;
            if stands && out.len() < out.capacity() {
                return Err(InflateError::Corrupt);
            }
        }
    }
}

#[cfg(feature = "zstd")]
mod zstd {
    use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

    use super::{InflateError, grow};

    /// A window of 8 MiB, what every decoder should bear; 256 KiB is what Discord uses (observed). It bounds the memory
    /// that a hostile peer can ask for.
    const WINDOW_LOG_MAX: u32 = 23;

    pub(super) struct Stream {
        context: DCtx<'static>,
    }

    impl std::fmt::Debug for Stream {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Zstd")
        }
    }

    impl Stream {
        pub(super) fn new() -> Self {
            let mut context = DCtx::create();
            // A constant within the range that the library knows.
            let set = context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX));
            debug_assert!(set.is_ok(), "the window is within bounds");
            Self { context }
        }

        pub(super) fn reset(&mut self) {
            // Resetting the session alone has nothing that could fail.
            let reset = self.context.reset(ResetDirective::SessionOnly);
            debug_assert!(reset.is_ok(), "a session can be reset");
        }

        pub(super) fn push(
            &mut self,
            bytes: &[u8],
            out: &mut Vec<u8>,
            limit: usize,
        ) -> Result<bool, InflateError> {
            let mut input = InBuffer::around(bytes);
            loop {
                if out.len() == out.capacity() {
                    grow(out, bytes.len().saturating_mul(4), limit)?;
                }
                let (read, written) = (input.pos(), out.len());
                let mut target = OutBuffer::around_pos(out, written);
                let hint = self
                    .context
                    .decompress_stream(&mut target, &mut input)
                    .map_err(|_| InflateError::Corrupt)?;
                if out.len() > limit {
                    return Err(InflateError::TooLarge);
                }
                if hint == 0 {
                    return Err(InflateError::Ended);
                }
                let full = out.len() == out.capacity();
                if input.pos() == bytes.len() && !full {
                    return Ok(true);
                }
                if input.pos() == read && out.len() == written && !full {
                    return Err(InflateError::Corrupt);
                }
            }
        }
    }
}
