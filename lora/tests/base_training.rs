//! A base of tiny sizes trained from scratch: it learns, a stopped run goes on to the bit, every weight is reached by a gradient, and the
//! file is a base that generates.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};

use audio::{AudioBuffer, SampleFormat};
use candle_core::Device;
use checkpoint::TensorFile;
use journal::Record;
use lora::base::{BaseModel, TagGroup};
use lora::base_training::export::{self, FinishedAutoencoder, Naming};
use lora::base_training::{
    BaseSizes, Corpus, Course, Outcome, RunSettings, Start, autoencoder, transformer,
};
use lora::generate::{Request, generate};
use lora::progress::{Progress, Silent};

const STEPS: usize = 30;

/// Asks for a stop after so many steps.
struct StopAfter(usize);

impl Progress for StopAfter {
    fn begin(&mut self, phase: &str, _total: usize) {
        // Looking at the sounds is no step.
        self.0 += usize::from(phase != "training") * 1000;
    }
    fn advance(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }
    fn end(&mut self) {
        if self.0 > 900 {
            self.0 = 7;
        }
    }
    fn stop_requested(&self) -> bool {
        self.0 == 0
    }
}

/// Eight pieces of two chords, each with its tag, on a beat.
fn corpus(folder: &Path) -> Corpus {
    let mut index = String::new();
    for number in 0..8 {
        let base_hz = [220.0f32, 330.0][number % 2];
        let tone = |hz: f32| -> Vec<f32> {
            (0..44_100 * 7)
                .map(|n| {
                    let time = n as f32 / 44_100.0;
                    let beat = 1.0 - (time * 2.0).fract();
                    0.2 * beat * (std::f32::consts::TAU * hz * time).sin()
                })
                .collect()
        };
        let sound = AudioBuffer {
            sample_rate_hz: 44_100,
            channels: vec![tone(base_hz), tone(base_hz * (1.0 + number as f32 / 100.0))],
        };
        let name = format!("{number}.wav");
        audio::write_wav(&folder.join(&name), &sound, SampleFormat::I16).unwrap();
        let tag = ["low", "high"][number % 2];
        index += &format!(
            "{{\"path\": {name:?}, \"tags\": [{tag:?}], \"tempo_bpm\": 120.0, \"beats_per_bar\": 4, \"first_beat_secs\": 0.0}}\n"
        );
    }
    std::fs::write(folder.join("corpus.jsonl"), index).unwrap();
    Corpus::open(folder).unwrap()
}

fn sizes() -> BaseSizes {
    let mut sizes = BaseSizes::default();
    let sound = &mut sizes.autoencoder;
    (sound.fft_size, sound.hop, sound.frames_per_latent) = (512, 512, 4);
    (
        sound.linear_bins,
        sound.logarithmic_bins,
        sound.stereo_bands,
    ) = (40, 24, 6);
    (
        sound.latent_channels,
        sound.encoder_width,
        sound.decoder_width,
    ) = (8, 12, 16);
    (sound.encoder_blocks, sound.decoder_blocks) = (1, 1);
    let flow = &mut sizes.transformer;
    (flow.dim, flow.depth, flow.ff_mult, flow.attention_heads) = (32, 2, 2, 2);
    (flow.text_dim, flow.cond_dim, flow.conv_layers, flow.mel_dim) = (16, 16, 1, 8);
    sizes
}

fn settings(learning_rate: f64) -> RunSettings {
    RunSettings {
        steps: STEPS,
        batch_size: 6,
        learning_rate,
        matrix_rate: 4e-3,
        warmup_steps: 3,
        decay_share: 0.25,
        average_decay: 0.9,
        validation_steps: 10,
        seed: 3,
    }
}

fn course(folder: &Path, resume: bool) -> Course<'_> {
    Course {
        folder,
        resume,
        force: false,
        until: None,
    }
}

