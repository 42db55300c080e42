//! A list of endpoints, page by page: whoever writes it on holds one page.

use super::handle::ServiceHandle;
use super::operations::OperationError;
use crate::actors::protocol::ListEndpoints;
use crate::supervision::EndpointInfo;

/// A list that is fetched while it is read. Made by [`ServiceHandle::pages`].
#[derive(Debug)]
pub struct Pages<'a> {
    handle: &'a ServiceHandle,
    /// The next page; `None` at the end.
    query: Option<ListEndpoints>,
    pub(super) matched: u64,
}

impl<'a> Pages<'a> {
    pub(super) const fn new(handle: &'a ServiceHandle, query: ListEndpoints) -> Self {
        Self { handle, query: Some(query), matched: 0 }
    }

    /// How many endpoints there are from here on, with those that a limit or an offset
    /// leaves out.
    ///
    /// # Errors
    /// [`OperationError::Ended`].
    pub async fn count(&self) -> Result<u64, OperationError> {
        let Some(query) = self.query.clone() else { return Ok(0) };
        let query = ListEndpoints { take: 0, ..query };
        let mut all = Pages::new(self.handle, query);
        while all.next().await?.is_some() {}
        Ok(all.matched)
    }

    /// At most about a thousand endpoints, maybe none; `None` at the end.
    ///
    /// # Errors
    /// [`OperationError::Ended`].
    pub async fn next(&mut self) -> Result<Option<Vec<EndpointInfo>>, OperationError> {
        let Some(query) = &mut self.query else { return Ok(None) };
        let slice = self.handle.supervisor.deliver(query.clone()).await;
        let slice = slice.ok_or(OperationError::Ended)?;
        query.take -= slice.endpoints.len() as u64;
        query.skip = query.skip.saturating_sub(slice.matched);
        self.matched += slice.matched;
        match slice.next {
            Some(next) => query.from = next,
            None => self.query = None,
        }
        Ok(Some(slice.endpoints))
    }
}
