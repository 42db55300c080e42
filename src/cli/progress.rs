//! How a big plan opens, shown on stderr: a bar on a terminal, lines elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use ipcow::service::Snapshot;

use super::args::Progress;
use super::outlet::Outlet;

/// How often the bar moves.
const BAR_STEP: Duration = Duration::from_millis(100);
/// How often a line is written. A plan that opens faster writes none.
const LINE_STEP: Duration = Duration::from_millis(500);

/// The display of one opening.
pub(crate) enum Display {
    Bar(ProgressBar),
    Lines { stderr: Outlet, shown: Option<u64> },
    Hidden,
}

impl Display {
    /// `bars` is where a bar and the log lines beside it are drawn.
    pub(crate) fn new(choice: Progress, bars: &MultiProgress, stderr: &Outlet) -> Self {
        let terminal = std::io::stderr().is_terminal();
        match choice {
            Progress::None => Self::Hidden,
            Progress::Auto if !terminal => Self::Lines { stderr: stderr.clone(), shown: None },
            Progress::Lines => Self::Lines { stderr: stderr.clone(), shown: None },
            Progress::Auto | Progress::Bar => {
                let bar = bars.add(ProgressBar::new(0));
                let template = "opening {wide_bar} {human_pos}/{human_len} endpoints";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                Self::Bar(bar)
            }
        }
    }

    /// How long until it wants to be shown the next snapshot.
    pub(crate) const fn step(&self) -> Duration {
        match self {
            Self::Bar(_) => BAR_STEP,
            Self::Lines { .. } | Self::Hidden => LINE_STEP,
        }
    }

    /// Shows how far the opening has come.
    pub(crate) fn show(&mut self, snapshot: &Snapshot) {
        let total = snapshot.endpoints.total;
        let opened = snapshot.totals.opened.min(total);
        match self {
            Self::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(opened);
            }
            Self::Lines { stderr, shown } if total > 0 && *shown != Some(opened) => {
                *shown = Some(opened);
                let percent = opened * 100 / total;
                stderr.send(format!("opening: {opened} of {total} endpoints ({percent} %)\n"));
            }
            Self::Lines { .. } | Self::Hidden => {}
        }
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
