//! A row of a list (interface §4.3), as a line of a table or of CSV.

use std::borrow::Cow;
use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::super::super::escaped;
use super::super::table::{Column, Table};

/// One endpoint.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    #[serde(borrow)]
    endpoint: Cow<'a, str>,
    #[serde(borrow)]
    group: Cow<'a, str>,
    chunk: u64,
    workers: Vec<u64>,
    #[serde(borrow)]
    state: Cow<'a, str>,
    attempts: u64,
    restarts: u64,
    errno: Option<String>,
    error: Option<String>,
    retry_in_ms: Option<u64>,
    sessions: Sessions,
    datagrams: Datagrams,
    bytes: Bytes,
    last_seen: Option<String>,
    last_peer: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Sessions {
    active: u64,
    accepted: u64,
    refused: u64,
}

#[derive(Debug, Deserialize)]
struct Datagrams {
    received: u64,
    replied: u64,
    dropped: u64,
}

#[derive(Debug, Deserialize)]
struct Bytes {
    #[serde(rename = "in")]
    inward: u64,
    out: u64,
}

const fn word(title: &'static str, worth: u8) -> Column {
    Column { title, right: false, worth }
}

const fn number(title: &'static str, worth: u8) -> Column {
    Column { title, right: true, worth }
}

const COLUMNS: [Column; 14] = [
    word("ENDPOINT", 9),
    word("STATE", 9),
    word("GROUP", 4),
    number("CHUNK", 3),
    number("WORKERS", 1),
    number("ACTIVE", 7),
    number("CAME", 7),
    number("REFUSED", 6),
    number("IN", 5),
    number("OUT", 5),
    word("LAST SEEN", 6),
    word("LAST PEER", 6),
    word("RETRY", 8),
    word("ERROR", 9),
];

const HEADER: [&str; 20] = [
    "endpoint",
    "group",
    "chunk",
    "workers",
    "state",
    "attempts",
    "restarts",
    "errno",
    "error",
    "retry_in_ms",
    "sessions_active",
    "sessions_accepted",
    "sessions_refused",
    "datagrams_received",
    "datagrams_replied",
    "datagrams_dropped",
    "bytes_in",
    "bytes_out",
    "last_seen",
    "last_peer",
];

/// Writes a table; `now` tells how long ago a client was there.
pub(super) fn write_table(
    rows: &[Row<'_>],
    now: SystemTime,
    width: Option<usize>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let rows = rows.iter().map(|row| cells(row, now)).collect();
    Table { columns: &COLUMNS, rows }.write(width, out)
}

fn cells<'a>(row: &'a Row<'_>, now: SystemTime) -> Vec<Cow<'a, str>> {
    let count = |count: u64| Cow::from(count.to_string());
    let is_tcp = row.endpoint.starts_with("tcp");
    let (came, refused) = match is_tcp {
        true => (row.sessions.accepted, row.sessions.refused),
        false => (row.datagrams.received, row.datagrams.dropped),
    };
    let seen = row.last_seen.as_deref();
    vec![
        shown(&row.endpoint),
        shown(&row.state),
        shown(&row.group),
        count(row.chunk),
        numbers(&row.workers).into(),
        if is_tcp { count(row.sessions.active) } else { Cow::Borrowed("") },
        count(came),
        count(refused),
        count(row.bytes.inward),
        count(row.bytes.out),
        seen.map_or(Cow::Borrowed(""), |seen| ago(seen, now)),
        shown(row.last_peer.as_deref().unwrap_or("")),
        row.retry_in_ms.map_or(String::new(), |ms| format!("in {}", short(ms))).into(),
        shown(row.errno.as_deref().or(row.error.as_deref()).unwrap_or("")),
    ]
}

/// What a service said, harmless to a terminal.
fn shown(text: &str) -> Cow<'_, str> {
    match text.chars().any(char::is_control) {
        true => escaped(text).into(),
        false => text.into(),
    }
}

fn numbers(numbers: &[u64]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    numbers.join(" ")
}

/// "4s ago"; the moment itself where it cannot be compared.
fn ago(seen: &str, now: SystemTime) -> Cow<'_, str> {
    let moment = humantime::parse_rfc3339(seen).ok();
    // A clock that was set back shows no negative time.
    match moment.map(|moment| now.duration_since(moment).unwrap_or_default()) {
        Some(past) => format!("{} ago", short(past.as_millis().try_into().unwrap_or(0))).into(),
        None => shown(seen),
    }
}

