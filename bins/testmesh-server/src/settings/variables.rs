//! Settings from the environment: what is known, what is somebody else's, and what is a mistake.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::catalogue::Setting;
use super::nearest::nearest;

/// What our variables start with.
const PREFIX: &str = "TESTMESH_";
/// Variables of the command line client, which may be set beside a server's.
const CLIENT: [&str; 2] = ["TESTMESH_SERVER", "TESTMESH_TOKEN"];
/// Variables of the tests start with this.
const TESTS: &str = "TESTMESH_TEST_";

/// The environment of a process.
#[derive(Debug, Default)]
pub(crate) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Those of this process.
    pub(crate) fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// The value of a variable; an empty one counts as not set.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, String> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| format!("{name}: the value is no UTF-8 text"))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// What is wrong with the names of those that start as ours do; one line each.
    pub(super) fn unknown(&self, settings: &[Setting]) -> Vec<String> {
        let known: Vec<String> = settings
            .iter()
            .flat_map(|setting| [Some(setting.variable.clone()), setting.file_variable()])
            .flatten()
            .collect();
        let is_ours = |name: &str| name.starts_with(PREFIX) && !CLIENT.contains(&name) && !name.starts_with(TESTS);
        self.0
            .iter()
            .filter(|(name, value)| is_ours(name) && !is_service_link(name, &value.to_string_lossy()))
            .filter(|(name, _)| !known.contains(name))
            .map(|(name, _)| match nearest(name, known.iter().map(String::as_str)) {
                Some(meant) => format!("{name}: there is no such setting; did you mean {meant}?"),
                None => format!("{name}: there is no such setting; `testmesh-server config` lists them all"),
            })
            .collect()
    }
}

impl FromIterator<(OsString, OsString)> for Variables {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect())
    }
}

/// Whether Kubernetes made the variable for a Service: `TESTMESH_SERVICE_HOST`, `TESTMESH_PORT=tcp://…`,
/// `TESTMESH_STORAGE_PORT_5016_TCP_ADDR` and the like stand in every pod beside a Service of that name.
pub(super) fn is_service_link(name: &str, value: &str) -> bool {
    let protocols = ["tcp", "udp", "sctp"];
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && protocols.iter().any(|protocol| value.starts_with(&format!("{protocol}://"))) {
        return true;
    }
    // …_PORT_<number>_<protocol> and what follows it.
    let Some((_, rest)) = name.rsplit_once("_PORT_").filter(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
    else {
        // …_PORT_<number>_<protocol>_PORT ends in a `_PORT` of its own, which the split above takes.
        return false;
    };
    let mut words = rest.split('_');
    let is_number = words.next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    let is_protocol = words.next().is_some_and(|word| protocols.contains(&word.to_ascii_lowercase().as_str()));
    is_number && is_protocol && matches!(words.next(), None | Some("PROTO" | "PORT" | "ADDR")) && words.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;

    fn unknown(name: &str, value: &str) -> Vec<String> {
        Variables::from_iter([(name.into(), value.into())]).unknown(&catalogue::all())
    }

    #[test]
    fn a_mistaken_variable_is_named_with_what_may_be_meant() {
        for (name, part) in [
            ("TESTMESH_CONCURENCY", "did you mean TESTMESH_CONCURRENCY?"),
            ("TESTMESH_DATABASE_URL", "did you mean DATABASE_URL?"),
            ("TESTMESH_DATABASE_URL_FILE", "did you mean DATABASE_URL_FILE?"),
            ("TESTMESH_LISTEN_FILE", "no such setting"),
            ("TESTMESH_PORT", "no such setting"),
            ("TESTMESH_PORT_X", "no such setting"),
            ("TESTMESH_ELSEWHERE", "`testmesh-server config` lists them all"),
        ] {
            let found = unknown(name, "5016");
            assert!(found.len() == 1 && found[0].starts_with(name) && found[0].contains(part), "{name}: {found:?}");
        }
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        for (name, value) in [
            ("TESTMESH_SERVICE_HOST", "10.0.0.7"),
            ("TESTMESH_SERVICE_PORT", "5016"),
            ("TESTMESH_SERVICE_PORT_HTTP", "5016"),
            ("TESTMESH_PORT", "tcp://10.0.0.7:5016"),
            ("TESTMESH_PORT_5016_TCP", "tcp://10.0.0.7:5016"),
            ("TESTMESH_PORT_5016_TCP_PROTO", "tcp"),
            ("TESTMESH_PORT_5016_TCP_PORT", "5016"),
            ("TESTMESH_PORT_5016_TCP_ADDR", "10.0.0.7"),
            ("TESTMESH_RUNNER_SERVICE_PORT_GRPC", "50051"),
            ("TESTMESH_RUNNER_PORT_50051_TCP_PORT", "50051"),
            ("TESTMESH_STORAGE_PORT", "tcp://10.0.0.8:5016"),
            ("TESTMESH_SERVER", "http://127.0.0.1:5016"),
            ("TESTMESH_TEST_POSTGRES", "postgres://127.0.0.1"),
            ("DATABASE_URL", "postgres://127.0.0.1"),
            ("HOME", "/root"),
        ] {
            assert_eq!(unknown(name, value), Vec::<String>::new(), "{name}");
        }
    }
}
