//! Whether the file is still where it was opened. One that was removed, or that another one was put in the place of, still
//! takes everything, and nobody would find it again.

use std::path::{Path, PathBuf};

use super::unavailable;
use crate::Result;

/// A file, and where it was found.
#[derive(Debug)]
pub(super) struct Place {
    #[cfg_attr(not(unix), allow(dead_code))]
    path: PathBuf,
    #[cfg_attr(not(unix), allow(dead_code))]
    file: (u64, u64),
}

impl Place {
    /// Where a file is that was just opened.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let file = identity(path).map_err(|error| unavailable("open the store", error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Looks whether it is still there.
    #[cfg(unix)]
    pub(super) fn check(&self, action: &'static str) -> Result<()> {
        match identity(&self.path) {
            Ok(file) if file == self.file => Ok(()),
            Ok(_) => {
                let what = "another file was put in the place of the store since it was opened: open it again";
                Err(unavailable(action, std::io::Error::other(what)))
            }
            Err(error) => Err(unavailable(action, error)),
        }
    }

    /// Where a file that is open can be neither removed nor replaced, there is nothing to look for.
    #[cfg(not(unix))]
    pub(super) fn check(&self, _: &'static str) -> Result<()> {
        Ok(())
    }
}

/// What names a file on this machine, whatever it is called.
#[cfg(unix)]
fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> std::io::Result<(u64, u64)> {
    Ok((0, 0))
}
