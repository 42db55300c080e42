//! Another instance asks to take the service over: it is told where to.

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::State;
use crate::control::refusal::Refusal;
use crate::control::{body, order};
use crate::handover::NotInvited;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// Opens a socket for one taker. What follows is spoken there (`handover`).
pub(super) async fn invite(
    state: State,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Refusal> {
    let body = body::read(&request, payload).await?;
    if !body.is_empty() {
        let Nothing {} = order::json(&body, "{}")?;
    }
    let Some(giver) = &state.giver else {
        let message = "this instance hands nothing over";
        return Err(Refusal::new(409, "no_handover", message, "stop it, then start the other"));
    };
    match giver.invite() {
        Ok(socket) => Ok(HttpResponse::Ok().json(json!({ "socket": socket }))),
        Err(error @ NotInvited::Busy) => {
            let hint = "wait until that is over, and ask again";
            Err(Refusal::new(409, "handing_over", error.to_string(), hint))
        }
        Err(error) => Err(Refusal::new(503, "busy", error.to_string(), "try again")),
    }
}
