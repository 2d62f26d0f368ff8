//! What somebody who wrote an unknown name may have meant.

/// The known name most like `name`, if one is alike enough.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (found, distance) = known
        .into_iter()
        .map(|candidate| (candidate, strsim::damerau_levenshtein(&plain(name), &plain(candidate))))
        .min_by_key(|(_, distance)| *distance)?;
    (distance <= (plain(name).len() / 3).max(2)).then_some(found)
}

/// Without what people add, leave out or spell in another way.
fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    name.strip_prefix("testmesh_").map_or(name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_nearly_right_are_recognised() {
        let known = ["DATABASE_URL", "TESTMESH_LISTEN", "TESTMESH_CONCURRENCY", "TESTMESH_FLOWS_DATABASE_URL"];
        for (name, expected) in [
            ("TESTMESH_DATABASE_URL", Some("DATABASE_URL")),
            ("TESTMESH_CONCURENCY", Some("TESTMESH_CONCURRENCY")),
            ("flows-database-url", Some("TESTMESH_FLOWS_DATABASE_URL")),
            ("TESTMESH_LISTNE", Some("TESTMESH_LISTEN")),
            ("TESTMESH_SOMETHING_ELSE", None),
        ] {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest("a", []), None);
    }
}
