//! Amounts of money in whole cents, so that sums are exact.

use serde::{Serialize, Serializer};

/// An amount in cents, as it comes from the database and goes there. On the wire it is a number of at most two decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub(crate) struct Money(i64);

/// Most cents of one amount: numbers up to here are exact on the wire.
const MOST: i64 = 999_999_999_999;

impl Money {
    pub(crate) const ZERO: Self = Self(0);

    /// The amount nearest to a number; none when it is beyond all prices.
    pub(crate) fn of(number: f64) -> Option<Self> {
        #[expect(clippy::cast_possible_truncation, reason = "a limit far inside of both types is checked first")]
        let cents = |number: f64| (number * 100.0).round() as i64;
        #[expect(clippy::cast_precision_loss, reason = "the limit is exact in both types")]
        let most = MOST as f64 / 100.0;
        (number.abs() <= most).then(|| Self(cents(number)))
    }

    /// The price of several; none when it is beyond all prices.
    pub(crate) fn times(self, quantity: i64) -> Option<Self> {
        self.0.checked_mul(quantity).filter(|cents| *cents <= MOST).map(Self)
    }

    /// The sum; none when it is beyond all prices.
    pub(crate) fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).filter(|cents| *cents <= MOST).map(Self)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_precision_loss, reason = "amounts are far below the precision of the type")]
        let number = self.0 as f64 / 100.0;
        serializer.serialize_f64(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_on_the_wire_and_in_sums() {
        for (number, cents, text) in
            [(29.99, 2999, "29.99"), (0.1, 10, "0.1"), (40.0, 4000, "40.0"), (149.99, 14999, "149.99")]
        {
            let money = Money::of(number).unwrap();
            assert_eq!(money, Money(cents));
            assert_eq!(serde_json::to_string(&money).unwrap(), text);
        }
        let sum = Money::of(29.99).and_then(|price| price.times(2)).and_then(|sum| sum.plus(Money::of(0.02).unwrap()));
        assert_eq!(sum, Some(Money(6000)));
    }

    #[test]
    fn amounts_beyond_all_prices_are_refused() {
        assert_eq!(Money::of(1e300), None);
        assert_eq!(Money::of(f64::NAN), None);
        assert_eq!(Money(MOST).times(2), None);
        assert_eq!(Money(MOST).plus(Money(1)), None);
    }
}
