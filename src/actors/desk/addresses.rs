//! Addresses that leave their interface while their endpoints are served.
//!
//! The sockets stay with their listeners: a socket whose address left says
//! nothing by itself, and works again when the address is back. Only one in the
//! zone of an interface that was made again never does, and is replaced.

use super::Desk;
use crate::actors::orders;
use crate::net::host::Zones;
use crate::plan::reach::LocalRoutes;
use crate::spec::Endpoint;
use crate::supervision::{Event, Fault, FaultKind, Place};

/// Where the address of a served endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    /// Clients reach its socket.
    Here,
    /// No interface has it.
    Away,
    /// On an interface that its socket does not hear.
    Moved,
}

/// What came of a judgement.
#[derive(Debug, Default)]
struct Judged {
    away: Vec<Place>,
    moved: Vec<Place>,
    back: Vec<Place>,
}

impl Desk {
    /// An address may have left while its endpoint was opened: nobody was told.
    pub(super) fn check_addresses(&mut self, opened: &[Place]) {
        let known = |routes: &LocalRoutes| self.not_here(opened, routes);
        let doubted = self.setup.routes.borrow().as_ref().map(known).unwrap_or_default();
        if doubted.is_empty() {
            return;
        }
        // An address that just came is in the kernel's table before its news are
        // here, and where nobody watches there are no news.
        let Ok(present) = LocalRoutes::read() else { return };
        let mut judged = self.judge(&doubted, &present);
        // They listen, and were not missed.
        judged.back.clear();
        self.settle_addresses(&judged);
    }

    /// Judges anew, by the machine's present addresses, every endpoint of whose
    /// address they say something else than before.
    pub(crate) fn addresses_changed(&mut self) {
        let Ok(routes) = LocalRoutes::read() else { return };
        if self.drain.is_some() || self.setup.routes.borrow().as_ref() == Some(&routes) {
            return;
        }
        let everything = 0..self.setup.endpoints.len();
        let concerned = match self.setup.routes.borrow().as_ref() {
            Some(known) => self.setup.endpoints.concerned(known, &routes),
            None => vec![everything],
        };
        let places = concerned.into_iter().flatten().map(|index| self.setup.table.place(index));
        let places: Vec<_> = places.collect();
        let judged = self.judge(&places, &routes);
        self.setup.routes.send_replace(Some(routes));
        self.settle_addresses(&judged);
    }

    fn not_here(&self, places: &[Place], routes: &LocalRoutes) -> Vec<Place> {
        let mut zones = Zones::default();
        let not_here =
            |place: &Place| self.whereabouts(*place, routes, &mut zones) != Whereabouts::Here;
        places.iter().copied().filter(not_here).collect()
    }

    fn judge(&self, places: &[Place], routes: &LocalRoutes) -> Judged {
        let (mut judged, mut zones) = (Judged::default(), Zones::default());
        for place in places {
            match self.whereabouts(*place, routes, &mut zones) {
                Whereabouts::Here => judged.back.push(*place),
                Whereabouts::Away => judged.away.push(*place),
                Whereabouts::Moved => judged.moved.push(*place),
            }
        }
        judged
    }

    fn whereabouts(&self, place: Place, routes: &LocalRoutes, zones: &mut Zones) -> Whereabouts {
        let index = self.setup.table.endpoint(place);
        let Some((group, mut endpoint)) = self.setup.endpoints.get(index) else {
            return Whereabouts::Here;
        };
        endpoint.address = zones.present(endpoint.address);
        if !routes.serves(&endpoint, self.setup.groups[group].settings.freebind) {
            return Whereabouts::Away;
        }
        match self.setup.table.held(place).1 {
            Some(socket) if !socket.is_in_zone_of(&endpoint) => Whereabouts::Moved,
            _ => Whereabouts::Here,
        }
    }

    fn settle_addresses(&mut self, judged: &Judged) {
        self.lose(&judged.away);
        self.lose(&judged.moved);
        self.replace_listeners(&judged.moved);
        let table = &mut self.setup.table;
        let back = judged.back.iter().copied().filter(|place| table.address_back(*place).is_ok());
        let back: Vec<_> = back.collect();
        self.tell_recovered(&back);
    }

    /// Only one that listened is lost; of the others it is known already.
    fn lose(&mut self, away: &[Place]) {
        let fault = Fault::without_errno(FaultKind::AddressLost);
        let mut lost: Vec<Endpoint> = Vec::new();
        for place in away {
            if self.setup.table.address_lost(*place, fault).is_ok() {
                lost.extend(orders::endpoint_at(&self.setup, *place));
            }
        }
        if !lost.is_empty() {
            self.tell_failure(Event::AddressesLost { endpoints: lost.into() });
        }
    }

    /// Has the listeners of these close: their endpoints are opened anew once
    /// they have said so. One that is told twice says so once.
    fn replace_listeners(&self, moved: &[Place]) {
        let fault = Fault::without_errno(FaultKind::AddressLost);
        for place in moved.iter().copied() {
            let Some(lease) = self.setup.table.served_under(place) else { continue };
            self.on_thread(lease.worker, move |local| local.give_up_listener(place, lease, fault));
        }
    }
}
