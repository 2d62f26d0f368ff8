//! Which place wins, what is refused, and that a value means the same wherever it is written.

use std::fs;

use super::*;

/// Reads settings from flags, `NAME=value` variables and a settings file.
fn read(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Result<CommandLine, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    let mut arguments: Vec<OsString> =
        std::iter::once("testmesh-server").chain(flags.iter().copied()).map(Into::into).collect();
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
        arguments.extend(["--config".into(), path.clone().into()]);
    }
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    resolve(&arguments, &variables).map_err(|refusal| match refusal {
        Refusal::Flags(error) => error.to_string(),
        Refusal::Setting(message) => message.replace(&folder.path().display().to_string(), "DIR"),
    })
}

fn value<'a>(read: &'a CommandLine, key: &str) -> &'a Value {
    read.settings.in_force.values().iter().find(|value| value.setting.key == key).unwrap()
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let (file, variable) = (Some("concurrency = 1"), &[("TESTMESH_CONCURRENCY", "2")][..]);
    for (flags, variables, file, concurrency, origin) in [
        (&["--concurrency", "3"][..], variable, file, Some(3), "flag"),
        (&[][..], variable, file, Some(2), "TESTMESH_CONCURRENCY"),
        (&[][..], &[("TESTMESH_CONCURRENCY", "")][..], file, Some(1), ":1:15"),
        (&[][..], &[][..], file, Some(1), ":1:15"),
        (&[][..], &[][..], None, None, "default"),
    ] {
        let read = read(flags, variables, file).unwrap();
        assert_eq!(read.settings.concurrency, concurrency);
        let found = &value(&read, "concurrency").origin;
        assert!(found.to_string().ends_with(origin), "{found} {origin}");
    }
}

#[test]
fn lists_are_the_same_from_every_place() {
    let expected = ["10.0.0.0/8", "192.168.0.0/16"];
    for (flags, variables, file) in [
        (&["--net-deny", "10.0.0.0/8,192.168.0.0/16"][..], &[][..], None),
        (&["--net-deny", "10.0.0.0/8", "--net-deny", "192.168.0.0/16"][..], &[][..], None),
        (&[][..], &[("TESTMESH_NET_DENY", "10.0.0.0/8,192.168.0.0/16")][..], None),
        (&[][..], &[][..], Some("net_deny = ['10.0.0.0/8', '192.168.0.0/16']")),
        (&[][..], &[][..], Some("net_deny = '10.0.0.0/8,192.168.0.0/16'")),
    ] {
        assert_eq!(read(flags, variables, file).unwrap().settings.net_deny, expected);
    }
}

#[test]
fn a_wrong_value_is_refused_where_it_stands() {
    for (variables, file, expected) in [
        (
            &[("TESTMESH_CONCURRENCY", "0")][..],
            None,
            "TESTMESH_CONCURRENCY: `0` is no value of `concurrency`: 0 is not in",
        ),
        (&[("TESTMESH_LISTEN", "here")][..], None, "TESTMESH_LISTEN: `here` is no value of `listen`: invalid socket"),
        (
            &[][..],
            Some("\nlog_format = 'xml'"),
            "DIR/t.toml:2:14: `xml` is no value of `log_format`: it must be one of auto, json, text",
        ),
        (
            &[][..],
            Some("drain_timeout = 999999"),
            "DIR/t.toml:1:17: `999999` is no value of `drain_timeout`: 999999 is not in 0..=86400",
        ),
        (&[][..], Some("lisen = 'x'"), "DIR/t.toml:1:1: there is no setting `lisen`; did you mean `listen`?"),
        (&[][..], Some("config = 'x'"), "DIR/t.toml:1:10: a settings file cannot name another"),
        (
            &[("TESTMESH_LISEN", "x")][..],
            None,
            "TESTMESH_LISEN: there is no such setting; did you mean TESTMESH_LISTEN?",
        ),
        (&[("TESTMESH_CONFIG", "/nonexistent/t.toml")][..], None, "cannot read `/nonexistent/t.toml`"),
        (&[("DATABASE_URL_FILE", "/nonexistent/url")][..], None, "DATABASE_URL_FILE: cannot read `/nonexistent/url`"),
        (
            &[("DATABASE_URL_FILE", "/a"), ("DATABASE_URL", "b")][..],
            None,
            "DATABASE_URL_FILE: DATABASE_URL is set too; only one of them",
        ),
        (
            &[][..],
            Some("database_url = 'a'\ndatabase_url_file = 'b'"),
            "DIR/t.toml:2:21: `database_url` is given too; only one of them",
        ),
    ] {
        let error = read(&[], variables, file).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
    // What a flag overrides is not looked at; that it is unknown is a mistake all the same.
    read(&["--concurrency", "3"], &[("TESTMESH_CONCURRENCY", "x")], None).unwrap();
    read(&["--listen", "127.0.0.1:0"], &[("TESTMESH_LISEN", "x")], None).unwrap_err();
    let error = read(&["--concurrency", "x"], &[], None).unwrap_err();
    assert!(error.contains("'--concurrency <N>'"), "{error}");
}

#[test]
fn a_secret_is_read_from_the_file_that_a_variable_or_a_key_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let name = path.to_str().unwrap();
    fs::write(&path, "postgres://me:s3cret@db/tests\n").unwrap();
    let by_variable = read(&[], &[("DATABASE_URL_FILE", name)], None).unwrap();
    let by_key = read(&[], &[], Some(&format!("database_url_file = '{name}'"))).unwrap();
    for read in [by_variable, by_key] {
        assert_eq!(read.settings.database.database_url.as_deref(), Some("postgres://me:s3cret@db/tests"));
        let place = read.settings.in_force.place("database_url");
        assert!(place.ends_with(&format!("({name})")), "{place}");
    }
    for (text, reason) in [("\n", "is empty"), ("a\nb", "has more than one line"), (&"x".repeat(70_000), "bytes")] {
        fs::write(&path, text).unwrap();
        let error = read(&[], &[("DATABASE_URL_FILE", name)], None).unwrap_err();
        assert!(error.starts_with("DATABASE_URL_FILE: ") && error.contains(reason), "{error}");
    }
}

#[test]
fn a_command_takes_its_own_settings_and_knows_the_others() {
    let both = Some("concurrency = 5\nadmin_url = 'postgres://root@db/tests'");
    let Some(Command::Migrate { admin, .. }) = read(&["migrate"], &[], both).unwrap().command else { panic!() };
    assert_eq!(admin.admin_url.as_deref(), Some("postgres://root@db/tests"));
    let config = read(&["config", "--listen", "127.0.0.1:1"], &[], both).unwrap();
    let Some(Command::Config { settings, .. }) = &config.command else { panic!() };
    assert_eq!((settings.concurrency, settings.listen.port()), (Some(5), 1));
    assert_eq!(read(&[], &[], both).unwrap().settings.concurrency, Some(5));
    // `health` asks at the address that the server was told.
    let Some(Command::Health(health)) = read(&["health"], &[], Some("listen = '127.0.0.1:9'")).unwrap().command else {
        panic!()
    };
    assert!(format!("{health:?}").contains("127.0.0.1:9"), "{health:?}");
    // Commands without settings do not care.
    read(&["token", "create", "--name", "a", "--scope", "read"], &[("TESTMESH_LISEN", "x")], None).unwrap();
}
