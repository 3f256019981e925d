//! The wire types as other crates see them.

use spellcoven_hub::wire::{AuthOk, Envelope, MessageKind};

#[test]
fn the_original_hubs_ack_is_readable() {
    let envelope: Envelope = serde_json::from_str(
        r#"{"v":1,"type":"ack","event":"auth.ok","payload":{"guildId":"5"},"guildId":"5","ts":1}"#,
    )
    .unwrap();
    assert_eq!(envelope.kind, MessageKind::Ack);
    let ack: AuthOk = serde_json::from_str(envelope.payload.get()).unwrap();
    assert_eq!(
        (ack.guild_id.get(), ack.epoch, ack.resumed),
        (5, None, None)
    );
}
