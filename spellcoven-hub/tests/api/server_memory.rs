//! What a connection costs in memory: no test but a measurement, so ignored by default. Run it alone, in the profile of interest:
//!
//! `cargo test -p spellcoven-hub --all-features --release --test api -- --ignored --nocapture what_a_connection_costs`

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::json;
use spellcoven_hub::server::Limits;
use tokio::net::TcpListener;

use crate::server_support::World;

/// Each takes two file descriptors of the usual 1024.
const CONNECTIONS: usize = 400;

/// Resident memory of this process, in bytes (Linux).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// A client that is only a socket.
fn connect(address: SocketAddr, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /api/ws HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: spellcoven.v1, spellcoven.token.{token}\r\n\r\n"
    )
    .unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    stream
}

/// Reads until nothing has come for 200 ms.
fn read_all(stream: &mut TcpStream) -> usize {
    let mut buffer = [0; 64 * 1024];
    let mut count = 0;
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        count += read;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
#[ignore = "a measurement, no test; the command that runs it stands at the top of this file"]
async fn what_a_connection_costs() {
    let world = World::with_limits(Limits {
        max_connections_per_user: 2 * CONNECTIONS,
        ..Limits::default()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hub = world.hub.clone();
    tokio::spawn(async move { hub.serve(listener, std::future::pending()).await });
    let token = world.token("alice");
    let open = |count: usize| {
        let mut streams: Vec<_> = (0..count).map(|_| connect(address, &token)).collect();
        // The first read waits for the answers of all.
        streams.iter_mut().take(1).for_each(|stream| {
            read_all(stream);
        });
        streams
    };
    // What is paid once is paid by the first.
    let _first = tokio::task::block_in_place(|| open(50));
    let before = resident();
    let mut streams = tokio::task::block_in_place(|| open(CONNECTIONS));
    assert_eq!(world.hub.stats().connections, 50 + CONNECTIONS);
    let each = |now: u64| now.saturating_sub(before) / CONNECTIONS as u64;
    println!("idle: {} bytes a connection", each(resident()));
    let rooms: Vec<_> = (0..300)
        .map(|id| json!({ "channelId": (1000 + id).to_string(), "name": "x".repeat(100), "userLimit": 4, "members": [] }))
        .collect();
    // 300 events of some 250 bytes to everyone at once.
    world
        .post("guild.snapshot", json!({ "guildId": "1", "rooms": rooms }))
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let one = tokio::task::block_in_place(|| read_all(&mut streams[0]));
    println!(
        "after a flood of {one} bytes: {} bytes a connection, of which the ring is {}",
        each(resident()),
        world.hub.stats().ring_bytes / CONNECTIONS
    );
    // Each asks for the snapshot, 60 kB.
    for stream in &mut streams {
        // A masked text frame with the mask 0.
        let text = br#"{"type":"snapshot"}"#;
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text);
        stream.write_all(&frame).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!(
        "after a snapshot each: {} bytes a connection",
        each(resident())
    );
}
