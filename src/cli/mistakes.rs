//! Arguments that do not parse: tips that help, in place of those that do not.
//!
//! Refuses to parse: clap has done that.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// The same error. For a flag that is not there, clap proposes to pass it as a value, which nobody
/// means; what is proposed here is a flag of the command. `command` is the program as clap knows it.
pub fn with_better_tips(mut error: Error, command: &Command) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    error.remove(ContextKind::Suggested);
    let typed = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => flag.clone(),
        _ => return error,
    };
    let Some(command) = command_of(&error, command) else { return error };
    if let Some(tip) = tip(command, &typed) {
        error.remove(ContextKind::SuggestedArg);
        let tips = ContextValue::StyledStrs(vec![StyledStr::from(tip)]);
        error.insert(ContextKind::Suggested, tips);
    }
    error
}

/// The command whose usage the error shows.
fn command_of<'a>(error: &Error, program: &'a Command) -> Option<&'a Command> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let usage = usage.to_string();
    let mut words = usage.split_whitespace().skip_while(|word| *word != program.get_name());
    program.find_subcommand(words.nth(1)?)
}

fn tip(command: &Command, typed: &str) -> Option<String> {
    let has = |name: &str| command.get_arguments().any(|flag| flag.get_long() == Some(name));
    let typed = typed.split('=').next().unwrap_or(typed);
    match typed {
        "--date" | "-d" if has("from") && !has("date") => {
            Some("dates are --from and --to here, both included".to_owned())
        }
        "--from" | "--to" if has("date") => {
            Some("one date is --date here; `lookback backfill` takes --from and --to".to_owned())
        }
        _ => {
            let letter = typed.strip_prefix('-').filter(|letter| letter.chars().count() == 1)?;
            let flags = command.get_arguments().filter_map(|flag| flag.get_long());
            let flags = flags.filter(|flag| flag.starts_with(letter));
            let flags: Vec<String> = flags.map(|flag| format!("--{flag}")).collect();
            (!flags.is_empty()).then(|| format!("{} has no short form", flags.join(" or ")))
        }
    }
}
