//! Metrics for Prometheus: from counters, so that no actor keeps a scrape waiting.

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse};

use super::State;
use crate::control::metrics::{Format, render};

/// One scrape, in the format that the client wants most.
pub(super) async fn metrics(state: State, request: HttpRequest) -> HttpResponse {
    let accept = request.headers().get_all(ACCEPT).filter_map(|it| it.to_str().ok());
    let format = Format::accepted(Some(&accept.collect::<Vec<_>>().join(",")));
    let page = render(state.handle.snapshot(), format);
    HttpResponse::Ok().content_type(format.content_type()).body(page)
}
