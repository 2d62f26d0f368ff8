//! Pages of lists: `limit` and `cursor` in, `items` and `next_cursor` out.

use serde::Serialize;
use testmesh_shared::page::{Page, PageRequest};
use utoipa::{IntoParams, ToSchema};

use crate::cursor;
use crate::extract::query::Pairs;
use crate::problem::Problem;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Which page.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "declares the parameters that `request` reads, for the OpenAPI document")]
pub(crate) struct PageParams {
    /// How many items at most.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before; none for the first page.
    #[param(min_length = 32, max_length = 32, pattern = "^[A-Za-z0-9_-]{32}$", nullable = false)]
    cursor: Option<String>,
}

/// One page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PageBody<T> {
    /// The items.
    items: Vec<T>,
    /// Ask with this as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// The page that `pairs` ask for.
pub(crate) fn request(pairs: &Pairs<'_>) -> Result<PageRequest, Problem> {
    let rule = "a whole number from 1 to 200";
    let limit = pairs.parsed::<u32>("limit", rule)?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid(format!("`limit` must be {rule}")));
    }
    let after = pairs.one("cursor").map(cursor::decode).transpose()?;
    Ok(PageRequest { limit, after })
}

impl<T> From<Page<T>> for PageBody<T> {
    fn from(page: Page<T>) -> Self {
        Self { items: page.items, next_cursor: page.next.map(cursor::encode) }
    }
}
