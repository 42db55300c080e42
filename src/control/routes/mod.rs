//! Every route: a line in [`table`], and a function in the file of its kind.
//!
//! `health`, `scrape` and `about` answer for the whole service, `lists` for its parts, `events`
//! tells what happens, `orders` changes it. What only reads is at the admin address, too.

mod about;
mod events;
mod handover;
mod health;
mod lists;
mod orders;
mod query;
mod scrape;

use std::sync::Arc;

use actix_http::Request;
use actix_service::{IntoServiceFactory, ServiceFactory};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Handler, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::web::{self, Data};
use actix_web::{App, Error, FromRequest, HttpRequest, Responder, Route};

use super::guard::{Guard, guard};
use super::order::OrderKind;
use super::refusal::Refusal;
use super::reload::Reloader;
use super::story::Story;
use crate::handover::Giver;
use crate::service::ServiceHandle;

/// What every route can ask.
pub(super) struct Context {
    pub(super) handle: Arc<ServiceHandle>,
    pub(super) reloader: Arc<Reloader>,
    pub(super) instance: String,
    /// What happened so far.
    pub(super) story: Arc<Story>,
    /// The path of the control socket.
    pub(super) control: Option<String>,
    /// The admin address.
    pub(super) admin: Option<String>,
    /// Hands the service over to another instance.
    pub(super) giver: Option<Arc<Giver>>,
    /// Told when a client orders the service to end.
    pub(super) on_shutdown: Option<Box<dyn Fn() + Send + Sync>>,
}

/// What a route is given of it.
type State = Data<Context>;

/// Every route. One that is added is described in `openapi.json`, too.
fn table() -> Vec<At> {
    let order = orders::handler;
    vec![
        at("/healthz").get(health::healthz),
        at("/readyz").get(health::readyz),
        at("/metrics").get(scrape::metrics),
        at("/openapi.json").get(about::openapi),
        at("/api/v1/summary").get(about::summary),
        at("/api/v1/plan").get(about::plan),
        at("/api/v1/config").get(about::config),
        at("/api/v1/settings").get(about::settings).on(Method::PATCH, order(OrderKind::Set)),
        at("/api/v1/endpoints")
            .get(lists::endpoints)
            .on(Method::POST, order(OrderKind::Add))
            .on(Method::DELETE, order(OrderKind::Remove)),
        at("/api/v1/chunks").get(lists::chunks),
        at("/api/v1/workers").get(lists::workers),
        at("/api/v1/errors").get(lists::errors),
        at("/api/v1/events").on(Method::GET, events::events),
        at("/api/v1/suspend").on(Method::POST, order(OrderKind::Suspend)),
        at("/api/v1/resume").on(Method::POST, order(OrderKind::Resume)),
        at("/api/v1/drain").on(Method::POST, order(OrderKind::Drain)),
        at("/api/v1/retry").on(Method::POST, order(OrderKind::Retry)),
        at("/api/v1/reload").on(Method::POST, order(OrderKind::Reload)),
        at("/api/v1/mark").on(Method::POST, order(OrderKind::Mark)),
        at("/api/v1/handover").on(Method::POST, handover::invite),
        at("/api/v1/shutdown").on(Method::POST, order(OrderKind::Shutdown)),
    ]
}

/// A path and what it answers to.
struct At {
    path: &'static str,
    methods: Vec<Method>,
    routes: Vec<Route>,
}

const fn at(path: &'static str) -> At {
    At { path, methods: Vec::new(), routes: Vec::new() }
}

impl At {
    /// Answers GET, and HEAD with the same but the body.
    fn get<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let head = web::head().to(handler.clone());
        let mut at = self.on(Method::GET, handler);
        at.methods.push(Method::HEAD);
        at.routes.push(head);
        at
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.methods.push(method.clone());
        self.routes.push(web::method(method).to(handler));
        self
    }

    fn allowed(&self) -> String {
        self.methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
    }

    fn register(self, config: &mut web::ServiceConfig) {
        let (path, allowed) = (self.path, self.allowed());
        let otherwise = web::to(move |request: HttpRequest| {
            let refusal = not_allowed(&request, path, &allowed);
            async move { Err::<&str, Refusal>(refusal) }
        });
        let resource = web::resource(path).default_service(otherwise);
        config.service(self.routes.into_iter().fold(resource, actix_web::Resource::route));
    }
}

/// The whole API, for the control socket. Under the guard's `rules`, for the admin address:
/// whatever does not read is refused there.
pub(super) fn app(
    context: &Arc<Context>,
    rules: Option<Guard>,
) -> impl ServiceFactory<
    Request,
    Config = AppConfig,
    Response = ServiceResponse<impl MessageBody + 'static>,
    Error = Error,
    InitError = (),
    Service: 'static,
    Future: 'static,
> + 'static {
    let context = State::from(Arc::clone(context));
    let app = App::new().app_data(context).configure(|config| {
        if let Some(rules) = rules {
            config.app_data(Data::new(rules));
        }
        for at in table() {
            at.register(config);
        }
    });
    let headers = DefaultHeaders::new()
        .add(("Cache-Control", "no-store"))
        .add(("X-Content-Type-Options", "nosniff"));
    app.default_service(web::to(not_found)).wrap(headers).wrap(from_fn(guard)).into_factory()
}

fn not_allowed(request: &HttpRequest, path: &str, allowed: &str) -> Refusal {
    let method: String = request.method().as_str().chars().take(30).collect();
    let message = format!("{method} {path} is not a route");
    let hint = format!("{path} answers {allowed}");
    Refusal::new(405, "method_not_allowed", message, hint).allowing(allowed)
}

async fn not_found(request: HttpRequest) -> Result<&'static str, Refusal> {
    let path: String = request.path().chars().take(200).collect();
    let routes: Vec<_> = table().iter().map(|at| at.path).collect();
    let hint = format!("the routes are {}", routes.join(", "));
    Err(Refusal::new(404, "not_found", format!("`{path}` is not a route"), hint))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every path with a method, as the description has them or the table.
    type Operations = BTreeSet<(String, String)>;

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let document: serde_json::Value = serde_json::from_str(about::OPENAPI).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let described: Operations = paths
            .iter()
            .flat_map(|(path, methods)| {
                let methods = methods.as_object().expect("methods").keys();
                methods.map(|method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let known: Operations = table()
            .into_iter()
            .flat_map(|at| {
                let methods = at.methods.into_iter().filter(|method| *method != Method::HEAD);
                methods.map(|method| (at.path.to_owned(), method.to_string()))
            })
            .collect();
        assert_eq!(described, known);
    }
}
