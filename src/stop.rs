//! Why the program ends early, sorted by what the person on call does next.
//!
//! Refuses to know where an error came from: code below uses `anyhow` with context, and the
//! edge where a person has to act turns it into a [`Stop`] with the contract's exit code.

use std::fmt;

/// The contract's exit codes, by what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: something below the program failed; ask, or try again.
    Ask,
    /// 2: the job file, a reference table, a schema or an argument is wrong; fix it.
    Fix,
    /// 3: a landing date has not landed; wait.
    Wait,
    /// 4: a promise is broken; look at the data.
    Look,
    /// 5: another run holds the warehouse; try later.
    Later,
}

/// An early end: all complaints of one kind together, and what to do about them.
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

    pub fn look(complaints: Vec<String>) -> Stop {
        Stop { kind: Kind::Look, complaints, hint: None }
    }

    pub fn later(complaint: impl Into<String>) -> Stop {
        Stop { kind: Kind::Later, complaints: vec![complaint.into()], hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Stop {
        self.hint = Some(hint.into());
        self
    }

    /// The process exit code of the contract, section 6.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Ask => 1,
            Kind::Fix => 2,
            Kind::Wait => 3,
            Kind::Look => 4,
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
                Stop { kind: Kind::Ask, complaints: vec![format!("{error:#}")], hint: None }
            }
        }
    }
}

impl From<datafusion::error::DataFusionError> for Stop {
    fn from(error: datafusion::error::DataFusionError) -> Stop {
        Stop::from(anyhow::Error::from(error))
    }
}
