"""Writes a base file in the real layout with tiny random weights: fast tests of the commands use it.

    python testing/pytorch/tiny_base.py lora/tests/fixtures/tiny-base.safetensors [SEED]
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

import spectral_autoencoder as autoencoder
from diffusion_transformer import DiffusionTransformer

TAGS = ["lofi", "piano", "tempo:90", "tempo:120", "key:a-minor", "metre:3", "metre:4", "bars:4"]
CONFIG = {
    "dim": 32,
    "depth": 2,
    "heads": 2,
    "ff_mult": 2,
    "text_dim": 16,
    "conv_layers": 1,
    "mel_dim": 8,
    "text_num_embeds": 48,
    "max_frames": 2048,
    "cond_dim": 16,
    "attention_heads": 2,
    "causal": False,
}


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    torch.manual_seed(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    autoencoder.LATENT_CHANNELS, autoencoder.ENCODER_WIDTH, autoencoder.DECODER_WIDTH = CONFIG["mel_dim"], 16, 16
    autoencoder.ENCODER_BLOCKS, autoencoder.DECODER_BLOCKS = 1, 1
    model = autoencoder.SpectralAutoencoder()
    with torch.no_grad():
        model.feature_mean.fill_(-6.0)
    tensors = {f"autoencoder.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"transformer.{name}": value for name, value in DiffusionTransformer(**CONFIG).state_dict().items()}
    tensors["tag_vectors"] = torch.randn(len(TAGS), CONFIG["cond_dim"])
    description = {
        "format": 1,
        "name": "tiny-base",
        "version": 1,
        "autoencoder": autoencoder.configuration(),
        "transformer": CONFIG,
        "tags": TAGS,
        "pulses_per_beat": 8,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in tensors.items()}, out, metadata={"lorelei_base": json.dumps(description)})


if __name__ == "__main__":
    main()
