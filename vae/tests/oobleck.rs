//! Oobleck on small random weights: layouts, tiles against the whole, bad input. Goldens of diffusers are cases of `parity`.
#![allow(clippy::unwrap_used, reason = "a failed expectation is a failed test")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{D, Tensor};
use nn::{Stream, Weights};
use testing::{Golden, assert_close, assert_equal, device, pseudo_random_on};
use vae::{Autoencoder, OobleckAutoencoder, OobleckConfig, Posterior, Tiling, VaeError};

/// Of each tensor's maximum.
const TOLERANCE: f64 = 1e-4;
/// Of the maximum: minimal filtering rounds differently where its transforms start elsewhere.
const TILE_TOLERANCE: f64 = 1e-5;

fn pseudo_random(shape: &[usize], seed: u64) -> Tensor {
    pseudo_random_on(shape, seed, &device())
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn golden() -> Golden {
    Golden::open(fixtures().join("oobleck"))
}

fn model() -> OobleckAutoencoder {
    OobleckAutoencoder::load_folder(fixtures().join("oobleck/vae"), &device()).unwrap()
}

fn weights() -> HashMap<String, Tensor> {
    testing::golden::load(&fixtures().join("oobleck/vae/diffusion_pytorch_model.safetensors"))
}

fn config() -> OobleckConfig {
    model().config().clone()
}

/// Chunks decoded alone and cut where the next one takes over.
#[test]
fn pasted_chunks_are_the_decoded_chunks() {
    let model = model();
    let latents = pseudo_random(&[2, 8, 53], 7);
    let tiling = Tiling::Pasted {
        chunk: 20,
        overlap: 6,
    };
    let found = model.decode_tiled(&latents, tiling).unwrap();
    let hop = model.hop();
    let parts: Vec<Tensor> = [(0, 0..17), (14, 17..31), (28, 31..36), (33, 36..53)]
        .into_iter()
        .map(|(start, core)| {
            let chunk = latents.narrow(2, start, 20).unwrap().contiguous().unwrap();
            let sound = model.decode(&chunk).unwrap();
            sound
                .narrow(2, (core.start - start) * hop, core.len() * hop)
                .unwrap()
        })
        .collect();
    let expected = Tensor::cat(&parts, 2).unwrap();
    assert_close("pasted", &found, &expected, 1e-6);
    let sound = pseudo_random(&[1, 2, 53 * hop + 5], 8);
    let found = model.encode_parameters_tiled(&sound, tiling).unwrap();
    assert_eq!(found.dims(), [1, 16, 53]);
}

#[test]
fn items_of_a_batch_are_independent() {
    let (golden, model) = (golden(), model());
    let (audio, z) = (golden.tensor("audio"), golden.tensor("z"));
    let (encoded, decoded) = (
        model.encode_parameters(&audio).unwrap(),
        model.decode(&z).unwrap(),
    );
    for item in 0..2 {
        let one = |tensor: &Tensor| tensor.narrow(0, item, 1).unwrap();
        assert_close(
            "encoded",
            &model.encode_parameters(&one(&audio)).unwrap(),
            &one(&encoded),
            1e-6,
        );
        assert_close(
            "decoded",
            &model.decode(&one(&z)).unwrap(),
            &one(&decoded),
            1e-6,
        );
    }
}

#[test]
fn both_channels_come_out_and_differ() {
    let decoded = model().decode(&golden().tensor("z")).unwrap();
    let channel = |index: usize| decoded.narrow(1, index, 1).unwrap();
    let difference = (channel(0) - channel(1))
        .unwrap()
        .abs()
        .unwrap()
        .max_all()
        .unwrap()
        .to_scalar::<f32>()
        .unwrap();
    assert!(difference > 1e-3, "{difference}");
}

/// A batch of sound whose length is no whole number of latent frames.
fn long_sound() -> Tensor {
    pseudo_random(&[2, 2, 32 * 150 + 17], 5)
}

#[test]
fn exact_tiles_equal_the_whole() {
    let model = model();
    let whole = model.encode_parameters(&long_sound()).unwrap();
    let latents = pseudo_random(&[2, 8, 151], 6);
    let decoded = model.decode(&latents).unwrap();
    for chunk_frames in [1, 23, 75, 150, 1000] {
        let tiling = Tiling::Exact { chunk_frames };
        let tiled = model
            .encode_parameters_tiled(&long_sound(), tiling)
            .unwrap();
        assert_close("encoded", &tiled, &whole, TILE_TOLERANCE);
        assert_close(
            "decoded",
            &model.decode_tiled(&latents, tiling).unwrap(),
            &decoded,
            TILE_TOLERANCE,
        );
    }
}

/// Odd strides shorten or lengthen the output by a little; tiles agree on that too.
#[test]
fn exact_tiles_equal_the_whole_with_an_odd_stride() {
    let config = OobleckConfig {
        downsampling_ratios: vec![2, 5, 3],
        ..config()
    };
    let model = OobleckAutoencoder::load(&config, &random_weights(&config).root()).unwrap();
    let sound = pseudo_random(&[1, 2, 30 * 90 + 7], 8);
    let latents = pseudo_random(&[1, 8, 90], 9);
    let tiling = Tiling::Exact { chunk_frames: 20 };
    let whole = model.encode_parameters(&sound).unwrap();
    assert_close(
        "encoded",
        &model.encode_parameters_tiled(&sound, tiling).unwrap(),
        &whole,
        TILE_TOLERANCE,
    );
    let whole = model.decode(&latents).unwrap();
    assert_close(
        "decoded",
        &model.decode_tiled(&latents, tiling).unwrap(),
        &whole,
        TILE_TOLERANCE,
    );
}

/// The fixture's tensors with kernels of other lengths.
fn random_weights(config: &OobleckConfig) -> Weights {
    let strides = config.downsampling_ratios.clone();
    let resize = |(name, tensor): (String, Tensor)| {
        let parts: Vec<&str> = name.split('.').collect();
        let index = parts.get(2).and_then(|index| index.parse::<usize>().ok());
        let stride = match (parts[0], parts.get(3), parts.last()) {
            ("encoder", Some(&"conv1"), Some(&"weight_v")) => index.map(|index| strides[index]),
            ("decoder", Some(&"conv_t1"), Some(&"weight_v")) => {
                index.map(|index| strides[2 - index])
            }
            _ => None,
        };
        let Some(stride) = stride else {
            return (name, tensor);
        };
        let (first, second, _) = tensor.dims3().unwrap();
        let resized = pseudo_random(&[first, second, 2 * stride], 1 + stride as u64);
        (name, resized)
    };
    Weights::from_tensors(weights().into_iter().map(resize).collect(), "resized")
}

/// Without the names of classes and versions, which only files have.
fn as_text(config: &OobleckConfig) -> String {
    serde_json::to_string(config).unwrap()
}

/// The other published naming, with weight norm kept and removed.
#[test]
fn stable_audio_tools_names_load() {
    let folder = fixtures().join("diffrhythm");
    let golden = Golden::open(&folder);
    let config = OobleckConfig {
        encoder_hidden_size: 4,
        decoder_channels: 4,
        downsampling_ratios: vec![2, 4, 8],
        ..config()
    };
    let normed = testing::golden::load(&folder.join("vae_model.safetensors"));
    for tensors in [fold(&normed), normed] {
        let weights = Weights::from_tensors(tensors, "vae_model");
        let inferred = OobleckConfig::of_weights(&weights.root()).unwrap();
        assert_eq!(as_text(&inferred), as_text(&config));
        let model = OobleckAutoencoder::load(&config, &weights.root()).unwrap();
        weights.finish().unwrap();
        let parameters = |name: &str| model.encode_parameters(&golden.tensor(name)).unwrap();
        assert_close(
            "encode",
            &parameters("audio"),
            &golden.tensor("encode"),
            TOLERANCE,
        );
        assert_close(
            "encode_b2",
            &parameters("audio_b2"),
            &golden.tensor("encode_b2"),
            TOLERANCE,
        );
        assert_close(
            "decode",
            &model.decode(&golden.tensor("z")).unwrap(),
            &golden.tensor("decode"),
            TOLERANCE,
        );
        let Posterior { mean, std } = model.encode(&golden.tensor("audio")).unwrap();
        let sample = Posterior { mean, std }
            .sample_with(&golden.tensor("noise"))
            .unwrap();
        assert_close("sample", &sample, &golden.tensor("sample"), TOLERANCE);
    }
}

/// Replaces `weight_g` and `weight_v` by `weight`, as `torch.nn.utils.remove_weight_norm` does.
fn fold(tensors: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let mut folded = HashMap::new();
    for (name, tensor) in tensors {
        if let Some(stem) = name.strip_suffix("_v") {
            let norm = tensor
                .sqr()
                .unwrap()
                .sum_keepdim((1, 2))
                .unwrap()
                .sqrt()
                .unwrap();
            let gain = tensors[&format!("{stem}_g")].broadcast_div(&norm).unwrap();
            folded.insert(stem.to_owned(), tensor.broadcast_mul(&gain).unwrap());
        } else if !name.ends_with("_g") {
            folded.insert(name.clone(), tensor.clone());
        }
    }
    folded
}

#[test]
fn the_identity_follows_the_weights() {
    let id = |tensors: HashMap<String, Tensor>| {
        OobleckAutoencoder::load(&config(), &Weights::from_tensors(tensors, "x").root())
            .unwrap()
            .id()
            .to_owned()
    };
    let mut other = weights();
    let bias = &other["decoder.conv1.bias"] + 1e-3;
    other.insert("decoder.conv1.bias".to_owned(), bias.unwrap());
    assert_eq!(id(weights()), model().id());
    assert_ne!(id(other), model().id());
    assert!(model().id().starts_with("oobleck-"));
}

#[test]
fn bad_inputs_are_named() {
    let model = model();
    let message = |result: Result<Tensor, VaeError>| result.unwrap_err().to_string();
    let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &device()).unwrap();
    let short = model.encode(&zeros(&[1, 2, 31])).unwrap_err().to_string();
    assert!(short.contains("31 samples, at least 32"), "{short}");
    assert!(message(model.decode(&zeros(&[1, 7, 4]))).contains("expected [batch, 8, length]"));
    assert!(message(model.encode_parameters(&zeros(&[2, 64]))).contains("sound has shape [2, 64]"));
    let tiling = Tiling::Reference {
        chunk: 4,
        overlap: 2,
    };
    assert!(message(model.decode_tiled(&zeros(&[1, 8, 9]), tiling)).contains("overlap of 2"));
}

