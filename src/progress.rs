//! The progress of long work. The run reports its steps here. They are logged, and drawn as a bar
//! on a terminal. How long each stage took, and what it read and wrote, is kept for the summary.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

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

/// Bytes of objects that stores gave and took, on disk or remote, in the whole process.
static BYTES_READ: AtomicU64 = AtomicU64::new(0);
static BYTES_WRITTEN: AtomicU64 = AtomicU64::new(0);

pub fn count_read(bytes: u64) {
    BYTES_READ.fetch_add(bytes, Ordering::Relaxed);
}

pub fn count_written(bytes: u64) {
    BYTES_WRITTEN.fetch_add(bytes, Ordering::Relaxed);
}

/// The stages of a run, in their order. Chunks of dates may go through some of them in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Up to the lock: listings, schemas, reference tables.
    Planning,
    /// Reference rows that changed.
    Storing,
    /// Clean tables, visible chunk by chunk, and the limits.
    Cleaning,
    Attributing,
    Reporting,
    Publishing,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Planning => "planning",
            Stage::Storing => "storing",
            Stage::Cleaning => "cleaning",
            Stage::Attributing => "attributing",
            Stage::Reporting => "reporting",
            Stage::Publishing => "publishing",
        }
    }
}

/// What a stage took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Figures {
    /// On the clock, in milliseconds at the finest.
    pub seconds: f64,
    /// Bytes of objects, as they came from stores and went there meanwhile.
    pub bytes_read: u64,
    pub bytes_written: u64,
}

/// A step of a stage, in seconds since the run began.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub stage: Stage,
    pub what: String,
    pub from: f64,
    pub to: f64,
}

/// The stage that goes on, since when, and the bytes read and written before it.
type Begun = (Stage, Instant, u64, u64);

#[derive(Debug, Default)]
struct Stages {
    begun: Option<Instant>,
    now: Option<Begun>,
    before: BTreeMap<Stage, Figures>,
    /// Each step but the last has ended where the next begins.
    steps: Vec<Step>,
}

impl Stages {
    /// The figures so far, those of the stage that goes on included.
    fn figures(&self) -> BTreeMap<Stage, Figures> {
        let mut all = self.before.clone();
        if let Some((stage, since, read, written)) = self.now {
            let figures = all.entry(stage).or_default();
            let seconds = figures.seconds + since.elapsed().as_secs_f64();
            figures.seconds = (seconds * 1000.0).round() / 1000.0;
            figures.bytes_read += BYTES_READ.load(Ordering::Relaxed) - read;
            figures.bytes_written += BYTES_WRITTEN.load(Ordering::Relaxed) - written;
        }
        all
    }

    fn seconds(&mut self) -> f64 {
        self.begun.get_or_insert_with(Instant::now).elapsed().as_secs_f64()
    }

    fn end_step(&mut self) {
        let now = self.seconds();
        if let Some(last) = self.steps.last_mut() {
            last.to = now;
        }
    }
}

/// Shows the steps of a run. The default draws no bar.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    bar: Option<ProgressBar>,
    doing: Arc<Mutex<String>>,
    stages: Arc<Mutex<Stages>>,
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

    /// Begins a stage, or goes on with it: `what` it does. What went on before has ended.
    pub fn enter(&self, stage: Stage, what: &str) {
        let Ok(mut stages) = self.stages.lock() else { return };
        stages.end_step();
        let from = stages.seconds();
        stages.steps.push(Step { stage, what: what.to_owned(), from, to: from });
        if stages.now.is_some_and(|(now, ..)| now == stage) {
            return;
        }
        stages.before = stages.figures();
        let (read, written) = (&BYTES_READ, &BYTES_WRITTEN);
        let bytes = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        stages.now = Some((stage, Instant::now(), bytes(read), bytes(written)));
    }

    /// What each stage took so far.
    pub fn stages(&self) -> BTreeMap<Stage, Figures> {
        self.stages.lock().map(|stages| stages.figures()).unwrap_or_default()
    }

    /// The steps so far, of which the last goes on.
    pub fn steps(&self) -> Vec<Step> {
        let Ok(mut stages) = self.stages.lock() else { return Vec::new() };
        stages.end_step();
        stages.steps.clone()
    }

    /// Begins a step of a stage.
    pub fn step_of(&self, stage: Stage, what: &str) {
        self.enter(stage, what);
        self.step(what);
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
