//! Brings hosts onto a machine, as far as it lets us. What cannot be installed is said, and its trials are not run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::trial::bounded;

/// All installing together.
const PATIENCE: Duration = Duration::from_secs(600);
/// Python packages, to the version.
const PYTHON_PACKAGES: [&str; 3] = ["pedalboard==0.9.26", "dawdreamer==0.9.0", "numpy==2.4.6"];
/// Programs, and the distribution's packages that have them.
const PROGRAMS: [(&str, &str); 8] = [
    ("ardour7-lua", "ardour"),
    ("Xvfb", "xvfb"),
    ("openbox", "openbox"),
    ("jackd", "jackd2"),
    ("import", "imagemagick"),
    ("xdotool", "xdotool"),
    ("python3", "python3-venv"),
    ("pkg-config", "pkg-config"),
];
/// Headers that building the plugin without a DAW takes, as pkg-config names them, and the distribution's packages that have them.
const HEADERS: [(&str, &str); 2] = [("alsa", "libasound2-dev"), ("jack", "libjack-jackd2-dev")];
/// Packages without a program: they come along whenever others do.
const COMPANIONS: [&str; 3] = ["libgl1-mesa-dri", "libgl1", "python3-venv"];

/// Installs everything that is missing; says what it cannot.
pub(super) fn all(folder: &Path) {
    let deadline = Instant::now() + PATIENCE;
    distribution_packages(deadline);
    python_packages(folder, deadline);
}

/// The Python that has the packages, or else the system's, which says what it lacks.
pub(super) fn python(folder: &Path) -> PathBuf {
    let own = own_python(folder);
    if own.is_file() {
        own
    } else {
        PathBuf::from("python3")
    }
}

fn own_python(folder: &Path) -> PathBuf {
    folder.join("venv/bin/python")
}

fn distribution_packages(deadline: Instant) {
    let programs = PROGRAMS.into_iter();
    let programs = programs.filter(|(program, _)| !is_installed(program));
    let headers = HEADERS.into_iter();
    let headers = headers.filter(|(library, _)| !has_headers(library));
    let missing: Vec<&str> = programs
        .chain(headers)
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        return;
    }
    if !is_installed("apt-get") || !is_root() {
        eprintln!(
            "hosts: not installed, only root can by apt-get: {}",
            missing.join(" ")
        );
        return;
    }
    let mut packages = missing;
    packages.extend(COMPANIONS);
    let install = |deadline| {
        let mut command = Command::new("apt-get");
        command
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        is_done(&mut command, deadline)
    };
    // The lists of a fresh machine are empty or old.
    if !install(deadline) {
        is_done(Command::new("apt-get").arg("update"), deadline);
        if !install(deadline) {
            eprintln!("hosts: not installed: {}", packages.join(" "));
        }
    }
}

fn python_packages(folder: &Path, deadline: Instant) {
    let python = own_python(folder);
    let venv = folder.join("venv");
    if !python.is_file() {
        let mut command = Command::new("python3");
        command.args(["-m", "venv"]).arg(&venv);
        if !is_done(&mut command, deadline) {
            // Half of one would hide the system's Python.
            let _ = std::fs::remove_dir_all(&venv);
            eprintln!("hosts: not installed: python3 cannot make a virtual environment");
            return;
        }
    }
    let mut command = Command::new(&python);
    command
        .args(["-m", "pip", "install", "--quiet"])
        .args(["--disable-pip-version-check", "--only-binary", ":all:"])
        .args(PYTHON_PACKAGES);
    if !is_done(&mut command, deadline) {
        eprintln!("hosts: not installed: {}", PYTHON_PACKAGES.join(" "));
    }
}

fn is_done(command: &mut Command, deadline: Instant) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let left = deadline.saturating_duration_since(Instant::now());
    bounded(command, left).is_ok_and(|status| status.is_some_and(|status| status.success()))
}

/// Whether the plugin can be built as a program of its own here.
pub(super) fn can_build_standalone() -> bool {
    HEADERS.iter().all(|(library, _)| has_headers(library))
}

fn has_headers(library: &str) -> bool {
    let mut command = Command::new("pkg-config");
    command.args(["--exists", library]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

pub(super) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
