//! The progress of long work. The run reports its steps here. They are logged, and drawn as a bar
//! on a terminal.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressStyle};

/// Counts every answer of a store and every batch of rows written, in the whole process.
static TICKS: AtomicU64 = AtomicU64::new(0);

/// Counts one sign of progress.
pub fn tick() {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// The number of ticks so far. The watchdog checks that it grows.
pub fn ticks() -> u64 {
    TICKS.load(Ordering::Relaxed)
}

/// Shows the steps of a run. The default draws no bar.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
    doing: Arc<Mutex<String>>,
}

impl Progress {
    /// Draws a bar when stderr is a terminal. Steps are logged in any case.
    pub fn on_stderr() -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::default();
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg:<48} {wide_bar} {pos}/{len} {elapsed}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Progress { bar: Some(bar), ..Progress::default() }
    }

    /// Sets how many steps there will be.
    pub fn plan(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(steps as u64);
        }
    }

    /// Begins a step.
    pub fn step(&self, what: &str) {
        tracing::info!("{what}");
        tick();
        if let Ok(mut doing) = self.doing.lock() {
            *doing = what.to_owned();
        }
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// The step that began last.
    pub fn doing(&self) -> String {
        match self.doing.lock() {
            Ok(doing) if !doing.is_empty() => doing.clone(),
            _ => "planning".to_owned(),
        }
    }

    /// Ends a step.
    pub fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
