//! Reads the arguments and the clock, runs the command, and maps the outcome to an exit code.
//!
//! Invariant: nothing else reads the clock (a ban in `clippy.toml`), so that a run can be repeated.

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use chrono::Utc;
use clap::{CommandFactory, Parser};
use futures::FutureExt;
use lookback::cli::{self, Cli};
use lookback::commands;
use lookback::commands::output::{self, Voice};
use lookback::stop::Stop;

/// Every core allocates and frees thousands of batches, some of them large. The allocator's
/// settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::try_parse().map_err(|error| cli::with_better_tips(error, &Cli::command()));
    let cli = cli.unwrap_or_else(|error| error.exit());
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(run(cli));
            // This does not wait for threads that are stuck in a read.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            output::tell(&format!("error: cannot start threads: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> ExitCode {
    let voice = Voice { quiet: cli.quiet, format: cli.log_format };
    voice.start_log();
    #[expect(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    let now = Utc::now();
    // A panic in a decoder means a bad file and is reported as one. Others are reported below.
    std::panic::set_hook(Box::new(|panic| tracing::debug!("{panic}")));
    let caught = AssertUnwindSafe(commands::dispatch(cli, now)).catch_unwind().await;
    match caught.unwrap_or_else(|_| Err(Stop::bug())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            voice.tell_stop(&stop);
            ExitCode::from(stop.exit_code())
        }
    }
}
