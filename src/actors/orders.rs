//! Writing the orders of a lease: which endpoints, with which ports and sockets.
//!
//! Reserves the one number that the two halves of `both://…:0` share, before
//! either half is opened. Changes the table by that alone.

use std::sync::Arc;

use super::desk::Setup;
use super::protocol::OpenOrder;
use crate::net::bind::{self, BindOptions, Bound};
use crate::net::host::Zones;
use crate::spec::{Endpoint, Port};
use crate::supervision::{ChunkId, Fault, Meter, Meters, Place, Slot};

/// The orders for these endpoints of a chunk.
pub(crate) fn write(setup: &mut Setup, chunk: ChunkId, slots: &[Slot]) -> Vec<OpenOrder> {
    let mut orders = Vec::with_capacity(slots.len());
    for slot in slots {
        let place = Place { chunk, slot: *slot };
        let index = setup.table.endpoint(place);
        let Some((group, endpoint)) = setup.endpoints.get(index) else { continue };
        let reserved = reserve(setup, place, endpoint);
        let (port, _) = setup.table.held(place);
        let endpoint = if port == 0 { endpoint } else { endpoint.with_port(port) };
        let group = Arc::clone(&setup.groups[group]);
        let retry = setup.table.is_retried(place);
        let Some(meter) = meter(setup, place) else { continue };
        orders.push(OpenOrder { slot: *slot, endpoint, group, meter, reserved, retry });
    }
    orders
}

/// What the endpoint counts into. A chunk's meters are made with its first order.
fn meter(setup: &mut Setup, place: Place) -> Option<Meter> {
    let Setup { table, meters, .. } = setup;
    let endpoints = || table.places_of(place.chunk).count();
    meters.entry(place.chunk).or_insert_with(|| Meters::new(endpoints())).of(place.slot)
}

/// The endpoint at this place, with the port that it got.
pub(crate) fn endpoint_at(setup: &Setup, place: Place) -> Option<Endpoint> {
    let (_, endpoint) = setup.endpoints.get(setup.table.endpoint(place))?;
    let (port, _) = setup.table.held(place);
    Some(if port == 0 { endpoint } else { endpoint.with_port(port) })
}

/// The socket that was set aside for the endpoint, if there is one; for half
/// of a pair without a number, a new pair.
fn reserve(setup: &mut Setup, place: Place, endpoint: Endpoint) -> Option<Result<Bound, Fault>> {
    let (port, socket) = setup.table.held(place);
    if let Some(socket) = socket {
        return Some(Ok(socket.clone()));
    }
    if port != 0 || !matches!(endpoint.port, Port::Ephemeral(_)) {
        return None;
    }
    let partner = setup.endpoints.partner(setup.table.endpoint(place))?;
    let partner = setup.table.place(partner);
    if setup.table.is_left_out(partner) {
        // There is no descriptor for it.
        return None;
    }
    let (group, _) = setup.endpoints.get(setup.table.endpoint(place))?;
    let options = BindOptions {
        freebind: setup.groups[group].settings.freebind,
        backlog: setup.groups[group].backlog,
        receive_buffer: setup.receive_buffer,
    };
    match bind::reserve_pair(Zones::default().present(endpoint.address), &options) {
        Ok((tcp, udp, port)) => {
            let (own, other) = match endpoint.protocol {
                crate::spec::Protocol::Tcp => (tcp, udp),
                crate::spec::Protocol::Udp => (udp, tcp),
            };
            setup.table.reserve(place, port, own.clone());
            setup.table.reserve(partner, port, other);
            Some(Ok(own))
        }
        Err(error) => Some(Err(Fault::from_bind_errno(error.raw_os_error().unwrap_or(0)))),
    }
}
