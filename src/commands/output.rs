//! Where the program prints: answers on stdout, everything else on stderr.

use std::io::{IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;
use crate::progress::Progress;
use crate::stop::Stop;

/// Marks log lines that the text of a summary has, too. They are left out where it is printed.
pub const IN_SUMMARY: &str = "lookback::summary";

/// How much is printed, and in which form.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    pub quiet: bool,
    pub format: LogFormat,
}

impl Voice {
    /// A bar where there are people to see it.
    pub fn progress(self) -> Progress {
        match self.quiet || self.format == LogFormat::Json {
            true => Progress::default(),
            false => Progress::on_stderr(),
        }
    }

    /// Says what is good to know.
    pub fn say(self, text: &str) {
        match self.format {
            _ if self.quiet => {}
            LogFormat::Text => tell(text),
            LogFormat::Json => tracing::info!("{}", text.trim()),
        }
    }

    /// Reports why the program ends.
    pub fn tell_stop(self, stop: &Stop) {
        match self.format {
            LogFormat::Text => tell(&format!("error: {stop}")),
            LogFormat::Json => tracing::error!(exit_code = stop.exit_code(), "{stop}"),
        }
    }

    /// Sends log lines to stderr. `LOOKBACK_LOG` selects them.
    pub fn start_log(self) {
        let on_terminal = std::io::stderr().is_terminal();
        let default = match self.format {
            _ if self.quiet => "error,lookback=warn".to_owned(),
            // On a terminal the progress bar shows what the log lines would say.
            LogFormat::Text if on_terminal => format!("warn,{IN_SUMMARY}=off"),
            LogFormat::Text => format!("warn,lookback=info,{IN_SUMMARY}=off"),
            LogFormat::Json => "warn,lookback=info".to_owned(),
        };
        // It warns of each table that a part of it, which vacuum uses, is new.
        let default = format!("{default},deltalake_core::operations::vacuum=error");
        let filter =
            EnvFilter::try_from_env("LOOKBACK_LOG").unwrap_or_else(|_| EnvFilter::new(default));
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        match self.format {
            LogFormat::Json => lines.json().init(),
            LogFormat::Text if on_terminal => lines.init(),
            LogFormat::Text => lines.with_ansi(false).with_target(false).init(),
        }
    }
}

/// Prints an answer on stdout. A reader that has seen enough is no error.
pub fn print(text: &str) -> Result<(), Stop> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).into())
        }
        _ => Ok(()),
    }
}

/// Prints a message on stderr. A closed stderr is ignored.
pub fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
