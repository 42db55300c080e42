//! Metrics for Prometheus: the text of one scrape, from one snapshot.
//!
//! Names and labels are those of the README. Reads counts alone, so a scrape
//! costs the same whatever number of endpoints there is, and no label ever is
//! an address or a port. Never speaks HTTP: who answers a scrape is elsewhere.

#[cfg(test)]
mod tests;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::service::Snapshot;
use crate::supervision::{BindTimes, DropReason, EndReason, FaultKind, Refusal};

/// How a scrape is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What a client whose `Accept` header is this wants most: OpenMetrics where
    /// it is named, and no less wanted than text.
    #[must_use]
    pub fn accepted(accept: Option<&str>) -> Self {
        let accept = accept.unwrap_or_default();
        let wanted = |name| accept.split(',').filter_map(|item| quality(item, name)).max();
        let text = wanted("text/plain").or_else(|| wanted("text/*")).or_else(|| wanted("*/*"));
        match wanted("application/openmetrics-text") {
            Some(open) if open > 0 && Some(open) >= text => Self::OpenMetrics,
            _ => Self::Text,
        }
    }

    /// The `Content-Type` of the answer.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// How much an item of an `Accept` header wants the media type `name`, in
/// thousandths (RFC 9110, 12.4.2); `None` where it names another.
fn quality(item: &str, name: &str) -> Option<u16> {
    let mut parts = item.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(name) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight: f32 = weight.map_or(Some(1.0), |weight| weight.parse().ok())?;
    Some((weight.clamp(0.0, 1.0) * 1000.0) as u16)
}

/// The text of a scrape: every series of the README, also those at 0.
#[must_use]
pub fn render(snapshot: Snapshot, format: Format) -> String {
    let mut registry = Registry::with_prefix("ipcow");
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut page = String::with_capacity(8 * 1024);
    let _a_string_takes_everything = match format {
        Format::Text => prometheus_text::encode(&mut page, &registry),
        Format::OpenMetrics => text::encode(&mut page, &registry),
    };
    page
}

#[derive(Debug)]
struct Scrape(Snapshot);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.states(&mut page)?;
        self.openings(&mut page)?;
        self.sessions(&mut page)?;
        self.datagrams(&mut page)?;
        self.records(&mut page)?;
        let info = [("version", env!("CARGO_PKG_VERSION"))];
        page.begin("build", "The version that runs", None, MetricType::Info)?.encode_info(&info)
    }
}

impl Scrape {
    fn states(&self, page: &mut Page<'_>) -> fmt::Result {
        let endpoints = self.0.endpoints;
        let series = [
            ("pending", endpoints.pending),
            ("listening", endpoints.listening),
            ("retrying", endpoints.retrying),
            ("quarantined", endpoints.quarantined),
            ("draining", endpoints.draining),
            ("suspended", endpoints.suspended),
        ];
        page.gauges("endpoints", "Endpoints by state", "state", series)?;
        let chunks = self.0.chunks;
        let series = [
            ("idle", chunks.idle),
            ("ready", chunks.ready),
            ("processing", chunks.processing),
            ("completed", chunks.completed),
            ("error", chunks.error),
        ];
        page.gauges("chunks", "Chunks of endpoints by state", "state", series)
    }

    fn openings(&self, page: &mut Page<'_>) -> fmt::Result {
        let totals = &self.0.totals;
        let reasons = FaultKind::OF_OPENING.map(FaultKind::as_str).into_iter();
        page.counters(
            ("bind_failures", "Attempts to open an endpoint that failed, by reason"),
            None,
            "reason",
            reasons.zip(totals.bind_failures),
        )?;
        page.counter(
            "retries",
            "Attempts to open an endpoint that had failed before",
            totals.retries,
        )?;
        let restarts = self.0.restarts;
        page.counters(
            ("restarts", "Parts of the service that came back after a crash"),
            None,
            "part",
            [("listener", restarts.listeners), ("worker", restarts.workers)],
        )?;
        page.counter(
            "errors_dropped",
            "Failures of sessions that the error log had no room for",
            self.0.errors_dropped,
        )?;
        page.bind_times(&totals.bind_times)
    }

    fn sessions(&self, page: &mut Page<'_>) -> fmt::Result {
        let totals = &self.0.totals;
        page.counter("sessions_accepted", "TCP sessions that were served", totals.accepted)?;
        page.begin("sessions_active", "TCP sessions that are open", None, MetricType::Gauge)?
            .encode_gauge(&totals.active())?;
        page.counters(
            ("sessions_closed", "TCP sessions that ended, by reason"),
            None,
            "reason",
            EndReason::ALL.map(EndReason::as_str).into_iter().zip(totals.ended),
        )?;
        page.counters(
            ("sessions_refused", "TCP clients that were accepted and closed at once, by reason"),
            None,
            "reason",
            Refusal::ALL.map(Refusal::as_str).into_iter().zip(totals.refused),
        )?;
        page.counters(
            ("received", "Payload bytes from clients"),
            Some(Unit::Bytes),
            "protocol",
            [("tcp", totals.tcp_in), ("udp", totals.udp_in)],
        )?;
        page.counters(
            ("sent", "Payload bytes to clients"),
            Some(Unit::Bytes),
            "protocol",
            [("tcp", totals.tcp_out), ("udp", totals.udp_out)],
        )
    }

    fn datagrams(&self, page: &mut Page<'_>) -> fmt::Result {
        let totals = &self.0.totals;
        page.counter(
            "datagrams_received",
            "UDP datagrams that the kernel delivered",
            totals.received,
        )?;
        page.counters(
            ("datagrams_dropped", "UDP datagrams that got no answer, by reason"),
            None,
            "reason",
            DropReason::ALL.map(DropReason::as_str).into_iter().zip(totals.dropped),
        )
    }

    /// All 0 without an access log: nothing is written, and nothing is lost.
    fn records(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = self.0.access_log.unwrap_or_default();
        page.counter(
            "access_log_written",
            "Records that were written to the access log",
            counts.written,
        )?;
        page.counter(
            "access_log_dropped",
            "Records that the access log lost: no room, or they could not be written",
            counts.dropped,
        )?;
        page.counter(
            "access_log_untracked",
            "UDP datagrams that belong to no flow of the access log: as many as may be were open",
            counts.untracked,
        )
    }
}

/// Where a scrape is written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    /// Writes the help (the library puts the full stop) and the type.
    fn begin<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        unit: Option<&'s Unit>,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, unit, kind)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut metric = self.begin(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters<'l>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        label: &str,
        series: impl IntoIterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, unit.as_ref(), MetricType::Counter)?;
        for (value, count) in series {
            let labels = [(label, value)];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        series: impl IntoIterator<Item = (&'l str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, help, None, MetricType::Gauge)?;
        for (value, count) in series {
            metric.encode_family(&[(label, value)])?.encode_gauge(&count)?;
        }
        Ok(())
    }

    fn bind_times(&mut self, times: &BindTimes) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = times
            .buckets()
            .map(|(bound, count)| (bound.map_or(f64::INFINITY, |it| it.as_secs_f64()), count))
            .collect();
        let mut metric = self.begin(
            "bind_duration",
            "How long an attempt to open an endpoint took, whatever came of it",
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        let (total, count) = (times.total().as_secs_f64(), times.count());
        metric.encode_histogram::<NoLabelSet>(total, count, &buckets, None)
    }
}
