//! Where the data is: settings that the server and `migrate` share.

use std::path::PathBuf;

use clap::Args;

/// Where each domain's data is.
#[derive(Debug, Args)]
pub(crate) struct DatabaseSettings {
    /// Folder of the embedded databases; made when it is not there. One server at a time may use it. Not used with
    /// PostgreSQL.
    #[arg(
        long,
        env = "TESTMESH_DATA_DIR",
        value_name = "FOLDER",
        default_value = "./testmesh-data",
        help_heading = "Data"
    )]
    pub(crate) data_dir: PathBuf,

    /// PostgreSQL database that several servers can share: postgres://user:password@host:5432/database. The domains keep
    /// apart in it, each with a schema and a role of its own. Without it the embedded databases are used.
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, help_heading = "Data")]
    pub(crate) database_url: Option<String>,

    /// PostgreSQL database of flows and environments alone; its login owns the schema `flows` [default: --database-url]
    #[arg(
        long,
        env = "TESTMESH_FLOWS_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Data"
    )]
    pub(crate) flows_database_url: Option<String>,

    /// PostgreSQL database of executions alone; its login owns the schema `executions` [default: --database-url]
    #[arg(
        long,
        env = "TESTMESH_EXECUTIONS_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Data"
    )]
    pub(crate) executions_database_url: Option<String>,

    /// PostgreSQL database of schedules and jobs alone; its login owns the schema `scheduler` [default: --database-url]
    #[arg(
        long,
        env = "TESTMESH_SCHEDULER_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Data"
    )]
    pub(crate) scheduler_database_url: Option<String>,

    /// Connections to PostgreSQL at most, for each of the three schemas.
    #[arg(long, env = "TESTMESH_DATABASE_CONNECTIONS", value_name = "N", default_value_t = 10, help_heading = "Data",
        value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub(crate) database_connections: u32,
}

/// Whose rights `migrate` uses.
#[derive(Debug, Args)]
pub(crate) struct AdminSettings {
    /// The same database server with a login that may create roles and schemas; only `migrate` uses it. Only needed once,
    /// when the login of --database-url may not.
    #[arg(long, env = "TESTMESH_ADMIN_URL", value_name = "URL", hide_env_values = true, help_heading = "Migration")]
    pub(crate) admin_url: Option<String>,
}
