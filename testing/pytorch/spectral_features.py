"""The spectral autoencoder's view of sound: warped log power spectra and parametric stereo.

Shapes: audio [2, samples], spectra [frames, bins], feature vectors [latent_frames, features].
A latent frame is `FRAMES_PER_LATENT` short-time frames, 2048 samples at 44.1 kHz (21.53 Hz).
Stereo follows the idea of parametric stereo (Breebaart et al., 2005): one spectrum for both channels, and per band a level
difference and a coherence.
"""

import math

import torch

SAMPLE_RATE_HZ = 44_100
FFT_SIZE = 2048
HOP = 512
FRAMES_PER_LATENT = 4
LATENT_HOP = HOP * FRAMES_PER_LATENT
SPECTRUM_BINS = FFT_SIZE // 2 + 1
# Below this bin (4.0 kHz) the spectrum is kept bin by bin, where pitch lives; above it bands widen in proportion to frequency.
LINEAR_BINS = 186
LOGARITHMIC_BINS = 166
WARPED_BINS = LINEAR_BINS + LOGARITHMIC_BINS
# -90 dB under a full-scale sine. A higher floor hides quiet highs; a lower one spends the latent on inaudible noise.
MAGNITUDE_FLOOR = 3e-5
STEREO_BANDS = 24
# A band quieter than this in both channels has no direction: centred and coherent.
STEREO_ENERGY_FLOOR = 1e-9
FEATURES = FRAMES_PER_LATENT * WARPED_BINS + 2 * STEREO_BANDS


def warped_centres() -> torch.Tensor:
    """Centre of each warped bin, in bins of the linear spectrum."""
    linear = torch.arange(LINEAR_BINS, dtype=torch.float64)
    ratio = (SPECTRUM_BINS - 1) / LINEAR_BINS
    steps = torch.arange(LOGARITHMIC_BINS, dtype=torch.float64) / (LOGARITHMIC_BINS - 1)
    return torch.cat([linear, LINEAR_BINS * ratio**steps])


def warp_matrix() -> torch.Tensor:
    """[WARPED_BINS, SPECTRUM_BINS]: identity below, triangles that sum to one above."""
    centres = warped_centres()
    bins = torch.arange(SPECTRUM_BINS, dtype=torch.float64)
    matrix = torch.zeros(WARPED_BINS, SPECTRUM_BINS, dtype=torch.float64)
    for row in range(WARPED_BINS):
        if row < LINEAR_BINS:
            matrix[row, row] = 1.0
            continue
        centre, left = centres[row], centres[row - 1]
        right = centres[row + 1] if row + 1 < WARPED_BINS else centre + 1.0
        rising = (bins - left) / (centre - left)
        falling = (right - bins) / (right - centre)
        triangle = torch.clamp(torch.minimum(rising, falling), min=0.0)
        matrix[row] = triangle / triangle.sum()
    return matrix.float()


def unwarp_matrix() -> torch.Tensor:
    """[SPECTRUM_BINS, WARPED_BINS]: linear interpolation between the centres, applied to logarithms."""
    centres = warped_centres()
    matrix = torch.zeros(SPECTRUM_BINS, WARPED_BINS, dtype=torch.float64)
    for bin_index in range(SPECTRUM_BINS):
        upper = int(torch.searchsorted(centres, torch.tensor(float(bin_index), dtype=torch.float64)))
        if upper >= WARPED_BINS:
            matrix[bin_index, WARPED_BINS - 1] = 1.0
        elif upper == 0 or float(centres[upper]) == bin_index:
            matrix[bin_index, upper] = 1.0
        else:
            share = (bin_index - centres[upper - 1]) / (centres[upper] - centres[upper - 1])
            matrix[bin_index, upper - 1] = 1.0 - share
            matrix[bin_index, upper] = share
    return matrix.float()


def stereo_band_edges() -> list[int]:
    """STEREO_BANDS + 1 edges in bins, widening like the ear's bands: edge = round(c (e^(a i) - 1)), at least one bin each."""
    edges = [0]
    for band in range(1, STEREO_BANDS + 1):
        position = band / STEREO_BANDS
        edge = round(SPECTRUM_BINS * (math.exp(4.5 * position) - 1.0) / (math.exp(4.5) - 1.0))
        edges.append(max(edge, edges[-1] + 1))
    edges[-1] = SPECTRUM_BINS
    return edges


def band_matrix() -> torch.Tensor:
    """[STEREO_BANDS, SPECTRUM_BINS]: one where the bin is in the band."""
    edges = stereo_band_edges()
    matrix = torch.zeros(STEREO_BANDS, SPECTRUM_BINS)
    for band in range(STEREO_BANDS):
        matrix[band, edges[band] : edges[band + 1]] = 1.0
    return matrix


class SpectralFeatures:
    """Audio to feature vectors. The audio's end is cut to whole latent frames."""

    def __init__(self) -> None:
        self.window = torch.hann_window(FFT_SIZE, periodic=True)
        self.warp = warp_matrix()
        self.bands = band_matrix()

    def spectra(self, audio: torch.Tensor) -> torch.Tensor:
        """Complex [2, frames, bins], a full-scale sine has magnitude 1; frame k is centred on sample 512 k."""
        latent_frames = audio.shape[-1] // LATENT_HOP
        audio = audio[:, : latent_frames * LATENT_HOP]
        transform = torch.stft(audio, FFT_SIZE, HOP, window=self.window, center=True, pad_mode="reflect", return_complex=True)
        transform = transform[..., : latent_frames * FRAMES_PER_LATENT] / (self.window.sum() / 2.0)
        return transform.transpose(1, 2)

    def __call__(self, audio: torch.Tensor) -> torch.Tensor:
        left, right = self.spectra(audio)
        left_power, right_power = left.abs().square(), right.abs().square()
        magnitude = ((left_power + right_power) / 2.0).sqrt()
        logarithm = torch.log(magnitude @ self.warp.T + MAGNITUDE_FLOOR)
        latent_frames = logarithm.shape[0] // FRAMES_PER_LATENT

        def per_band(values: torch.Tensor) -> torch.Tensor:
            return (values @ self.bands.T).reshape(latent_frames, FRAMES_PER_LATENT, STEREO_BANDS).sum(1)

        left_energy, right_energy = per_band(left_power), per_band(right_power)
        cross = per_band((left * right.conj()).real)
        total = left_energy + right_energy
        audible = total > STEREO_ENERGY_FLOOR
        level_difference = torch.where(audible, (left_energy - right_energy) / total.clamp(min=1e-30), 0.0)
        coherence = torch.where(audible, cross / (left_energy * right_energy).sqrt().clamp(min=1e-15), 1.0).clamp(-1.0, 1.0)
        return torch.cat([logarithm.reshape(latent_frames, -1), level_difference, coherence], dim=1)
