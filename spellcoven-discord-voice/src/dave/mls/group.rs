//! What an established group gives us: its members and their keys.

use davey::DaveSession;
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::OpenMlsProvider;

use super::super::ratchet::{KEY_LEN, KeyRatchet};

/// DAVE white paper, "Sender Key Derivation".
const EXPORTER_LABEL: &str = "Discord Secure Frames v0";
const PRIVACY_CODE_DIGITS: u32 = 30;
const DIGITS_IN_A_GROUP: u32 = 5;

/// A group at one epoch, with what the media side needs of it.
#[derive(Debug)]
pub(crate) struct GroupState {
    pub(crate) epoch: u64,
    /// All members, this client's user among them.
    pub(crate) members: Vec<Member>,
    /// 30 digits, the same for all members of this epoch.
    pub(crate) privacy_code: String,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) user: u64,
    /// Public.
    pub(crate) signature_key: Vec<u8>,
    pub(crate) ratchet: KeyRatchet,
}

/// Reads an established group. The error says what went wrong, for the log.
pub(crate) fn read(session: &DaveSession) -> Result<GroupState, String> {
    let group = session.group().ok_or("there is no group")?;
    let provider = OpenMlsRustCrypto::default();
    let mut members = Vec::new();
    for member in group.members() {
        // Big endian in the credential, little endian in the exporter's context.
        let id: [u8; 8] = member
            .credential
            .serialized_content()
            .try_into()
            .map_err(|_| "a member's credential is not a user id")?;
        let user = u64::from_be_bytes(id);
        let secret = group
            .export_secret(
                provider.crypto(),
                EXPORTER_LABEL,
                &user.to_le_bytes(),
                KEY_LEN,
            )
            .map_err(|error| format!("the exporter failed: {error}"))?;
        let secret = secret
            .try_into()
            .map_err(|_| "the exporter gave too little")?;
        members.push(Member {
            user,
            signature_key: member.signature_key,
            ratchet: KeyRatchet::new(secret),
        });
    }
    let privacy_code = davey::generate_displayable_code(
        group.epoch_authenticator().as_slice(),
        PRIVACY_CODE_DIGITS,
        DIGITS_IN_A_GROUP,
    )
    .map_err(|error| format!("the privacy code could not be made: {error}"))?;
    Ok(GroupState {
        epoch: group.epoch().as_u64(),
        members,
        privacy_code,
    })
}
