//! Voice servers: media, end-to-end encryption, people who talk.

mod dave;
mod people;
