//! The driver by itself; all else is tested by its clients.

use std::{io, net::SocketAddr, sync::Arc, task::Context};

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::{Driver, Turn};
use crate::{
    BoxFuture, DatagramSocket, DiscordRtcClient, Id, OwnVoiceState, UdpOptions, VoiceConnector,
    VoiceEvent, VoiceServer, VoiceServerToken, VoiceStream,
    client::{
        EventStream,
        pool::{Jobs, SharedNet},
        shared::Shared,
    },
};

struct Nowhere;

impl VoiceConnector for Nowhere {
    fn dial(&self, _: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        Box::pin(std::future::pending())
    }

    fn udp(
        &self,
        _: SocketAddr,
        _: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_of_events_makes_one_view_which_is_there_with_the_first() {
    const PEOPLE: usize = 1_000;
    let (_feed, signalling) = crate::signal_pair(|_| Ok(()));
    let builder = DiscordRtcClient::builder(Id::new(1), Id::new(2), signalling)
        .connector(Nowhere)
        .event_buffer(2 * PEOPLE);
    let shared = Arc::new(Shared::new(builder.settings.clone()));
    let mut events = EventStream(shared.listen_to_events());
    let mut driver = Driver::new(builder, Arc::clone(&shared));
    let turn = &mut Turn {
        cx: &mut Context::from_waker(std::task::Waker::noop()),
        call: 0,
        net: &mut SharedNet::new(Arc::new(AtomicWaker::new()), false),
        jobs: &Jobs::new(1),
        buffer: &mut [],
    };
    let now = Instant::now().into_std();
    driver.session.connect(now, Id::new(3));
    driver.perform(turn);
    driver.session.voice_state(
        now,
        OwnVoiceState {
            channel_id: Some(Id::new(3)),
            session_id: "s".to_owned(),
        },
    );
    driver.session.voice_server(
        now,
        VoiceServer {
            token: VoiceServerToken::new("t"),
            endpoint: Some("a.example".to_owned()),
        },
    );
    driver.perform(turn);
    let (link, _) = driver.link.as_ref().expect("a connection");
    let link = *link;
    driver.session.link_opened(now, link);
    for text in [
        r#"{"op":8,"d":{"heartbeat_interval":5000}}"#,
        r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":1,"modes":["aead_aes256_gcm_rtpsize"]}}"#,
    ] {
        driver.session.link_text(now, link, text);
        driver.perform(turn);
    }
    let before = driver.published;
    let ids: Vec<_> = (10..10 + PEOPLE).map(|id| id.to_string()).collect();
    let text = serde_json::json!({"op": 11, "d": {"user_ids": ids}}).to_string();
    driver.session.link_text(now, link, &text);
    driver.perform(turn);
    assert_eq!(driver.published - before, 1);
    assert_eq!(shared.view(|view| view.participants.len()), PEOPLE);
    drop(driver);
    let mut joined = 0;
    while let Some(event) = futures_util::StreamExt::next(&mut events).await {
        joined += usize::from(matches!(event, VoiceEvent::Joined { .. }));
    }
    assert_eq!(joined, PEOPLE);
}