/// Below a second milliseconds, else the two largest units.
pub(in super::super) fn short(ms: u64) -> String {
    let time = match ms {
        0..1000 => Duration::from_millis(ms),
        _ => Duration::from_secs(ms / 1000),
    };
    let words = humantime::format_duration(time).to_string();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Writes RFC 4180 with a header.
pub(super) fn write_csv(rows: &[Row<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    writer.write_record(HEADER)?;
    for row in rows {
        let Row { sessions, datagrams, bytes, .. } = row;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        writer.write_record([
            row.endpoint.as_ref(),
            row.group.as_ref(),
            &row.chunk.to_string(),
            &numbers(&row.workers),
            row.state.as_ref(),
            &row.attempts.to_string(),
            &row.restarts.to_string(),
            &text(&row.errno),
            &text(&row.error),
            &row.retry_in_ms.map_or(String::new(), |ms| ms.to_string()),
            &sessions.active.to_string(),
            &sessions.accepted.to_string(),
            &sessions.refused.to_string(),
            &datagrams.received.to_string(),
            &datagrams.replied.to_string(),
            &datagrams.dropped.to_string(),
            &bytes.inward.to_string(),
            &bytes.out.to_string(),
            &text(&row.last_seen),
            &text(&row.last_peer),
        ])?;
    }
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = r#"[
        {"endpoint":"tcp://127.0.0.1:8000","group":"lab","chunk":1,"workers":[1],"state":"listening",
         "attempts":1,"restarts":0,"errno":null,"error":null,"retry_in_ms":null,
         "sessions":{"active":1,"accepted":3,"refused":2},"datagrams":{"received":0,"replied":0,"dropped":0},
         "bytes":{"in":15,"out":12},"last_seen":"2026-11-28T00:00:00.500Z","last_peer":"127.0.0.1:40999"},
        {"endpoint":"udp://127.0.0.1:8000","group":"l\u001bb","chunk":2,"workers":[],"state":"retrying",
         "attempts":3,"restarts":1,"errno":"EADDRINUSE","error":"in use, \"here\"","retry_in_ms":300,
         "sessions":{"active":0,"accepted":0,"refused":0},"datagrams":{"received":9,"replied":8,"dropped":1},
         "bytes":{"in":5,"out":4},"last_seen":null,"last_peer":null}]"#;

    fn written(write: impl FnOnce(&[Row<'_>], &mut Vec<u8>) -> io::Result<()>) -> String {
        let rows: Vec<Row<'_>> = serde_json::from_str(ROWS).expect("rows");
        let mut out = Vec::new();
        write(&rows, &mut out).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_table_shows_who_came_and_what_is_wrong() {
        let now = humantime::parse_rfc3339("2026-11-28T00:01:04Z").expect("a moment");
        let text = written(|rows, out| write_table(rows, now, None, out));
        let expected = "\
ENDPOINT              STATE      GROUP     CHUNK  WORKERS  ACTIVE  CAME  REFUSED  IN  OUT  LAST SEEN  LAST PEER        RETRY     ERROR
tcp://127.0.0.1:8000  listening  lab           1        1       1     3        2  15   12  1m 3s ago  127.0.0.1:40999
udp://127.0.0.1:8000  retrying   l\\u{1b}b      2                      9        1   5    4                              in 300ms  EADDRINUSE
";
        assert_eq!(text, expected);
        let narrow = written(|rows, out| write_table(rows, now, Some(60), out));
        assert!(narrow.lines().all(|line| line.chars().count() <= 60), "{narrow}");
        assert!(narrow.contains("EADDRINUSE"), "what is wrong goes last: {narrow}");
    }

    #[test]
    fn csv_has_a_header_and_quotes_as_rfc_4180_does() {
        let text = written(|rows, out| write_csv(rows, out));
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines[0], HEADER.join(","));
        assert_eq!(
            lines[1],
            "tcp://127.0.0.1:8000,lab,1,1,listening,1,0,,,,1,3,2,0,0,0,15,12,\
             2026-11-28T00:00:00.500Z,127.0.0.1:40999"
        );
        assert!(lines[2].contains(",EADDRINUSE,\"in use, \"\"here\"\"\",300,"), "{}", lines[2]);
        assert_eq!(lines[3..], [""]);
    }

    #[test]
    fn short_times_have_two_units_at_most() {
        let shown = [0, 300, 1_500, 61_000, 90_061_000].map(short);
        assert_eq!(shown, ["0s", "300ms", "1s", "1m 1s", "1day 1h"]);
    }
}
