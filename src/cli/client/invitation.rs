//! Asking a running service to hand itself over: where to come for it.

use std::path::PathBuf;

use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::call::Control;
use super::failure::Failure;
use super::target::Target;

/// What a running service says.
pub(crate) enum Invitation {
    /// Come to the socket of this name.
    To(String),
    /// There is none.
    Nobody,
    /// It does not, or not now.
    Refused(String),
}

#[derive(Deserialize)]
struct Invited {
    socket: String,
}

/// Asks the instance of this name, or the one at `control`.
pub(crate) async fn invitation(name: &str, control: Option<PathBuf>) -> Invitation {
    match ask(&Target::new(Some(name), control)).await {
        Ok(Invited { socket }) => Invitation::To(socket),
        Err(Failure::Nobody { .. }) => Invitation::Nobody,
        Err(Failure::Refused(refused)) if refused.code == "not_found" => Invitation::Refused(
            "the running instance is of a version that hands nothing over".to_owned(),
        ),
        Err(Failure::Refused(refused)) => Invitation::Refused(refused.message),
        Err(failure) => {
            let text = failure.to_string();
            let first = text.lines().next().unwrap_or_default();
            Invitation::Refused(first.trim_start_matches("ipcow: ").to_owned())
        }
    }
}

async fn ask(target: &Target) -> Result<Invited, Failure> {
    let mut control = Control::open(target).await?;
    let answer = control.order(Method::POST, "/api/v1/handover", &json!({})).await?;
    Ok(answer.read().await?.0)
}
