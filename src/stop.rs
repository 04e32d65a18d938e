//! Why the program ends early, sorted by what the person on call does next.
//!
//! Refuses to know where an error came from. Code below uses `anyhow` with context. Where a person
//! has to act, it becomes a [`Stop`] with an exit code.

use std::fmt;

use crate::engine::elsewhere::NOTHING_RUNS;

/// The exit codes (`docs/operate.md`), by what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: something below the program failed; ask, or try again.
    Ask,
    /// 2: the job file, a reference table, a schema or an argument is wrong; fix it.
    Fix,
    /// 3: a landing date has not landed; wait.
    Wait,
    /// 4: a promise is broken; inspect the data.
    Inspect,
    /// 5: another run holds the warehouse; try later.
    Later,
}

/// An early end: all complaints of one kind, and what to do about them.
#[derive(Debug)]
pub struct Stop {
    pub kind: Kind,
    pub complaints: Vec<String>,
    pub hint: Option<String>,
}

impl Stop {
    pub fn fix(complaints: Vec<String>) -> Stop {
        Stop { kind: Kind::Fix, complaints, hint: None }
    }

    pub fn fix_one(complaint: impl Into<String>) -> Stop {
        Stop::fix(vec![complaint.into()])
    }

    pub fn wait(complaints: Vec<String>) -> Stop {
        Stop { kind: Kind::Wait, complaints, hint: None }
    }

    pub fn inspect(complaints: Vec<String>) -> Stop {
        Stop { kind: Kind::Inspect, complaints, hint: None }
    }

    pub fn later(complaint: impl Into<String>) -> Stop {
        Stop { kind: Kind::Later, complaints: vec![complaint.into()], hint: None }
    }

    /// What a panic becomes.
    pub fn bug() -> Stop {
        anyhow::anyhow!("a bug in lookback; LOOKBACK_LOG=debug tells more").into()
    }

    /// Whether something is missing in a store, as far as the words say.
    pub fn is_about_a_missing_object(&self) -> bool {
        let words = ["not found", "NotFound", "No such file"];
        self.complaints.iter().any(|text| words.iter().any(|word| text.contains(word)))
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Stop {
        self.hint = Some(hint.into());
        self
    }

    /// The first of several, with the complaints of all that have its kind.
    pub fn together(stops: Vec<Stop>) -> Option<Stop> {
        stops.into_iter().reduce(|mut first, other| {
            if other.kind == first.kind {
                first.complaints.extend(other.complaints);
            }
            first
        })
    }

    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Ask => 1,
            Kind::Fix => 2,
            Kind::Wait => 3,
            Kind::Inspect => 4,
            Kind::Later => 5,
        }
    }
}

/// One complaint a line, then a blank line and the hint.
impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, complaint) in self.complaints.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            write!(f, "{complaint}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Stop {}

/// A `Stop` that travelled inside an `anyhow` chain keeps its kind; anything else is exit 1.
impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Stop {
        match error.downcast::<Stop>() {
            Ok(stop) => stop,
            Err(error) => {
                let complaint = whole_story(&error);
                let hint = HINTS.iter().find(|(sign, _)| complaint.contains(sign));
                let hint = hint.map(|(_, hint)| (*hint).to_owned());
                Stop { kind: Kind::Ask, complaints: vec![complaint], hint }
            }
        }
    }
}

/// Signs of common trouble, and what to do about it.
const HINTS: [(&str, &str); 20] = [
    (
        "is another version",
        "plans travel between equal programs only: install one on all machines, and start the workers \
         again",
    ),
    (
        "TLS: ",
        "driver and workers want certificates of one authority: --tls-ca, --tls-cert, --tls-key, and \
         --tls-name where the workers' name is not their host",
    ),
    (
        "sees another",
        "root and logs have to be the same files on all machines: in an object store, or in a network \
         file system at the same path",
    ),
    (
        "has no access to",
        "a worker's user, or its credentials, want the same rights as the driver's: to read the logs, and \
         to read, write and delete below root",
    ),
    (
        "does not reach",
        "workers ask each other for rows: each has to reach all others at the addresses that the driver \
         has",
    ),
    (
        NOTHING_RUNS,
        "start `lookback worker` at these addresses, and run again; a worker that ends without a word \
         had too little memory, and --min-workers says how many are wanted",
    ),
    (
        "Resources exhausted",
        "this needs more memory; raise --memory-limit, or backfill fewer dates at a time",
    ),
    (
        "No space left on device",
        "a disk is full: the one of the warehouse, or the one of the folder that TMPDIR names (else \
         /tmp), where a run keeps what does not fit into memory",
    ),
    (
        "Permission denied",
        "who runs this, or a worker, may not read or write there, and no retry mends that",
    ),
    ("Read-only file system", "nothing can be written there, and no retry mends that"),
    ("which TMPDIR names", "set TMPDIR to a folder with room"),
    ("NoSuchBucket", "there is no such bucket; see the locations in the job file"),
    ("ContainerNotFound", "there is no such container; see the locations in the job file"),
    ("InvalidAccessKeyId", "these keys are unknown to the store; see AWS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", "the secret is wrong; see AWS_SECRET_ACCESS_KEY"),
    ("AccessDenied", "these keys may not do that; the root needs reading, writing and deleting"),
    ("AuthenticationFailed", "the key is wrong; see AZURE_STORAGE_ACCOUNT_KEY"),
    (
        "169.254.169.254",
        "no keys are set, and this machine's own cannot be read; set AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY, for each worker as well",
    ),
    ("URL scheme is not allowed", "an endpoint without TLS needs AWS_ALLOW_HTTP=true"),
    // After those of stores, for why a file is not read may be one of these.
    (
        "Failed to fetch metadata for file",
        "a file of the warehouse is gone: `lookback check` names it, and `lookback backfill JOB \
         --stale` makes again what can be made again",
    ),
];

/// The causes of an error, from the outermost inwards. Many errors repeat the causes below them, so
/// each text is used once.
fn whole_story(error: &anyhow::Error) -> String {
    let mut story = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if story.contains(&part) {
            continue;
        }
        if !story.is_empty() {
            story.push_str(": ");
        }
        story.push_str(&part);
    }
    story
}

impl From<datafusion::error::DataFusionError> for Stop {
    fn from(error: datafusion::error::DataFusionError) -> Stop {
        Stop::from(anyhow::Error::from(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_told_already_is_not_told_again() {
        let error = anyhow::anyhow!("no route").context("cannot list: no route").context("s3://a");
        assert_eq!(Stop::from(error).to_string(), "s3://a: cannot list: no route");
    }

    #[test]
    fn a_stop_keeps_its_kind_below_others() {
        let stop = Stop::from(anyhow::Error::from(Stop::later("held")));
        assert_eq!(stop.exit_code(), 5);
    }
}
