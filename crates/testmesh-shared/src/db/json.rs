//! A value that both engines keep as JSON text, key order and number texts as they were written.

use std::error::Error;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::encode::IsNull;
use sqlx::{Database, Decode, Encode, Type};

/// A value to bind to, or read from, a text column that holds it as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JsonText<T>(pub T);

impl<T, DB: Database> Type<DB> for JsonText<T>
where
    String: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <String as Type<DB>>::type_info()
    }

    fn compatible(column: &DB::TypeInfo) -> bool {
        <String as Type<DB>>::compatible(column)
    }
}

impl<'q, T: Serialize, DB: Database> Encode<'q, DB> for JsonText<T>
where
    String: Encode<'q, DB>,
{
    fn encode_by_ref(&self, arguments: &mut DB::ArgumentBuffer) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        serde_json::to_string(&self.0)?.encode(arguments)
    }
}

impl<'r, T: DeserializeOwned, DB: Database> Decode<'r, DB> for JsonText<T>
where
    &'r str: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(serde_json::from_str(<&str as Decode<'r, DB>>::decode(value)?)?))
    }
}