struct Trial {
    folder: tempfile::TempDir,
    corpus: Corpus,
    sizes: BaseSizes,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let corpus = corpus(folder.path());
        Self {
            folder,
            corpus,
            sizes: sizes(),
        }
    }

    fn run_dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn base(&self) -> PathBuf {
        self.folder.path().join("base.safetensors")
    }

    fn autoencoder(&self, name: &str, resume: bool, progress: &mut dyn Progress) -> Outcome {
        let folder = self.run_dir(name);
        let run = autoencoder::AutoencoderRun {
            corpus: &self.corpus,
            config: &self.sizes.autoencoder,
            start: None,
            settings: &settings(2e-3),
            pieces: 100,
            course: course(&folder, resume),
            device: &Device::Cpu,
        };
        autoencoder::train(&run, progress).unwrap()
    }

    fn transformer(
        &self,
        name: &str,
        resume: bool,
        settings: &RunSettings,
        progress: &mut dyn Progress,
    ) -> Result<Outcome, lora::LoraError> {
        self.transformer_from(None, name, resume, settings, progress)
    }

    fn transformer_from(
        &self,
        start: Option<&Start>,
        name: &str,
        resume: bool,
        settings: &RunSettings,
        progress: &mut dyn Progress,
    ) -> Result<Outcome, lora::LoraError> {
        // What begins with a base keeps its autoencoder.
        let sound = match start {
            Some(_) => self.base(),
            None => self.run_dir("sound").join(autoencoder::AUTOENCODER_FILE),
        };
        let sound = FinishedAutoencoder::open(&sound).unwrap();
        let tags = ["low", "high", "never"].map(str::to_owned);
        let folder = self.run_dir(name);
        let run = transformer::TransformerRun {
            corpus: &self.corpus,
            autoencoder: &sound.model,
            sizes: &self.sizes,
            tags: &tags,
            start,
            settings,
            course: course(&folder, resume),
            device: &Device::Cpu,
        };
        transformer::train(&run, progress)
    }

    /// Held-out losses of a run, first and last.
    fn losses(&self, name: &str) -> (f64, f64) {
        let records = journal::read_records(&self.run_dir(name)).unwrap();
        let losses: Vec<f64> = records
            .iter()
            .filter_map(|record| match record {
                Record::Validation(validation) => Some(validation.loss),
                _ => None,
            })
            .collect();
        (losses[0], losses[losses.len() - 1])
    }

    fn bytes(&self, name: &str, file: &str) -> Vec<u8> {
        std::fs::read(self.run_dir(name).join(file)).unwrap()
    }
}

fn naming(version: u32) -> Naming {
    Naming {
        name: "tiny".to_owned(),
        version,
        tag_groups: vec![TagGroup {
            title: "Pitches".to_owned(),
            tags: vec!["high".to_owned(), "low".to_owned()],
        }],
        tag_groups_file: "groups.json".into(),
    }
}

/// Whether all numbers of a tensor are zero.
fn is_zero(file: &TensorFile, name: &str) -> bool {
    file.bytes(name).unwrap().iter().all(|byte| *byte == 0)
}

