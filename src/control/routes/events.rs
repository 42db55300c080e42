//! What happens, as server-sent events (HTML, 9.2): one text a reader, at its own pace.

use std::io;
use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::State;
use super::query::Query;
use crate::control::body::Pieces;
use crate::control::refusal::Refusal;
use crate::control::story::From;

/// A reader hears something at least this often.
const PING: Duration = Duration::from_secs(15);

/// From where, and whether what comes later is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    since: Option<u64>,
    follow: Option<bool>,
}

/// The events since one, or from now on.
pub(super) async fn events(
    state: State,
    request: HttpRequest,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, Refusal> {
    let follow = wanted.follow.unwrap_or(true);
    // A client that was cut off and comes back says where it was.
    let last = request.headers().get("Last-Event-ID").and_then(|id| id.to_str().ok()?.parse().ok());
    let from = match wanted.since.or(last) {
        Some(id) => From::After(id),
        None if follow => From::Now,
        None => From::Oldest,
    };
    let (pieces, body) = Pieces::channel();
    let (tell, seated) = tokio::sync::oneshot::channel();
    actix_rt::spawn(async move {
        // A client that went away needs no more of it.
        let _gone = write(&state, from, follow, tell, &pieces).await;
    });
    if seated.await.is_err() {
        let hint = "end one of them, or ask with follow=false again and again";
        let message = "as many clients follow the events as may";
        return Err(Refusal::new(429, "too_many_requests", message, hint));
    }
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/event-stream")).body(body))
}

async fn write(
    state: &State,
    from: From,
    follow: bool,
    seated: tokio::sync::oneshot::Sender<()>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> Option<()> {
    const COMMENT: Bytes = Bytes::from_static(b": ping\n\n");
    // Without a seat the sender is dropped, and that is heard.
    let mut reader = state.story.read(from)?;
    seated.send(()).ok()?;
    if follow {
        // The client sees at once that it is heard.
        pieces.send(Ok(COMMENT)).await.ok()?;
    }
    loop {
        let piece = reader.take();
        if !piece.is_empty() {
            pieces.send(Ok(piece)).await.ok()?;
        } else if !follow {
            return Some(());
        } else {
            match timeout(PING, reader.wait()).await {
                Ok(true) => {}
                Ok(false) => return Some(()),
                Err(_) => pieces.send(Ok(COMMENT)).await.ok()?,
            }
        }
    }
}
