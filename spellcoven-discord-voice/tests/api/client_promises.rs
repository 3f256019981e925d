//! What the types promise.

use spellcoven_discord_voice::{
    AudioPacket, AudioSink, AudioStream, ConnectError, DatagramSocket, DiscordRtcClient,
    DiscordRtcClientBuilder, EventStream, Signalling, TcpTlsUdp, VoiceConnector, VoiceEvent,
    VoiceStats,
};

fn is_send<T: Send>() {}
fn is_sync<T: Sync>() {}
fn is_static<T: 'static>() {}

#[test]
fn handles_can_be_shared_and_streams_sent() {
    is_send::<DiscordRtcClient>();
    is_sync::<DiscordRtcClient>();
    is_static::<DiscordRtcClient>();
    is_send::<DiscordRtcClientBuilder>();
    is_send::<AudioSink>();
    is_send::<AudioStream>();
    is_send::<EventStream>();
    is_send::<AudioPacket>();
    is_sync::<AudioPacket>();
    is_sync::<VoiceEvent>();
    is_sync::<VoiceStats>();
    is_sync::<TcpTlsUdp>();
    is_sync::<ConnectError>();
}

#[test]
fn seams_are_object_safe() {
    fn signalling(_: &dyn Signalling) {}
    fn connector(_: &dyn VoiceConnector) {}
    fn socket(_: &dyn DatagramSocket) {}
    let _ = (signalling, connector, socket);
}

#[test]
fn futures_are_send() {
    fn check(client: DiscordRtcClient) {
        fn is_send<T: Send>(_: T) {}
        is_send(client.connect(spellcoven_discord_voice::Id::new(1)));
        is_send(client.disconnect());
        is_send(client.verification_code(spellcoven_discord_voice::Id::new(1)));
    }
    let _ = check;
}
