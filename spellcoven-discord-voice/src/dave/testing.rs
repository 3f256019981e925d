//! For tests: the voice gateway's part in a group, as far as it takes cryptography.

use std::num::NonZeroU16;

use bytes::Bytes;
use davey::DaveSession;
use openmls::{
    ciphersuite::hash_ref::make_proposal_ref,
    prelude::{
        BasicCredential, Ciphersuite, ExternalProposal, ExternalSender, GroupEpoch, GroupId,
        KeyPackageIn, LeafNodeIndex, MlsMessageIn, OpenMlsProvider, ProtocolMessage,
        ProtocolVersion, SenderExtensionIndex, VLBytes, Welcome,
        tls_codec::{DeserializeBytes, Serialize},
    },
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;

/// The external sender of one group.
pub(super) struct Sponsor {
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    group: GroupId,
}

impl Sponsor {
    pub(super) fn new(channel: u64) -> Self {
        Self {
            provider: OpenMlsRustCrypto::default(),
            signer: SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap(),
            group: GroupId::from_slice(&channel.to_be_bytes()),
        }
    }

    /// Payload of op 25.
    pub(super) fn external_sender(&self) -> Bytes {
        ExternalSender::new(
            self.signer.public().into(),
            BasicCredential::new(vec![1, 2, 3, 4]).into(),
        )
        .tls_serialize_detached()
        .unwrap()
        .into()
    }

    /// One message for op 27.
    pub(super) fn add(&self, epoch: u64, key_package: &[u8]) -> Vec<u8> {
        let key_package = KeyPackageIn::tls_deserialize_exact_bytes(key_package)
            .unwrap()
            .validate(self.provider.crypto(), ProtocolVersion::Mls10)
            .unwrap();
        ExternalProposal::new_add::<OpenMlsRustCrypto>(
            key_package,
            self.group.clone(),
            GroupEpoch::from(epoch),
            &self.signer,
            SenderExtensionIndex::new(0),
        )
        .unwrap()
        .tls_serialize_detached()
        .unwrap()
    }

    /// One message for op 27.
    pub(super) fn remove(&self, epoch: u64, leaf: u32) -> Vec<u8> {
        ExternalProposal::new_remove::<OpenMlsRustCrypto>(
            LeafNodeIndex::new(leaf),
            self.group.clone(),
            GroupEpoch::from(epoch),
            &self.signer,
            SenderExtensionIndex::new(0),
        )
        .unwrap()
        .tls_serialize_detached()
        .unwrap()
    }

    /// Payload of op 27 that takes proposals back.
    pub(super) fn revoke(&self, messages: &[Vec<u8>]) -> Bytes {
        let references: Vec<u8> = messages
            .iter()
            .flat_map(|message| {
                make_proposal_ref(&message[2..], SUITE, self.provider.crypto())
                    .unwrap()
                    .tls_serialize_detached()
                    .unwrap()
            })
            .collect();
        operation(1, references)
    }
}

/// Payload of op 27 that makes proposals.
pub(super) fn append(messages: &[Vec<u8>]) -> Bytes {
    operation(0, messages.concat())
}

fn operation(operation: u8, bytes: Vec<u8>) -> Bytes {
    let mut payload = vec![operation];
    payload.extend(VLBytes::new(bytes).tls_serialize_detached().unwrap());
    payload.into()
}

/// The two halves of op 28, and the epoch that the commit is of.
pub(super) fn split(commit_welcome: &[u8]) -> (u64, Vec<u8>, Option<Vec<u8>>) {
    let (message, welcome) = MlsMessageIn::tls_deserialize_bytes(commit_welcome).unwrap();
    let ProtocolMessage::PublicMessage(commit) = message.try_into_protocol_message().unwrap()
    else {
        panic!("a commit is public");
    };
    let length = commit_welcome.len() - welcome.len();
    (
        commit.epoch().as_u64(),
        commit_welcome[..length].to_vec(),
        (!welcome.is_empty()).then(|| welcome.to_vec()),
    )
}

/// How many users a welcome is for.
pub(super) fn welcomed(welcome: &[u8]) -> usize {
    Welcome::tls_deserialize_exact_bytes(welcome)
        .unwrap()
        .secrets()
        .len()
}

/// Two sessions of davey in one group, ready to encrypt for each other.
pub(super) fn davey_pair(a: u64, b: u64) -> (DaveSession, DaveSession) {
    const CHANNEL: u64 = 77;
    let sponsor = Sponsor::new(CHANNEL);
    let version = NonZeroU16::MIN;
    let [mut first, mut second] = [a, b].map(|user| {
        let mut session = DaveSession::new(version, user, CHANNEL, None).unwrap();
        session
            .set_external_sender(&sponsor.external_sender())
            .unwrap();
        session
    });
    let add = sponsor.add(0, &second.create_key_package().unwrap());
    let payload = append(&[add]);
    let made = first
        .process_proposals(
            davey::ProposalsOperationType::APPEND,
            &payload[1..],
            Some(&[a, b]),
        )
        .unwrap()
        .unwrap();
    assert!(first.process_commit(&made.commit).unwrap());
    second
        .process_welcome(&made.welcome.unwrap(), Some(&[a, b]))
        .unwrap();
    for session in [&mut first, &mut second] {
        session.prepare_transition(1, 1).unwrap();
        session.execute_transition(1).unwrap();
    }
    (first, second)
}
