//! What a client is told that does not get what it asked for: code, message, hint.
//!
//! Each code has one status. Texts hold no control characters, whatever was sent. Hints are
//! read over HTTP and on the command line: what differs is named for both.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use super::reload::ReloadError;
use crate::config::ConfigErrors;
use crate::plan::endpoints::PlanError;
use crate::service::OperationError;
use crate::spec::SpecError;

/// Longest message. Unit: bytes, about.
const MAX_MESSAGE: usize = 16 * 1024;

/// Why a request was refused. Serialises as the API's error body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Refusal {
    /// The status of HTTP.
    #[serde(skip)]
    pub status: u16,
    /// What went wrong, for programs.
    pub code: &'static str,
    /// What was found, and where.
    pub message: String,
    /// What is allowed, and how to mend it.
    pub hint: String,
    #[serde(skip)]
    allow: Option<String>,
}

impl Refusal {
    /// A refusal with this status and code.
    #[must_use]
    pub fn new(
        status: u16,
        code: &'static str,
        message: impl AsRef<str>,
        hint: impl AsRef<str>,
    ) -> Self {
        let (message, hint) = (calm(message.as_ref()), calm(hint.as_ref()));
        Self { status, code, message, hint, allow: None }
    }

    /// The request cannot be read, or asks for what makes no sense.
    #[must_use]
    pub fn bad_request(message: impl AsRef<str>, hint: impl AsRef<str>) -> Self {
        Self::new(400, "bad_request", message, hint)
    }

    /// A selector that cannot be read or resolved.
    #[must_use]
    pub fn bad_selector(error: &SpecError) -> Self {
        Self::of_spec("bad_selector", error)
    }

    /// A spec that cannot be read or resolved.
    #[must_use]
    pub fn bad_spec(error: &SpecError) -> Self {
        Self::of_spec("bad_spec", error)
    }

    fn of_spec(code: &'static str, error: &SpecError) -> Self {
        let hint = error.help.as_deref().unwrap_or(
            "write [tcp|udp|both://]ADDRESSES:PORTS; a selector may also be *, chunk:N, \
             group:NAME or state:S",
        );
        let text: String = error.text.chars().take(200).collect();
        Self::new(400, code, format!("`{text}`: {}", error.message), hint)
    }

    /// Settings that are not taken: what is wrong with each, and how to mend the first.
    fn of_settings(code: &'static str, errors: &ConfigErrors) -> Self {
        let messages: Vec<_> = errors.faults().iter().map(|fault| fault.message.as_str()).collect();
        let hint = errors.faults().iter().find_map(|fault| fault.help.as_deref());
        let hint = hint.unwrap_or(
            "`ipcow set` or GET /api/v1/settings shows which there are; nothing changed",
        );
        Self::new(422, code, messages.join("\n"), hint)
    }

    /// The methods that are allowed instead, as the header wants them.
    pub(super) fn allowing(mut self, methods: impl Into<String>) -> Self {
        self.allow = Some(methods.into());
        self
    }
}

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Self {
        let message = error.to_string();
        let (message, own_hint) = match message.split_once("; ") {
            Some((message, hint)) => (message.to_owned(), hint.to_owned()),
            None => (message, String::new()),
        };
        match error {
            OperationError::Selector(error) => Self::bad_selector(&error),
            OperationError::Plan(PlanError::Spec { error, .. }) => Self::bad_spec(&error),
            OperationError::Plan(error) => {
                let hint = error.help().unwrap_or("serve other endpoints, or fewer");
                Self::new(409, "plan_refused", error.to_string(), hint)
            }
            OperationError::NothingMatches { .. } => {
                Self::new(404, "nothing_matches", message, own_hint)
            }
            OperationError::FdLimit { .. } => Self::new(409, "plan_refused", message, own_hint),
            OperationError::Exclusion { .. } => Self::new(
                400,
                "bad_spec",
                message,
                "write a spec without \"!\"; `ipcow remove`, or DELETE over HTTP, takes endpoints \
                 away",
            ),
            OperationError::UnknownGroup { known, .. } => Self::new(
                404,
                "unknown_group",
                message,
                format!("name one of {known}, or leave the group out"),
            ),
            OperationError::BadSetting(errors) => Self::of_settings("bad_setting", &errors),
            OperationError::NeedsRestart(errors) => Self::of_settings("needs_restart", &errors),
            OperationError::Draining => {
                Self::new(409, "draining", message, "start the service again to change anything")
            }
            OperationError::HandingOver => Self::new(409, "handing_over", message, own_hint),
            OperationError::Ended => Self::new(503, "ended", message, "start it again"),
            OperationError::Io(_) => Self::new(503, "busy", message, "try again"),
        }
    }
}

