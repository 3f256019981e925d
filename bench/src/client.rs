//! Clients that do next to nothing with what they get: they count frames, or answers.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread::{self, JoinHandle},
};

use serde_json::json;

use crate::{Error, measure::Received};

const ROOM: usize = 256 * 1024;

/// Opens a WebSocket, identifies if there is a token, and counts what arrives until the server ends it.
pub(crate) fn count_frames(
    address: SocketAddr,
    query: &str,
    token: Option<&str>,
    received: &Arc<Received>,
) -> Result<JoinHandle<()>, Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    write!(
        stream,
        "GET /?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        return Err("the server does not upgrade".into());
    }
    if let Some(token) = token {
        let identify = json!({"op": 2, "d": {
            "token": token, "intents": 129,
            "properties": {"os": "linux", "browser": "bench", "device": "bench"},
        }});
        stream.write_all(&masked_text(identify.to_string().as_bytes()))?;
    }
    let received = Arc::clone(received);
    Ok(thread::spawn(move || count(stream, &received)))
}

/// A text frame of a client, with a mask of zeroes.
fn masked_text(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
    frame.extend_from_slice(text);
    frame
}

fn count(mut stream: TcpStream, received: &Received) {
    let mut room = vec![0; ROOM];
    let mut filled = 0;
    // Bytes of the current frame's payload that are still to come.
    let mut skip = 0_usize;
    while let Ok(read @ 1..) = stream.read(&mut room[filled..]) {
        let end = filled + read;
        let (mut at, mut frames) = (0, 0);
        loop {
            let here = skip.min(end - at);
            at += here;
            skip -= here;
            if skip > 0 {
                break;
            }
            let Some((header, length)) = frame_header(&room[at..end]) else {
                break;
            };
            at += header;
            skip = length;
            frames += 1;
        }
        room.copy_within(at..end, 0);
        filled = end - at;
        received.add(frames, u64::try_from(read).unwrap_or(0));
    }
}

/// The lengths of a header and of its payload, if the header is all there.
fn frame_header(bytes: &[u8]) -> Option<(usize, usize)> {
    let short = usize::from(bytes.get(1)? & 0x7f);
    match short {
        126 => {
            let long = bytes.get(2..4)?;
            Some((4, usize::from(u16::from_be_bytes([long[0], long[1]]))))
        }
        127 => {
            let long: [u8; 8] = bytes.get(2..10)?.try_into().ok()?;
            Some((10, usize::try_from(u64::from_be_bytes(long)).ok()?))
        }
        _ => Some((2, short)),
    }
}

/// Makes the same GET over and over on several connections at once, until `received` has `most` answers.
pub(crate) fn call(
    address: SocketAddr,
    path: &str,
    token: &str,
    connections: usize,
    received: &Arc<Received>,
    stop: &Arc<std::sync::atomic::AtomicBool>,
) -> Result<JoinHandle<Result<(), Error>>, Error> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bot {token}\r\n\
         User-Agent: DiscordBot (https://example.org, 1)\r\n\r\n"
    );
    let mut streams = Vec::new();
    for _ in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    let (received, stop) = (Arc::clone(received), Arc::clone(stop));
    Ok(thread::spawn(move || {
        let mut room = vec![0; ROOM];
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            for stream in &mut streams {
                stream.write_all(request.as_bytes())?;
            }
            let mut bytes = 0;
            for stream in &mut streams {
                bytes += read_answer(stream, &mut room)?;
            }
            let count = u64::try_from(streams.len())?;
            received.add(count, u64::try_from(bytes)?);
        }
        Ok(())
    }))
}

/// Reads one answer with a `Content-Length`, and gives its size.
fn read_answer(stream: &mut TcpStream, room: &mut [u8]) -> Result<usize, Error> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut room[filled..])?;
        if read == 0 {
            return Err("the server hung up".into());
        }
        filled += read;
        let Some(head) = room[..filled]
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        else {
            continue;
        };
        let text = std::str::from_utf8(&room[..head])?.to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(format!("answered {}", text.lines().next().unwrap_or_default()).into());
        }
        let length: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .ok_or("an answer without a length")?
            .trim()
            .parse()?;
        let whole = head + 4 + length;
        if filled < whole {
            stream.read_exact(&mut room[filled..whole])?;
        }
        return Ok(whole);
    }
}
