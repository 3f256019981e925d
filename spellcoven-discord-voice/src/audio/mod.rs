//! Sources of audio, tracks, the mixer, the jitter buffer and the decoder.
