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

#[cfg(test)]
mod tests {
    use actix_http::h1;
    use actix_web::test::TestRequest;
    use actix_web::{FromRequest, dev};
    use tokio::time::{Instant, sleep};

    use super::*;

    /// What becomes of a body of which a byte comes every second, and after how long.
    async fn dripped(bytes: usize) -> (Result<Bytes, Refusal>, Duration) {
        let request = TestRequest::post().to_http_request();
        let (mut client, payload) = h1::Payload::create(false);
        let mut payload = dev::Payload::from(payload);
        let payload = Payload::from_request(&request, &mut payload).await.expect("it has one");
        let began = Instant::now();
        let server = async { (read(&request, payload).await, began.elapsed()) };
        let client = async move {
            for _ in 0..bytes {
                sleep(Duration::from_secs(1)).await;
                client.feed_data(Bytes::from_static(b" "));
            }
            client.feed_eof();
        };
        tokio::join!(server, client).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_too_slowly_is_given_up_and_one_that_takes_its_time_is_not() {
        let (read, _) = dripped(9).await;
        assert_eq!(read.expect("in time").len(), 9);
        let (read, waited) = dripped(30).await;
        let refusal = read.expect_err("though it never stood still");
        assert_eq!((refusal.status, refusal.code), (408, "too_slow"));
        assert_eq!(waited.as_secs(), PATIENCE.as_secs());
    }
}
