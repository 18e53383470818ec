"""Packs the trained autoencoder, transformer and tag vectors into the one file that Lorelei embeds.

    python recipes/export.py --run RUN --tags TAGS.json --out lora/base/lorelei-base-1.safetensors --version 1

Tensors are f16, named `autoencoder.*`, `transformer.*`, `tag_vectors`; the header's `lorelei_base` entry is the description as JSON.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file

import spectral_autoencoder as autoencoder
import spectral_features as features
from train_transformer import CONFIG, PULSES_PER_BEAT


def autoencoder_config() -> dict:
    return {
        "sample_rate_hz": features.SAMPLE_RATE_HZ,
        "fft_size": features.FFT_SIZE,
        "hop": features.HOP,
        "frames_per_latent": features.FRAMES_PER_LATENT,
        "linear_bins": features.LINEAR_BINS,
        "logarithmic_bins": features.LOGARITHMIC_BINS,
        "magnitude_floor": features.MAGNITUDE_FLOOR,
        "stereo_bands": features.STEREO_BANDS,
        "stereo_energy_floor": features.STEREO_ENERGY_FLOOR,
        "latent_channels": autoencoder.LATENT_CHANNELS,
        "encoder_width": autoencoder.ENCODER_WIDTH,
        "encoder_blocks": autoencoder.ENCODER_BLOCKS,
        "decoder_width": autoencoder.DECODER_WIDTH,
        "decoder_blocks": autoencoder.DECODER_BLOCKS,
        "hidden_ratio": autoencoder.HIDDEN_RATIO,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=pathlib.Path, required=True)
    parser.add_argument("--tags", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--version", type=int, required=True)
    arguments = parser.parse_args()
    tensors = {f"autoencoder.{name}": value for name, value in torch.load(arguments.run / "autoencoder.pt").items()}
    average = torch.load(arguments.run / "transformer.pt")["average"]
    tensors |= {name: value for name, value in average.items() if name.startswith("transformer.") or name == "tag_vectors"}
    description = {
        "format": 1,
        "name": "lorelei-base",
        "version": arguments.version,
        "autoencoder": autoencoder_config(),
        "transformer": CONFIG,
        "tags": json.loads(arguments.tags.read_text()),
        "pulses_per_beat": PULSES_PER_BEAT,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    half = {name: value.detach().half().contiguous() for name, value in tensors.items()}
    save_file(half, arguments.out, metadata={"lorelei_base": json.dumps(description)})
    print(f"{arguments.out}: {sum(t.numel() for t in half.values())} numbers, {arguments.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
