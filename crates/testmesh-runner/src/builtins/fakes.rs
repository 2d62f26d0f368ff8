//! What `fake.<kind>()` makes: plausible people, places and texts from a maintained library, drawn from the run's
//! generator.

use fake::Fake as _;
use fake::faker::{address, company, creditcard, currency, filesystem, internet, job, lorem, name, phone_number};
use fake::locales::EN;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use crate::value::Value;

/// Every kind, with what it makes, in the order of the reference.
pub(crate) const FAKES: &[(&str, &str)] = &[
    ("name", "a full name"),
    ("first_name", "a first name"),
    ("last_name", "a last name"),
    ("title", "a form of address"),
    ("email", "a mail address at a reserved domain"),
    ("username", "a user name"),
    ("password", "a password of 12 to 20 characters"),
    ("phone", "a phone number"),
    ("company", "a company's name"),
    ("job", "a job title"),
    ("street", "a street's name"),
    ("building_number", "a house number"),
    ("address", "a house number and a street"),
    ("city", "a city"),
    ("state", "a state"),
    ("zip", "a postal code"),
    ("country", "a country"),
    ("country_code", "a country's two letters"),
    ("latitude", "a latitude"),
    ("longitude", "a longitude"),
    ("time_zone", "a time zone's name"),
    ("word", "a word"),
    ("sentence", "a sentence of 5 to 9 words"),
    ("paragraph", "a paragraph of 3 to 6 sentences"),
    ("url", "an address at a reserved domain"),
    ("domain", "a reserved domain's name"),
    ("ipv4", "an IPv4 address"),
    ("ipv6", "an IPv6 address"),
    ("mac", "a network card's address"),
    ("user_agent", "a browser's name for itself"),
    ("color", "a colour as `#RRGGBB`"),
    ("credit_card", "a card number with a valid check digit"),
    ("currency_code", "a currency's three letters"),
    ("file_name", "a file's name"),
    ("mime_type", "a media type"),
    ("boolean", "`true` or `false`"),
    ("digit", "a digit"),
];

/// A value of this kind.
pub(super) fn draw(kind: &str, generator: &mut ChaCha8Rng) -> Option<Value> {
    let text: String = match kind {
        "name" => name::raw::Name(EN).fake_with_rng(generator),
        "first_name" => name::raw::FirstName(EN).fake_with_rng(generator),
        "last_name" => name::raw::LastName(EN).fake_with_rng(generator),
        "title" => name::raw::Title(EN).fake_with_rng(generator),
        "email" => internet::raw::SafeEmail(EN).fake_with_rng(generator),
        "username" => internet::raw::Username(EN).fake_with_rng(generator),
        "password" => internet::raw::Password(EN, 12..21).fake_with_rng(generator),
        "phone" => phone_number::raw::PhoneNumber(EN).fake_with_rng(generator),
        "company" => company::raw::CompanyName(EN).fake_with_rng(generator),
        "job" => job::raw::Title(EN).fake_with_rng(generator),
        _ => return place(kind, generator).or_else(|| thing(kind, generator)),
    };
    Some(Value::from(text))
}

fn place(kind: &str, generator: &mut ChaCha8Rng) -> Option<Value> {
    let text: String = match kind {
        "street" => address::raw::StreetName(EN).fake_with_rng(generator),
        "building_number" => address::raw::BuildingNumber(EN).fake_with_rng(generator),
        "address" => {
            let number: String = address::raw::BuildingNumber(EN).fake_with_rng(generator);
            let street: String = address::raw::StreetName(EN).fake_with_rng(generator);
            format!("{number} {street}")
        }
        "city" => address::raw::CityName(EN).fake_with_rng(generator),
        "state" => address::raw::StateName(EN).fake_with_rng(generator),
        "zip" => address::raw::ZipCode(EN).fake_with_rng(generator),
        "country" => address::raw::CountryName(EN).fake_with_rng(generator),
        "country_code" => address::raw::CountryCode(EN).fake_with_rng(generator),
        "time_zone" => address::raw::TimeZone(EN).fake_with_rng(generator),
        "latitude" => return Some(Value::Float(address::raw::Latitude(EN).fake_with_rng(generator))),
        "longitude" => return Some(Value::Float(address::raw::Longitude(EN).fake_with_rng(generator))),
        _ => return None,
    };
    Some(Value::from(text))
}

fn thing(kind: &str, generator: &mut ChaCha8Rng) -> Option<Value> {
    let text: String = match kind {
        "word" => lorem::raw::Word(EN).fake_with_rng(generator),
        "sentence" => lorem::raw::Sentence(EN, 5..10).fake_with_rng(generator),
        "paragraph" => lorem::raw::Paragraph(EN, 3..7).fake_with_rng(generator),
        "url" => format!("https://{}/{}", domain(generator), word(generator)),
        "domain" => domain(generator),
        "ipv4" => internet::raw::IPv4(EN).fake_with_rng(generator),
        "ipv6" => internet::raw::IPv6(EN).fake_with_rng(generator),
        "mac" => internet::raw::MACAddress(EN).fake_with_rng(generator),
        "user_agent" => internet::raw::UserAgent(EN).fake_with_rng(generator),
        "color" => format!("#{:06X}", generator.random_range(0..0x100_0000)),
        "credit_card" => creditcard::raw::CreditCardNumber(EN).fake_with_rng(generator),
        "currency_code" => currency::raw::CurrencyCode(EN).fake_with_rng(generator),
        "file_name" => filesystem::raw::FileName(EN).fake_with_rng(generator),
        "mime_type" => filesystem::raw::MimeType(EN).fake_with_rng(generator),
        "boolean" => return Some(Value::Bool(generator.random())),
        "digit" => return Some(Value::Int(generator.random_range(0..10))),
        _ => return None,
    };
    Some(Value::from(text))
}

fn word(generator: &mut ChaCha8Rng) -> String {
    lorem::raw::Word(EN).fake_with_rng(generator)
}

/// Below a domain that is reserved for examples, so that a test never reaches a stranger.
fn domain(generator: &mut ChaCha8Rng) -> String {
    format!("{}.example.com", word(generator))
}
