//! The real program, killed at counted moments: readers see whole commits, and the next run ends where
//! an undisturbed one does.
//!
//! A moment is a line of the run's log. The log goes into a socket that has room for a few lines, and
//! the run waits while the socket is full. So a run is never far ahead of the test that reads its log,
//! and no kill depends on how fast the machine is.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use lookback::days::DateRange;
use lookback::demo::{self, Scale};
use lookback::job::Job;
use socket2::SockRef;

use crate::in_memory::{State, World, wait_for};

/// Of all runs, in two worlds side by side.
const KILLS: usize = 50;
const WORLDS: usize = 2;

/// The program's own lines, and those of the libraries that commit: they go on to the end of a run.
const LOGGED: &str = "lookback=debug,deltalake_core=trace,buoyant_kernel=info";
/// More lines than a run can write before they are read.
const AHEAD: usize = 16;

const SIGKILL: i32 = 9;

/// Lines of a log: the program's own, and those after the last of these. In between lie other
/// libraries' lines, whose number depends on how long a table's log is; they are not counted.
#[derive(Debug, Clone, Copy)]
struct Lines {
    own: usize,
    after: usize,
}

/// A run whose log is read line by line.
struct Run {
    process: Child,
    log: BufReader<UnixStream>,
    /// What the log has told of errors.
    errors: String,
}

impl Run {
    fn start(job: &Path, dates: DateRange) -> Run {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // Less than the least there is, which is what the system then takes.
        SockRef::from(&theirs).set_send_buffer_size(1).unwrap();
        let (from, to) = (dates.from.to_string(), dates.to.to_string());
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lookback"));
        command.arg("backfill").arg(job).args(["--from", &from, "--to", &to, "--force"]);
        command.args(["--quiet", "--log-format", "json"]).env("LOOKBACK_LOG", LOGGED);
        command.stdout(Stdio::null()).stderr(OwnedFd::from(theirs));
        let process = command.spawn().unwrap();
        Run { process, log: BufReader::new(ours), errors: String::new() }
    }

    /// Whether the next line is the program's own; none at the end of the log.
    fn next_is_own(&mut self) -> Option<bool> {
        let mut line = Vec::new();
        if self.log.read_until(b'\n', &mut line).unwrap() == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&line);
        if line.contains(r#""level":"ERROR""#) {
            self.errors.push_str(&line);
        }
        // What it says in the end is behind what is published.
        let is_said = line.contains(r#""target":"lookback::commands"#);
        Some(line.contains(r#""target":"lookback"#) && !is_said)
    }

    fn end(mut self) -> Lines {
        let mut lines = Lines { own: 0, after: 0 };
        while let Some(is_own) = self.next_is_own() {
            lines = match is_own {
                true => Lines { own: lines.own + 1, after: 0 },
                false => Lines { after: lines.after + 1, ..lines },
            };
        }
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.errors);
        lines
    }

    /// Kills the run once it has written so many lines.
    fn kill_after(mut self, lines: Lines) -> ExitStatus {
        let mut read = Lines { own: 0, after: 0 };
        while read.own < lines.own || read.after < lines.after {
            let is_own = self.next_is_own();
            match is_own.unwrap_or_else(|| panic!("{read:?}, not {lines:?}: {}", self.errors)) {
                true => read.own += 1,
                false => read.after += usize::from(read.own == lines.own),
            }
        }
        self.process.kill().unwrap();
        let status = self.process.wait().unwrap();
        let mut ahead = 0;
        while self.next_is_own().is_some() {
            ahead += 1;
        }
        assert!(ahead < AHEAD, "the run was {ahead} lines ahead");
        status
    }
}

/// The moments at which runs are killed: a half of them spread over all of the program's own lines,
/// the other half over what comes after these, when the tables are published.
fn moment(kill: usize, whole: Lines) -> Lines {
    let half = KILLS / 2;
    match kill.checked_sub(half) {
        None => Lines { own: 1 + kill * (whole.own - 1) / half, after: 0 },
        Some(later) => Lines { after: later * (whole.after - AHEAD) / (KILLS - half - 1), ..whole },
    }
}

/// A small world on a local disk, in two variants: the program with its stores, and without any.
struct Local {
    _folder: tempfile::TempDir,
    job: PathBuf,
    stores: PathBuf,
    variants: [String; 2],
    world: World,
}

impl Local {
    fn new(seed: u64) -> Local {
        let folder = tempfile::tempdir().unwrap();
        let scale =
            Scale { days: 2, clicks_per_day: 60, orders_per_day: 15, seed, ..Scale::default() };
        let made = demo::write_world(folder.path(), &scale, &mut |_, _| ()).unwrap();
        let stores = folder.path().join("reference/stores.csv");
        let all = std::fs::read_to_string(&stores).unwrap();
        let none = all.lines().next().unwrap().to_owned() + "\n";
        let job = Job::load(&made.job_file).unwrap();
        let dates = DateRange { from: made.from, to: made.to };
        let world = World::on_disk(job, dates);
        Local { _folder: folder, job: made.job_file, stores, variants: [none, all], world }
    }

    fn start(&self, variant: usize) -> Run {
        std::fs::write(&self.stores, &self.variants[variant]).unwrap();
        Run::start(&self.job, self.world.dates)
    }

    fn state(&self) -> State {
        wait_for(self.world.state())
    }
}

#[test]
fn a_run_killed_at_any_moment_leaves_whole_tables_and_the_next_one_repairs_all() {
    let in_between: usize = std::thread::scope(|scope| {
        let worlds: Vec<_> =
            (0..WORLDS).map(|number| scope.spawn(move || kill_again_and_again(number))).collect();
        worlds.into_iter().map(|world| world.join().unwrap()).sum()
    });
    println!("{KILLS} runs were killed, {in_between} of them between two tables");
    assert!(in_between > 0, "no run was killed while the tables were published");
}

/// Returns how many kills came when some tables were published and others were not yet.
fn kill_again_and_again(number: usize) -> usize {
    let local = Local::new(number as u64 + 1);
    // The first run makes the tables, so its log is longer than the others'.
    local.start(1).end();
    let before = local.state();
    let whole = local.start(0).end();
    assert!(whole.own > KILLS && whole.after > 2 * AHEAD, "{whole:?} are too few lines");
    let undisturbed = [local.state(), before];
    let changes: Vec<&str> = undisturbed[0]
        .iter()
        .filter(|(table, rows)| undisturbed[1][*table] != **rows)
        .map(|(table, _)| *table)
        .collect();
    assert!(changes.len() > 1, "only {changes:?} changes");
    let mut in_between = 0;
    for (round, kill) in (number..KILLS).step_by(WORLDS).enumerate() {
        let variant = (round + 1) % 2;
        let moment = moment(kill, whole);
        let what = format!("world {number}, killed after {moment:?}");
        let status = local.start(variant).kill_after(moment);
        assert_eq!(status.signal(), Some(SIGKILL), "{what}: {status}");
        let state = local.state();
        for (table, rows) in &state {
            let is_whole = undisturbed.iter().any(|state| state[table] == *rows);
            assert!(is_whole, "{what}: {table} is a mix");
        }
        let is_new = |table: &&&str| state[**table] == undisturbed[variant][**table];
        let published = changes.iter().filter(is_new).count();
        in_between += usize::from(0 < published && published < changes.len());
        local.start(variant).end();
        for (table, rows) in &local.state() {
            let expected = &undisturbed[variant][table];
            assert!(rows == expected, "{what}: {table}: {rows:?}, not {expected:?}");
        }
    }
    in_between
}
