//! Transport encryption of datagrams.
