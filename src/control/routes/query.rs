//! The part of a request behind the question mark.

use actix_web::FromRequest;
use actix_web::HttpRequest;
use actix_web::dev::Payload;
use actix_web::web;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};

use crate::control::order;
use crate::control::refusal::Refusal;
use crate::service::ListOptions;
use crate::spec::{Cidr, CidrError, Selector};
use crate::supervision::EndpointState;

const HINT: &str = "write select=SELECTOR, state=STATE, limit=N, offset=N, untouched=true or \
                    touched_by=CIDR, each once and percent-encoded";

/// A query, read and checked.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = Refusal;
    type Future = Ready<Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        let read = web::Query::<T>::from_query(request.query_string());
        ready(read.map(|query| Self(query.into_inner())).map_err(|error| {
            let message: String = error.to_string().chars().take(400).collect();
            Refusal::bad_request(format!("the query: {message}"), HINT)
        }))
    }
}

/// No query.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A part of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    pub(super) limit: Option<u64>,
    #[serde(default)]
    pub(super) offset: u64,
}

/// Which endpoints.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    select: Option<String>,
    state: Option<String>,
    limit: Option<u64>,
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    untouched: bool,
    touched_by: Option<String>,
}

impl Wanted {
    /// As the service wants to hear it.
    pub(super) fn parts(&self) -> Result<(Selector, ListOptions), Refusal> {
        let selector = self.select.as_deref().map_or_else(|| Ok(Selector::all()), order::selector);
        let limit = self.limit.unwrap_or(u64::MAX);
        let mut options = ListOptions::default().page(limit, self.offset);
        if let Some(name) = &self.state {
            options = options.state(named(name)?);
        }
        match (&self.touched_by, self.untouched) {
            (Some(_), true) => {
                let message = "`untouched` and `touched_by` leave nothing together";
                return Err(Refusal::bad_request(message, "give one of them"));
            }
            (Some(network), false) => {
                let (network, bits) = block(network)?;
                options = options.touched_by(network, bits);
            }
            (None, true) => options = options.untouched(),
            (None, false) => {}
        }
        Ok((selector?, options))
    }
}

fn named(name: &str) -> Result<EndpointState, Refusal> {
    EndpointState::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(|| {
        let name: String = name.chars().take(60).collect();
        let names = EndpointState::ALL.map(EndpointState::as_str).join(", ");
        Refusal::bad_request(
            format!("`state` is `{name}`, which is no state of an endpoint"),
            format!("the states are {names}"),
        )
    })
}

fn block(text: &str) -> Result<(std::net::IpAddr, u8), Refusal> {
    let block: Cidr = text.parse().map_err(|error: CidrError| {
        let text: String = text.chars().take(60).collect();
        let hint = match error {
            CidrError::HostBits { meant } => format!("did you mean {meant}?"),
            _ => "write an address, or ADDRESS/LENGTH, without brackets".to_owned(),
        };
        Refusal::bad_request(format!("`touched_by` is `{text}`: {error}"), hint)
    })?;
    Ok((block.first(), block.prefix_len()))
}
