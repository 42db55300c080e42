//! The service as a whole: its summary, its plan, its configuration.

use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::{Map, json};

use super::State;
use crate::control::refusal::Refusal;
use crate::control::wire::{SummaryTotals, now};
use crate::supervision::{ChunkCounts, EndpointCounts, RestartCounts, WorkerInfo};

#[derive(Serialize)]
struct Summary<'a> {
    ts: String,
    instance: &'a str,
    version: &'static str,
    pid: u32,
    state: &'static str,
    ready: bool,
    required: u64,
    uptime_ms: u64,
    endpoints: EndpointCounts,
    chunks: ChunkCounts,
    workers: Vec<WorkerInfo>,
    hung_workers: u64,
    #[serde(flatten)]
    totals: SummaryTotals,
    restarts: RestartCounts,
    events_lost: u64,
    control: Option<&'a str>,
    admin: Option<&'a str>,
}

/// What the service is and did so far.
pub(super) async fn summary(state: State) -> Result<HttpResponse, Refusal> {
    let errors = state.handle.error_report().await?;
    let status = state.handle.status().await?;
    let now_counted = state.handle.snapshot();
    Ok(HttpResponse::Ok().json(Summary {
        ts: now(),
        instance: &state.instance,
        version: env!("CARGO_PKG_VERSION"),
        pid: std::process::id(),
        state: now_counted.phase().as_str(),
        ready: now_counted.is_ready(),
        required: now_counted.required,
        uptime_ms: u64::try_from(now_counted.uptime.as_millis()).unwrap_or(u64::MAX),
        endpoints: status.endpoints,
        chunks: status.chunks,
        workers: status.workers,
        hung_workers: now_counted.hung_workers,
        totals: SummaryTotals::running(&now_counted.totals, now_counted.peak_sessions, &errors),
        restarts: now_counted.restarts,
        events_lost: now_counted.events_lost,
        control: state.control.as_deref(),
        admin: state.admin.as_deref(),
    }))
}

/// What is served now, by what means, and what is in its way.
pub(super) async fn plan(state: State) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(state.handle.present_plan().await?))
}

/// The configuration that is in force.
pub(super) async fn config(state: State) -> Result<HttpResponse, Refusal> {
    let running = state.reloader.running().ok_or_else(|| {
        let message = "this service was not started from a configuration that can be shown";
        Refusal::new(404, "not_found", message, "the program that embeds it knows its own")
    })?;
    Ok(HttpResponse::Ok().json(running))
}

/// Every key that can be set live, with its present value.
pub(super) async fn settings(state: State) -> Result<HttpResponse, Refusal> {
    let settings = state.handle.settings();
    let settings: Map<_, _> = settings.into_iter().map(|(key, it)| (key, json!(it))).collect();
    Ok(HttpResponse::Ok().json(settings))
}

/// The description of the whole API (OpenAPI 3.1).
pub(super) const OPENAPI: &str = include_str!("../openapi.json");

/// The API's own description.
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(OPENAPI)
}
