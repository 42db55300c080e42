//! What a client may order, from the body of its request. Carries nothing out.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::refusal::Refusal;
use crate::config::EffectiveValue;
use crate::service::{Sessions, SuspendOptions};
use crate::spec::{Selector, Spec};

/// Longest suspension. A year.
const MAX_TIME: Duration = Duration::from_secs(31_536_000);

/// Which order a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderKind {
    /// `POST /api/v1/suspend`
    Suspend,
    /// `POST /api/v1/resume`
    Resume,
    /// `POST /api/v1/drain`
    Drain,
    /// `POST /api/v1/retry`
    Retry,
    /// `POST /api/v1/endpoints`
    Add,
    /// `DELETE /api/v1/endpoints`
    Remove,
    /// `POST /api/v1/reload`
    Reload,
    /// `PATCH /api/v1/settings`
    Set,
    /// `POST /api/v1/mark`
    Mark,
    /// `POST /api/v1/shutdown`
    Shutdown,
}

impl OrderKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Suspend,
        Self::Resume,
        Self::Drain,
        Self::Retry,
        Self::Add,
        Self::Remove,
        Self::Reload,
        Self::Set,
        Self::Mark,
        Self::Shutdown,
    ];

    /// A body that it takes.
    const fn example(self) -> &'static str {
        match self {
            Self::Suspend => r#"{"select":"tcp://127.0.0.1:*","sessions":"keep","for":"30s"}"#,
            Self::Resume | Self::Drain | Self::Retry => r#"{"select":"tcp://127.0.0.1:*"}"#,
            Self::Add => r#"{"spec":"tcp://127.0.0.1:8000-8010","group":"lab"}"#,
            Self::Remove => r#"{"spec":"tcp://127.0.0.1:8000-8010"}"#,
            Self::Reload => r#"{"dry_run":true}"#,
            Self::Set => r#"{"limits.max_sessions":100,"session.idle_timeout_secs":30}"#,
            Self::Mark | Self::Shutdown => "{}",
        }
    }

    /// Whether no body is as good as `{}`.
    const fn may_be_empty(self) -> bool {
        matches!(self, Self::Reload | Self::Mark | Self::Shutdown)
    }
}

