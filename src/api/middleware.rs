//! What every request gets: an id, cross-origin headers, an answer to preflight questions, and one to a panic of its handler.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse};
use futures_util::FutureExt;
use uuid::Uuid;

use super::errors::{self, DG_REQUEST_ID};
use crate::error::ApiError;

const EXPOSED: &str = "dg-model-name, dg-model-uuid, dg-char-count, dg-request-id, dg-error";

/// Gives the request its id and the response its headers.
pub async fn around(request: ServiceRequest, next: Next<impl MessageBody + 'static>) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = Uuid::now_v7();
    request.extensions_mut().insert(id);
    let asked = request.headers().clone();
    let mut response = if request.method() == Method::OPTIONS {
        request.into_response(preflight(&asked))
    } else {
        // What a handler shares with others is counted and booked by guards, which a panic drops as well.
        match AssertUnwindSafe(next.call(request)).catch_unwind().await {
            Ok(response) => response?.map_into_boxed_body(),
            Err(_) => {
                tracing::error!(request_id = %id, "the handler of a request panicked");
                let mut response = errors::response(id, &ApiError::Internal);
                mark(response.headers_mut(), id, &asked);
                // The request is gone with its handler; an error carries the whole response.
                return Err(InternalError::from_response("the handler panicked", response).into());
            }
        }
    };
    mark(response.headers_mut(), id, &asked);
    Ok(response)
}

/// The headers that every response has.
fn mark(headers: &mut HeaderMap, id: Uuid, asked: &HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        headers.insert(DG_REQUEST_ID, value);
    }
    if let Some(origin) = asked.get(header::ORIGIN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        headers.insert(header::VARY, HeaderValue::from_static("origin"));
    }
}

fn preflight(asked: &HeaderMap) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    for (from, to) in [
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
    ] {
        if let Some(value) = asked.get(from) {
            response.insert_header((to, value.clone()));
        }
    }
    response.finish()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::panic
)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::mpsc::channel;

    use actix_web::middleware::from_fn;
    use actix_web::{App, HttpServer, web};

    use super::*;

    /// A whole answer to one request on a connection of its own.
    fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut connection = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\nConnection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    async fn panics() -> HttpResponse {
        panic!("told to panic")
    }

    async fn fine() -> HttpResponse {
        HttpResponse::Ok().body("fine")
    }

    #[test]
    fn a_panic_is_answered_500_and_the_server_goes_on() {
        let (tell, told) = channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = || {
                    App::new()
                        .wrap(from_fn(around))
                        .route("/panics", web::get().to(panics))
                        .route("/fine", web::get().to(fine))
                };
                let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                tell.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, handle) = told.recv().unwrap();
        for _ in 0..3 {
            let answer = ask(address, "/panics");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 500 "), "{answer}");
            let header = |name: &str| {
                let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                line.unwrap_or_else(|| panic!("no {name}: {answer}")).to_owned()
            };
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["err_code"], "Internal Server Error");
            assert_eq!(body["request_id"], header("dg-request-id").as_str());
            assert_eq!(body["err_msg"], header("dg-error").as_str());
            assert_eq!(header("access-control-allow-origin"), "https://app.example");
        }
        assert!(ask(address, "/fine").ends_with("\r\n\r\nfine"));
        actix_web::rt::System::new().block_on(handle.stop(false));
        thread.join().unwrap();
    }
}
