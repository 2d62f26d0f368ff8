//! Values by name in the order of insertion: what every map of a flow holds.
//!
//! Most maps have a handful of names (a result, a small document, a step's outputs). Those are searched one by one: no
//! hash, no table to allocate, and a copy is a copy of the list. A larger map gets a table of places.
//!
//! Invariant: the names differ, `first` has a value for each of `shared`, and `places`, when it is there, holds the place
//! of each name.

use std::collections::HashMap;
use std::iter::{Chain, Cloned, Map, Zip};
use std::slice;

use bytestring::ByteString;
use foldhash::fast::RandomState;

use super::Value;

/// Up to this many names are searched one by one: their lengths tell most of them apart. A result has 12.
const FEW: usize = 16;

/// Values by name in the order of insertion.
#[derive(Debug, Clone, Default)]
pub struct Entries {
    /// The names that come first, when they are those of every map of a kind: nobody copies them.
    shared: &'static [ByteString],
    /// The values of these.
    first: Vec<Value>,
    /// What comes after them.
    list: Vec<(ByteString, Value)>,
    /// The place of each name, once there are more than a few. Seeded anew for each process.
    #[expect(clippy::box_collection, reason = "few maps have a table, and all would be as large as one")]
    places: Option<Box<HashMap<ByteString, usize, RandomState>>>,
}

impl Entries {
    /// With room for `capacity` entries.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { list: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// Entries whose names are known to differ.
    pub(crate) fn of_distinct(list: Vec<(ByteString, Value)>) -> Self {
        let mut entries = Self { list, ..Self::default() };
        entries.index();
        entries
    }

    /// Values of names that are known to differ, one for each.
    pub(crate) fn of_shared<const N: usize>(names: &'static [ByteString; N], values: [Value; N]) -> Self {
        let mut entries = Self { shared: names, first: Vec::from(values), ..Self::default() };
        entries.index();
        entries
    }

    /// Makes room for exactly so many entries more.
    pub(crate) fn reserve(&mut self, more: usize) {
        self.list.reserve_exact(more);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.first.len() + self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.list.is_empty()
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let place = self.place(name)?;
        match place.checked_sub(self.first.len()) {
            None => self.first.get(place),
            Some(place) => self.list.get(place).map(|(_, value)| value),
        }
    }

    /// Sets the value of `name`, which keeps its place when it has one. Gives the value it had.
    pub fn insert(&mut self, name: ByteString, value: Value) -> Option<Value> {
        let Some(place) = self.place(&name) else {
            self.push(name, value);
            return None;
        };
        let held = match place.checked_sub(self.first.len()) {
            None => &mut self.first[place],
            Some(place) => &mut self.list[place].1,
        };
        Some(std::mem::replace(held, value))
    }

    /// Adds what `value` makes under `name`, unless there is such a name already.
    pub(crate) fn insert_new(&mut self, name: &ByteString, value: impl FnOnce() -> Value) {
        if self.place(name).is_none() {
            self.push(name.clone(), value());
        }
    }

    /// Names with their values.
    pub fn iter(&self) -> Iter<'_> {
        let first = self.shared.iter().zip(&self.first);
        let pair: fn(&(ByteString, Value)) -> (&ByteString, &Value) = |(name, value)| (name, value);
        first.chain(self.list.iter().map(pair))
    }

    /// The names.
    pub fn keys(&self) -> impl Iterator<Item = &ByteString> {
        self.shared.iter().chain(self.list.iter().map(|(name, _)| name))
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.first.iter().chain(self.list.iter().map(|(_, value)| value))
    }

    fn place(&self, name: &str) -> Option<usize> {
        match &self.places {
            None => {
                let first = self.shared.iter().position(|known| known == name);
                let other = || self.list.iter().position(|(known, _)| known == name);
                first.or_else(|| Some(self.first.len() + other()?))
            }
            Some(places) => places.get(name).copied(),
        }
    }

    fn push(&mut self, name: ByteString, value: Value) {
        let place = self.len();
        if let Some(places) = &mut self.places {
            places.insert(name.clone(), place);
        }
        self.list.push((name, value));
        self.index();
    }

    /// Makes the table when it begins to pay.
    fn index(&mut self) {
        if self.len() > FEW && self.places.is_none() {
            let places = self.keys().cloned().zip(0..).collect();
            self.places = Some(Box::new(places));
        }
    }
}

