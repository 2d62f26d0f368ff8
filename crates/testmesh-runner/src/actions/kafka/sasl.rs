//! SASL: PLAIN (RFC 4616), SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use sha2::{Digest, Sha256, Sha512};

use super::KafkaError;
use super::link::Link;
use crate::action::ActionError;
use crate::engine::Resolved;

/// Rounds that a broker may ask for: more would keep this process busy for a while.
const MOST_ROUNDS: u32 = 1_000_000;

/// A user and how the password is proved.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Credentials {
    mechanism: Mechanism,
    username: String,
    password: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mechanism {
    Plain,
    Sha256,
    Sha512,
}

impl Mechanism {
    fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Sha256 => "SCRAM-SHA-256",
            Mechanism::Sha512 => "SCRAM-SHA-512",
        }
    }
}

impl Credentials {
    pub(super) fn read(config: &Resolved) -> Result<Self, ActionError> {
        let mechanism = config.text("mechanism")?.map(|name| name.to_ascii_uppercase().replace('_', "-"));
        Ok(Self {
            mechanism: match mechanism.as_deref() {
                Some("SCRAM-SHA-256") => Mechanism::Sha256,
                Some("SCRAM-SHA-512") => Mechanism::Sha512,
                _ => Mechanism::Plain,
            },
            username: config.required_text("username")?.into(),
            password: config.required_text("password")?.into(),
        })
    }

    /// Proves who asks on a new connection.
    pub(super) async fn prove(&self, link: &mut Link) -> Result<(), KafkaError> {
        let name = self.mechanism.name();
        let request = SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(name));
        let answer = link.ask(&request, 1).await?;
        if let Some(error) = KafkaError::of(answer.error_code, &format!("SASL {name}")) {
            return Err(error);
        }
        match self.mechanism {
            Mechanism::Plain => {
                let text = format!("\0{}\0{}", self.username, self.password);
                say(link, text.into()).await.map(drop)
            }
            Mechanism::Sha256 => self.scram::<Sha256, Hmac<Sha256>>(link).await,
            Mechanism::Sha512 => self.scram::<Sha512, Hmac<Sha512>>(link).await,
        }
    }

    async fn scram<D: Digest, M: Mac + KeyInit>(&self, link: &mut Link) -> Result<(), KafkaError> {
        let username = self.username.replace('=', "=3D").replace(',', "=2C");
        let nonce = STANDARD.encode(rand::random::<[u8; 18]>());
        let first = format!("n={username},r={nonce}");
        let challenge = say(link, format!("n,,{first}").into()).await?;
        let challenge = String::from_utf8_lossy(&challenge).into_owned();
        let garbage = || KafkaError::Broken("the broker's SCRAM message makes no sense".to_owned());
        let field = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let their_nonce = field("r=").filter(|theirs| theirs.starts_with(&nonce)).ok_or_else(garbage)?;
        let salt = STANDARD.decode(field("s=").ok_or_else(garbage)?).map_err(|_| garbage())?;
        let rounds: u32 = field("i=").and_then(|rounds| rounds.parse().ok()).ok_or_else(garbage)?;
        if rounds > MOST_ROUNDS {
            return Err(KafkaError::Broken(format!("the broker asks for {rounds} rounds of SCRAM")));
        }
        let salted = stretched::<M>(self.password.as_bytes(), &salt, rounds);
        let bare = format!("c=biws,r={their_nonce}");
        let all = format!("{first},{challenge},{bare}");
        let client_key = keyed::<M>(&salted, b"Client Key");
        let signature = keyed::<M>(&D::digest(&client_key), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        let last = say(link, format!("{bare},p={}", STANDARD.encode(proof)).into()).await?;
        let expected = STANDARD.encode(keyed::<M>(&keyed::<M>(&salted, b"Server Key"), all.as_bytes()));
        if String::from_utf8_lossy(&last).strip_prefix("v=") == Some(&expected) {
            return Ok(());
        }
        Err(KafkaError::Broken("the broker does not prove that it knows the password".to_owned()))
    }
}

async fn say(link: &mut Link, bytes: Bytes) -> Result<Bytes, KafkaError> {
    let answer = link.ask(&SaslAuthenticateRequest::default().with_auth_bytes(bytes), 1).await?;
    let message = answer.error_message.map(|text| text.to_string()).unwrap_or_default();
    match KafkaError::of(answer.error_code, &message) {
        Some(error) => Err(error),
        None => Ok(answer.auth_bytes),
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// PBKDF2 of one block (RFC 8018, section 5.2), which is what SCRAM calls `Hi`.
fn stretched<M: Mac + KeyInit>(password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    let mut block = keyed::<M>(password, &[salt, &[0, 0, 0, 1]].concat());
    let mut sum = block.clone();
    for _ in 1..rounds {
        block = keyed::<M>(password, &block);
        for (sum, byte) in sum.iter_mut().zip(&block) {
            *sum ^= byte;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn proofs_are_those_of_the_specification() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = stretched::<Hmac<Sha256>>(b"pencil", &salt, 4096);
        let all = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let client_key = keyed::<Hmac<Sha256>>(&salted, b"Client Key");
        let signature = keyed::<Hmac<Sha256>>(&Sha256::digest(&client_key), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(key, sign)| key ^ sign).collect();
        assert_eq!(STANDARD.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let server = keyed::<Hmac<Sha256>>(&keyed::<Hmac<Sha256>>(&salted, b"Server Key"), all.as_bytes());
        assert_eq!(STANDARD.encode(server), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}
