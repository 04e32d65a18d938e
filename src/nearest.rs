//! The name that was probably meant, where one is not known.
//!
//! Refuses to know what the names are for.

/// The known name that a mistyped one is nearest to. None where none is near. Names that differ in
/// case, blanks, dashes and underscores only are as good as equal.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = bare(typed);
    let by_likeness = known.into_iter().filter_map(|name| Some((likeness(&wanted, name)?, name)));
    // Of equally near ones the first.
    let best = by_likeness.reduce(|best, other| if other.0 > best.0 { other } else { best });
    best.map(|(_, name)| name)
}

/// `: is late_days meant?`, or the names that are known where none is near. To be put behind a
/// complaint about a name.
pub fn meant<'a>(typed: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(typed, known.clone()) {
        Some(name) => format!(": is {name} meant?"),
        None => format!("; known are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
    }
}

/// From 0 to 1. None where names have little in common: more than a third of the letters, or three,
/// are to be changed.
fn likeness(wanted: &str, name: &str) -> Option<f64> {
    let name = bare(name);
    let changes = strsim::damerau_levenshtein(wanted, &name);
    let longest = wanted.chars().count().max(name.chars().count());
    let is_near = changes <= 3 && changes * 3 <= longest;
    is_near.then(|| strsim::normalized_damerau_levenshtein(wanted, &name))
}

/// A name without what people write in several ways.
pub fn bare(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_recognised_and_another_one_is_not() {
        let known = ["late_days", "heal_days", "order_horizon_days"];
        for (typed, expected) in [
            ("late_dayz", Some("late_days")),
            ("LateDays", Some("late_days")),
            ("lat_edays", Some("late_days")),
            ("order-horizon", None),
            ("horizon_days", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, known), expected, "{typed}");
        }
        assert_eq!(nearest("yesterdy", ["yesterday", "today"]), Some("yesterday"));
        assert_eq!(meant("rate", ["stores", "rates"]), ": is rates meant?");
        assert_eq!(meant("shops", ["stores", "rates"]), "; known are stores, rates");
    }
}