/// Names with their values, in the order of insertion.
type Iter<'e> = Chain<
    Zip<slice::Iter<'e, ByteString>, slice::Iter<'e, Value>>,
    Map<slice::Iter<'e, (ByteString, Value)>, fn(&(ByteString, Value)) -> (&ByteString, &Value)>,
>;

impl<'e> IntoIterator for &'e Entries {
    type Item = (&'e ByteString, &'e Value);
    type IntoIter = Iter<'e>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Entries {
    type Item = (ByteString, Value);
    type IntoIter = Chain<
        Zip<Cloned<slice::Iter<'static, ByteString>>, std::vec::IntoIter<Value>>,
        std::vec::IntoIter<(ByteString, Value)>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.shared.iter().cloned().zip(self.first).chain(self.list)
    }
}

impl Extend<(ByteString, Value)> for Entries {
    fn extend<T: IntoIterator<Item = (ByteString, Value)>>(&mut self, more: T) {
        let more = more.into_iter();
        self.list.reserve(more.size_hint().0);
        for (name, value) in more {
            self.insert(name, value);
        }
    }
}

impl FromIterator<(ByteString, Value)> for Entries {
    fn from_iter<T: IntoIterator<Item = (ByteString, Value)>>(entries: T) -> Self {
        let mut all = Self::default();
        all.extend(entries);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ByteString {
        format!("name {number}").into()
    }

    #[test]
    fn few_and_many_names_are_found_in_the_order_of_insertion() {
        for count in [0, 1, FEW, FEW + 1, 100] {
            let entries: Entries = (0..count).map(|number| (name(number), Value::from(number))).collect();
            assert_eq!(entries.len(), count);
            assert!(entries.get("other").is_none());
            for (number, (found, value)) in entries.iter().enumerate() {
                assert_eq!((found, value.as_i64()), (&name(number), i64::try_from(number).ok()), "{count}");
                assert_eq!(entries.get(found), Some(value), "{count}");
            }
            let copied = Entries::of_distinct(entries.clone().into_iter().collect());
            assert!(copied.keys().all(|name| copied.get(name) == entries.get(name)), "{count}");
        }
    }

    #[test]
    fn a_name_that_is_there_keeps_its_place() {
        for count in [3, 40] {
            let mut entries: Entries = (0..count).map(|number| (name(number), Value::Null)).collect();
            assert_eq!(entries.insert(name(1), Value::Bool(true)), Some(Value::Null));
            entries.insert_new(&name(1), || Value::Bool(false));
            entries.insert_new(&name(count), || Value::Bool(false));
            assert_eq!(entries.len(), count + 1);
            assert_eq!(entries.iter().nth(1), Some((&name(1), &Value::Bool(true))));
            assert_eq!(entries.iter().last(), Some((&name(count), &Value::Bool(false))));
        }
    }

    #[test]
    fn names_that_maps_share_are_names_like_others() {
        static NAMES: [ByteString; 3] =
            [ByteString::from_static("a"), ByteString::from_static("b"), ByteString::from_static("c")];
        for more in [0, 1, FEW, 40] {
            let mut entries = Entries::of_shared(&NAMES, [1, 2, 3].map(Value::Int));
            assert_eq!(entries.insert("b".into(), Value::Int(20)), Some(Value::Int(2)));
            entries.insert_new(&"c".into(), || Value::Null);
            entries.extend((0..more).map(|number| (name(number), Value::from(number))));
            let plain: Entries = entries.clone().into_iter().collect();
            assert_eq!((plain.len(), entries.is_empty()), (3 + more, false));
            assert!(plain.iter().eq(entries.iter()), "{more}");
            assert!(plain.keys().all(|name| plain.get(name) == entries.get(name)), "{more}");
            assert!(plain.values().eq(entries.values()), "{more}");
            assert_eq!((entries.get("b"), entries.get("d")), (Some(&Value::Int(20)), None));
        }
    }
}
