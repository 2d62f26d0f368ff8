//! The folder of the embedded default, held by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::db::DbError;

/// A data folder that no other process can take while a clone of this is alive: the lock is the operating system's, so
/// it ends with the process, however that ends.
#[derive(Debug, Clone)]
pub struct DataFolder {
    path: PathBuf,
    _lock: Arc<File>,
}

impl DataFolder {
    /// Creates the folder if need be (readable by this user alone) and takes it.
    ///
    /// # Errors
    /// [`DbError::FolderInUse`] when another process has it, [`DbError::Folder`] when it cannot be created or written.
    pub fn take(path: &Path) -> Result<Self, DbError> {
        let failed = |source: io::Error| DbError::Folder { folder: path.display().to_string(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        create(&path).map_err(failed)?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("testmesh.lock"))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _lock: Arc::new(file) }),
            Err(TryLockError::WouldBlock) => Err(DbError::FolderInUse { folder: path.display().to_string() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The folder, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
