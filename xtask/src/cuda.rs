//! Type-checks the CUDA features on a machine without CUDA, behind a stand-in for its compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// What build scripts ask of the compiler: its version, the cards it knows, and one output file for each kernel. The
/// outputs are empty, which is enough to check types; nothing is linked.
const STAND_IN: &str = r#"#!/bin/sh
out=; folder=; library=; sources=
while [ $# -gt 0 ]; do
  case "$1" in
    --version)
      # Build scripts look for the release in the fourth line.
      echo "nvcc: NVIDIA (R) Cuda compiler driver"
      echo "(a stand-in"
      echo "for type checks)"
      echo "Cuda compilation tools, release 13.0, V13.0.88"
      exit 0 ;;
    --list-gpu-code) echo sm_90; exit 0 ;;
    -o) out=$2; shift ;;
    --output-directory) folder=$2; shift ;;
    --lib) library=yes ;;
    -I|-ccbin|-Xcompiler|--default-stream) shift ;;
    *.cu) sources="$sources $1" ;;
  esac
  shift
done
if [ -n "$library" ]; then rm -f "$out"; exec ar rcs "$out"; fi
for source in $sources; do
  name=${source##*/}
  if [ -n "$folder" ]; then : >"$folder/${name%.cu}.ptx"; else : >"$out"; fi
done
"#;

/// What has code or tests that run on a card.
const PACKAGES: &[&str] = &["dit", "lora", "nn", "parity", "testing", "vae"];

/// The check, with outputs and the stand-in below the target folder.
pub(crate) fn check(target: &Path) -> Result<Command> {
    let home = target.join("cuda-stand-in");
    let compiler = write_stand_in(&home)?;
    let folder = compiler.parent().context("the stand-in has no folder")?;
    let mut path = folder.as_os_str().to_owned();
    if let Some(before) = std::env::var_os("PATH") {
        path.push(":");
        path.push(before);
    }
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .arg("check")
        .args(PACKAGES.iter().flat_map(|name| ["--package", name]))
        .args(["--lib", "--bins", "--tests"])
        .args(["--features", "lora/cuda,lora/cudnn,lora/nccl,parity/cudnn"])
        .env("CUDA_HOME", &home)
        .env("CUDA_COMPUTE_CAP", "90")
        .env("CARGO_TARGET_DIR", target.join("cuda-check"))
        // Types alone: neither symbols nor states of the compiler are worth a gigabyte of disk.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "0")
        .env("PATH", path)
        .env_remove("NVCC")
        .env_remove("CUDA_PATH")
        .env_remove("CUDA_ROOT")
        .env_remove("CUDA_TOOLKIT_ROOT_DIR");
    Ok(command)
}

fn write_stand_in(home: &Path) -> Result<PathBuf> {
    let folder = home.join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let compiler = folder.join("nvcc");
    fs::write(&compiler, STAND_IN)
        .with_context(|| format!("{} cannot be written", compiler.display()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755))?;
    }
    Ok(compiler)
}