/// An order, read from the body of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// Close listeners.
    Suspend {
        /// Whose.
        selector: Selector,
        /// What becomes of their sessions, and for how long.
        options: SuspendOptions,
    },
    /// Open again what is suspended.
    Resume(Selector),
    /// Close listeners and let sessions end in time.
    Drain(Selector),
    /// Open again what failed.
    Retry(Selector),
    /// Serve these endpoints too.
    Add {
        /// Which.
        spec: Spec,
        /// The group that they join; `None` = the group of what is added.
        group: Option<String>,
    },
    /// Serve these endpoints no more.
    Remove(Selector),
    /// Read the configuration again.
    Reload {
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// Give these keys these values, which are written as after `--set`.
    Set(Vec<(String, String)>),
    /// Begin a new run.
    Mark,
    /// Drain the service, then end it.
    Shutdown,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Suspend {
    select: String,
    #[serde(default)]
    sessions: Option<SessionsWord>,
    #[serde(default, rename = "for")]
    time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SessionsWord {
    Keep,
    Fin,
    Reset,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Select {
    select: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    spec: String,
    #[serde(default)]
    group: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    spec: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reload {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Order {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// `bad_request`, `bad_selector` or `bad_spec`, with what was found and an example.
    pub fn parse(kind: OrderKind, body: &[u8]) -> Result<Self, Refusal> {
        Ok(match kind {
            OrderKind::Suspend => {
                let Suspend { select, sessions, time } = read(kind, body)?;
                let sessions = match sessions {
                    None | Some(SessionsWord::Keep) => Sessions::Keep,
                    Some(SessionsWord::Fin) => Sessions::Fin,
                    Some(SessionsWord::Reset) => Sessions::Reset,
                };
                let mut options = SuspendOptions::default().sessions(sessions);
                if let Some(time) = time {
                    options = options.lasting(duration(&time)?);
                }
                Self::Suspend { selector: selector(&select)?, options }
            }
            OrderKind::Resume => Self::Resume(selected(kind, body)?),
            OrderKind::Drain => Self::Drain(selected(kind, body)?),
            OrderKind::Retry => Self::Retry(selected(kind, body)?),
            OrderKind::Add => {
                let Add { spec, group } = read(kind, body)?;
                let spec = Spec::parse(&spec).map_err(|error| Refusal::bad_spec(&error))?;
                Self::Add { spec, group }
            }
            OrderKind::Remove => {
                let Remove { spec } = read(kind, body)?;
                Self::Remove(selector(&spec)?)
            }
            OrderKind::Reload => {
                let Reload { dry_run } = read(kind, body)?;
                Self::Reload { dry_run }
            }
            OrderKind::Set => {
                let settings: Map<String, Value> = read(kind, body)?;
                Self::Set(settings.iter().map(|(key, it)| (key.clone(), written(it))).collect())
            }
            OrderKind::Mark => {
                let Nothing {} = read(kind, body)?;
                Self::Mark
            }
            OrderKind::Shutdown => {
                let Nothing {} = read(kind, body)?;
                Self::Shutdown
            }
        })
    }
}

fn read<T: DeserializeOwned>(kind: OrderKind, body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() && kind.may_be_empty() { b"{}" } else { body };
    json(body, kind.example())
}

/// A JSON body, as the type wants it.
pub(super) fn json<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, Refusal> {
    // serde takes a list for a struct, too.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let example = format!("send a JSON object such as {example}");
    match serde_json::from_slice(body) {
        Ok(_) if !is_object => {
            Err(Refusal::bad_request("the body is JSON, but no object", example))
        }
        Ok(read) => Ok(read),
        Err(_) if body.is_empty() => Err(Refusal::bad_request("the body is empty", example)),
        Err(error) => Err(Refusal::bad_request(format!("the body: {error}"), example)),
    }
}

/// A value of JSON as the configuration writes it. What no key takes is left as it is,
/// to be shown where it is refused.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => EffectiveValue::from(text.clone()).to_string(),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(written).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn selected(kind: OrderKind, body: &[u8]) -> Result<Selector, Refusal> {
    let Select { select } = read(kind, body)?;
    selector(&select)
}

/// A selector of a client.
pub(super) fn selector(text: &str) -> Result<Selector, Refusal> {
    Selector::parse(text).map_err(|error| Refusal::bad_selector(&error))
}

fn duration(text: &str) -> Result<Duration, Refusal> {
    const HINT: &str = "write 30s, 5m or 1h30m, at most a year";
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err(Refusal::bad_request("`for` is no time at all", HINT)),
        Ok(time) if time > MAX_TIME => {
            Err(Refusal::bad_request("`for` is longer than a year", HINT))
        }
        Ok(time) => Ok(time),
        Err(error) => {
            let text: String = text.chars().take(60).collect();
            Err(Refusal::bad_request(format!("`for` is `{text}`: {error}"), HINT))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: OrderKind, body: &str) -> Refusal {
        Order::parse(kind, body.as_bytes()).expect_err(body)
    }

    #[test]
    fn the_example_of_every_order_is_one() {
        for kind in OrderKind::ALL {
            let order = Order::parse(kind, kind.example().as_bytes());
            assert!(order.is_ok(), "{kind:?}: {order:?}");
        }
    }

    #[test]
    fn no_body_will_do_where_every_field_has_a_default() {
        for kind in OrderKind::ALL {
            assert_eq!(Order::parse(kind, b"").is_ok(), kind.may_be_empty(), "{kind:?}");
        }
    }

    #[test]
    fn what_is_not_known_missing_twice_or_of_another_type_is_refused_with_an_example() {
        for body in [
            "",
            "null",
            "[]",
            r#"["tcp://127.0.0.1:1"]"#,
            "{}",
            r#"{"select":null}"#,
            r#"{"select":7}"#,
            r#"{"select":"*","select":"*"}"#,
            r#"{"select":"*","more":1}"#,
            r#"{"select":"*"} "#.trim_end_matches([' ', '}']),
        ] {
            let refusal = refused(OrderKind::Resume, body);
            assert_eq!((refusal.status, refusal.code), (400, "bad_request"), "{body}");
            assert!(refusal.hint.contains(r#"{"select":"#), "{refusal:?}");
        }
        assert_eq!(refused(OrderKind::Drain, r#"{"select":"tcp://x"}"#).code, "bad_selector");
        assert_eq!(refused(OrderKind::Add, r#"{"spec":"tcp://x"}"#).code, "bad_spec");
        assert_eq!(refused(OrderKind::Remove, r#"{"spec":"!*"}"#).code, "bad_selector");
    }

    #[test]
    fn settings_are_written_as_in_the_configuration() {
        let body = r#"{"a.b":1,"a.c":"auto","a.d":["0-7",9],"a.e":0.5,"a.f":null,"a.g":"x\ny"}"#;
        let Ok(Order::Set(settings)) = Order::parse(OrderKind::Set, body.as_bytes()) else {
            panic!("legal")
        };
        let values: Vec<_> = settings.iter().map(|(_, value)| value.as_str()).collect();
        let expected = ["1", "\"auto\"", "[\"0-7\", 9]", "0.5", "null", "\"x\\u000Ay\""];
        assert_eq!(values, expected);
    }

    #[test]
    fn a_time_is_written_for_people_and_bounded() {
        let lasting = |time: &str| {
            Order::parse(OrderKind::Suspend, format!(r#"{{"select":"*","for":{time}}}"#).as_bytes())
        };
        let Ok(Order::Suspend { options, .. }) = lasting(r#""1h 30m""#) else { panic!("legal") };
        assert_eq!(options.time, Some(Duration::from_secs(5400)));
        let Ok(Order::Suspend { options, .. }) = lasting("null") else { panic!("legal") };
        assert_eq!(options.time, None);
        for time in [r#""0s""#, r#""2y""#, r#""soon""#, r#""99999999999999999999y""#, "30"] {
            assert_eq!(lasting(time).expect_err(time).code, "bad_request");
        }
    }
}
