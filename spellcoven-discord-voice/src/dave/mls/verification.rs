//! The code that two users compare.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::super::identity::DaveIdentity;

const DIGITS: u32 = 45;
const DIGITS_IN_A_GROUP: u32 = 5;
/// DAVE white paper, "Verification Fingerprint".
const FORMAT_VERSION: u16 = 0;

/// Computes the pairwise verification code: scrypt, some tens of milliseconds of one core and 16 MiB. It needs no
/// session, so it stands outside the order of the other jobs.
pub(crate) struct VerificationJob {
    pub(in super::super) own: (u64, DaveIdentity),
    pub(in super::super) other: (u64, Vec<u8>),
}

/// The code could not be computed: the other's public key is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the verification code could not be computed from the other user's key")]
pub(crate) struct VerificationError;

impl VerificationJob {
    /// 45 digits, the same for both users.
    ///
    /// # Errors
    ///
    /// [`VerificationError`].
    pub(crate) fn run(self) -> Result<String, VerificationError> {
        catch_unwind(AssertUnwindSafe(|| {
            let fingerprint = davey::generate_pairwise_fingerprint(
                FORMAT_VERSION,
                self.own.1.public_key(),
                self.own.0,
                &self.other.1,
                self.other.0,
            )
            .ok()?;
            davey::generate_displayable_code(&fingerprint, DIGITS, DIGITS_IN_A_GROUP).ok()
        }))
        .ok()
        .flatten()
        .ok_or(VerificationError)
    }
}

impl fmt::Debug for VerificationJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerificationJob")
            .field("with", &self.other.0)
            .finish_non_exhaustive()
    }
}
