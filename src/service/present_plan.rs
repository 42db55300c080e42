//! The plan of what a service serves now, as if it were planned at this moment.
//!
//! The machine is read again, but for what the service itself holds of it. Changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::handle::ServiceHandle;
use super::operations::{ListOptions, OperationError, aside};
use super::planning;
use crate::net::host;
use crate::plan::facts::HostFacts;
use crate::plan::report::Report;
use crate::spec::{Protocol, Selector};
use crate::supervision::EndpointState;

/// The sockets that the service itself serves.
type Own = BTreeSet<(Protocol, IpAddr, u16)>;

impl ServiceHandle {
    /// What is served now, with what it takes and what is in its way, as
    /// [`Plan::report`](planning::Plan::report) says it of a plan.
    ///
    /// Limits are those of the start; since it is served, nothing has to be insisted on.
    ///
    /// # Errors
    /// [`OperationError::Ended`]; [`OperationError::Io`] where there is no thread to read
    /// the machine on.
    pub async fn present_plan(&self) -> Result<Report, OperationError> {
        let own = self.own_sockets().await?;
        let layout = self.layout.borrow().clone();
        let (config, start) = (self.config(), Arc::clone(&self.shared.plan));
        let chunks = self.shared.board.chunks().total;
        let planned = aside(move || {
            let mut facts: HostFacts = host::facts();
            facts.limits = start.limits.clone();
            facts.sockets.retain(|it| !own.contains(&(it.protocol, it.address, it.port)));
            planning::assemble(&config, layout, 0, &facts, true, &host::holders).report()
        });
        let mut report = planned.await?;
        // A plan that changed has other chunks than one that is made anew.
        report.chunks.count = chunks;
        Ok(report)
    }

    async fn own_sockets(&self) -> Result<Own, OperationError> {
        let listening = ListOptions::default().state(EndpointState::Listening);
        let mut pages = self.pages(&Selector::all(), listening).await?;
        let mut own = Own::new();
        while let Some(page) = pages.next().await? {
            own.extend(page.iter().map(|row| {
                (row.endpoint.protocol, row.endpoint.address.ip(), row.endpoint.port.number())
            }));
        }
        Ok(own)
    }
}
