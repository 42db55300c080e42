//! Another instance asks to take the service over: it is told where to.

use actix_web::HttpResponse;
use serde_json::json;

use super::State;
use crate::control::refusal::Refusal;
use crate::handover::NotInvited;

/// Opens a socket for one taker. What follows is spoken there (`handover`).
pub(super) async fn invite(state: State) -> Result<HttpResponse, Refusal> {
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