#[test]
fn sizes_that_no_autoencoder_has_are_refused() {
    let zeros =
        |shape: [usize; 3]| Tensor::zeros(&shape, candle_core::DType::F32, &device()).unwrap();
    // Nothing at all in the first convolution, and a kernel that is no double stride.
    for (first, step) in [([0, 2, 7], [4, 0, 4]), ([2, 2, 7], [4, 2, 3])] {
        let tensors = HashMap::from([
            ("encoder.layers.0.weight".to_owned(), zeros(first)),
            ("encoder.layers.1.layers.4.weight".to_owned(), zeros(step)),
        ]);
        let weights = Weights::from_tensors(tensors, "other.pt");
        let error = OobleckConfig::of_weights(&weights.root())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("other.pt") && error.contains("block 1"),
            "{error}"
        );
    }
}

#[test]
fn missing_and_unused_tensors_are_named() {
    let mut tensors = weights();
    tensors.remove("encoder.block.1.res_unit2.snake1.beta");
    let error = OobleckAutoencoder::load(&config(), &Weights::from_tensors(tensors, "x").root())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("encoder.block.1.res_unit2.snake1.beta"),
        "{error}"
    );
    let folder = fixtures().join("no such folder");
    let error = OobleckAutoencoder::load_folder(folder, &device()).unwrap_err();
    assert!(matches!(error, VaeError::Read { .. }));
}

/// Mean and deviation of many draws are the posterior's; the same stream draws the same.
#[test]
fn draws_follow_the_posterior() {
    let posterior = model().encode(&golden().tensor("audio")).unwrap();
    let stream = Stream::new(3);
    assert_equal(
        "again",
        &posterior.sample(&stream).unwrap(),
        &posterior.sample(&stream).unwrap(),
    );
    let draw = |index: u64| {
        ((posterior.sample(&stream.at(index)).unwrap() - &posterior.mean).unwrap() / &posterior.std)
            .unwrap()
    };
    let noise = Tensor::stack(&(0..64).map(draw).collect::<Vec<_>>(), 0).unwrap();
    let mean = noise.mean_all().unwrap().to_scalar::<f32>().unwrap();
    let variance = noise
        .sqr()
        .unwrap()
        .mean_all()
        .unwrap()
        .to_scalar::<f32>()
        .unwrap();
    assert!(
        mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03,
        "{mean} {variance}"
    );
}

#[test]
fn loading_twice_gives_the_same_bytes() {
    let z = golden().tensor("z").narrow(D::Minus1, 0, 9).unwrap();
    assert_equal(
        "decoded",
        &model().decode(&z).unwrap(),
        &model().decode(&z).unwrap(),
    );
}
