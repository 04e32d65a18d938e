//! The real program, killed at random moments: readers see whole commits, and the next run ends where
//! an undisturbed one does.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lookback::days::ReportDates;
use lookback::demo::{self, Scale};
use lookback::job::Job;
use object_store::memory::InMemory;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg32;

use crate::memory::{State, World, wait_for};

const KILLS: usize = 50;

fn backfill(job: &Path, world: &World) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("lookback"));
    let (from, to) = (world.dates.from.to_string(), world.dates.to.to_string());
    command.arg("backfill").arg(job).args(["--from", &from, "--to", &to, "--force", "--quiet"]);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run_whole(job: &Path, world: &World) -> State {
    let run = backfill(job, world).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    wait_for(world.state())
}

#[test]
fn a_run_killed_at_any_moment_leaves_whole_tables_and_the_next_one_mends_all() {
    std::thread::scope(|scope| {
        for seed in [1, 2] {
            scope.spawn(move || kill_again_and_again(seed, KILLS / 2));
        }
    });
}

fn kill_again_and_again(seed: u64, kills: usize) {
    let mut dice = Pcg32::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let scale = Scale { days: 2, clicks_per_day: 60, orders_per_day: 15, seed, ..Scale::default() };
    let made = demo::write_world(folder.path(), &scale, &mut |_, _| ()).unwrap();
    // The program with its stores, and without any.
    let stores = folder.path().join("reference/stores.csv");
    let all = std::fs::read_to_string(&stores).unwrap();
    let none = all.lines().next().unwrap().to_owned() + "\n";
    let job = Job::load(&made.job_file).unwrap();
    let dates = ReportDates { from: made.from, to: made.to };
    let world = World { store: Arc::new(InMemory::new()), job, dates };
    let mut undisturbed = Vec::new();
    let started = Instant::now();
    for text in [&none, &all] {
        std::fs::write(&stores, text).unwrap();
        undisturbed.push(run_whole(&made.job_file, &world));
    }
    let lasts = started.elapsed() / 2;
    assert!(undisturbed[0] != undisturbed[1]);
    let mut killed = 0;
    for number in 0..kills {
        std::fs::write(&stores, [&none, &all][number % 2]).unwrap();
        let mut run = backfill(&made.job_file, &world).spawn().unwrap();
        std::thread::sleep(lasts.mul_f64(dice.random_range(0.0..1.0)) + Duration::from_millis(1));
        run.kill().unwrap();
        killed += usize::from(!run.wait().unwrap().success());
        for (table, rows) in wait_for(world.state()) {
            let is_whole = undisturbed.iter().any(|state| state[table] == rows);
            assert!(is_whole, "seed {seed}, kill {number}: {table} is a mix");
        }
        let after = run_whole(&made.job_file, &world);
        for (table, rows) in &undisturbed[number % 2] {
            let made = &after[table];
            assert!(made == rows, "seed {seed}, kill {number}: {table}: {made:?}, not {rows:?}");
        }
    }
    assert!(killed > kills / 2, "{killed} of {kills} runs were killed before they had ended");
}
