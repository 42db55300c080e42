//! The log line of each event, in one place.
//!
//! Lines about failures and crashes may come in thousands: the error log writes
//! them, within its budget. Every other event is rare and writes its own.

use crate::supervision::{EndpointChange, Event, Outlook};

/// Longest list of endpoints in a line. Unit: characters.
const NAMED: usize = 200;

/// Whether every change of state is written: at the level `debug`.
pub(crate) fn wants_changes() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// Whether the error log writes the event's line.
pub(crate) const fn is_budgeted(event: &Event) -> bool {
    matches!(
        event,
        Event::EndpointsFailed(_)
            | Event::Recovered { .. }
            | Event::AddressesLost { .. }
            | Event::ListenerCrashed { .. }
            | Event::WorkerCrashed { .. }
            | Event::WorkerLost { .. }
            | Event::SupervisorCrashed { .. }
            | Event::ErrorLogCrashed { .. }
    )
}

/// Writes the event's line, if it has one.
pub(crate) fn write(event: &Event) {
    match event {
        // Said by whoever started the service, in the form that it likes.
        Event::Ready(_) | Event::Draining { .. } | Event::Stopped { .. } => {}
        // The crash that is told with it has a line that says so.
        Event::Quarantined { .. } => {}
        Event::ChunksChanged(_) | Event::EndpointsChanged(_) => write_change(event),
        Event::EndpointsFailed(_) | Event::Recovered { .. } | Event::AddressesLost { .. } => {
            write_endpoints(event);
        }
        Event::ListenerCrashed { .. }
        | Event::WorkerCrashed { .. }
        | Event::WorkerLost { .. }
        | Event::WorkerRestarted { .. }
        | Event::SupervisorCrashed { .. }
        | Event::ErrorLogCrashed { .. }
        | Event::WorkerHung { .. }
        | Event::WorkerAnswers { .. } => write_part(event),
        Event::LimitReached { .. }
        | Event::LimitLeft { .. }
        | Event::FirstRefusal { .. }
        | Event::FirstDrop { .. } => write_limit(event),
        Event::OrderDone { .. }
        | Event::Replanned { .. }
        | Event::Marked { .. }
        | Event::SettingsChanged { .. } => write_order(event),
    }
}

fn write_change(event: &Event) {
    match event {
        Event::ChunksChanged(change) => {
            let (from, to, count) = (change.from.as_str(), change.to.as_str(), change.chunks.len());
            let first = change.chunks.first().map(tracing::field::display);
            tracing::debug!(from, to, count, first, "chunks changed");
        }
        Event::EndpointsChanged(EndpointChange { from, to, fault, endpoints, .. }) => {
            let kind = fault.map(|fault| fault.kind.as_str());
            let (from, to) = (from.as_str(), to.as_str());
            let (count, endpoints) = (endpoints.len(), endpoints.text(NAMED));
            tracing::debug!(from, to, kind, count, endpoints, "endpoints changed");
        }
        _ => {}
    }
}

fn write_endpoints(event: &Event) {
    match event {
        Event::EndpointsFailed(failures) => tracing::warn!(
            chunk = %failures.chunk,
            kind = failures.fault.kind.as_str(),
            count = failures.endpoints.len(),
            endpoints = failures.endpoints.text(NAMED),
            outlook = failures.outlook.as_str(),
            "endpoints do not listen: {}",
            failures.fault.explain()
        ),
        Event::AddressesLost { endpoints } => {
            let Some((kind, count)) = event.fault() else { return };
            tracing::warn!(
                kind = kind.as_str(),
                count,
                endpoints = endpoints.text(NAMED),
                outlook = "waiting for the address",
                "endpoints do not listen: {}",
                crate::supervision::Fault::without_errno(kind).explain()
            );
        }
        Event::Recovered { endpoints } => tracing::info!(
            count = endpoints.len(),
            endpoints = endpoints.text(NAMED),
            "endpoints recovered"
        ),
        _ => {}
    }
}

fn write_part(event: &Event) {
    match event {
        Event::ListenerCrashed { endpoint, panic, outlook } => {
            crashed("listener", &endpoint.to_string(), panic, *outlook);
        }
        Event::WorkerCrashed { worker, chunk, panic, outlook } => {
            let name = chunk.map_or_else(|| worker.to_string(), |chunk| chunk.to_string());
            crashed("worker", &name, panic, *outlook);
        }
        Event::WorkerLost { worker, listeners, outlook } => {
            let panic = format!("its thread ended with {listeners} listeners");
            crashed("thread", &worker.to_string(), &panic, *outlook);
        }
        Event::SupervisorCrashed { panic } => {
            crashed("supervisor", "supervisor", panic, Outlook::Restarting);
        }
        Event::ErrorLogCrashed { panic } => {
            crashed("error log", "error log", panic, Outlook::Restarting);
        }
        Event::WorkerHung { worker } => tracing::error!(
            %worker,
            "the worker does not answer; its thread cannot be replaced while it lives"
        ),
        Event::WorkerAnswers { worker } => tracing::info!(%worker, "the worker answers again"),
        Event::WorkerRestarted { worker } => tracing::info!(%worker, "the worker is back"),
        _ => {}
    }
}

fn crashed(part: &str, name: &str, panic: &str, outlook: Outlook) {
    let outlook = outlook.as_str();
    tracing::error!(part, name, panic, outlook, "a part of the tree crashed");
}

fn write_limit(event: &Event) {
    match event {
        Event::LimitReached { limit } => {
            tracing::warn!(key = limit.key(), "a limit is reached: clients wait or are refused");
        }
        Event::LimitLeft { limit } => {
            tracing::info!(key = limit.key(), "the limit is not reached any more");
        }
        Event::FirstRefusal { reason, key, source } => tracing::warn!(
            %reason,
            key,
            %source,
            "a client was refused; further ones are only counted"
        ),
        Event::FirstDrop { reason, key } => {
            let key = key.unwrap_or("none: it is never answered");
            tracing::warn!(%reason, key, "a datagram got no answer; further ones are only counted");
        }
        _ => {}
    }
}

fn write_order(event: &Event) {
    match event {
        Event::OrderDone { order, select, matched, changed } => {
            tracing::info!(?order, select, matched, changed, "an order was carried out");
        }
        Event::Replanned { operation, diff } => tracing::info!(
            ?operation,
            opened = diff.opened,
            closed = diff.closed,
            reopened = diff.reopened,
            untouched = diff.untouched,
            "the plan changed"
        ),
        Event::Marked { run } => tracing::info!(run, "a new run began"),
        Event::SettingsChanged { changed } => {
            for change in changed {
                let (key, from, to) = (&change.key, &change.from, &change.to);
                tracing::info!(key, %from, %to, "a setting changed");
            }
        }
        _ => {}
    }
}
