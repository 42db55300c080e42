//! Plans of groups that were planned apart: what a running service serves.
//!
//! Holds numbering and the rules that need all groups at once. Resolves nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::build::check_wildcards;
use super::{PlanEndpoints, PlanError, PlannedGroup};

impl PlanEndpoints {
    /// One plan of these groups, numbered anew in this order. A group may name
    /// what an earlier one names already: whoever asks for a place finds the first.
    ///
    /// # Errors
    /// [`PlanError`] where a wildcard and an address of its family share a port,
    /// or there are more than `max_endpoints`.
    pub fn compose(
        groups: impl IntoIterator<Item = PlannedGroup>,
        hosts: BTreeMap<String, Vec<IpAddr>>,
        max_endpoints: u64,
    ) -> Result<Self, PlanError> {
        let mut first = 0_u64;
        let numbered = groups.into_iter().map(|group| {
            let numbered = PlannedGroup { first, ..group };
            first = first.saturating_add(numbered.set.len());
            numbered
        });
        let groups: Vec<_> = numbered.collect();
        if first > max_endpoints {
            return Err(PlanError::whole(
                format!(
                    "there would be {first} endpoints, more than limits.max_endpoints = {max_endpoints}"
                ),
                "name fewer, or raise the limit and start again",
            ));
        }
        check_wildcards(&groups)?;
        Ok(Self::new(groups, hosts))
    }
}
