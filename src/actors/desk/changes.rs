//! State changes of the table, told as events: alike ones together.
//!
//! Never decides a state. Ten thousand endpoints that open under one lease are
//! one event; those that fail in different ways are one event a way.

use super::Setup;
use crate::actors::orders;
use crate::spec::Endpoint;
use crate::supervision::{
    ChunkChange, ChunkId, ChunkState, EndpointChange, EndpointState, Event, Fault, Place,
    StateChange,
};

/// Endpoints that changed alike, not told yet.
type Alike = ((EndpointState, EndpointState), Option<Fault>, Vec<Endpoint>);

/// What is told of these changes, by when each way of changing came first.
pub(super) fn events(setup: &Setup, changes: &[StateChange]) -> Vec<Event> {
    let mut chunks: Vec<(ChunkState, ChunkState, Vec<ChunkId>)> = Vec::new();
    let mut endpoints: Vec<Alike> = Vec::new();
    for change in changes {
        match *change {
            StateChange::Chunk { chunk, from, to } => {
                let alike =
                    chunks.iter_mut().find(|(before, now, _)| (*before, *now) == (from, to));
                match alike {
                    Some((_, _, known)) => known.push(chunk),
                    None => chunks.push((from, to, vec![chunk])),
                }
            }
            StateChange::Endpoints { chunk, first, last, from, to, fault } => {
                let places = (first..=last).map(|slot| Place { chunk, slot });
                let named = places.filter_map(|place| orders::endpoint_at(setup, place));
                let same = |known: &&mut Alike| known.0 == (from, to) && known.1 == fault;
                match endpoints.iter_mut().find(same) {
                    Some((_, _, known)) => known.extend(named),
                    None => endpoints.push(((from, to), fault, named.collect())),
                }
            }
        }
    }
    // A chunk's state follows from those of its endpoints.
    let endpoints = endpoints.into_iter().map(|(states, fault, endpoints)| {
        Event::EndpointsChanged(EndpointChange::new(states, fault, endpoints.into()))
    });
    let chunks = chunks
        .into_iter()
        .map(|(from, to, chunks)| Event::ChunksChanged(ChunkChange::new(from, to, chunks)));
    endpoints.chain(chunks).collect()
}
