//! Song models as a library has them, on toy weights in the released layout.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use candle_core::{Device, Tensor};
use lora::LoraError;
use lora::base::BaseModel;
use lora::generate::{Clip, Kept, RELEASED_CHUNKS, Request, frames, generate};
use lora::models::{Hub, ModelChoice, ModelFiles};
use lora::progress::Silent;
use lora::sung::{self, Sung};
use lyrics::phonemes::english::Voice;
use lyrics::{LyricsError, Reading, Tokenizer, TokenizerSettings};
use nn::Stream;

/// A DiffRhythm of 6144 frames as its authors publish it, toy size, with the autoencoder that goes with it.
const RELEASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../checkpoint/tests/fixtures");

fn song_base(causal: bool) -> BaseModel {
    let model = format!("{RELEASE}/cfm_model.pt");
    let choice = ModelChoice {
        model: &model,
        autoencoder: None,
        causal: Some(causal),
    };
    let hub = Hub::offline_at("nowhere".into());
    let files = ModelFiles::find(&choice, &hub, &mut Silent).unwrap();
    BaseModel::load(&files, &Device::Cpu, None, &mut Silent).unwrap()
}

fn request(base: &BaseModel, frames: usize) -> Request {
    let width = base.transformer_config().cond_dim;
    let rate = f64::from(base.sample_rate_hz());
    Request {
        seconds: (frames * base.hop()) as f64 / rate,
        steps: 3,
        guidance: 3.0,
        style: Stream::new(1).normal_vec(width),
        negative_style: None,
        tokens: Vec::new(),
        rhythm: None,
        kept: None,
        decoding: None,
    }
}

fn clip(base: &BaseModel, request: &Request, seed: u64) -> Clip {
    let mut clips = generate(base, request, &[seed], &mut Silent).unwrap();
    clips.pop().unwrap()
}

fn furthest(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    let pairs = left.iter().zip(right);
    pairs.fold(0.0, |most, (left, right)| most.max((left - right).abs()))
}

#[test]
fn style_negative_style_lyrics_and_guidance_have_their_say() {
    let base = song_base(false);
    let plain = request(&base, 40);
    let sound = clip(&base, &plain, 0);
    assert_eq!(sound[0].len(), 40 * base.hop());
    assert_eq!(clip(&base, &plain, 0), sound);
    let width = plain.style.len();
    let away = Some(Stream::new(2).normal_vec(width));
    let unguided = Request {
        guidance: 0.0,
        ..plain.clone()
    };
    let others = [
        unguided.clone(),
        Request {
            style: vec![0.0; width],
            ..plain.clone()
        },
        Request {
            negative_style: away.clone(),
            ..plain.clone()
        },
        Request {
            tokens: vec![7; 20],
            ..plain.clone()
        },
    ];
    for other in &others {
        assert!(furthest(&clip(&base, other, 0)[0], &sound[0]) > 1e-4);
    }
    // Zeros are what stands for no negative style, and without guidance there is nothing to go away from.
    let zeros = Request {
        negative_style: Some(vec![0.0; width]),
        ..plain.clone()
    };
    assert_eq!(clip(&base, &zeros, 0), sound);
    let ignored = Request {
        negative_style: away,
        ..unguided.clone()
    };
    assert_eq!(clip(&base, &ignored, 0), clip(&base, &unguided, 0));
}

#[test]
fn a_batch_is_its_clips_and_chunks_are_the_whole() {
    let base = song_base(false);
    let request = request(&base, 140);
    let batch = generate(&base, &request, &[3, 4], &mut Silent).unwrap();
    for (seed, made) in [3, 4].into_iter().zip(&batch) {
        let alone = clip(&base, &request, seed);
        for (made, alone) in made.iter().zip(&alone) {
            assert!(furthest(made, alone) < 1e-4);
        }
    }
    assert!(furthest(&batch[0][0], &batch[1][0]) > 1e-2);
    // This autoencoder sees less far than the chunks overlap.
    let chunked = Request {
        decoding: Some(RELEASED_CHUNKS),
        ..request
    };
    let chunked = clip(&base, &chunked, 3);
    assert!(furthest(&chunked[1], &batch[0][1]) < 1e-4);
}

