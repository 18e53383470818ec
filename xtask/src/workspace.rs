//! Where the project lies, whatever folder a command is typed in.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// The folders of the project.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// The folder of `Cargo.toml` and of all crates.
    pub(crate) root: PathBuf,
    /// Where cargo builds: `target`, or what `CARGO_TARGET_DIR` says.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo about the project that `folder` lies in.
    ///
    /// # Errors
    /// When `folder` is in no project, or cargo does not run.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .current_dir(folder)
            .no_deps()
            .exec()
            .context("cargo metadata failed")?;
        Ok(Self {
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
        })
    }

    /// The project around the current folder, whose root becomes the current folder: paths below are relative to it.
    ///
    /// # Errors
    /// As [`Workspace::of`], and when the root cannot be entered.
    pub(crate) fn enter() -> Result<Self> {
        let here = std::env::current_dir().context("there is no current folder")?;
        let workspace = Self::of(&here)?;
        std::env::set_current_dir(&workspace.root)
            .with_context(|| format!("entering {}", workspace.root.display()))?;
        Ok(workspace)
    }

    /// A folder of this name in the target folder, new and empty.
    ///
    /// # Errors
    /// When the one that was there cannot be removed, or no new one can be made.
    pub(crate) fn empty_folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.target.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A program of the project as the release build has it.
    pub(crate) fn program(&self, name: &str) -> Command {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        Command::new(self.target.join("release").join(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_from_a_folder_of_any_depth() {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        let from_within = Workspace::of(&xtask.join("src")).unwrap();
        assert!(from_within.root.join("xtask/Cargo.toml").is_file());
        assert_eq!(from_within, Workspace::of(&from_within.root).unwrap());
        assert!(from_within.target.is_absolute());
    }
}
