//! The shapes, as data.

/// One process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    /// As `--roles` takes them.
    pub(crate) roles: &'static str,
    /// The process whose storage it uses; none: its own, or it needs none.
    pub(crate) storage: Option<&'static str>,
    /// The processes whose runners it uses.
    pub(crate) runners: &'static [&'static str],
}

/// Processes that are one TestMesh. Those that have the API come first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) processes: &'static [Process],
}

impl Process {
    pub(crate) fn has(&self, role: &str) -> bool {
        self.roles.split(',').any(|own| own == role)
    }
}

const fn process(
    name: &'static str,
    roles: &'static str,
    storage: Option<&'static str>,
    runners: &'static [&'static str],
) -> Process {
    Process { name, roles, storage, runners }
}

/// One process for each role, and a second runner.
pub(crate) const ALL_OUT: Layout = Layout {
    name: "all-out",
    processes: &[
        process("api", "api", Some("storage"), &["runner-1", "runner-2"]),
        process("storage", "storage", None, &[]),
        process("runner-1", "runner", Some("storage"), &[]),
        process("runner-2", "runner", Some("storage"), &[]),
        process("scheduler", "scheduler", None, &[]),
    ],
};

/// Every shape.
pub(crate) const LAYOUTS: [Layout; 6] = [
    Layout { name: "all-in-one", processes: &[process("server", "api,scheduler,runner,storage", None, &[])] },
    Layout {
        name: "storage-out",
        processes: &[
            process("server", "api,scheduler,runner", Some("storage"), &[]),
            process("storage", "storage", None, &[]),
        ],
    },
    Layout {
        name: "runner-out",
        processes: &[
            process("server", "api,scheduler,storage", None, &["runner"]),
            process("runner", "runner", Some("server"), &[]),
        ],
    },
    Layout {
        name: "scheduler-out",
        processes: &[process("server", "api,runner,storage", None, &[]), process("scheduler", "scheduler", None, &[])],
    },
    ALL_OUT,
    Layout {
        name: "two-of-each",
        processes: &[
            process("api-1", "api", Some("storage-1"), &["runner-1", "runner-2"]),
            process("api-2", "api", Some("storage-2"), &["runner-1", "runner-2"]),
            process("storage-1", "storage", None, &[]),
            process("storage-2", "storage", None, &[]),
            process("runner-1", "runner", Some("storage-1"), &[]),
            process("runner-2", "runner", Some("storage-2"), &[]),
            process("scheduler-1", "scheduler", None, &[]),
            process("scheduler-2", "scheduler", None, &[]),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_every_role_and_finds_what_it_uses() {
        for layout in LAYOUTS {
            for role in ["api", "scheduler", "runner", "storage"] {
                assert!(layout.processes.iter().any(|process| process.has(role)), "{} lacks {role}", layout.name);
            }
            let find = |name: &str| layout.processes.iter().find(|process| process.name == name);
            for process in layout.processes {
                assert!(process.storage.is_none_or(|name| find(name).is_some_and(|other| other.has("storage"))));
                assert!(process.runners.iter().all(|name| find(name).is_some_and(|other| other.has("runner"))));
            }
            assert!(layout.processes[0].has("api"), "{}", layout.name);
        }
    }
}
