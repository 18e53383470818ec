"""The spectral autoencoder: a PCA skip with a zero-initialised residual ConvNeXt on either side of the latent.

Input and output: feature vectors [batch, latent_frames, FEATURES] of spectral_features.py. Latent: [batch, latent_frames, latent_channels].
"""

import torch
from torch import nn
from torch.nn import functional

import spectral_features as sound
from spectral_features import FEATURES, FFT_SIZE, FRAMES_PER_LATENT, SAMPLE_RATE_HZ, STEREO_BANDS, WARPED_BINS, warped_centres

LATENT_CHANNELS = 128
ENCODER_WIDTH, ENCODER_BLOCKS = 192, 2
DECODER_WIDTH, DECODER_BLOCKS = 288, 4
HIDDEN_RATIO = 3
# Stereo features lie in [-1, 1] while log magnitudes spread over several nepers.
STEREO_WEIGHT = 2.0


def configuration() -> dict:
    """The sizes as a base file's header has them."""
    return {
        "sample_rate_hz": sound.SAMPLE_RATE_HZ,
        "fft_size": sound.FFT_SIZE,
        "hop": sound.HOP,
        "frames_per_latent": sound.FRAMES_PER_LATENT,
        "linear_bins": sound.LINEAR_BINS,
        "logarithmic_bins": sound.LOGARITHMIC_BINS,
        "magnitude_floor": sound.MAGNITUDE_FLOOR,
        "stereo_bands": sound.STEREO_BANDS,
        "stereo_energy_floor": sound.STEREO_ENERGY_FLOOR,
        "latent_channels": LATENT_CHANNELS,
        "encoder_width": ENCODER_WIDTH,
        "encoder_blocks": ENCODER_BLOCKS,
        "decoder_width": DECODER_WIDTH,
        "decoder_blocks": DECODER_BLOCKS,
        "hidden_ratio": HIDDEN_RATIO,
    }


def feature_weights() -> torch.Tensor:
    """[FEATURES]: the emphasis of each feature; log magnitudes by 1 / (1 + f / 3 kHz)."""
    frequency_hz = warped_centres().float() * SAMPLE_RATE_HZ / FFT_SIZE
    magnitude = 1.0 / (1.0 + frequency_hz / 3000.0)
    return torch.cat([magnitude.repeat(FRAMES_PER_LATENT), torch.full((2 * STEREO_BANDS,), STEREO_WEIGHT)])


class ConvNextBlock(nn.Module):
    """Depthwise convolution over seven latent frames, then a two-layer network per frame (Liu et al., 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, HIDDEN_RATIO * width)
        self.pwconv2 = nn.Linear(HIDDEN_RATIO * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        mixed = self.dwconv(hidden.transpose(1, 2)).transpose(1, 2)
        return hidden + self.pwconv2(functional.gelu(self.pwconv1(self.norm(mixed))))


class Half(nn.Module):
    """skip(x) + head(blocks(stem(x))), the head starting at zero."""

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int) -> None:
        super().__init__()
        self.skip = nn.Linear(inputs, outputs)
        self.stem = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(ConvNextBlock(width) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.stem(inputs)
        for block in self.blocks:
            hidden = block(hidden)
        return self.skip(inputs) + self.head(self.norm(hidden))


class SpectralAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Half(FEATURES, LATENT_CHANNELS, ENCODER_WIDTH, ENCODER_BLOCKS)
        self.decoder = Half(LATENT_CHANNELS, FEATURES, DECODER_WIDTH, DECODER_BLOCKS)
        self.register_buffer("feature_mean", torch.zeros(FEATURES))
        self.register_buffer("feature_weight", feature_weights())
        # What turns the encoder's output into the latent the transformer sees: (z - mean) / scale.
        self.register_buffer("latent_mean", torch.zeros(LATENT_CHANNELS))
        self.register_buffer("latent_scale", torch.ones(LATENT_CHANNELS))

    def weigh(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.feature_mean) * self.feature_weight

    def unweigh(self, weighted: torch.Tensor) -> torch.Tensor:
        return weighted / self.feature_weight + self.feature_mean

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        return (self.encoder(self.weigh(features)) - self.latent_mean) / self.latent_scale

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return self.unweigh(self.decoder(latent * self.latent_scale + self.latent_mean))
