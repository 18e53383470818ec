//! What the tests of the command share.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use audio::{SampleFormat, WavFile, WavSpec};
use dataset::Piece;

/// The command.
pub(crate) fn cut_music() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("cut-music"))
}

/// Runs the command; gives exit code, standard output and standard error.
pub(crate) fn run(args: &[&dyn AsRef<std::ffi::OsStr>]) -> (i32, String, String) {
    let mut command = cut_music();
    command.args(args.iter().map(AsRef::as_ref));
    outcome(&mut command)
}

/// The same for a prepared command.
pub(crate) fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// An input and an output folder that go when dropped.
pub(crate) struct Folders {
    pub(crate) root: tempfile::TempDir,
    pub(crate) input: PathBuf,
    pub(crate) output: PathBuf,
}

impl Folders {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (input, output) = (root.path().join("input"), root.path().join("pieces"));
        std::fs::create_dir(&input).unwrap();
        Self {
            root,
            input,
            output,
        }
    }

    pub(crate) fn cut(&self, flags: &[&str]) -> (i32, String, String) {
        outcome(cut_music().args([&self.input, &self.output]).args(flags))
    }

    pub(crate) fn manifest(&self) -> Vec<Piece> {
        dataset::read_manifest(&self.output).unwrap()
    }

    /// Names of the files that a user sees in the output, in order.
    pub(crate) fn visible_files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.output)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        names
    }

    /// A song of noise bursts with a pause every two seconds, different for each seed.
    pub(crate) fn song(&self, name: &str, secs: f64, seed: u64) -> PathBuf {
        let path = self.input.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, &planes(secs, seed), SampleFormat::I16);
        path
    }
}

/// Left and right of a song; amplitudes below 0.3.
pub(crate) fn planes(secs: f64, seed: u64) -> [Vec<f64>; 2] {
    let frames = (secs * 44_100.0) as usize;
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut side = |tone_hz: f64| {
        (0..frames)
            .map(|n| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let noise = (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5;
                let secs = n as f64 / 44_100.0;
                let level = if secs % 2.0 < 1.8 { 0.25 } else { 0.0 };
                level * ((secs * tone_hz * std::f64::consts::TAU).sin() * 0.8 + noise * 0.4)
            })
            .collect()
    };
    [side(220.0), side(331.0)]
}

pub(crate) fn write(path: &Path, planes: &[Vec<f64>; 2], format: SampleFormat) {
    let spec = WavSpec {
        sample_rate_hz: 44_100,
        channels: 2,
        format,
    };
    let mut file = WavFile::create(path, spec, planes[0].len() as u64).unwrap();
    file.write(&[&planes[0], &planes[1]]).unwrap();
    file.commit().unwrap();
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}
