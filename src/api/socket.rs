//! The WebSocket itself, and nothing else: frames go to the pipe, messages come from it.
//!
//! The only file that knows the WebSocket crate. An actor of that crate stands still while its client does not read, so
//! no rule lives here: the stream on the other side of the pipe keeps its own time, ends such a client, and the TCP user
//! timeout set at accept removes the connection.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, ActorContext, Addr, Handler, StreamHandler};
use actix_http::ws::{Item, verify_handshake};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_web_actors::ws;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::stream::actor::{FramesArrived, MessagesWaiting, StreamActor};
use crate::stream::pipe::{FromClient, Pipe, ToClient};

/// Relays frames of one connection.
pub struct Socket {
    pipe: Rc<Pipe>,
    stream: Addr<StreamActor>,
    joined: BytesMut,
    joining: Joining,
    largest: usize,
    /// Why the payload refused to go on, if it did.
    refused: Rc<Cell<Option<ws::CloseCode>>>,
    /// The code that the connection is closed with, once it is.
    code: Option<u16>,
}

/// What a Close frame without a code counts as (RFC 6455, section 7.4.1); never sent.
const NO_STATUS: u16 = 1005;
/// What a text that is not UTF-8 is taken for: it is no JSON, which the stream answers.
const NOT_TEXT: &str = "\u{fffd}";
/// How often a large message that waits for room asks whether there is some.
const ASK_AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joining {
    Nothing,
    Text,
    Binary,
}

/// True if the request asks for a WebSocket as the protocol demands, so that [`Socket::upgrade`] will take it.
pub fn is_upgrade(request: &HttpRequest) -> bool {
    verify_handshake(request.head()).is_ok()
}

impl Socket {
    /// Answers an upgrade and starts relaying between the client and `stream`. `largest`: bytes of a message; `patience`: how long a
    /// large one may wait for room. Returns the response and the socket's address.
    pub fn upgrade(
        request: &HttpRequest,
        payload: web::Payload,
        pipe: Rc<Pipe>,
        stream: Addr<StreamActor>,
        largest: usize,
        patience: Duration,
    ) -> Result<(Addr<Self>, HttpResponse), actix_web::Error> {
        let refused = Rc::new(Cell::new(None));
        let heads = Heads {
            largest,
            ..Heads::default()
        };
        let gated = GatedPayload {
            inner: payload,
            pipe: Rc::clone(&pipe),
            heads,
            patience,
            waiting: None,
            refused: Rc::clone(&refused),
        };
        let socket = Self {
            pipe,
            stream,
            joined: BytesMut::new(),
            joining: Joining::Nothing,
            largest,
            refused,
            code: None,
        };
        // As the client wrote it: it takes no other word for it.
        let offered: Vec<&str> = request
            .headers()
            .get(header::SEC_WEBSOCKET_PROTOCOL)
            .and_then(|value| value.to_str().ok()?.split(',').next())
            .map(str::trim)
            .filter(|first| super::auth::is_scheme(first))
            .into_iter()
            .collect();
        ws::WsResponseBuilder::new(socket, request, gated)
            .protocols(&offered)
            .frame_size(largest)
            .start_with_addr()
    }

    fn forward(&self, frame: FromClient) {
        self.pipe.put_in(frame);
        // A full mailbox means that a wake-up is waiting in it already; a closed one that the stream is over.
        self.stream.try_send(FramesArrived).ok();
    }

    fn join(&mut self, item: Item, ctx: &mut ws::WebsocketContext<Self>) {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                self.joining = Joining::Text;
                (bytes, false)
            }
            Item::FirstBinary(bytes) => {
                self.joining = Joining::Binary;
                (bytes, false)
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        if self.joined.len() + bytes.len() > self.largest {
            self.code = Some(ws::CloseCode::Size.into());
            ctx.close(Some(ws::CloseReason {
                code: ws::CloseCode::Size,
                description: None,
            }));
            ctx.stop();
            return;
        }
        self.joined.extend_from_slice(&bytes);
        if last {
            let whole = self.joined.split().freeze();
            match std::mem::replace(&mut self.joining, Joining::Nothing) {
                Joining::Text => self.forward(text(&whole)),
                Joining::Binary => self.forward(FromClient::Binary(whole)),
                Joining::Nothing => {}
            }
        }
    }
}

fn text(bytes: &[u8]) -> FromClient {
    FromClient::Text(std::str::from_utf8(bytes).unwrap_or(NOT_TEXT).to_owned())
}

impl Actor for Socket {
    type Context = ws::WebsocketContext<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        self.forward(FromClient::Gone(self.code));
    }
}

impl Handler<MessagesWaiting> for Socket {
    type Result = ();

