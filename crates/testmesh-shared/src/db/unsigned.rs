//! A number that is never negative, in a column that both engines keep in 64 signed bits.

use std::error::Error;

use sqlx::encode::IsNull;
use sqlx::{Database, Decode, Encode, Type};

/// A version, an ordinal, a number of things. PostgreSQL knows no unsigned type: the column is a `bigint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsigned(pub u32);

impl<DB: Database> Type<DB> for Unsigned
where
    i64: Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <i64 as Type<DB>>::type_info()
    }

    fn compatible(column: &DB::TypeInfo) -> bool {
        <i64 as Type<DB>>::compatible(column)
    }
}

impl<'q, DB: Database> Encode<'q, DB> for Unsigned
where
    i64: Encode<'q, DB>,
{
    fn encode_by_ref(&self, arguments: &mut DB::ArgumentBuffer) -> Result<IsNull, Box<dyn Error + Send + Sync>> {
        i64::from(self.0).encode(arguments)
    }
}

impl<'r, DB: Database> Decode<'r, DB> for Unsigned
where
    i64: Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(u32::try_from(<i64 as Decode<'r, DB>>::decode(value)?)?))
    }
}
