//! What changes the service. Each is carried out by its handle, and written to the log once.

use std::pin::Pin;
use std::sync::Arc;

use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;

use super::{Context, State};
use crate::control::body;
use crate::control::order::{Order, OrderKind};
use crate::control::refusal::Refusal;
use crate::control::wire::now;
use crate::service::Changed;
use crate::spec::Selector;

/// A handler's answer on its way.
type Answer = Pin<Box<dyn Future<Output = Result<HttpResponse, Refusal>>>>;

/// The handler of an order.
pub(super) fn handler(
    kind: OrderKind,
) -> impl Fn(State, HttpRequest, Payload) -> Answer + Clone + 'static {
    move |state, request, payload| {
        Box::pin(async move {
            let body = body::read(&request, payload).await?;
            carry_out(&state, Order::parse(kind, &body)?).await
        })
    }
}

async fn carry_out(context: &Context, order: Order) -> Result<HttpResponse, Refusal> {
    let handle = &context.handle;
    match order {
        Order::Suspend { selector, options } => {
            changed("suspend", &selector, handle.suspend(&selector, options).await?)
        }
        Order::Resume(selector) => changed("resume", &selector, handle.resume(&selector).await?),
        Order::Drain(selector) => changed("drain", &selector, handle.drain(&selector).await?),
        Order::Retry(selector) => changed("retry", &selector, handle.retry(&selector).await?),
        Order::Remove(selector) => changed("remove", &selector, handle.remove(&selector).await?),
        Order::Add { spec, group } => {
            let diff = handle.add(&spec, group.as_deref()).await?;
            let spec = spec.to_string().escape_debug().to_string();
            tracing::info!(spec, group, opened = diff.opened, "an operator added endpoints");
            answer(&diff)
        }
        Order::Reload { dry_run } => answer(&context.reloader.reload(dry_run).await?),
        Order::Set(settings) => {
            let pairs: Vec<_> = settings.iter().map(|(key, it)| (&**key, &**it)).collect();
            answer(&json!({ "changed": handle.set(&pairs).await? }))
        }
        Order::Mark => {
            let run = handle.mark();
            tracing::info!(run, "an operator began a new run");
            answer(&json!({ "run": run, "ts": now() }))
        }
        Order::Shutdown => {
            tracing::info!("an operator ends the service");
            shutdown(context);
            Ok(HttpResponse::Accepted().json(json!({ "state": "draining" })))
        }
    }
}

fn changed(
    order: &'static str,
    selector: &Selector,
    done: Changed,
) -> Result<HttpResponse, Refusal> {
    let select = selector.to_string().escape_debug().to_string();
    let Changed { matched, changed, closing } = done;
    tracing::info!(order, select, matched, changed, closing, "an operator's order");
    answer(&done)
}

fn shutdown(context: &Context) {
    match &context.on_shutdown {
        Some(told) => told(),
        None => {
            let handle = Arc::clone(&context.handle);
            actix_rt::spawn(async move {
                let _gone_already = handle.shutdown().await;
            });
        }
    }
}

fn answer(body: &impl Serialize) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(body))
}
