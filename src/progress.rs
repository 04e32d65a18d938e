//! Progress of long work, as seen by whoever started it. The run reports; this draws a bar on a
//! terminal and logs lines elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressStyle};

/// Counts every answer of a store and every batch of rows written, in the whole process.
static BEATS: AtomicU64 = AtomicU64::new(0);

/// Something moved.
pub fn beat() {
    BEATS.fetch_add(1, Ordering::Relaxed);
}

/// How often something moved so far: the watchdog looks whether it grows.
pub fn beats() -> u64 {
    BEATS.load(Ordering::Relaxed)
}

/// Shows steps as they go. Quiet by default, so that library users hear nothing.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
    doing: Arc<Mutex<String>>,
}

impl Progress {
    /// A bar when stderr is a terminal, log lines otherwise.
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

    /// How many steps there will be.
    pub fn plan(&self, steps: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(steps as u64);
        }
    }

    /// A step begins.
    pub fn step(&self, what: &str) {
        tracing::info!("{what}");
        beat();
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

    /// A step is done.
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
