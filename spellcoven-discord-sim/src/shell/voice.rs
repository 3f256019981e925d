//! Voice around the world: WebSockets of the voice gateway, and a task that keeps its time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HOST, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::body::FaultyBody;
use super::http::switching;
use super::lenient::Lenient;
use super::udp::Port;
use super::websocket::{self, End};
use crate::core::{Datagram, LinkId, Output, VoiceServerId, World};
use crate::sim::{Door, Shared, Sim};

/// What is connected to the voice servers of a world.
#[derive(Debug, Default)]
pub(crate) struct Switchboard {
    doors: BTreeMap<LinkId, Arc<Door>>,
    pub(super) ports: BTreeMap<SocketAddr, Arc<Port>>,
    sockets: BTreeMap<VoiceServerId, Arc<UdpSocket>>,
    /// Ports in memory that were ever made.
    pub(super) made: u32,
    /// A datagram on its way in.
    pub(super) scratch: Vec<u8>,
    driver: Option<tokio::task::JoinHandle<()>>,
    /// There is an earlier deadline than the driver waits for.
    alarm: Arc<Notify>,
    /// What the driver waits for.
    armed: Option<Duration>,
}

impl Switchboard {
    /// Hands out what the world wants to send, and wakes those whom it concerns.
    pub(crate) fn deliver(&mut self, world: &mut World) {
        for id in world.take_ready_links() {
            if let Some(door) = self.doors.get(&id) {
                if world.is_link_cut(id) {
                    door.cut.notify_one();
                } else {
                    door.wake.notify_one();
                }
            }
        }
        while let Some(datagram) = world.poll_datagram() {
            self.send(world, datagram);
        }
        let due = world.voice_timeout();
        if due.is_some_and(|due| self.armed.is_none_or(|armed| due < armed)) {
            self.armed = due;
            self.alarm.notify_one();
        }
    }

    fn send(&self, world: &mut World, datagram: Datagram) {
        if let Some(port) = self.ports.get(&datagram.to) {
            port.put(datagram);
        } else if let Some(socket) = self.sockets.get(&datagram.server) {
            // As on any network, a datagram that finds no room is lost.
            let _ = socket.try_send_to(&datagram.bytes, datagram.to);
            world.recycle(datagram.bytes);
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn add_socket(&mut self, server: VoiceServerId, socket: Arc<UdpSocket>) {
        self.sockets.insert(server, socket);
    }

    /// Ends the task that keeps the time.
    pub(crate) fn stop(&mut self) {
        if let Some(driver) = self.driver.take() {
            driver.abort();
        }
    }
}

/// A WebSocket that begins when the 101 is out: the query and the host it asked with, and the connection to come.
type Upgrading = Arc<Mutex<Option<(String, String, OnUpgrade)>>>;

/// Voice.
impl Sim {
    /// Serves one connection to a voice server until either side ends it: a WebSocket upgrade of any path, with the
    /// version in the query (`?v=8`). The `Host` that the client names tells which server it means, as
    /// VOICE_SERVER_UPDATE named it; another name means the first.
    ///
    /// Works on anything that reads and writes, such as one half of a `tokio::io::duplex`.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection, which is what a broken network looks like: the voice session on it
    /// stays resumable.
    pub async fn serve_voice_connection<T>(&self, io: T)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.serve_voice(io, None).await;
    }

    pub(super) async fn serve_voice<T>(&self, io: T, server: Option<VoiceServerId>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.keep_voice_time();
        let upgrading = Upgrading::default();
        let service = hyper::service::service_fn(|request: hyper::Request<Incoming>| {
            let answer = upgrade(request, &upgrading);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .auto_date_header(false)
            .serve_connection(TokioIo::new(Lenient::new(io)), service)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "voice connection ended");
        }
        let taken = upgrading
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some((query, host, upgraded)) = taken else {
            return;
        };
        match upgraded.await {
            Ok(io) => {
                let open = || self.open_voice(server, &host, &query);
                websocket::run(TokioIo::new(io), open).await;
            }
            Err(error) => tracing::debug!(%error, "voice upgrade failed"),
        }
    }

    fn open_voice(
        &self,
        server: Option<VoiceServerId>,
        host: &str,
        query: &str,
    ) -> (VoiceEnd<'_>, Arc<Door>) {
        self.run(|state| {
            let world = &mut state.world;
            let server = server.unwrap_or_else(|| world.voice_server_at(host));
            let id = world.voice_open(world.now(), server, query);
            let door = Arc::new(Door::default());
            state.voice.doors.insert(id, Arc::clone(&door));
            (VoiceEnd { sim: self, id }, door)
        })
    }

    /// Starts the task that keeps the time of the voice servers, if there is none and tokio is there to run it.
    pub(crate) fn keep_voice_time(&self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        self.run(|state| {
            let board = &mut state.voice;
            if board.driver.as_ref().is_none_or(|task| task.is_finished()) {
                let alarm = Arc::clone(&board.alarm);
                board.driver = Some(runtime.spawn(keep_time(self.weak(), alarm)));
            }
        });
    }
}

/// Lets pass on what is due, until the simulator is gone.
async fn keep_time(sim: Weak<Shared>, alarm: Arc<Notify>) {
    loop {
        let due = {
            let Some(sim) = Sim::of(&sim) else {
                return;
            };
            let due = sim.run(|state| {
                state.world.handle_timeout(state.world.now());
                state.voice.armed = state.world.voice_timeout();
                state.voice.armed
            });
            due.map(|due| sim.instant(due))
        };
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = alarm.notified() => {}
            () = wait => {}
        }
    }
}

/// The voice gateway's end of a WebSocket.
struct VoiceEnd<'a> {
    sim: &'a Sim,
    id: LinkId,
}

impl End for VoiceEnd<'_> {
    fn outputs(&self, most: usize) -> (Vec<Output>, Option<Instant>) {
        let outputs = self.sim.with(|world| {
            std::iter::from_fn(|| world.poll_link_output(self.id))
                .take(most)
                .collect()
        });
        // Another task keeps the time.
        (outputs, None)
    }

    fn text(&self, payload: &[u8]) {
        self.sim
            .with(|world| world.voice_text(world.now(), self.id, payload));
    }

    fn binary(&self, payload: &[u8]) {
        self.sim
            .with(|world| world.voice_binary(world.now(), self.id, payload));
    }

    fn closed(&self, code: Option<u16>) {
        self.sim.run(|state| {
            state.world.voice_closed(state.world.now(), self.id, code);
            state.voice.doors.remove(&self.id);
        });
    }
}

/// The answer to a request: 101 for a WebSocket, 426 for anything else.
fn upgrade(
    mut request: hyper::Request<Incoming>,
    upgrading: &Upgrading,
) -> hyper::Response<FaultyBody> {
    let header = |name| {
        let value = request.headers().get(name);
        value.and_then(|value| value.to_str().ok())
    };
    let wanted = header(UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"));
    let host = header(HOST).unwrap_or_default().to_owned();
    let key = header(SEC_WEBSOCKET_KEY).filter(|_| wanted);
    let Some(accept) =
        key.map(|key| async_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes()))
    else {
        let mut response = hyper::Response::new(Bytes::new().into());
        *response.status_mut() = hyper::StatusCode::UPGRADE_REQUIRED;
        return response;
    };
    let query = request.uri().query().unwrap_or("").to_owned();
    let upgraded = hyper::upgrade::on(&mut request);
    *upgrading.lock().unwrap_or_else(PoisonError::into_inner) = Some((query, host, upgraded));
    switching(&accept)
}
