//! A live stream's callback: takes the messages out of the pipe in place of the client's socket, and delivers them in order.
//!
//! What it does: one request a message, one at a time, or one outgoing WebSocket with a text frame a message; leaves the end of the
//! stream to the client's socket, which sends nothing else. What it does not do: decide what is sent; the pipe bounds what waits. Who
//! calls it: the handshake.
//!
//! A receiver is treated as a client is: messages wait for it as they do for a slow reader, and one that takes none for as long as a
//! client may leave bytes unacknowledged ends the stream.

use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler, Recipient};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use reqwest::Upgraded;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Admitted;
use crate::error::{ApiError, CloseReason};
use crate::prerecorded::callback::Deliverer;
use crate::prerecorded::callback::deliver::host;
use crate::stream::actor::{FramesArrived, MessagesWaiting, ReceiverGone, StreamActor};
use crate::stream::pipe::Pipe;
use crate::telemetry::metrics as measure;
use crate::wire::query::Callback;

/// Between a failed request and the next attempt at the same message.
const PAUSE: Duration = Duration::from_millis(500);
/// Largest message of a receiver; what it says is not looked at.
const LARGEST: usize = 64 << 10;
/// How long a receiver may take to answer our Close frame.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where the messages go.
pub struct Receiver {
    host: String,
    way: Way,
}

enum Way {
    Requests { deliverer: Deliverer, callback: Callback },
    Socket(Box<WebSocketStream<Upgraded>>),
}

/// The receiver did not take a message in time.
#[derive(Debug)]
struct Failed;

impl Receiver {
    /// Checks the address; one of a WebSocket is connected to.
    ///
    /// # Errors
    /// [`ApiError::InvalidCallback`]: nothing can be sent there.
    pub async fn open(deliverer: &Deliverer, callback: Callback) -> Result<Self, ApiError> {
        let host = host(&callback.url);
        let is_socket = callback
            .url
            .split_once("://")
            .is_some_and(|(scheme, _)| ["ws", "wss"].iter().any(|known| known.eq_ignore_ascii_case(scheme)));
        let way = if is_socket {
            let opened = deliverer.open_socket(&callback.url).await.map_err(|error| {
                tracing::info!(%host, %error, "no WebSocket to the receiver of a callback");
                ApiError::InvalidCallback
            })?;
            let config = WebSocketConfig::default()
                .max_message_size(Some(LARGEST))
                .max_frame_size(Some(LARGEST));
            let socket = WebSocketStream::from_raw_socket(opened, Role::Client, Some(config)).await;
            Way::Socket(Box::new(socket))
        } else if deliverer.permits(&callback.url).await {
            Way::Requests {
                deliverer: deliverer.clone(),
                callback,
            }
        } else {
            return Err(ApiError::InvalidCallback);
        };
        Ok(Self { host, way })
    }

    /// Delivers one message. Given up when it takes longer than `patience`, or nothing is to be delivered any more.
    async fn deliver(&mut self, text: String, patience: Duration, pipe: &Pipe) -> Result<(), Failed> {
        match &mut self.way {
            Way::Socket(socket) => match timeout(patience, socket.send(Message::text(text))).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(Failed),
            },
            Way::Requests { deliverer, callback } => {
                let (deadline, body) = (Instant::now() + patience, Bytes::from(text));
                loop {
                    let sent = deliverer
                        .send(&callback.url, callback.method, "application/json", body.clone())
                        .await;
                    let Err(error) = sent else { return Ok(()) };
                    tracing::debug!(host = %self.host, %error, "a message was not delivered");
                    if pipe.is_at_end() {
                        return Ok(());
                    }
                    if Instant::now() + PAUSE >= deadline {
                        return Err(Failed);
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Ready when the receiver has closed its WebSocket, or lost it.
    async fn gone(&mut self) {
        match &mut self.way {
            Way::Requests { .. } => std::future::pending().await,
            Way::Socket(socket) => while let Some(Ok(_)) = socket.next().await {},
        }
    }

    /// Closes the WebSocket, if there is one.
    async fn close(mut self) {
        if let Way::Socket(socket) = &mut self.way {
            // A receiver that is gone cannot be told.
            timeout(FAREWELL, socket.as_mut().close(None)).await.ok();
            timeout(FAREWELL, self.gone()).await.ok();
        }
    }
}

/// Takes messages from a stream to its receiver.
pub struct Relay {
    /// Where they go.
    pub receiver: Receiver,
    /// Where they come from.
    pub pipe: Rc<Pipe>,
    /// Who makes them.
    pub stream: Addr<StreamActor>,
    /// Who closes the client's connection.
    pub socket: Recipient<MessagesWaiting>,
    /// How long a message may take.
    pub patience: Duration,
}

impl Relay {
    /// Starts on the current thread. Returns whom to wake when there are messages. `admitted` is held until all are delivered.
    pub fn start(self, admitted: Rc<Admitted>) -> Recipient<MessagesWaiting> {
        let wake = Rc::new(Notify::new());
        let door = Door { wake: Rc::clone(&wake) }.start();
        actix_web::rt::spawn(async move {
            self.run(&wake).await;
            drop(admitted);
        });
        door.recipient()
    }

    async fn run(mut self, wake: &Notify) {
        while !self.pipe.is_at_end() {
            let delivered = match self.pipe.take_text() {
                Some(text) => {
                    // There is room again: the stream may have waited for it.
                    self.stream.try_send(FramesArrived).ok();
                    self.receiver.deliver(text, self.patience, &self.pipe).await
                }
                None => tokio::select! {
                    () = wake.notified() => Ok(()),
                    () = self.receiver.gone() => Err(Failed),
                },
            };
            if delivered.is_err() {
                self.give_up().await;
                break;
            }
        }
        // The client is closed first: it need not wait for the receiver's farewell.
        self.socket.try_send(MessagesWaiting).ok();
        self.receiver.close().await;
    }

    /// Ends the stream; where it has ended already, what is left of it is dropped.
    async fn give_up(&self) {
        tracing::info!(host = %self.receiver.host, "the receiver of a callback takes no messages");
        if self.stream.send(ReceiverGone).await.is_err() {
            measure::stream_evicted();
            self.pipe
                .evict(CloseReason::NoResponse.code(), CloseReason::NoResponse.text().to_owned());
        }
    }
}

/// Wakes the relay.
struct Door {
    wake: Rc<Notify>,
}

impl Actor for Door {
    type Context = Context<Self>;
}

impl Handler<MessagesWaiting> for Door {
    type Result = ();

    fn handle(&mut self, _: MessagesWaiting, _: &mut Self::Context) {
        self.wake.notify_one();
    }
}
