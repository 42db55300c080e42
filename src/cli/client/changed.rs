//! What an order did to the endpoints that it named.

use serde::Deserialize;

use super::super::plan::counted;
use super::call::Answer;
use super::failure::Failure;
use super::stdout::Stdout;

/// The answer to suspend, resume, drain, retry and remove.
#[derive(Debug, Deserialize)]
pub(super) struct Changed {
    matched: u64,
    changed: u64,
    closing: u64,
}

/// Prints what was done: the service's own document, or a sentence with `done` in it
/// ("suspended") for a person.
pub(super) async fn print(
    answer: Answer,
    json: bool,
    done: &str,
    out: &mut Stdout<'_>,
) -> Result<(), Failure> {
    let (changed, body): (Changed, Vec<u8>) = answer.read().await?;
    match json {
        true => out.print_document(&body)?,
        false => out.print(format!("{}\n", changed.sentence(done)))?,
    }
    Ok(())
}

impl Changed {
    fn sentence(&self, done: &str) -> String {
        let Self { matched, changed, closing } = *self;
        let mut text = match changed == matched {
            true => format!("{done}: {}", counted(matched, "endpoint")),
            false => format!(
                "{done}: {changed} of {}; the others need no change",
                counted(matched, "endpoint")
            ),
        };
        if closing > 0 {
            text += &format!("; {} still to close: a worker is busy or hangs", closing);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_change_and_what_still_closes_is_said() {
        let said =
            |matched, changed, closing| Changed { matched, changed, closing }.sentence("suspended");
        assert_eq!(said(1, 1, 0), "suspended: 1 endpoint");
        assert_eq!(said(5, 0, 0), "suspended: 0 of 5 endpoints; the others need no change");
        assert!(said(5, 5, 2).contains("; 2 still to close"));
    }
}
