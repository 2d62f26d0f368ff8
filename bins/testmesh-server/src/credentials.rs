//! What this process shows to the others, and wants from them: a token, certificates, or both.

use std::path::Path;

use testmesh_shared::internal::{Credentials, InternalTls, InternalToken, TlsPem};
use testmesh_shared::tasks::Tasks;

use crate::settings::Settings;
use crate::shape::Shape;
use crate::{Failure, chain};

/// Reads them, and keeps on reading them in `tasks`. None where no process calls another.
pub(crate) fn read(settings: &Settings, shape: &Shape, tasks: &Tasks) -> Result<Option<Credentials>, Failure> {
    if !shape.is_networked() {
        return Ok(None);
    }
    let (token, tls) = (token(settings, tasks)?, tls(settings, tasks)?);
    Credentials::new(token, tls).map(Some).map_err(|_| {
        Failure::Setting(
            "--internal-token-file: calls between processes need a secret; give every process the same file with \
             --internal-token-file FILE (32 random characters or more, such as `openssl rand -hex 32` prints), or \
             certificates with --internal-cert-file, --internal-key-file and --internal-ca-file"
                .to_owned(),
        )
    })
}

fn token(settings: &Settings, tasks: &Tasks) -> Result<Option<InternalToken>, Failure> {
    let Some(path) = &settings.roles.internal_token_file else { return Ok(None) };
    let place = settings.in_force.place("internal_token_file");
    let text = contents(path, &place)?;
    let text = String::from_utf8(text)
        .map_err(|_| Failure::Setting(format!("{place}: `{}` is no UTF-8 text", path.display())))?;
    let token = InternalToken::parse(&text)
        .map_err(|error| Failure::Setting(format!("{place}: `{}`: {}", path.display(), chain(&error))))?;
    tasks.spawn(token.clone().follow(path.clone(), tasks.cancelled().clone()));
    Ok(Some(token))
}

fn tls(settings: &Settings, tasks: &Tasks) -> Result<Option<InternalTls>, Failure> {
    let roles = &settings.roles;
    let (certificate, key, ca) = match (&roles.internal_cert_file, &roles.internal_key_file, &roles.internal_ca_file) {
        (None, None, None) => return Ok(None),
        (Some(certificate), Some(key), Some(ca)) => (certificate, key, ca),
        _ => {
            let message =
                "--internal-cert-file, --internal-key-file and --internal-ca-file belong together: give all three";
            return Err(Failure::Setting(message.to_owned()));
        }
    };
    let place = |key: &str| settings.in_force.place(key);
    let pem = TlsPem {
        certificate: contents(certificate, &place("internal_cert_file"))?.into(),
        key: contents(key, &place("internal_key_file"))?.into(),
        ca: contents(ca, &place("internal_ca_file"))?.into(),
    };
    let tls = InternalTls::new(pem)
        .map_err(|error| Failure::Setting(format!("{}: {}", place("internal_cert_file"), chain(&error))))?;
    tasks.spawn(tls.clone().follow(certificate.clone(), key.clone(), ca.clone(), tasks.cancelled().clone()));
    Ok(Some(tls))
}

fn contents(path: &Path, place: &str) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Setting(format!("{place}: cannot read `{}`: {error}", path.display())))
}
