//! Opens a connection to PostgreSQL: TLS where it is wanted, then the password in the way the server asks for it.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use testmesh_shared::tls::TlsOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::target::{Server, TlsMode};
use super::super::{Reach, SqlError};
use super::{History, Postgres, Stream, fallible, refused};

/// Opens a connection.
pub(in super::super) async fn open(server: &Server, reach: &Reach<'_>) -> Result<Postgres, SqlError> {
    let tcp = reach.connector.tcp(&server.host, server.port).await?.stream;
    let tls = reach.tls_options(server).await?;
    let stream = secure(tcp, server, reach, &tls).await?;
    let received = BytesMut::with_capacity(8 << 10);
    let mut postgres = Postgres { stream, received, status: b'I', spoilt: true, history: History::default() };
    let mut out = BytesMut::new();
    frontend::startup_message(parameters(server), &mut out).map_err(SqlError::broken)?;
    postgres.send(&out).await?;
    postgres.authenticate(server).await?;
    postgres.spoilt = false;
    Ok(postgres)
}

/// Settings of the session: texts that do not depend on how the server is set up, then what the connection string says.
fn parameters(server: &Server) -> impl Iterator<Item = (&str, &str)> {
    let fixed = [
        ("user", server.user.as_str()),
        ("database", server.database.as_deref().unwrap_or(&server.user)),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "UTC"),
        ("bytea_output", "hex"),
    ];
    let named = server.settings.iter().any(|(name, _)| name == "application_name");
    let ours = (!named).then_some(("application_name", "testmesh"));
    let own = server.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    fixed.into_iter().chain(ours).chain(own)
}

async fn secure(
    mut tcp: TcpStream,
    server: &Server,
    reach: &Reach<'_>,
    options: &TlsOptions,
) -> Result<Stream, SqlError> {
    if server.tls == TlsMode::Disable {
        return Ok(Stream::Plain(tcp));
    }
    let mut out = BytesMut::new();
    frontend::ssl_request(&mut out);
    tcp.write_all(&out).await.map_err(SqlError::broken)?;
    let answer = tcp.read_u8().await.map_err(SqlError::broken)?;
    match (answer, server.tls) {
        (b'S', _) => {
            let tls = reach.tls.handshake(tcp, &server.host, options, &[b"postgresql"]).await?;
            Ok(Stream::Tls(Box::new(tls)))
        }
        (b'N', TlsMode::Prefer) => Ok(Stream::Plain(tcp)),
        (b'N', _) => Err(SqlError::Broken("the server has no TLS and `sslmode` asks for it".to_owned())),
        _ => Err(SqlError::garbage("an answer that is not PostgreSQL's")),
    }
}

impl Postgres {
    async fn authenticate(&mut self, server: &Server) -> Result<(), SqlError> {
        let password = || {
            let missing = || SqlError::Broken("the server asks for a password and the connection has none".to_owned());
            server.password.as_deref().map(str::as_bytes).ok_or_else(missing)
        };
        loop {
            match self.receive().await? {
                Message::AuthenticationCleartextPassword => self.say_password(password()?).await?,
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(server.user.as_bytes(), password()?, body.salt());
                    self.say_password(hash.as_bytes()).await?;
                }
                Message::AuthenticationSasl(body) => self.scram(&body, password()?).await?,
                Message::ErrorResponse(body) => return Err(SqlError::Broken(refused(&body)?.message.to_string())),
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationGss | Message::AuthenticationSspi | Message::AuthenticationKerberosV5 => {
                    let message = "the server asks for Kerberos, which is not supported";
                    return Err(SqlError::Broken(message.to_owned()));
                }
                _ => {}
            }
        }
    }

    async fn say_password(&mut self, password: &[u8]) -> Result<(), SqlError> {
        let mut out = BytesMut::new();
        frontend::password_message(password, &mut out).map_err(SqlError::broken)?;
        self.send(&out).await
    }

    /// SCRAM-SHA-256 (RFC 7677).
    async fn scram(&mut self, body: &AuthenticationSaslBody, password: &[u8]) -> Result<(), SqlError> {
        let mut offered = body.mechanisms();
        let mut known = false;
        while let Some(mechanism) = fallible(offered.next())? {
            known |= mechanism == SCRAM_SHA_256;
        }
        if !known {
            return Err(SqlError::Broken("the server offers no SCRAM-SHA-256 without channel binding".to_owned()));
        }
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        let mut out = BytesMut::new();
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut out).map_err(SqlError::broken)?;
        self.send(&out).await?;
        loop {
            out.clear();
            match self.receive().await? {
                Message::AuthenticationSaslContinue(body) => {
                    scram.update(body.data()).map_err(SqlError::broken)?;
                    frontend::sasl_response(scram.message(), &mut out).map_err(SqlError::broken)?;
                    self.send(&out).await?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    return scram.finish(body.data()).map_err(SqlError::broken);
                }
                Message::ErrorResponse(body) => return Err(SqlError::Broken(refused(&body)?.message.to_string())),
                _ => return Err(SqlError::garbage("an answer out of order in the login")),
            }
        }
    }
}
