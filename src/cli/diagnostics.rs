//! Faults as people read them: the line, a caret under the fault, the fix.
//!
//! Decides nothing: what is wrong was said by the configuration or the spec.

use std::borrow::Cow;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Path, Renderer, Snippet};
use ipcow::config::{ConfigErrors, Fault, LoadedConfig, Origin};
use ipcow::plan::endpoints::{PlanError, SpecPlace};
use ipcow::spec::SpecError;

/// Longer lines are named, not shown. Unit: bytes.
const MAX_LINE: usize = 1000;

/// Width that long lines are cut to. Unit: columns.
const WIDTH: usize = 100;

/// All faults of a configuration, with an empty line between them.
///
/// `color` is for a terminal that wants it (see NO_COLOR).
pub(crate) fn config_errors(errors: &ConfigErrors, color: bool) -> String {
    let mut text = String::new();
    for found in errors.faults() {
        text += &fault(found, color);
        text.push_str("\n\n");
    }
    match errors.omitted() {
        0 => text.truncate(text.trim_end().len()),
        omitted => text += &format!("… {omitted} more"),
    }
    text.push('\n');
    text
}

/// Why the endpoints make no plan; names the group and where it was written.
pub(crate) fn plan_error(error: &PlanError, loaded: &LoadedConfig, color: bool) -> String {
    let (place, spec) = match error {
        PlanError::Spec { place, error } | PlanError::TooMany { place, error } => (place, error),
        PlanError::Whole { message, help } => {
            let place = Place { label: "", text: "", span: 0..0, line: None };
            return report(message, &place, help.as_deref(), color) + "\n";
        }
    };
    let (before, message) = match place {
        SpecPlace::Exclude(_) => ("--exclude ", spec.message.clone()),
        SpecPlace::Group { group, .. } => ("", in_group(*group, &spec.message, loaded)),
    };
    let (text, span) = typed(before, &spec.text, &spec.span);
    let place = Place { label: "SPEC", text: &text, span, line: None };
    report(&message, &place, spec.help.as_deref(), color) + "\n"
}

/// Why an argument that is a spec or a selector was refused; `before` is what was typed
/// before it.
pub(crate) fn bad_argument(before: &str, error: &SpecError, color: bool) -> String {
    let (text, span) = typed(before, &error.text, &error.span);
    let place = Place { label: "", text: &text, span, line: None };
    report(&error.message, &place, error.help.as_deref(), color) + "\n"
}

/// A spec that was typed is shown as it was typed; another one is looked for.
fn in_group(index: usize, message: &str, loaded: &LoadedConfig) -> String {
    let name = loaded.config.groups.get(index).map(|group| &group.name);
    match (name, loaded.group_origin(index)) {
        (Some(name), Some(origin)) if origin != Origin::Spec.to_string() => {
            format!("group `{name}` ({origin}): {message}")
        }
        _ => message.to_owned(),
    }
}

/// Where a fault is.
struct Place<'a> {
    label: &'a str,
    text: &'a str,
    span: Range<usize>,
    /// Line and column, where the text has lines that people count.
    line: Option<(usize, usize)>,
}

fn fault(fault: &Fault, color: bool) -> String {
    let label = fault.origin.to_string();
    let (before, has_lines) = match fault.origin {
        Origin::Set => ("--set ", false),
        Origin::Exclude => ("--exclude ", false),
        Origin::Workers => ("--workers ", false),
        Origin::Control => ("--control ", false),
        Origin::Admin => ("--admin ", false),
        Origin::Spec | Origin::Environment(_) | Origin::Given | Origin::Live => ("", false),
        _ => ("", true),
    };
    let (text, span) = typed(before, &fault.source, &fault.span);
    let line = (has_lines && fault.line > 0).then_some((fault.line, fault.column));
    let place = Place { label: &label, text: &text, span, line };
    report(&fault.message, &place, fault.help.as_deref(), color)
}

/// The text as it was typed, with what stood before it.
fn typed<'a>(before: &str, text: &'a str, span: &Range<usize>) -> (Cow<'a, str>, Range<usize>) {
    if before.is_empty() {
        return (text.into(), span.clone());
    }
    let moved = span.start + before.len()..span.end + before.len();
    (format!("{before}{text}").into(), moved)
}

fn report(message: &str, place: &Place<'_>, help: Option<&str>, color: bool) -> String {
    let (shown, span) = faulty_line(place.text, &place.span);
    let group = Group::with_title(Level::ERROR.primary_title(message));
    let group = if shown.is_empty() || shown.len() > MAX_LINE {
        let path = Path::path(place.label);
        match place.line {
            Some((line, column)) => group.element(path.line(line).char_column(column)),
            None if place.label.is_empty() => group,
            None => group.element(path),
        }
    } else {
        let snippet = Snippet::source(shown).annotation(AnnotationKind::Primary.span(span));
        group.element(match place.line {
            Some((line, _)) => snippet.path(place.label).line_start(line),
            None => snippet.line_numbering(false),
        })
    };
    let mut report = vec![group];
    if let Some(help) = help {
        report.push(Group::with_title(Level::HELP.secondary_title(help)));
    }
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    renderer.term_width(WIDTH).render(&report).trim_end().to_owned()
}

