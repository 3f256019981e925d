//! Transport encryption of datagrams.

mod cipher;
#[cfg(feature = "xsalsa20")]
mod legacy;
mod mode;
mod opener;
mod replay;
mod sealer;

pub use self::mode::{EncryptionMode, TransportKey};
pub(crate) use self::{
    opener::{OpenError, Opener},
    sealer::{SealError, Sealer},
};

#[cfg(test)]
mod tests;
