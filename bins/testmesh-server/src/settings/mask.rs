//! What may be shown of a value: no password, wherever in a URL it is.

use url::Url;

/// What stands for what is not shown.
pub(super) const MASK: &str = "***";

/// `value` without passwords. A secret that is no URL is not shown at all.
pub(super) fn masked(value: &str, is_secret: bool) -> String {
    let Ok(mut url) = Url::parse(value) else { return if is_secret { MASK.to_owned() } else { value.to_owned() } };
    let hides = |name: &str| ["password", "secret", "token", "key"].iter().any(|word| name.contains(word));
    let has_secret_query = url.query_pairs().any(|(name, _)| hides(&name.to_ascii_lowercase()));
    if url.password().is_none() && !has_secret_query {
        return value.to_owned();
    }
    // Fails only for URLs that cannot have a password.
    let _ = url.password().is_some().then(|| url.set_password(Some(MASK)));
    if has_secret_query {
        let pairs: Vec<String> = url
            .query_pairs()
            .map(|(name, value)| format!("{name}={}", if hides(&name.to_ascii_lowercase()) { MASK } else { &value }))
            .collect();
        url.set_query(Some(&pairs.join("&")));
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_are() {
        for (value, is_secret, shown) in [
            ("postgres://me:s3cret@db:5432/tests", true, "postgres://me:***@db:5432/tests"),
            ("postgres://me@db/tests", true, "postgres://me@db/tests"),
            ("postgres://db/t?user=me&password=s3cret", true, "postgres://db/t?user=me&password=***"),
            ("redis://:s3cret@cache:6379/0", true, "redis://:***@cache:6379/0"),
            ("rediss://cache", true, "rediss://cache"),
            ("s3cret", true, "***"),
            ("http://me:s3cret@storage:5016/", false, "http://me:***@storage:5016/"),
            ("127.0.0.1:5016", false, "127.0.0.1:5016"),
            ("info,testmesh_runner=debug", false, "info,testmesh_runner=debug"),
        ] {
            assert_eq!(masked(value, is_secret), shown);
        }
    }
}
