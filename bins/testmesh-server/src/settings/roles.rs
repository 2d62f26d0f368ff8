//! What this process does, and where it finds what it does not: settings of the server alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A domain that this process can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Takes requests from outside.
    Api,
    /// Decides when flows run.
    Scheduler,
    /// Runs flows.
    Runner,
    /// Keeps flows and environments.
    Storage,
}

/// Which domains run here, and where the others are.
#[derive(Debug, Args)]
pub(crate) struct RoleSettings {
    /// What this process does: api, scheduler, runner and storage, separated by commas. What it leaves out runs in other
    /// processes: storage at --storage-url, runners at --runner-url, a scheduler on the same databases and Redis.
    #[arg(
        long,
        env = "TESTMESH_ROLES",
        value_name = "ROLES",
        value_delimiter = ',',
        help_heading = "Roles",
        default_value = "api,scheduler,runner,storage"
    )]
    pub(crate) roles: Vec<Role>,

    /// Where this process serves its storage to other processes, over HTTP. Without it, to itself alone.
    #[arg(long, env = "TESTMESH_INTERNAL_LISTEN", value_name = "ADDRESS", help_heading = "Roles")]
    pub(crate) internal_listen: Option<SocketAddr>,

    /// Where this process serves its runner to other processes, over gRPC [default: 127.0.0.1:50051 where the runner runs
    /// without the API, none otherwise]
    #[arg(long, env = "TESTMESH_RUNNER_LISTEN", value_name = "ADDRESS", help_heading = "Roles")]
    pub(crate) runner_listen: Option<SocketAddr>,

    /// Storage of another process: http://host:port of its --internal-listen, or https:// with certificates.
    #[arg(long, env = "TESTMESH_STORAGE_URL", value_name = "URL", help_heading = "Roles")]
    pub(crate) storage_url: Option<String>,

    /// Runners of other processes: http://host:port of each one's --runner-listen, or https:// with certificates, separated
    /// by commas. Calls are spread over all that answer, and over every address that a name stands for.
    #[arg(long, env = "TESTMESH_RUNNER_URL", value_name = "URLS", value_delimiter = ',', help_heading = "Roles")]
    pub(crate) runner_url: Vec<String>,

    /// The secret that processes show each other, the same for all of them: at least 32 characters. Several can stand on a
    /// line each: the first is sent, all are accepted. Read again when the file changes.
    #[arg(long, env = "TESTMESH_INTERNAL_TOKEN_FILE", value_name = "FILE", help_heading = "Roles")]
    pub(crate) internal_token_file: Option<PathBuf>,

    /// Certificate of this process for calls between processes (PEM), good for both sides of a connection. With
    /// --internal-key-file and --internal-ca-file TLS is mutual. All three are read again when they change.
    #[arg(long, env = "TESTMESH_INTERNAL_CERT_FILE", value_name = "FILE", help_heading = "Roles")]
    pub(crate) internal_cert_file: Option<PathBuf>,

    /// Private key of --internal-cert-file (PEM).
    #[arg(long, env = "TESTMESH_INTERNAL_KEY_FILE", value_name = "FILE", help_heading = "Roles")]
    pub(crate) internal_key_file: Option<PathBuf>,

    /// The authority that every process has its certificate from (PEM).
    #[arg(long, env = "TESTMESH_INTERNAL_CA_FILE", value_name = "FILE", help_heading = "Roles")]
    pub(crate) internal_ca_file: Option<PathBuf>,
}
