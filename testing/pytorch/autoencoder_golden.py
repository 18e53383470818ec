"""Writes the parity case of the spectral autoencoder: small random weights in the real layout, audio, features, latent, decoded features.

    python testing/pytorch/autoencoder_golden.py OUT_DIR
"""

import json
import pathlib
import sys

import torch
from safetensors.torch import save_file

import spectral_autoencoder as autoencoder
import spectral_features as features


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    autoencoder.LATENT_CHANNELS, autoencoder.ENCODER_WIDTH, autoencoder.DECODER_WIDTH = 16, 24, 40
    autoencoder.ENCODER_BLOCKS, autoencoder.DECODER_BLOCKS = 2, 3
    model = autoencoder.SpectralAutoencoder()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((torch.randn_like(parameter) * (0.02 if parameter.ndim > 1 else 0.1)).half().float())
        for name, value in model.named_buffers():
            if name != "feature_weight":
                noise = torch.randn_like(value)
                value.copy_(noise.half().float() if "mean" in name else (1.0 + 0.2 * noise.abs()).half().float())
        model.feature_weight.copy_(model.feature_weight.half().float())
        model.feature_mean.mul_(0.1).sub_(5.0).copy_(model.feature_mean.half().float())
        time = torch.arange(2048 * 12) / features.SAMPLE_RATE_HZ
        chirp = 0.4 * torch.sin(2 * torch.pi * (200 * time + 2000 * time**2))
        noise = torch.randn(2, time.shape[0]) * torch.exp(-6 * time) * 0.2
        audio = torch.stack([chirp * 0.9, chirp * 0.3]) + noise
        extracted = features.SpectralFeatures()(audio)
        latent = model.encode(extracted[None])
        decoded = model.decode(latent)
        second = torch.stack([audio[1] * 0.5, audio[0]])
        second_latent = model.encode(features.SpectralFeatures()(second)[None])
    save_file({f"autoencoder.{name}": value.half().contiguous() for name, value in model.state_dict().items()}, out / "model.safetensors")
    golden = {
        "audio": torch.stack([audio, second]),
        "features": extracted,
        "latent": torch.cat([latent, second_latent]),
        "decoded_features": decoded[0],
        # The rows around the change from linear to logarithmic, and the last ones: enough to pin the formula in a small file.
        "warp_rows_180_to_200": features.warp_matrix()[180:200],
        "warp_last_rows": features.warp_matrix()[-4:],
        "unwarp_rows_180_to_200": features.unwarp_matrix()[180:200],
        "unwarp_last_rows": features.unwarp_matrix()[-4:],
    }
    save_file({name: value.contiguous() for name, value in golden.items()}, out / "golden.safetensors")
    (out / "config.json").write_text(json.dumps(autoencoder.configuration(), indent=1) + "\n")
    (out / "stereo_band_edges.json").write_text(json.dumps(features.stereo_band_edges()) + "\n")


if __name__ == "__main__":
    main()
