//! `ipcow list`: the endpoints of a running service, and who came to them.
//!
//! Asks for rows and says how many there are. How a row is written is `rows`' business.

mod rows;

use std::io::Write;
use std::time::SystemTime;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use ipcow::spec::{Cidr, CidrError};
use ipcow::supervision::EndpointState;

use super::super::exit;
use super::super::plan::counted;
use super::call::{Answer, Control};
use super::failure::{Failure, Refused};
use super::selector::{EXAMPLES, judged};
use super::stdout::Stdout;
use super::target::Target;

pub(super) use rows::short;

const ROUTE: &str = "/api/v1/endpoints";

const COLUMNS: &str = "\
COLUMNS
  CAME     connections that were accepted, or datagrams that were received
  REFUSED  clients that were turned away, or datagrams that were dropped
  On a terminal, columns that are empty or do not fit are left out; -o csv has them all.

PROOF WITH ANY CLIENT
  ipcow mark; nmap -p8000-8999 …from anywhere…; ipcow list --untouched
  lists what never arrived.";

/// Arguments of `ipcow list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{COLUMNS}"))]
pub(crate) struct ListArgs {
    /// Which endpoints; without it all of them.
    #[arg(value_name = "SELECTOR")]
    selector: Option<String>,

    #[command(flatten)]
    target: Target,

    /// Those in this state alone.
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<String>,

    /// Those alone to which nobody came since the last `ipcow mark`, or the start.
    #[arg(long, conflicts_with = "touched_by")]
    untouched: bool,

    /// Those alone whose last client since the last `ipcow mark` was from this network.
    #[arg(long, value_name = "CIDR", value_parser = network)]
    touched_by: Option<Cidr>,

    /// At most so many.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// After so many that are left out.
    #[arg(long, value_name = "N")]
    offset: Option<u64>,

    /// How it is written: a table for people, one JSON document, or CSV with a header.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,

    /// The same as -o json.
    #[arg(long, conflicts_with = "output")]
    json: bool,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
    Csv,
}

fn states() -> PossibleValuesParser {
    let listed = EndpointState::ALL.into_iter().filter(|state| *state != EndpointState::Closed);
    PossibleValuesParser::new(listed.map(EndpointState::as_str))
}

fn network(text: &str) -> Result<Cidr, String> {
    text.parse().map_err(|error| match error {
        CidrError::HostBits { meant } => format!("{error}; write {meant}"),
        _ => format!("{error}; write 192.0.2.0/24, 2001:db8::/32 or one address"),
    })
}

