//! Pages of a list by key: newest first, ties broken by id, never by offset.

use chrono::{DateTime, Utc};

/// One page of a list, newest first, ties broken by id.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest {
    /// At most this many items (1–200).
    pub limit: u32,
    /// Only what comes after this place.
    pub after: Option<PageKey>,
}

/// A place in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageKey {
    /// The creation time of the last item seen.
    pub created_at: DateTime<Utc>,
    /// Its id.
    pub id: uuid::Uuid,
}

/// A page and where the next one starts.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page starts; none on the last page.
    pub next: Option<PageKey>,
}
