//! `cargo xtask bundle plugin --release` and `cargo xtask install`: the plugin as hosts want it, with its engine inside.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::workspace::Workspace;

const PACKAGE: &str = "plugin";
const ENGINE_PACKAGE: &str = "engine";
const NAME: &str = "Lorelei";
const ENGINE: &str = "lorelei-engine";
/// What makes a bundle small: all crates are optimised as one, which takes minutes and is for bundles alone. Panics unwind as everywhere: the
/// engine outlives one in a job.
const OPTIMISED_AS_ONE: [(&str, &str); 2] = [
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
];
/// Bytes that the bundle of one format and its engine should not exceed.
const AIMED_BUNDLE_BYTES: u64 = 60_000_000;

#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// Take the release build as it is: made in a moment, a seventh larger.
    #[arg(long)]
    quick: bool,
    /// The package, and options of cargo build such as --release or --target.
    #[arg(required = true, allow_hyphen_values = true, trailing_var_arg = true)]
    cargo: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Put the CLAP plugin into this folder [default: the user's, ~/.clap on Linux].
    #[arg(long)]
    clap_dir: Option<PathBuf>,
    /// Put the VST3 bundle into this folder [default: the user's, ~/.vst3 on Linux].
    #[arg(long)]
    vst3_dir: Option<PathBuf>,
    /// Put the engine into this folder [default: the user's, ~/.local/share/lorelei/bin on Linux].
    #[arg(long)]
    engine_dir: Option<PathBuf>,
}

/// `cargo xtask bundle --quick plugin --release`.
pub(crate) fn quick() -> Result<()> {
    bundle(&BundleArgs {
        quick: true,
        cargo: [PACKAGE, "--release"].map(str::to_owned).to_vec(),
    })
}

/// Builds the plugin as a program of its own, `target/release/lorelei`.
pub(crate) fn standalone() -> Result<()> {
    let mut command = cargo();
    command.args(["build", "--release", "-p", PACKAGE]);
    command.args(["--features", "standalone", "--bin", "lorelei"]);
    build_with(&mut command, "the plugin without a DAW")
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn build_with(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().context("cargo does not run")?;
    if !status.success() {
        bail!("{what} could not be built");
    }
    Ok(())
}

/// Builds the plugin and its engine and bundles them in `target/bundled`.
pub(crate) fn bundle(args: &BundleArgs) -> Result<()> {
    let workspace = Workspace::enter()?;
    let [package, options @ ..] = args.cargo.as_slice() else {
        bail!("name the package: cargo xtask bundle plugin --release");
    };
    if package != PACKAGE {
        bail!("{package}: only the package {PACKAGE} is a plugin");
    }
    if !options.iter().any(|option| option == "--release") {
        bail!("the engine is too slow without --release; add it");
    }
    let bundled = workspace.target.join("bundled");
    let target = match args.quick {
        true => workspace.target.clone(),
        // Of its own, so that neither build undoes the other.
        false => workspace.target.join("bundle"),
    };
    build(&target, options, args.quick)?;
    nice_plug_xtask::bundle(&target, PACKAGE, options, false)?;
    if !args.quick {
        replace(&target.join("bundled"), &bundled)?;
    }
    let built = built_engine(&target, options);
    // Beside the .clap file, and inside the VST3 bundle, each on its own complete.
    let beside = bundled.join(built.file_name().context("the engine has no name")?);
    let inside = resources(&bundled.join(format!("{NAME}.vst3")))
        .join(beside.file_name().context("the engine has no name")?);
    for place in [&beside, &inside] {
        copy(&built, place)?;
        strip(place);
    }
    for library in libraries(&bundled)? {
        strip(&library);
    }
    for (name, bytes) in [
        (
            format!("{NAME}.vst3"),
            size(&bundled.join(format!("{NAME}.vst3")))?,
        ),
        (
            format!("{NAME}.clap and {ENGINE}"),
            size(&bundled.join(format!("{NAME}.clap")))? + size(&beside)?,
        ),
    ] {
        eprintln!("{name}: {:.1} MB", bytes as f64 / 1e6);
        if bytes > AIMED_BUNDLE_BYTES {
            eprintln!(
                "that is more than the {} MB aimed at",
                AIMED_BUNDLE_BYTES / 1_000_000
            );
        }
    }
    Ok(())
}

/// Builds the engine's program and the plugin's library.
fn build(target: &Path, options: &[String], quick: bool) -> Result<()> {
    let engine = ["build", "-p", ENGINE_PACKAGE];
    let library: &[&str] = match quick {
        true => &["build", "-p", PACKAGE, "--lib"],
        // The package's other form, which tests use, is never optimised as one with what it depends on.
        false => &["rustc", "-p", PACKAGE, "--lib", "--crate-type", "cdylib"],
    };
    for words in [&engine[..], library] {
        let mut command = cargo();
        command.args(words).args(options);
        command.arg("--target-dir").arg(target);
        if !quick {
            command.envs(OPTIMISED_AS_ONE);
        }
        build_with(&mut command, words[2])?;
    }
    Ok(())
}

/// Puts a folder in the place of another one.
fn replace(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).with_context(|| to.display().to_string())?;
    }
    std::fs::rename(from, to).with_context(|| to.display().to_string())
}

