//! `cargo xtask hosts`: the plugin in real hosts, by the scripts in `plugin/hosts`. A host that is not here is said to be so and is no failure.

mod install;
mod trial;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::bundle;
use crate::workspace::Workspace;
use trial::{Outcome, Trial};

/// The variable by which continuous integration asks `cargo xtask check` to install what is missing.
pub(crate) const INSTALL_VARIABLE: &str = "CI_INSTALL_HOSTS";

/// Hosts, and their scripts in `plugin/hosts`.
const HOSTS: [(&str, &str); 5] = [
    ("pedalboard", "pedalboard_host.py"),
    ("dawdreamer", "dawdreamer_host.py"),
    ("ardour", "ardour_headless.py"),
    ("ardour-window", "ardour_window.py"),
    (STANDALONE, "standalone.py"),
];
/// No host at all: the plugin as a program of its own.
const STANDALONE: &str = "standalone";
/// A screen without a machine behind it.
const SCREEN: &str = "Xvfb";

#[derive(Debug, Default, Args)]
pub(crate) struct HostsArgs {
    /// Install what is missing first: Python packages into target/hosts, the rest by apt-get where this user may.
    #[arg(long)]
    install: bool,
    /// Try this bundle instead of building one.
    #[arg(long)]
    plugin: Option<PathBuf>,
    /// Only these hosts [default: all].
    #[arg(long, value_parser = HOSTS.map(|(name, _)| name))]
    only: Vec<String>,
}

impl HostsArgs {
    /// As continuous integration wants it.
    pub(crate) fn of_environment() -> Self {
        Self {
            install: std::env::var(INSTALL_VARIABLE).is_ok_and(|value| value == "1"),
            ..Self::default()
        }
    }
}

/// Brings what trials need, if it is asked for: tests of windows need a part of it too, and are left out where it is missing.
pub(crate) fn prepare(args: &HostsArgs) -> Result<()> {
    if cfg!(target_os = "linux") && args.install {
        install::all(&folder(&Workspace::enter()?)?);
    }
    if !install::is_installed(SCREEN) {
        eprintln!("hosts: not run: tests of windows, because {SCREEN} is not installed");
    }
    Ok(())
}

fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("hosts");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Tries the plugin in all hosts that are here; fails if one of them fails.
pub(crate) fn run(args: &HostsArgs) -> Result<()> {
    if !cfg!(target_os = "linux") {
        eprintln!("hosts: not run: their scripts are for Linux");
        return Ok(());
    }
    let workspace = Workspace::enter()?;
    let folder = folder(&workspace)?;
    let artefacts = folder.join("artefacts");
    std::fs::create_dir_all(&artefacts).with_context(|| artefacts.display().to_string())?;
    if args.install {
        install::all(&folder);
    }
    let python = install::python(&folder);
    let plugin = match &args.plugin {
        Some(plugin) if plugin.is_dir() => plugin.clone(),
        Some(plugin) => bail!("{}: there is no bundle", plugin.display()),
        None => built(&workspace.target)?,
    };
    let mut failed = Vec::new();
    for (name, script) in HOSTS {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        if name == STANDALONE && install::can_build_standalone() {
            bundle::standalone()?;
        }
        let trial = Trial {
            script: &workspace.root.join("plugin/hosts").join(script),
            python: &python,
            plugin: &plugin,
            artefacts: &artefacts,
        };
        let mut outcome = trial.run()?;
        if matches!(outcome, Outcome::Failed(_)) {
            eprintln!("hosts: {name} {outcome}\nhosts: {name} is tried once more");
            outcome = trial.run()?;
        }
        eprintln!("hosts: {name} {outcome}");
        if matches!(outcome, Outcome::Failed(_)) {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("the plugin failed in {}", failed.join(", "));
    }
    Ok(())
}

fn built(target: &Path) -> Result<PathBuf> {
    bundle::quick()?;
    Ok(target.join("bundled/Lorelei.vst3"))
}
