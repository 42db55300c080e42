//! The parts of the service: endpoints, chunks, workers, errors.
//!
//! A list of endpoints is written while it is fetched, so that a million of them need the
//! memory of a thousand.

use std::io;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::State;
use super::query::{Nothing, Page, Query, Wanted};
use crate::control::body::Pieces;
use crate::control::refusal::Refusal;
use crate::service::{ListOptions, OperationError};
use crate::spec::Selector;
use crate::supervision::EndpointInfo;

/// Chunks that are listed where no limit is given.
const CHUNKS: u64 = 10_000;

/// Endpoints that a selector names; the header tells how many there are with those that
/// `limit` and `offset` leave out.
pub(super) async fn endpoints(
    state: State,
    Query(wanted): Query<Wanted>,
) -> Result<HttpResponse, Refusal> {
    let (selector, options) = wanted.parts()?;
    let (pieces, body) = Pieces::channel();
    let (tell, told) = oneshot::channel();
    actix_rt::spawn(async move {
        // A client that went away needs no more of it.
        let _gone = write(&state, &selector, options, tell, &pieces).await;
    });
    let total = told.await.map_err(|_| OperationError::Ended)??;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "application/json"))
        .insert_header(("X-Total-Count", total))
        .body(body))
}

/// Tells how many there are, then writes them.
async fn write(
    state: &State,
    selector: &Selector,
    options: ListOptions,
    tell: oneshot::Sender<Result<u64, OperationError>>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> Option<()> {
    let counted = async {
        let pages = state.handle.pages(selector, options).await?;
        let total = pages.count().await?;
        Ok((pages, total))
    };
    let (mut pages, total) = match counted.await {
        Ok(counted) => counted,
        Err(error) => return tell.send(Err(error)).ok(),
    };
    tell.send(Ok(total)).ok()?;
    let mut first = true;
    loop {
        match pages.next().await {
            Ok(Some(page)) if page.is_empty() => {}
            Ok(Some(page)) => {
                let piece = rows(&page, std::mem::take(&mut first));
                pieces.send(Ok(piece)).await.ok()?;
            }
            Ok(None) => break,
            Err(error) => return pieces.send(Err(io::Error::other(error))).await.ok(),
        }
    }
    let end: &'static [u8] = if first { b"[]" } else { b"]" };
    pieces.send(Ok(Bytes::from_static(end))).await.ok()
}

/// The rows with what stands before them in the list.
fn rows(page: &[EndpointInfo], first: bool) -> Bytes {
    let mut text = Vec::with_capacity(page.len() * 512);
    for (index, row) in page.iter().enumerate() {
        text.push(if first && index == 0 { b'[' } else { b',' });
        // Strings and numbers into memory: this cannot fail.
        let _written = serde_json::to_writer(&mut text, row);
    }
    text.into()
}

/// Chunks by number.
pub(super) async fn chunks(
    state: State,
    Query(page): Query<Page>,
) -> Result<HttpResponse, Refusal> {
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let limit = page.limit.unwrap_or(CHUNKS).min(CHUNKS);
    Ok(HttpResponse::Ok().json(state.handle.chunks(whole(limit), whole(page.offset)).await?))
}

/// Every worker.
pub(super) async fn workers(
    state: State,
    Query(Nothing {}): Query<Nothing>,
) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(state.handle.status().await?.workers))
}

/// What is wrong, in a line for each cause.
pub(super) async fn errors(
    state: State,
    Query(Nothing {}): Query<Nothing>,
) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(state.handle.errors().await?))
}