impl From<ReloadError> for Refusal {
    fn from(error: ReloadError) -> Self {
        match error {
            ReloadError::Operation(OperationError::Plan(PlanError::Spec { error, .. })) => {
                Self { status: 422, code: "bad_config", ..Self::bad_spec(&error) }
            }
            ReloadError::Operation(error) => error.into(),
            ReloadError::Config(errors) => Self::new(
                422,
                "bad_config",
                errors.to_string(),
                "nothing changed; mend the configuration, and try it with a dry run first: \
                 --dry-run, or {\"dry_run\":true} over HTTP",
            ),
            error @ ReloadError::NoSource => Self::new(
                409,
                "no_source",
                error.to_string(),
                "add and remove endpoints instead, or start the service with a configuration",
            ),
            error @ ReloadError::Thread(_) => {
                Self::new(503, "busy", error.to_string(), "try again")
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {} ({})", self.code, self.message, self.hint)
    }
}

impl std::error::Error for Refusal {}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(methods) = &self.allow {
            response.insert_header((ALLOW, methods.as_str()));
        }
        if self.status == 429 || self.status == 503 {
            response.insert_header((RETRY_AFTER, "1"));
        }
        response.json(self)
    }
}

/// The text with its control characters written out, but for line ends, and not too long.
fn calm(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_MESSAGE));
    for found in text.chars() {
        if shown.len() >= MAX_MESSAGE {
            shown.push('…');
            break;
        }
        match found.is_control() && found != '\n' {
            true => shown.extend(found.escape_default()),
            false => shown.push(found),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Selector, Spec};

    #[test]
    fn a_body_has_code_message_and_hint_and_no_control_character() {
        let error = Selector::parse("tcp://\u{1b}[31m\u{9b}:80").expect_err("no address");
        let body = serde_json::to_value(Refusal::bad_selector(&error)).expect("JSON");
        let text = |key: &str| body[key].as_str().expect("a string").to_owned();
        assert_eq!(text("code"), "bad_selector");
        for key in ["message", "hint"] {
            assert!(!text(key).is_empty(), "{body}");
            assert!(!text(key).chars().any(|found| found.is_control()), "{body}");
        }
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(3), "{body}");
    }

    #[test]
    fn every_error_of_an_operation_has_a_hint() {
        let spec = Spec::parse("tcp://x").expect_err("no port");
        let errors = [
            OperationError::Selector(spec),
            OperationError::NothingMatches { selector: "tcp://1.2.3.4:5".to_owned() },
            OperationError::FdLimit { needed: 9, have: 8 },
            OperationError::Exclusion { spec: "!x".to_owned() },
            OperationError::UnknownGroup { name: "a".to_owned(), known: "b".to_owned() },
            OperationError::Draining,
            OperationError::Ended,
            OperationError::Io(std::io::Error::other("none")),
        ];
        for error in errors {
            let refusal = Refusal::from(error);
            assert!(!refusal.message.is_empty() && !refusal.hint.is_empty(), "{refusal:?}");
            assert!((400..600).contains(&refusal.status), "{refusal:?}");
        }
    }
}
