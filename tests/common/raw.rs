//! A WebSocket client by hand, for what a proper client does not do: small windows, half close, broken frames, resets.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Opcodes.
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a Close frame.
    pub fn close_code(&self) -> Option<u16> {
        let bytes = self.payload.first_chunk()?;
        (self.opcode == CLOSE).then(|| u16::from_be_bytes(*bytes))
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.payload.clone()).unwrap()
    }
}

/// A connection.
pub struct Raw {
    pub stream: TcpStream,
    read: Vec<u8>,
}

impl Raw {
    /// Connects without a handshake. `window`: bytes of the receive buffer, the kernel's least if 0.
    pub async fn tcp(address: SocketAddr, window: Option<usize>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(window) = window {
            socket.set_recv_buffer_size(window).unwrap();
        }
        socket.connect(&address.into()).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            stream: TcpStream::from_std(socket.into()).unwrap(),
            read: Vec::new(),
        }
    }

    /// Opens a stream.
    pub async fn open(address: SocketAddr, query: &str, window: Option<usize>) -> Self {
        let mut raw = Self::tcp(address, window).await;
        let request = format!(
            "GET /v1/listen?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        raw.stream.write_all(request.as_bytes()).await.unwrap();
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        raw
    }

    /// The head of a response.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.fill().await, "the connection ended: {}", String::from_utf8_lossy(&self.read));
        }
    }

    /// The body that follows a response's head, which tells its length.
    pub async fn body(&mut self, head: &str) -> String {
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .expect("no length");
        let length: usize = length.parse().unwrap();
        while self.read.len() < length {
            assert!(self.fill().await, "the connection ended: {}", String::from_utf8_lossy(&self.read));
        }
        String::from_utf8(self.read.drain(..length).collect()).unwrap()
    }

    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                true
            }
        }
    }

    /// Sends a masked frame.
    pub async fn frame(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&encode(last, opcode, payload)).await.unwrap();
    }

    /// Sends a frame and says whether the connection took it within a time.
    pub async fn try_frame(&mut self, opcode: u8, payload: &[u8], limit: Duration) -> bool {
        let bytes = encode(true, opcode, payload);
        let sent = tokio::time::timeout(limit, self.stream.write_all(&bytes)).await;
        matches!(sent, Ok(Ok(())))
    }

    /// The next frame, or none if the connection ended.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, used)) = decode(&self.read) {
                self.read.drain(..used);
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// All frames until the connection ends.
    pub async fn rest(&mut self, limit: Duration) -> Vec<Frame> {
        let mut frames = Vec::new();
        let reading = async {
            while let Some(frame) = self.next().await {
                frames.push(frame);
            }
        };
        let ended = tokio::time::timeout(limit, reading).await;
        assert!(ended.is_ok(), "the connection is open after {limit:?}; got {frames:?}");
        frames
    }

    /// Ends the connection with a TCP reset.
    pub fn reset(self) {
        let stream = self.stream.into_std().unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A masked frame as bytes.
pub fn encode(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];
    let mut bytes = head(last, opcode, payload.len());
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a masked frame that claims a length.
pub fn head(last: bool, opcode: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![u8::from(last) << 7 | opcode];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=65_535 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

/// The first frame of a server in `bytes`, and its length.
fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server's frame is masked");
    let (start, length) = match second {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((
        Frame {
            opcode: first & 0x0f,
            payload,
        },
        start + length,
    ))
}
