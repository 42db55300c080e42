//! The body of a request, within its bounds, and the body of a long answer, piece by piece.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Payload};
use tokio::sync::mpsc;

use super::refusal::Refusal;

/// Longest body of a request. Unit: bytes.
const MAX_BODY: usize = 64 * 1024;
/// How long a client may take for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads the body of a request, which must be JSON if it is not empty.
pub(super) async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, Refusal> {
    let read = tokio::time::timeout(PATIENCE, payload.to_bytes_limited(MAX_BODY)).await;
    let body = match read {
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(error))) => {
            let hint = "send the whole body, with its length or in chunks";
            return Err(Refusal::bad_request(format!("the body ended early: {error}"), hint));
        }
        Ok(Err(_)) => {
            let message = format!("the body is longer than {MAX_BODY} bytes");
            return Err(Refusal::new(413, "too_large", message, "name less at a time"));
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", PATIENCE.as_secs());
            return Err(Refusal::new(408, "too_slow", message, "send it at once"));
        }
    };
    let named = request.headers().get(CONTENT_TYPE);
    let is_json = named.is_none_or(|name| {
        let name = name.to_str().unwrap_or_default();
        let essence = name.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    });
    if !body.is_empty() && !is_json {
        let message = "the body is not application/json";
        let hint = "send JSON with the header Content-Type: application/json";
        return Err(Refusal::new(415, "unsupported_media", message, hint));
    }
    Ok(body)
}

/// An answer whose pieces are made while the client reads: where it is slow, they wait.
pub(super) struct Pieces(mpsc::Receiver<io::Result<Bytes>>);

/// A piece that waits for the client, at most.
const AHEAD: usize = 1;

impl Pieces {
    /// Where the pieces go, and the body that they become. The body ends when the
    /// sender is dropped; an error cuts the connection off.
    pub(super) fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        (sender, Self(receiver))
    }
}

impl MessageBody for Pieces {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        self.0.poll_recv(task)
    }
}
