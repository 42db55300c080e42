//! Who may ask at the admin address, and for what: reads alone, not too often, and not by
//! a name that a stranger's web page gave it (DNS rebinding).

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::http::{Method, Version};
use actix_web::middleware::Next;
use actix_web::web::Data;

use super::refusal::Refusal;
use crate::supervision::LineBudget;

/// Requests a second at the admin address, of all clients together.
const REQUESTS: u32 = 2_000;

/// What the admin address asks of a request.
pub(super) struct Guard {
    budget: RefCell<LineBudget>,
    /// The machine's own name.
    name: Option<String>,
}

impl Guard {
    pub(super) fn new() -> Self {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        Self { budget: RefCell::new(LineBudget::new(REQUESTS)), name }
    }

    fn judge(&self, request: &ServiceRequest, now: Instant) -> Result<(), Refusal> {
        if !self.budget.borrow_mut().take(now).granted {
            let message = format!("more than {REQUESTS} requests came within a second");
            let hint = "ask less often; the control socket has no such bound";
            return Err(Refusal::new(429, "too_many_requests", message, hint));
        }
        let hosts: Vec<_> = request.headers().get_all(HOST).collect();
        let host = match hosts.as_slice() {
            [] if request.version() < Version::HTTP_11 => None,
            [host] => Some(host.to_str().unwrap_or_default()),
            _ => {
                let hint = "send one header Host with the address that you dialled";
                return Err(Refusal::bad_request("there is not one header Host", hint));
            }
        };
        // What stands in the request line comes before the header (RFC 9112, 3.2.2).
        let host = request.uri().authority().map(|named| named.as_str()).or(host);
        if let Some(host) = host.filter(|host| !self.is_ours(host)) {
            let host: String = host.chars().take(100).collect();
            let message = format!("the header Host names `{host}`, which is not this machine");
            let hint = "ask by address, as localhost, or by the name of the machine";
            return Err(Refusal::new(421, "foreign_host", message, hint));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let method: String = request.method().as_str().chars().take(30).collect();
            let message = format!("{method} at the admin address, which only reads");
            let hint = "send it to the control socket (curl --unix-socket)";
            return Err(Refusal::new(405, "read_only", message, hint).allowing("GET, HEAD"));
        }
        Ok(())
    }

    /// An address names nobody else, whatever a name server says; of names only our own do.
    fn is_ours(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => {
                let Some((address, rest)) = rest.split_once(']') else { return false };
                return address.parse::<Ipv6Addr>().is_ok() && is_port(rest);
            }
            None => match host.split_once(':') {
                Some((name, port)) if is_port(&format!(":{port}")) => name,
                Some(_) => return false,
                None => host,
            },
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self.name.as_deref().is_some_and(|own| name.eq_ignore_ascii_case(own))
    }
}

/// Nothing, or a colon and a port.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Lets a request pass, or says why not.
pub(super) async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    if let Some(guard) = request.app_data::<Data<Guard>>() {
        guard.judge(&request, Instant::now())?;
    }
    next.call(request).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix_web::body::to_bytes;
    use actix_web::dev::Service;
    use actix_web::http::header::RETRY_AFTER;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, init_service};
    use actix_web::{App, web};

    use super::*;

    fn asked() -> TestRequest {
        TestRequest::get().insert_header((HOST, "localhost"))
    }

    #[test]
    fn a_second_has_so_many_requests_and_the_next_has_them_again() {
        let (guard, start) = (Guard::new(), Instant::now());
        let request = asked().to_srv_request();
        let judged = |after| guard.judge(&request, start + Duration::from_millis(after));
        for _ in 0..2_000 {
            judged(500).expect("within the bound");
        }
        let refusal = judged(1_499).expect_err("one too many");
        assert_eq!((refusal.status, refusal.code), (429, "too_many_requests"));
        assert!(refusal.message.contains("2000") && refusal.hint.contains("control socket"));
        judged(1_500).expect("another second");
    }

    #[tokio::test]
    async fn one_request_too_many_reaches_no_route_and_is_told_when_to_come_again() {
        let spent = Guard { budget: RefCell::new(LineBudget::new(0)), ..Guard::new() };
        let route = web::to(|| async { panic!("it was refused") as &str });
        let app = App::new().app_data(Data::new(spent)).default_service(route).wrap(from_fn(guard));
        let app = init_service(app).await;
        let error = app.call(asked().to_request()).await.expect_err("none is left");
        // What the door sends.
        let answer = error.as_response_error().error_response();
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers().get(RETRY_AFTER).expect("when"), "1");
        let body = to_bytes(answer.into_body()).await.expect("it is at hand");
        let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(body["code"], "too_many_requests");
    }

    #[test]
    fn addresses_and_own_names_are_ours_and_other_names_are_not() {
        let guard = Guard { name: Some("lab7".to_owned()), ..Guard::new() };
        for host in [
            "127.0.0.1",
            "127.0.0.1:9180",
            "[::1]",
            "[::1]:9180",
            "localhost",
            "LOCALHOST:1",
            "localhost.:80",
            "lab7:9180",
            "10.1.2.3",
        ] {
            assert!(guard.is_ours(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9180",
            "lab7.evil.example",
            "127.0.0.1.evil.example",
            "",
            "[::1",
            "[::1]x",
            "[evil]",
            "localhost:",
            "localhost:99999",
            "127.0.0.1:80:80",
            "localhost@evil",
            "\u{7f}",
        ] {
            assert!(!guard.is_ours(host), "{host}");
        }
    }
}