#[test]
fn a_base_is_trained_from_nothing_and_generates() {
    let trial = Trial::new();

    // The autoencoder, once in one go and once stopped and resumed.
    assert_eq!(
        trial.autoencoder("sound", false, &mut Silent),
        Outcome::Finished
    );
    let (first, last) = trial.losses("sound");
    assert!(last < first, "{first} {last}");
    assert_eq!(
        trial.autoencoder("stopped", false, &mut StopAfter(0)),
        Outcome::Stopped
    );
    assert!(
        !trial
            .run_dir("stopped")
            .join(autoencoder::AUTOENCODER_FILE)
            .exists()
    );
    assert_eq!(
        trial.autoencoder("stopped", true, &mut Silent),
        Outcome::Finished
    );
    let file = autoencoder::AUTOENCODER_FILE;
    assert!(trial.bytes("sound", file) == trial.bytes("stopped", file));

    // The transformer likewise.
    let usual = settings(2e-3);
    let whole = trial
        .transformer("flow", false, &usual, &mut Silent)
        .unwrap();
    assert_eq!(whole, Outcome::Finished);
    let (first, last) = trial.losses("flow");
    assert!(last < 0.98 * first, "{first} {last}");
    let stopped = trial.transformer("flow-stopped", false, &usual, &mut StopAfter(0));
    assert_eq!(stopped.unwrap(), Outcome::Stopped);
    let other = RunSettings {
        seed: 4,
        ..usual.clone()
    };
    let refused = trial.transformer("flow-stopped", true, &other, &mut Silent);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("seed was 3 and is 4"), "{refused}");
    let refused = trial.transformer("flow-stopped", false, &usual, &mut Silent);
    assert!(refused.unwrap_err().to_string().contains("--resume"));
    // Nor does a run that died before its first checkpoint stand in the way.
    let died = trial.run_dir("flow-died");
    std::fs::create_dir_all(&died).unwrap();
    std::fs::write(died.join("metrics.jsonl"), "").unwrap();
    let short = RunSettings {
        steps: 1,
        ..usual.clone()
    };
    let begun = trial.transformer("flow-died", true, &short, &mut Silent);
    assert_eq!(begun.unwrap(), Outcome::Finished);
    let refused = trial.transformer("flow-died", false, &short, &mut Silent);
    assert!(refused.unwrap_err().to_string().contains("--force"));
    let resumed = trial.transformer("flow-stopped", true, &usual, &mut Silent);
    assert_eq!(resumed.unwrap(), Outcome::Finished);
    let file = transformer::TRANSFORMER_FILE;
    assert!(trial.bytes("flow", file) == trial.bytes("flow-stopped", file));

    // No gradient was lost on the way: of every weight the optimizer holds a moment that is not zero.
    let saved = trial.run_dir("flow").join("checkpoint.safetensors");
    let saved = TensorFile::open(&saved).unwrap();
    let names: Vec<String> = saved.names().map(str::to_owned).collect();
    let mut seen = 0;
    for name in names
        .iter()
        .filter_map(|name| name.strip_prefix("variables/"))
    {
        let moment = [".momentum", ".square"].map(|ending| format!("{name}{ending}"));
        let moment = moment.iter().find(|moment| names.contains(moment));
        assert!(
            !is_zero(&saved, moment.unwrap()),
            "no gradient reached {name}"
        );
        seen += 1;
    }
    assert!(seen > 40, "{seen}");

    // Both make a base, which is asked as any other.
    let out = trial.base();
    let sound = trial.run_dir("sound").join(autoencoder::AUTOENCODER_FILE);
    let flow = trial.run_dir("flow").join(transformer::TRANSFORMER_FILE);
    export::write(&sound, &flow, naming(7), &out).unwrap();
    let base = BaseModel::open(out.to_str().unwrap(), &Device::Cpu).unwrap();
    assert_eq!(
        (base.identity().name.as_str(), base.identity().version),
        ("tiny", 7)
    );
    let request = Request {
        seconds: 1.0,
        steps: 4,
        guidance: 2.0,
        style: base.tag_sum(&[0]),
        negative_style: None,
        tokens: Vec::new(),
        rhythm: None,
        kept: None,
        decoding: None,
    };
    let clip = &generate(&base, &request, &[5], &mut Silent).unwrap()[0];
    assert!(clip[0].iter().all(|sample| sample.is_finite()));
    assert!(clip[0].iter().any(|sample| sample.abs() > 1e-4));

    // It knows the tempo of its pieces: where a prompt names none, clips have a beat.
    let rhythm = |prompt: &str| base.rhythm(&base.tags().parse(prompt).unwrap());
    let of_low = rhythm("low").unwrap();
    assert_eq!((of_low.slowest_bpm, of_low.fastest_bpm), (120.0, 120.0));
    assert_eq!(of_low.beats_per_bar(), Some(4));
    assert_eq!(rhythm("low, metre:3").unwrap().beats_per_bar(), Some(3));
    assert_eq!(rhythm("low, tempo:90").unwrap().beats_per_bar(), Some(4));
    assert_eq!(rhythm("never"), None);

    // Groups are of its own tags.
    let of_others = Naming {
        tag_groups: vec![TagGroup {
            title: "Instruments".to_owned(),
            tags: vec!["theremin".to_owned()],
        }],
        ..naming(8)
    };
    let refused = export::write(&sound, &flow, of_others, &out).unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("theremin") && refused.contains("groups.json"),
        "{refused}"
    );

    // Trained further it begins where it stood, whatever else is drawn, and with a finer beat grid too.
    let start = Start::open(&out).unwrap();
    let mut finer = Trial {
        sizes: trial.sizes.clone(),
        ..trial
    };
    finer.sizes.transformer.text_num_embeds *= 2;
    finer.sizes.pulses_per_beat *= 2;
    let further = finer.transformer_from(Some(&start), "flow-further", false, &short, &mut Silent);
    assert_eq!(further.unwrap(), Outcome::Finished);
    let refused = finer.transformer("flow-further", true, &short, &mut Silent);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("--start-from"), "{refused}");
    let (_, stood) = finer.losses("flow");
    let (_, begun) = finer.losses("flow-further");
    assert!((begun - stood).abs() < 0.02 * stood, "{begun} {stood}");
    let trial = finer;
    // The autoencoder of a base file goes into the next one as it is.
    let next = trial.folder.path().join("next.safetensors");
    let further = trial.run_dir("flow-further").join(file);
    let refused = export::write(&sound, &further, naming(8), &next).unwrap_err();
    assert!(refused.to_string().contains("another autoencoder"));
    export::write(&out, &further, naming(8), &next).unwrap();
    let [earlier, next] = [&out, &next].map(|path| TensorFile::open(path).unwrap());
    let mut kept = 0;
    for name in earlier
        .names()
        .filter(|name| name.starts_with("autoencoder."))
    {
        assert!(
            earlier.bytes(name).unwrap() == next.bytes(name).unwrap(),
            "{name}"
        );
        kept += 1;
    }
    assert!(kept > 10, "{kept}");
    let folder = trial.run_dir("sound-further");
    let run = autoencoder::AutoencoderRun {
        corpus: &trial.corpus,
        config: &trial.sizes.autoencoder,
        start: Some(&start),
        settings: &RunSettings {
            steps: 1,
            ..settings(1e-4)
        },
        pieces: 100,
        course: course(&folder, false),
        device: &Device::Cpu,
    };
    autoencoder::train(&run, &mut Silent).unwrap();
    let (_, stood) = trial.losses("sound");
    let (_, begun) = trial.losses("sound-further");
    assert!((begun - stood).abs() < 0.02 * stood, "{begun} {stood}");
    let mut wider = trial.sizes.clone();
    wider.transformer.dim = 48;
    let wider = Trial {
        sizes: wider,
        ..trial
    };
    let refused = wider.transformer_from(Some(&start), "flow-wider", false, &short, &mut Silent);
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("base.safetensors") && refused.contains("other sizes"),
        "{refused}"
    );
    let trial = wider;

    // A transformer of another autoencoder's latents is refused.
    let mut other = trial.sizes.clone();
    other.autoencoder.latent_channels = 6;
    let folder = trial.run_dir("other");
    let run = autoencoder::AutoencoderRun {
        corpus: &trial.corpus,
        config: &other.autoencoder,
        start: None,
        settings: &RunSettings {
            steps: 1,
            ..settings(1e-3)
        },
        pieces: 100,
        course: course(&folder, false),
        device: &Device::Cpu,
    };
    autoencoder::train(&run, &mut Silent).unwrap();
    let other = trial.run_dir("other").join(autoencoder::AUTOENCODER_FILE);
    let refused = export::write(&other, &flow, naming(7), &out)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("another autoencoder"), "{refused}");
}
