//! Addresses that leave their interface while their endpoints are served.
//!
//! The sockets stay with their listeners: a socket whose address left says
//! nothing by itself, and works again when the address is back.

use super::Desk;
use crate::actors::orders;
use crate::actors::protocol::Notice;
use crate::plan::reach::LocalRoutes;
use crate::spec::Endpoint;
use crate::supervision::{Fault, FaultKind, Place};

impl Desk {
    /// An address may have left while its endpoint was opened: nobody was told.
    pub(super) fn check_addresses(&mut self, opened: &[Place]) {
        let known = |routes: &LocalRoutes| self.away(opened, routes);
        let mut away = self.setup.routes.borrow().as_ref().map(known).unwrap_or_default();
        if away.is_empty() {
            return;
        }
        // An address that just came is in the kernel's table before its news are
        // here, and where nobody watches there are no news.
        let Ok(present) = LocalRoutes::read() else { return };
        away = self.away(&away, &present);
        self.lose(&away);
    }

    /// Judges every endpoint anew by the machine's present addresses.
    pub(crate) fn addresses_changed(&mut self) {
        let Ok(routes) = LocalRoutes::read() else { return };
        if self.drain.is_some() || self.setup.routes.borrow().as_ref() == Some(&routes) {
            return;
        }
        let (mut away, mut back) = (Vec::new(), Vec::new());
        for (index, (group, endpoint)) in (0..).zip(&self.setup.endpoints) {
            let place = self.setup.table.place(index);
            let freebind = self.setup.groups[group].settings.freebind;
            if !routes.serves(&endpoint, freebind) {
                away.push(place);
            } else if self.setup.table.address_back(place).is_ok() {
                back.push(place);
            }
        }
        self.setup.routes.send_replace(Some(routes));
        self.lose(&away);
        self.tell_recovered(&back);
    }

    /// Those of the places whose address no interface has, as `routes` has it.
    fn away(&self, places: &[Place], routes: &LocalRoutes) -> Vec<Place> {
        let is_away = |place: &Place| {
            let index = self.setup.table.endpoint(*place);
            self.setup.endpoints.get(index).is_some_and(|(group, endpoint)| {
                !routes.serves(&endpoint, self.setup.groups[group].settings.freebind)
            })
        };
        places.iter().copied().filter(is_away).collect()
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
            self.tell_error_log(Notice::AddressesLost { fault, endpoints: lost });
        }
    }
}