/// The line that `span` begins on, and the part of the span that is on it.
fn faulty_line<'a>(text: &'a str, span: &Range<usize>) -> (&'a str, Range<usize>) {
    let (Some(before), Some(after)) = (text.get(..span.start), text.get(span.start..)) else {
        return ("", 0..0);
    };
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let end = after.find('\n').map_or(text.len(), |newline| span.start + newline);
    let line = text[start..end].trim_end_matches('\r');
    let first = (span.start - start).min(line.len());
    let last = (span.end.max(span.start) - start).min(line.len());
    (line, first..last.max(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipcow::config::{Inputs, load, load_str};
    use ipcow::spec::Spec;

    fn of_text(text: &str) -> String {
        config_errors(&load_str("lab.toml", text).expect_err("the text is faulty"), false)
    }

    fn of(inputs: Inputs) -> String {
        config_errors(&load(&inputs).expect_err("the inputs are faulty"), false)
    }

    fn lines(lines: &[&str]) -> String {
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn no_file() -> Inputs {
        let mut inputs = Inputs::default();
        inputs.config_files = vec!["none".into()];
        inputs
    }

    #[test]
    fn a_fault_of_a_file_shows_its_line_and_a_caret() {
        let text = "[session]\nidle_timeout = 5\n";
        let expected = [
            r#"error: unknown key `session.idle_timeout`"#,
            r#" --> lab.toml:2:1"#,
            r#"  |"#,
            r#"2 | idle_timeout = 5"#,
            r#"  | ^^^^^^^^^^^^"#,
            r#"  |"#,
            r#"help: did you mean `session.idle_timeout_secs`?"#,
        ];
        assert_eq!(of_text(text), lines(&expected));
    }

    #[test]
    fn a_bad_spec_is_marked_inside_its_string() {
        let text =
            "[[listen]]\nname = \"lab\"\naddresses = [\"127.0.0.1\"]\nports = [\"8000,80x\"]\n";
        let expected = [
            r#"error: `ports`: `80x` is no port"#,
            r#" --> lab.toml:4:16"#,
            r#"  |"#,
            r#"4 | ports = ["8000,80x"]"#,
            r#"  |                ^^^"#,
            r#"  |"#,
            r#"help: a port is 1 to 65535; also a-b, a-, -b, *, in-use, ephemeral, 0 (the kernel chooses), 0xN"#,
        ];
        assert_eq!(of_text(text), lines(&expected));
    }

    #[test]
    fn a_fault_of_a_variable_shows_the_variable() {
        let mut inputs = no_file();
        inputs.env = vec![("IPCOW__CHUNKS__SIZE".to_owned(), "0".to_owned())];
        assert!(of(inputs).contains(" | IPCOW__CHUNKS__SIZE=0\n |                     ^\n"));
    }

    #[test]
    fn a_fault_of_an_argument_shows_the_argument() {
        let mut inputs = no_file();
        inputs.sets = vec!["log.level=loud".to_owned()];
        inputs.specs = vec!["127.0.0.1:90-80".to_owned()];
        let expected = [
            r#"error: `log.level` must be one of "error", "warn", "info", "debug", "trace", found "loud""#,
            r#" |"#,
            r#" | --set log.level=loud"#,
            r#" |                 ^^^^"#,
            r#" |"#,
            r#"help: Least severe level."#,
            r#""#,
            r#"error: the range `90-80` is reversed"#,
            r#" |"#,
            r#" | 127.0.0.1:90-80"#,
            r#" |           ^^^^^"#,
            r#" |"#,
            r#"help: write 80-90"#,
        ];
        assert_eq!(of(inputs), lines(&expected));
    }

    #[test]
    fn a_file_that_is_missing_is_named() {
        let mut inputs = Inputs::default();
        inputs.config_files = vec!["/nonexistent/a.toml".into()];
        let expected = [
            r#"error: cannot read this configuration: No such file or directory (os error 2)"#,
            r#"--> /nonexistent/a.toml"#,
            r#" |"#,
            r#"help: name a readable file, or `--config none` to read no file"#,
        ];
        assert_eq!(of(inputs), lines(&expected));
    }

    #[test]
    fn a_refused_spec_alone_shows_a_caret() {
        let error = Spec::parse("127.0.0.1:80x").expect_err("no port");
        let error = PlanError::Spec { place: SpecPlace::Exclude(0), error };
        let loaded = load(&no_file()).expect("the built-in configuration is legal");
        let expected = [
            r#"error: `80x` is no port"#,
            r#" |"#,
            r#" | --exclude 127.0.0.1:80x"#,
            r#" |                     ^^^"#,
            r#" |"#,
            r#"help: a port is 1 to 65535; also a-b, a-, -b, *, in-use, ephemeral, 0 (the kernel chooses), 0xN"#,
        ];
        assert_eq!(plan_error(&error, &loaded, false), lines(&expected));
    }

    #[test]
    fn colour_is_there_only_when_asked_for() {
        let errors = load_str("lab.toml", "x = 1\n").expect_err("unknown");
        assert!(config_errors(&errors, true).contains('\u{1b}'));
        assert!(!config_errors(&errors, false).contains('\u{1b}'));
    }

    #[test]
    fn a_line_of_a_megabyte_is_named_not_shown() {
        let text = format!("x = \"{}\"\n", "y".repeat(1_000_000));
        let shown = of_text(&text);
        assert!(shown.contains("lab.toml:1:1"), "{shown}");
        assert!(shown.len() < 1000);
    }

    #[test]
    fn more_than_fifty_faults_end_with_their_number() {
        let text: String = (0..60).map(|index| format!("unknown{index} = 1\n")).collect();
        assert!(of_text(&text).ends_with("\n\n… 10 more\n"));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let shown = of_text("\"\\u001b[31m\" = 1 # \u{7f}\n[log]\nlevel = \"\\u001b\"\n");
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{7f}'), "{shown}");
    }
}
