//! What the types promise: secrets that do not print, traits that hold.

use spellcoven_discord_gateway::{
    BotToken, Command, Connector, GatewayError, GatewayEvent, GuildTracker, IdentifyQueue,
    Protocol, Shard, ShardHandle, StateWatch,
};

use crate::support::*;

#[test]
fn the_token_prints_nowhere() {
    assert_eq!(
        format!("{:?}", BotToken::new("secret.token")),
        "BotToken(<redacted>)"
    );
    let mut rig = Rig::new(config(1));
    rig.open();
    rig.protocol.identify_granted(rig.now);
    rig.pass(std::time::Duration::ZERO);
    let debug = format!(
        "{:?} {:?} {:?}",
        rig.protocol,
        rig.said,
        Shard::builder("secret.token")
    );
    assert!(!debug.contains("secret"), "{debug}");
    assert!(!rig.take_sent().is_empty());
}

#[test]
fn tokens_are_taken_with_or_without_their_prefix() {
    for spelling in ["abc", " abc\n", "Bot abc", "Bot  abc "] {
        assert_eq!(
            BotToken::new(spelling),
            BotToken::new("abc"),
            "{spelling:?}"
        );
    }
}

#[test]
fn types_can_go_where_they_must() {
    fn send<T: Send + 'static>() {}
    fn shared<T: Send + Sync + Clone + 'static>() {}
    send::<Shard>();
    send::<Protocol>();
    shared::<ShardHandle>();
    shared::<StateWatch>();
    shared::<GatewayEvent>();
    shared::<GatewayError>();
    shared::<Command>();
    shared::<GuildTracker>();
    let _: Option<(&dyn Connector, &dyn IdentifyQueue)> = None;
}
