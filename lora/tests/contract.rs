//! The adapter contract on a tiny base: nothing changes at first, only the adapter learns, and attaching, merging, saving and loading
//! all mean the same.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use lora::adapter::{Adapter, AdapterDescription, Targets, detach_all, merge};
use lora::base::{BaseModel, PulseGrid};
use lora::generate::{Request, generate};
use lora::progress::Silent;
use lora::style;
use lora::train::{
    BaseDefaults, Batch, BatchShape, LatentPiece, TrainConfig, TrainSettings, TrainableAdapter,
    training_batch,
};
use nn::Stream;
use nn::optimizer::{AdamW, AdamWOptions};
use testing::device;

const TINY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/tiny-base.safetensors"
);

fn base() -> BaseModel {
    BaseModel::open(TINY, &device()).unwrap()
}

fn config() -> TrainConfig {
    let settings = TrainSettings {
        rank: Some(2),
        alpha: Some(4.0),
        ..TrainSettings::default()
    };
    settings
        .resolve("segments".into(), BaseDefaults::EMBEDDED)
        .unwrap()
}

fn batch(base: &BaseModel, step: usize) -> Batch {
    batch_of(2, base, step)
}

fn batch_of(batch_size: usize, base: &BaseModel, step: usize) -> Batch {
    let pieces: Vec<LatentPiece> = (0..3)
        .map(|song| {
            let values = Stream::new(song).normal_vec(20 * base.latent_channels());
            LatentPiece::new(
                values,
                base.latent_channels(),
                vec![song as usize],
                format!("song {song}"),
            )
        })
        .collect();
    let shape = BatchShape {
        batch_size,
        frames: 12,
        style_drop: 0.0,
        text_drop: 0.0,
        drops_together: false,
        position: Some(0.3),
        max_frames: 2048,
    };
    training_batch(&pieces, shape, step, &Stream::new(5), &device()).unwrap()
}

/// Loss and gradients of a training step.
fn gradients(training: &TrainableAdapter, batch: &Batch, step: usize) -> (f64, GradStore) {
    let (loss, gradients) = training.gradients(batch, step, false).unwrap();
    (loss, gradients.unwrap())
}

/// An adapter after `steps` optimizer steps.
fn trained(steps: usize) -> Adapter {
    let config = config();
    let training = TrainableAdapter::initialise(base(), &config, true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    for step in 0..steps {
        let gradients = gradients(&training, &batch(training.base(), step), step).1;
        optimizer.step(&gradients, 0.05, 1.0).unwrap();
    }
    let description = AdapterDescription {
        format: 1,
        rank: config.rank,
        alpha: config.alpha,
        dropout: config.dropout,
        targets: Targets::default(),
        base: Some(training.base().identity().clone()),
        trigger_words: vec!["test".to_owned()],
        lorelei_version: "test".to_owned(),
        data_hash: String::new(),
        seed: 0,
        step: steps,
        validation_loss: None,
    };
    training.adapter(description).unwrap()
}

fn sound(base: &BaseModel) -> Vec<f32> {
    let style = base.tag_sum(&[0, 1]);
    let pulse = PulseGrid {
        tempo_bpm: 120.0,
        beats_per_bar: 4,
    };
    let request = Request {
        seconds: 0.5,
        steps: 3,
        guidance: 2.0,
        style,
        negative_style: None,
        tokens: pulse.tokens(30, base.frame_secs()),
        kept: None,
        decoding: None,
    };
    generate(base, &request, &[9], &mut Silent).unwrap()[0].concat()
}

fn with_adapter(adapter: &Adapter, strength: f64) -> BaseModel {
    let mut base = base();
    let attachment = adapter
        .attach_to(&mut base, strength, Path::new("test"))
        .unwrap();
    assert_eq!(
        (attachment.applied, attachment.total),
        (2 * adapter.layers.len(), 2 * adapter.layers.len())
    );
    base
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    assert_eq!(sound(training.base()), sound(&base()));
    assert_eq!(sound(&with_adapter(&trained(0), 1.0)), sound(&base()));
}

#[test]
fn a_trained_adapter_changes_the_sound_and_strength_zero_does_not() {
    let adapter = trained(4);
    assert_ne!(sound(&with_adapter(&adapter, 1.0)), sound(&base()));
    assert_ne!(
        sound(&with_adapter(&adapter, 0.5)),
        sound(&with_adapter(&adapter, 1.0))
    );
    assert_eq!(sound(&with_adapter(&adapter, 0.0)), sound(&base()));
}

#[test]
fn a_style_at_strength_zero_is_the_prompts_and_at_one_as_trained() {
    let base = base();
    let width = base.transformer_config().cond_dim;
    let trigger = |seed| {
        let values = Stream::new(seed).normal_vec(width);
        Tensor::from_vec(values, width, &device()).unwrap()
    };
    let (one, two) = (trigger(1), trigger(2));
    let bits = |tags: &[usize], triggers: &[(&Tensor, f64)]| -> Vec<u32> {
        let style = style::of_tags(&base, tags, triggers).unwrap();
        style.into_iter().map(f32::to_bits).collect()
    };
    for tags in [&[][..], &[2], &[0, 1, 3]] {
        assert_eq!(bits(tags, &[(&one, 0.0)]), bits(tags, &[]));
        assert_eq!(bits(tags, &[(&one, 0.0), (&two, 0.0)]), bits(tags, &[]));
        // In training the style is the mean of the trigger and the tags' vectors.
        let trained: Vec<u32> = base
            .tag_sum(tags)
            .iter()
            .zip(one.to_vec1::<f32>().unwrap())
            .map(|(tags_sum, own)| ((tags_sum + own) / (tags.len() + 1) as f32).to_bits())
            .collect();
        assert_eq!(bits(tags, &[(&one, 1.0)]), trained);
        assert_eq!(bits(tags, &[(&one, 1.0), (&two, 0.0)]), trained);
        assert_ne!(bits(tags, &[(&one, 0.5)]), trained);
    }
    // Two adapters add their moves away from the prompt.
    let style = |triggers: &[(&Tensor, f64)]| style::of_tags(&base, &[0, 1], triggers).unwrap();
    let (plain, first, second) = (style(&[]), style(&[(&one, 0.7)]), style(&[(&two, 0.4)]));
    let both = style(&[(&one, 0.7), (&two, 0.4)]);
    for index in 0..width {
        let expected = first[index] + second[index] - plain[index];
        assert!((both[index] - expected).abs() < 1e-5);
    }
}

#[test]
fn gradients_reach_all_of_the_adapter() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let targets = Targets::default();
    let names: Vec<String> = training
        .variables()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for pattern in &targets.include {
        assert!(
            names.iter().any(|name| name.contains(pattern.as_str())),
            "{pattern} has no factors"
        );
    }
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let values = |training: &TrainableAdapter| -> Vec<Vec<f32>> {
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
        training
            .variables()
            .iter()
            .map(|(_, variable)| flat(variable.as_tensor()))
            .collect()
    };
    let before = values(&training);
    // B starts at zero, so that A gets a gradient from the second step on.
    for step in 0..2 {
        let gradients = gradients(&training, &batch(training.base(), step), step).1;
        for (name, variable) in training.variables() {
            assert!(
                gradients.get(variable.as_tensor()).is_some(),
                "no gradient for {name}"
            );
        }
        optimizer.step(&gradients, 0.01, 1.0).unwrap();
    }
    for ((name, before), after) in names.iter().zip(&before).zip(values(&training)) {
        assert_ne!(before, &after, "{name} did not learn");
    }
}

