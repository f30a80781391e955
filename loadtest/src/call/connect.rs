//! The connection of a call: TCP, then the upgrade to a WebSocket.
//!
//! Tells a refusal from a failure; sends nothing on the connection. Called by `call`.

use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::http::Request;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Outcome, Refusal};
use crate::target::Target;

/// Longest wait for the answer to the upgrade request.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// An open connection.
pub(super) type Socket = WebSocketStream<TcpStream>;

/// Connects and upgrades; `Err` is how the call ended.
pub(super) async fn connect(target: &Target, request: Request<()>, receive_buffer: Option<u32>) -> Result<Socket, Outcome> {
    let opening = async {
        let (host, port) = (
            target.upload_url().host_str().unwrap_or_default(),
            target.upload_url().port_or_known_default(),
        );
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut last = None;
        let mut tcp = None;
        for address in tokio::net::lookup_host((host, port.unwrap_or(80))).await? {
            let socket = if address.is_ipv4() {
                TcpSocket::new_v4()
            } else {
                TcpSocket::new_v6()
            }?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            match socket.connect(address).await {
                Ok(stream) => {
                    tcp = Some(stream);
                    break;
                }
                Err(error) => last = Some(error),
            }
        }
        let nowhere = || std::io::Error::other("the server has no address");
        let tcp = tcp.ok_or_else(|| last.unwrap_or_else(nowhere))?;
        tcp.set_nodelay(true)?;
        client_async(request, tcp).await.map(|(socket, _)| socket)
    };
    match tokio::time::timeout(CONNECT_WAIT, opening).await {
        Err(_) => Err(Outcome::Failed("no answer to the upgrade request".into())),
        Ok(Err(SocketError::Http(response))) => {
            let status = response.status().as_u16();
            let detail = response.headers().get("dg-error").and_then(|value| value.to_str().ok());
            Err(match status {
                429 | 503 => Outcome::Refused(Refusal::new(status, response.headers())),
                _ => Outcome::Failed(format!("the upgrade was answered with {status} {}", detail.unwrap_or_default())),
            })
        }
        Ok(Err(error)) => Err(Outcome::Failed(format!("connecting: {error}"))),
        Ok(Ok(socket)) => Ok(socket),
    }
}