#[test]
fn what_is_kept_sounds_as_before() {
    const FRAMES: usize = 200;
    let base = song_base(false);
    let shape = (1, base.latent_channels(), FRAMES);
    let latents = Stream::new(5).normal(shape, &Device::Cpu).unwrap();
    let kept = Kept {
        latents: latents.clone(),
        spans: vec![150..170, 170..FRAMES],
        sound: None,
    };
    let made = Request {
        kept: Some(kept),
        ..request(&base, FRAMES)
    };
    let made = clip(&base, &made, 0);
    let known: Tensor = base.decode(&latents, None).unwrap().squeeze(0).unwrap();
    let known = known.to_vec2::<f32>().unwrap();
    // Far enough before the new part that the decoder does not see it.
    let (heard, all) = (100 * base.hop(), FRAMES * base.hop());
    for (made, known) in made.iter().zip(&known) {
        let dot = |left: &[f32], right: &[f32]| -> f32 {
            left.iter()
                .zip(right)
                .map(|(left, right)| left * right)
                .sum()
        };
        // Songs are brought to full scale.
        let gain = dot(&made[..heard], &known[..heard]) / dot(&known[..heard], &known[..heard]);
        let scaled: Vec<f32> = known.iter().map(|sample| gain * sample).collect();
        assert!(furthest(&made[..heard], &scaled[..heard]) < 1e-4);
        assert!(furthest(&made[heard..all], &scaled[heard..all]) > 1e-2);
    }
}

#[test]
fn songs_have_the_references_frames() {
    let (before, since) = (song_base(true), song_base(false));
    let seconds = before.default_secs();
    assert_eq!(seconds, before.most_secs().floor());
    assert_eq!(frames(&before, seconds), 6144);
    let rate = f64::from(since.sample_rate_hz());
    assert_eq!(
        frames(&since, seconds),
        (seconds * rate) as usize / since.hop()
    );
    assert_eq!(frames(&before, 0.5), (0.5 * rate) as usize / before.hop());
}

/// Says one vowel for every word, and notes what it was asked.
struct Vowels(Arc<Mutex<Vec<String>>>);

impl Voice for Vowels {
    fn speak(&mut self, chunks: &[String]) -> Result<Vec<String>, LyricsError> {
        self.0.lock().unwrap().extend_from_slice(chunks);
        let vowels = |chunk: &String| vec!["ˈæ"; chunk.split(' ').count()].join(" ");
        Ok(chunks.iter().map(vowels).collect())
    }
}

/// The lyrics in a clip of so many frames, and what was spoken of them.
fn sing(text: &str, frames: usize) -> (Result<Sung, LoraError>, Vec<String>) {
    let base = song_base(true);
    let spoken = Arc::new(Mutex::new(Vec::new()));
    let mut tokenizer = Tokenizer::new(TokenizerSettings::default())
        .with_voice(Box::new(Vowels(Arc::clone(&spoken))));
    let lrc = lyrics::parse_lrc(text, Reading::Tolerant);
    let seconds = request(&base, frames).seconds;
    let sung = sung::of_lrc(&lrc, Path::new("a.lrc"), &base, seconds, &mut tokenizer);
    let spoken = spoken.lock().unwrap().clone();
    (sung, spoken)
}

#[test]
fn lines_are_counted_against_the_clip_and_none_behind_it_is_spoken() {
    // 21.5 frames a second.
    let text = "[00:00.10]one\n[00:00.50]...\n[00:01.00]\n[00:02.00]two\nbad\n[01:00.00]late\n[01:10.00]later\n";
    let (sung, spoken) = sing(text, 60);
    let sung = sung.unwrap();
    assert_eq!(sung.lines, (2, 5));
    assert_eq!(sung.behind_end, 2);
    assert_eq!((sung.without_letters, sung.bad_lines), (1, 1));
    assert!(
        spoken.iter().all(|chunk| !chunk.contains("late")),
        "{spoken:?}"
    );
    let (sung, spoken) = sing("[00:10.00]late\n[00:20.00]later\n", 60);
    let sung = sung.unwrap();
    assert_eq!((sung.lines, sung.behind_end), ((0, 2), 2));
    assert!(spoken.is_empty() && sung.tokens.iter().all(|&token| token == 0));
}

#[test]
fn lyrics_that_cannot_be_sung_at_all_are_an_error() {
    let (sung, _) = sing("[00:00.10]안녕\n[00:01.00]привет\n", 60);
    let error = sung.unwrap_err().to_string();
    for word in ["a.lrc", "none of its 2 lines", "안녕", "instrumental"] {
        assert!(error.contains(word), "{word}: {error}");
    }
}
