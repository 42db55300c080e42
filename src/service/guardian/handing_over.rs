//! What the guardian does where a service takes another over, or is taken over.

use std::collections::HashSet;
use std::time::Instant;

use super::{Guardian, Role};
use crate::actors::protocol::{AddressesChanged, Retirement, WithdrawSockets};
use crate::supervision::Place;

impl Guardian {
    /// Leaves what was taken to another instance, and drains the rest, which is returned.
    pub(in crate::service) fn begin_retire(&mut self, retirement: Retirement) -> HashSet<Place> {
        let gone = self.charges.desk.borrow_mut().begin_retire(retirement);
        if !self.plays(Role::Supervisor) {
            self.start_role(Role::Supervisor);
        }
        gone
    }

    /// The sessions of what was not taken had their time.
    pub(in crate::service) fn cut_overdue(&self, gone: HashSet<Place>) {
        self.charges.desk.borrow().cut_overdue(gone);
    }

    /// Nobody takes over what was offered.
    pub(in crate::service) fn withdraw(&self) {
        self.charges.desk.borrow_mut().withdraw();
        self.tell(WithdrawSockets);
    }

    /// Lets the listeners serve.
    pub(in crate::service) fn open_gate(&self) {
        self.charges.desk.borrow_mut().open_gate(Instant::now());
        self.tell(AddressesChanged);
    }
}
