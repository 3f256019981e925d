//! Frames into datagrams and back: sequence, timestamps, reports, statistics.