impl ListArgs {
    fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// What narrows the selector, as the query that asks for it.
    fn filters(&self) -> Vec<(&'static str, String)> {
        let untouched = self.untouched.then(|| "true".to_owned());
        let touched_by = self.touched_by.map(|network| network.to_string());
        let filters =
            [("state", self.state.clone()), ("untouched", untouched), ("touched_by", touched_by)];
        filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn page(&self) -> Vec<(&'static str, String)> {
        let pages = [("limit", self.limit), ("offset", self.offset)];
        pages.into_iter().filter_map(|(name, value)| Some((name, value?.to_string()))).collect()
    }

    fn select(&self, color: bool) -> Result<Vec<(&'static str, String)>, Failure> {
        let selector = self.selector.as_deref().map(|text| judged(text, color)).transpose()?;
        Ok(selector.map(|text| ("select", text.to_owned())).into_iter().collect())
    }
}

/// Prints the rows; says on stderr how many there are of how many.
pub(super) async fn run(args: &ListArgs, color: bool, out: &mut Stdout<'_>) -> Result<u8, Failure> {
    let select = args.select(color)?;
    let filters = args.filters();
    let mut control = Control::open(&args.target).await?;
    let query = [select.clone(), filters.clone(), args.page()].concat();
    let asked = ask(&mut control, &query).await;
    let found = match asked {
        Ok(answer) => print(answer, args.format(), out).await?,
        Err(failure) if failure.is_no_match() => {
            print_nothing(args.format(), out)?;
            return Err(failure);
        }
        Err(failure) => return Err(failure),
    };
    if found.matched == 0 || args.untouched || args.touched_by.is_some() {
        // How many the selector names alone tells "none of 70" from "you mistyped".
        let named = match filters.is_empty() {
            true => found.matched,
            false => count(&mut control, &select).await?,
        };
        if named == 0 && !select.is_empty() {
            return Err(nothing_matches(args.selector.as_deref().unwrap_or("*")));
        }
        super::say(&told(args, found.matched, named));
    }
    if let Some(rows) = found.rows.filter(|rows| *rows < found.matched) {
        super::say(&format!("shown are {rows} of {}: --limit, --offset", found.matched));
    }
    Ok(exit::DONE)
}

/// What was found.
struct Found {
    /// Rows that were printed, where they were counted.
    rows: Option<u64>,
    /// Rows that there are without a limit.
    matched: u64,
}

async fn ask(control: &mut Control, query: &[(&'static str, String)]) -> Result<Answer, Failure> {
    let query: Vec<(&str, &str)> = query.iter().map(|(name, it)| (*name, it.as_str())).collect();
    control.get(ROUTE, &query).await
}

/// How many endpoints there are, none of which is wanted.
async fn count(control: &mut Control, select: &[(&'static str, String)]) -> Result<u64, Failure> {
    let query = [select, &[("limit", "1".to_owned())]].concat();
    let answer = match ask(control, &query).await {
        Ok(answer) => answer,
        Err(failure) if failure.is_no_match() => return Ok(0),
        Err(failure) => return Err(failure),
    };
    answer.total().ok_or_else(|| answer.strange("a list without X-Total-Count"))
}

async fn print(mut answer: Answer, format: Format, out: &mut Stdout<'_>) -> Result<Found, Failure> {
    let total = answer.total();
    if format == Format::Json {
        while let Some(piece) = answer.piece().await? {
            if out.is_closed() {
                break;
            }
            out.write_all(&piece)?;
        }
        out.print("\n")?;
        let matched = total.ok_or_else(|| answer.strange("a list without X-Total-Count"))?;
        return Ok(Found { rows: None, matched });
    }
    let strange = answer.strange("not the list that was expected");
    let body = answer.whole().await?;
    let rows: Vec<rows::Row<'_>> = match serde_json::from_slice(&body) {
        Ok(rows) => rows,
        Err(_) => return Err(strange),
    };
    match format {
        Format::Csv => rows::write_csv(&rows, out)?,
        _ if rows.is_empty() => {}
        _ => rows::write_table(&rows, SystemTime::now(), out.width, out)?,
    }
    let shown = rows.len() as u64;
    Ok(Found { rows: Some(shown), matched: total.unwrap_or(shown) })
}

fn print_nothing(format: Format, out: &mut Stdout<'_>) -> Result<(), Failure> {
    match format {
        Format::Json => out.print("[]\n")?,
        Format::Csv => rows::write_csv(&[], out)?,
        Format::Table => {}
    }
    Ok(())
}

fn nothing_matches(selector: &str) -> Failure {
    Failure::Refused(Refused {
        code: "nothing_matches".to_owned(),
        message: format!("`{selector}` names no endpoint of the service"),
        hint: "`ipcow list` shows what there is".to_owned(),
    })
}

/// "nobody came to 60 of 70 endpoints since the last mark".
fn told(args: &ListArgs, matched: u64, named: u64) -> String {
    let of = format!("{matched} of {}", counted(named, "endpoint"));
    let since = "since the last mark, or the start";
    let state = args.state.as_ref().map_or(String::new(), |state| format!(", and {state},"));
    match (&args.touched_by, args.untouched) {
        (Some(network), _) => {
            format!("{network} was the last to come to {of}{state} {since}")
        }
        (None, true) => format!("nobody came to {of}{state} {since}"),
        (None, false) => match &args.state {
            Some(state) => format!("{of} {} {state}", if matched == 1 { "is" } else { "are" }),
            None => of,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        list: ListArgs,
    }

    fn args(words: &[&str]) -> Result<ListArgs, clap::Error> {
        let words = std::iter::once("list").chain(words.iter().copied());
        Program::try_parse_from(words).map(|program| program.list)
    }

    #[test]
    fn every_argument_becomes_a_part_of_the_query() {
        let args = args(&["group:lab", "--state", "listening", "--untouched", "--limit", "5"]);
        let args = args.expect("legal");
        let owned = |name: &'static str, value: &str| (name, value.to_owned());
        assert_eq!(args.select(false).expect("legal"), [owned("select", "group:lab")]);
        assert_eq!(args.filters(), [owned("state", "listening"), owned("untouched", "true")]);
        assert_eq!(args.page(), [owned("limit", "5")]);
    }

    #[test]
    fn a_network_is_checked_before_anybody_is_asked() {
        let refused = args(&["--touched-by", "10.0.0.1/8"]).expect_err("host bits");
        assert!(refused.to_string().contains("write 10.0.0.0/8"), "{refused}");
        assert!(args(&["--state", "closed"]).is_err());
        assert!(args(&["--untouched", "--touched-by", "::/0"]).is_err());
        assert!(args(&["--json", "-o", "csv"]).is_err());
    }

    #[test]
    fn what_nobody_came_to_is_told_with_how_many_there_are() {
        let untouched = args(&["--untouched"]).expect("legal");
        let text = told(&untouched, 60, 70);
        assert_eq!(text, "nobody came to 60 of 70 endpoints since the last mark, or the start");
        let state = args(&["--state", "retrying"]).expect("legal");
        assert_eq!(told(&state, 0, 70), "0 of 70 endpoints are retrying");
    }
}
