//! The two engines, and what each calls things.

use sqlparser::dialect::{Dialect, PostgreSqlDialect, SQLiteDialect};

/// A database engine. A file `name.sql` is for both; `name.postgres.sql` and `name.sqlite.sql` are for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Engine {
    /// The production backend.
    Postgres,
    /// The embedded default.
    Sqlite,
}

impl Engine {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];

    /// The word for it in the names of files and folders.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Postgres => Self::Sqlite,
            Self::Sqlite => Self::Postgres,
        }
    }

    /// The engines that run a file of this name, and the name of what it does.
    pub(super) fn of_file(name: &str) -> (Vec<Self>, &str) {
        let stem = name.strip_suffix(".sql").unwrap_or(name);
        for engine in Self::ALL {
            if let Some(stem) = stem.strip_suffix(engine.word()).and_then(|stem| stem.strip_suffix('.')) {
                return (vec![engine], stem);
            }
        }
        (Self::ALL.to_vec(), stem)
    }

    /// How its SQL is read.
    pub(super) fn dialect(self) -> Box<dyn Dialect> {
        match self {
            Self::Postgres => Box::new(PostgreSqlDialect {}),
            Self::Sqlite => Box::new(SQLiteDialect {}),
        }
    }

    /// Functions that are used like tables.
    pub(super) fn table_functions(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[
                "generate_series",
                "json_array_elements",
                "json_array_elements_text",
                "json_each",
                "json_to_record",
                "json_to_recordset",
                "jsonb_array_elements",
                "jsonb_array_elements_text",
                "unnest",
            ],
            Self::Sqlite => &["json_each", "json_tree"],
        }
    }
}
