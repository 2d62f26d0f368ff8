//! The names nearest to a mistyped one.

/// At most this many names are suggested.
const MOST: usize = 3;

/// Names so near to `name` that one of them is probably meant, nearest first.
pub(crate) fn near<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Vec<&'c str> {
    let allowed = match name.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    ranked(name, candidates, |_, distance| distance <= allowed)
}

/// The most similar names, however far they are.
pub(crate) fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Vec<&'c str> {
    let lower = name.to_lowercase();
    let mut found: Vec<(f64, &str)> =
        candidates.into_iter().map(|candidate| (strsim::jaro_winkler(&lower, candidate), candidate)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    found.dedup();
    found.truncate(MOST);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

fn ranked<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
    keep: impl Fn(&str, usize) -> bool,
) -> Vec<&'c str> {
    let lower = name.to_lowercase();
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .map(|candidate| (strsim::osa_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| keep(candidate, *distance))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(MOST);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

/// "did you mean `a`, `b` or `c`?", or nothing.
pub(crate) fn did_you_mean(names: &[&str]) -> Option<String> {
    let (last, others) = names.split_last()?;
    Some(match others {
        [] => format!("did you mean `{last}`?"),
        others => format!("did you mean {} or `{last}`?", quoted(others)),
    })
}

/// "`a`, `b`, `c`".
pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