/// Puts what was bundled where hosts look.
pub(crate) fn install(args: &InstallArgs) -> Result<()> {
    let workspace = Workspace::enter()?;
    let bundled = workspace.target.join("bundled");
    let home = dirs::home_dir().context("the system names no home folder")?;
    let folders = Folders::of_user(&home)?;
    let clap = args.clap_dir.clone().unwrap_or(folders.clap);
    let vst3 = args.vst3_dir.clone().unwrap_or(folders.vst3);
    let engine = args.engine_dir.clone().unwrap_or(folders.engine);
    let engine_name = format!("{ENGINE}{}", std::env::consts::EXE_SUFFIX);
    for (from, to) in [
        (format!("{NAME}.clap"), clap),
        (format!("{NAME}.vst3"), vst3),
        (engine_name, engine),
    ] {
        let source = bundled.join(&from);
        if !source.exists() {
            bail!(
                "{}: not there; run cargo xtask bundle plugin --release first",
                source.display()
            );
        }
        std::fs::create_dir_all(&to).with_context(|| to.display().to_string())?;
        let place = to.join(&from);
        copy(&source, &place)?;
        eprintln!("{}", place.display());
    }
    Ok(())
}

/// Where hosts look for plugins of one user.
struct Folders {
    clap: PathBuf,
    vst3: PathBuf,
    engine: PathBuf,
}

impl Folders {
    fn of_user(home: &Path) -> Result<Self> {
        let engine = dirs::data_dir()
            .context("the system names no data folder")?
            .join("lorelei/bin");
        let (clap, vst3) = if cfg!(target_os = "macos") {
            let plugins = home.join("Library/Audio/Plug-Ins");
            (plugins.join("CLAP"), plugins.join("VST3"))
        } else if cfg!(windows) {
            let common = dirs::data_local_dir()
                .context("the system names no data folder")?
                .join("Programs/Common");
            (common.join("CLAP"), common.join("VST3"))
        } else {
            (home.join(".clap"), home.join(".vst3"))
        };
        Ok(Self { clap, vst3, engine })
    }
}

fn built_engine(target: &Path, options: &[String]) -> PathBuf {
    let named = options.iter().enumerate().find_map(|(place, option)| {
        let value = option.strip_prefix("--target=").map(str::to_owned);
        value.or_else(|| (option == "--target").then(|| options.get(place + 1).cloned())?)
    });
    let is_windows = named
        .as_ref()
        .map_or(cfg!(windows), |target| target.contains("windows"));
    let folder = named.map_or(target.to_owned(), |triple| target.join(triple));
    let suffix = if is_windows { ".exe" } else { "" };
    folder.join("release").join(format!("{ENGINE}{suffix}"))
}

/// The folder of a bundle for what is no library.
fn resources(bundle: &Path) -> PathBuf {
    bundle.join("Contents").join("Resources")
}

fn libraries(bundled: &Path) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for name in [format!("{NAME}.clap"), format!("{NAME}.vst3")] {
        for entry in walkdir::WalkDir::new(bundled.join(name)) {
            let entry = entry?;
            let ending = entry.path().extension();
            if entry.file_type().is_file()
                && ending.is_some_and(|ending| ending == "clap" || ending == "so")
            {
                libraries.push(entry.into_path());
            }
        }
    }
    Ok(libraries)
}

/// Removes symbols, which only debuggers read, where the system has the tool for it.
fn strip(path: &Path) {
    if cfg!(target_os = "linux") {
        // What cannot be stripped is larger and works as well.
        let _ = Command::new("strip").arg(path).status();
    }
}

fn size(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in walkdir::WalkDir::new(path) {
        let metadata = entry?.metadata()?;
        bytes += if metadata.is_file() {
            metadata.len()
        } else {
            0
        };
    }
    Ok(bytes)
}

/// Copies a file or a folder. A library that a host has open stays as it is in the host: the new one takes its name, not its place.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry?;
        let relative = entry.path().strip_prefix(from)?;
        let place = match relative.as_os_str().is_empty() {
            true => to.to_owned(),
            false => to.join(relative),
        };
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
            continue;
        }
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let aside = place.with_extension("new");
        std::fs::copy(entry.path(), &aside)
            .and_then(|_| std::fs::rename(&aside, &place))
            .with_context(|| place.display().to_string())?;
    }
    Ok(())
}
