//! Health and readiness, for probes: read from counters, so that no actor keeps them waiting.

use actix_web::HttpResponse;
use serde::Serialize;

use super::State;
use crate::supervision::{ChunkCounts, EndpointCounts};

#[derive(Serialize)]
struct Health {
    status: &'static str,
    hung_workers: u64,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    state: &'static str,
    required: u64,
    endpoints: EndpointCounts,
    chunks: ChunkCounts,
}

/// Whether every worker answers.
pub(super) async fn healthz(state: State) -> HttpResponse {
    let hung_workers = state.handle.snapshot().hung_workers;
    match hung_workers {
        0 => HttpResponse::Ok().json(Health { status: "ok", hung_workers }),
        _ => HttpResponse::ServiceUnavailable().json(Health { status: "hung", hung_workers }),
    }
}

/// Whether enough endpoints listen.
pub(super) async fn readyz(state: State) -> HttpResponse {
    let now = state.handle.snapshot();
    let body = Readiness {
        ready: now.is_ready(),
        state: now.phase().as_str(),
        required: now.required,
        endpoints: now.endpoints,
        chunks: now.chunks,
    };
    match body.ready {
        true => HttpResponse::Ok().json(body),
        false => HttpResponse::ServiceUnavailable().json(body),
    }
}