    fn handle(&mut self, _: MessagesWaiting, ctx: &mut Self::Context) {
        while let Some(message) = self.pipe.take_out() {
            match message {
                ToClient::Text(text) => ctx.text(text),
                ToClient::Close(code, reason) => {
                    let description = (!reason.is_empty()).then_some(reason);
                    ctx.close(Some(ws::CloseReason {
                        code: code.into(),
                        description,
                    }));
                    ctx.stop();
                }
            }
        }
        // There is room again: the stream may have waited for it.
        self.stream.try_send(FramesArrived).ok();
    }
}

impl StreamHandler<Result<ws::Message, ws::ProtocolError>> for Socket {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(ws::Message::Binary(bytes)) => self.forward(FromClient::Binary(bytes)),
            Ok(ws::Message::Text(text)) => self.forward(FromClient::Text(text.to_string())),
            Ok(ws::Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(ws::Message::Continuation(item)) => self.join(item, ctx),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                self.code = Some(reason.as_ref().map_or(NO_STATUS, |reason| reason.code.into()));
                ctx.close(reason);
                ctx.stop();
            }
            // Errors of this kind are of the payload, which tells why it refuses, and otherwise of a text that is not UTF-8.
            Err(ws::ProtocolError::Io(_)) if self.refused.get().is_none() => self.forward(FromClient::Text(NOT_TEXT.to_owned())),
            Err(error) => {
                tracing::debug!(%error, "the client broke the WebSocket protocol");
                let otherwise = if matches!(error, ws::ProtocolError::Overflow) {
                    ws::CloseCode::Size
                } else {
                    ws::CloseCode::Protocol
                };
                let code = self.refused.get().unwrap_or(otherwise);
                self.code = Some(code.into());
                ctx.close(Some(ws::CloseReason { code, description: None }));
                ctx.stop();
            }
        }
    }

    /// The client's half of the connection ended: results that are still to come are sent all the same.
    fn finished(&mut self, _: &mut Self::Context) {
        self.forward(FromClient::Gone(self.code));
    }
}

/// The connection's bytes, held back while the stream does not want to read or there is no room for a large message, and ended at
/// the head of a frame that is too large: the WebSocket crate would first collect it.
struct GatedPayload {
    inner: web::Payload,
    pipe: Rc<Pipe>,
    heads: Heads,
    /// How long a large message may wait for room.
    patience: Duration,
    /// The end of that, and when to ask again.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    refused: Rc<Cell<Option<ws::CloseCode>>>,
}

/// Follows the heads of frames (RFC 6455, section 5.2).
#[derive(Default)]
struct Heads {
    largest: usize,
    /// Bytes of the current head seen so far.
    head: Vec<u8>,
    /// Payload bytes of the current frame still to come.
    payload: usize,
}

impl Heads {
    /// Takes the next bytes of the connection; false if a frame among them is too large.
    fn fits(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return true };
            bytes = rest;
            self.head.push(*first);
            let &[_, second, ref extended @ ..] = self.head.as_slice() else {
                continue;
            };
            let length_bytes = match second & 0x7f {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
            if extended.len() < length_bytes + mask_bytes {
                continue;
            }
            let big = |length: u64, byte: &u8| length << 8 | u64::from(*byte);
            let length = match length_bytes {
                0 => u64::from(second & 0x7f),
                _ => extended.iter().take(length_bytes).fold(0, big),
            };
            self.head.clear();
            self.payload = usize::try_from(length).unwrap_or(usize::MAX);
            if self.payload > self.largest {
                return false;
            }
        }
    }
}

impl GatedPayload {
    /// Ready once there is room for more of the message that is arriving; false if there was none for too long. Room is made by other
    /// streams, on other threads, so it is asked for again and again.
    fn poll_room(&mut self, context: &mut TaskContext<'_>) -> Poll<bool> {
        loop {
            if self.pipe.has_room() {
                self.waiting = None;
                return Poll::Ready(true);
            }
            let now = Instant::now();
            let (end, timer) = self
                .waiting
                .get_or_insert_with(|| (now + self.patience, Box::pin(sleep_until(now + ASK_AGAIN))));
            if *end <= now {
                return Poll::Ready(false);
            }
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            timer.as_mut().reset(now + ASK_AGAIN);
        }
    }
}

impl Stream for GatedPayload {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        if self.pipe.poll_open(context).is_pending() {
            return Poll::Pending;
        }
        match self.poll_room(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(true) => {}
            Poll::Ready(false) => {
                self.refused.set(Some(ws::CloseCode::Again));
                return Poll::Ready(Some(Err(PayloadError::Overflow)));
            }
        }
        let polled = Pin::new(&mut self.inner).poll_next(context);
        if let Poll::Ready(Some(Ok(bytes))) = &polled {
            if !self.heads.fits(bytes) {
                self.refused.set(Some(ws::CloseCode::Size));
                return Poll::Ready(Some(Err(PayloadError::Overflow)));
            }
            self.pipe.arriving(bytes.len());
        }
        // A client that closes its half breaks off the payload, which is no fault of the frames before.
        if let Poll::Ready(Some(Err(_))) = polled {
            return Poll::Ready(None);
        }
        polled
    }
}
