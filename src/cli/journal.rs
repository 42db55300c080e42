//! Log lines for journald, in its own protocol, so that each field can be asked for.
//!
//! A thread of its own speaks to journald: one that stalls costs lines, which are
//! counted, and never time. Decides nothing about levels.

use std::fmt::{Debug, Write};
use std::io;
use std::time::{Duration, Instant};

use nix::sys::stat::fstat;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Metadata, Subscriber, Value};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::outlet::Outlet;

/// What the fields of IPCow are called in the journal: `IPCOW_KIND`, `IPCOW_COUNT`.
const PREFIX: &str = "IPCOW";
/// Most fields of a line; tracing can hand over no more.
const FIELDS: usize = 32;
/// How long the end waits for a journald that stalls.
const PATIENCE: Duration = Duration::from_millis(500);

/// One line on its way to the journal.
pub(crate) struct Record {
    metadata: &'static Metadata<'static>,
    fields: Vec<(Field, String)>,
}

/// Takes log lines and hands them to the thread that speaks to journald.
#[derive(Clone)]
pub(crate) struct Journal {
    outlet: Outlet<Record>,
}

impl Journal {
    /// Connects to journald.
    ///
    /// # Errors
    /// When there is no journald, or the system gives no thread.
    pub(crate) fn open(instance: &str) -> io::Result<Self> {
        let journald = tracing_journald::layer()?
            .with_syslog_identifier("ipcow".to_owned())
            .with_field_prefix(Some(PREFIX.to_owned()))
            .with_custom_fields([("IPCOW_INSTANCE", instance)])
            .with_priority_mappings(PriorityMappings {
                info: Priority::Informational,
                debug: Priority::Debug,
                ..PriorityMappings::new()
            });
        let journald = Dispatch::new(tracing_subscriber::registry().with(journald));
        let outlet = Outlet::open("ipcow-journal", move |record: Record| {
            record.tell(&journald);
            Ok(())
        })?;
        Ok(Self { outlet })
    }

    /// Waits until journald has what was logged, but not long, and says on `stderr`
    /// what it missed.
    pub(crate) fn flush(&self, stderr: &Outlet) {
        self.outlet.flush(Instant::now() + PATIENCE);
        let lost = self.outlet.lost();
        if lost > 0 {
            stderr.send(format!("ipcow: journald was too slow: {lost} log lines are lost\n"));
        }
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.outlet.send(Record { metadata: event.metadata(), fields: fields.whole() });
    }
}

impl Record {
    fn tell(&self, journald: &Dispatch) {
        let Some(any) = self.metadata.fields().iter().next() else { return };
        let mut fields = self.fields.iter();
        let values: [(&Field, Option<&dyn Value>); FIELDS] = std::array::from_fn(|_| {
            fields.next().map_or((&any, None), |(field, text)| (field, Some(text as &dyn Value)))
        });
        journald.event(&Event::new(self.metadata, &self.metadata.fields().value_set(&values)));
    }
}

/// The fields of one line as text.
#[derive(Default)]
struct Fields {
    message: Option<(Field, String)>,
    others: Vec<(Field, String)>,
}

impl Fields {
    /// The message first, followed by what the fields say: `journalctl` shows no other.
    fn whole(self) -> Vec<(Field, String)> {
        let Self { message, mut others } = self;
        if let Some((field, mut text)) = message {
            for (name, value) in &others {
                // Writing to a String cannot fail.
                let _written = write!(text, " {name}={value}");
            }
            others.insert(0, (field, text));
        }
        others
    }

    fn add(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = Some((field.clone(), text)),
            _ => self.others.push((field.clone(), text)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}

/// Whether stderr is the journal's: JOURNAL_STREAM names it then by the numbers of
/// its device and its inode (systemd.exec(5)).
pub(crate) fn is_stderr_of_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let stderr = fstat(io::stderr()).ok();
    stderr.is_some_and(|it| named == format!("{}:{}", it.st_dev, it.st_ino))
}