/// Two shares of three items each, with dropout; see `nn::shares`.
#[test]
fn checkpoints_change_no_gradient() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let batch = batch_of(6, training.base(), 0);
    optimizer
        .step(&gradients(&training, &batch, 0).1, 0.05, 1.0)
        .unwrap();
    let (plain_loss, plain) = gradients(&training, &batch, 1);
    let (loss, checkpointed) = training.gradients(&batch, 1, true).unwrap();
    let checkpointed = checkpointed.unwrap();
    assert_eq!(plain_loss, loss);
    for (name, variable) in training.variables() {
        let (expected, found) = (plain.get(&variable), checkpointed.get(&variable));
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(expected.unwrap()), values(found.unwrap()), "{name}");
    }
}

#[test]
fn the_base_underneath_stays_as_it_was() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let gradients = gradients(&training, &batch(training.base(), 0), 0).1;
    optimizer.step(&gradients, 0.05, 1.0).unwrap();
    let mut adapted = with_adapter(&trained(4), 1.0);
    detach_all(&mut adapted.transformer);
    assert_eq!(sound(&adapted), sound(&base()));
}

#[test]
fn merging_equals_attaching() {
    let adapter = trained(4);
    let attached = sound(&with_adapter(&adapter, 0.7));
    let mut merged = with_adapter(&adapter, 0.7);
    merge(&mut merged.transformer).unwrap();
    let merged = sound(&merged);
    let peak = attached
        .iter()
        .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    // Phase reconstruction makes the sound sensitive to the last bits; the models themselves agree to 1e-5 (tests of nn and dit).
    let worst = attached
        .iter()
        .zip(&merged)
        .fold(0.0f32, |worst, (left, right)| {
            worst.max((left - right).abs())
        });
    assert!(worst <= 1e-2 * peak, "{worst} of {peak}");
}

#[test]
fn saving_and_loading_gives_the_same_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("style.safetensors");
    let adapter = trained(3);
    adapter.save(&path).unwrap();
    let loaded = Adapter::load(&path, &device()).unwrap();
    assert_eq!(loaded.description, adapter.description);
    assert_eq!(
        sound(&with_adapter(&loaded, 1.0)),
        sound(&with_adapter(&adapter, 1.0))
    );
}

#[test]
fn dropout_is_at_work_in_training_only() {
    let training = TrainableAdapter::initialise(base(), &config(), true, &device()).unwrap();
    let mut optimizer = AdamW::new(training.variables(), AdamWOptions::default()).unwrap();
    let batch = batch(training.base(), 0);
    optimizer
        .step(&gradients(&training, &batch, 0).1, 0.05, 1.0)
        .unwrap();
    let loss = |step| gradients(&training, &batch, step).0;
    assert_ne!(loss(1), loss(2));
    assert_eq!(loss(1), loss(1));
    assert_eq!(
        training.validation_loss(&batch).unwrap(),
        training.validation_loss(&batch).unwrap()
    );
}
