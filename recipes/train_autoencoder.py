"""Trains the spectral autoencoder on a rendered corpus.

    python recipes/train_autoencoder.py --corpus CORPUS --out RUN [--minutes 6]

The corpus comes from `cargo xtask corpus CORPUS --hours 2 --seed 1`. Seeded; writes RUN/autoencoder.pt after every report, and
`--resume` goes on from it.
"""

import argparse
import json
import math
import pathlib
import time

import soundfile
import torch
from torch.nn import functional

from spectral_autoencoder import LATENT_CHANNELS, SpectralAutoencoder
from spectral_features import FRAMES_PER_LATENT, STEREO_BANDS, WARPED_BINS, SpectralFeatures

LOG_BANDS = 32
LATENT_NOISE = 0.1
CROP_FRAMES, BATCH = 32, 16
PEAK_RATE = 7e-4


def load_features(corpus: pathlib.Path, pieces: list[dict]) -> list[torch.Tensor]:
    extract = SpectralFeatures()
    features = []
    for piece in pieces:
        audio, _ = soundfile.read(corpus / piece["path"], dtype="float32", always_2d=True)
        features.append(extract(torch.from_numpy(audio.T.copy())).half())
    return features


def losses(model: SpectralAutoencoder, target: torch.Tensor, predicted: torch.Tensor) -> dict[str, torch.Tensor]:
    """Both weighted, [batch, frames, FEATURES]."""
    spectrum = FRAMES_PER_LATENT * WARPED_BINS
    batch, frames, _ = target.shape
    shape = (batch, frames * FRAMES_PER_LATENT, WARPED_BINS)
    target_log, predicted_log = target[..., :spectrum].reshape(shape), predicted[..., :spectrum].reshape(shape)
    weight = model.feature_weight[:WARPED_BINS]
    difference = predicted_log - target_log
    target_root = torch.exp(model.unweigh(target)[..., :spectrum].reshape(shape) / 2)
    predicted_root = torch.exp(model.unweigh(predicted)[..., :spectrum].reshape(shape).clamp(max=3.0) / 2)
    change = (difference[:, 1:] - difference[:, :-1]).abs().mean()
    per_band = WARPED_BINS // LOG_BANDS

    def band_level(root: torch.Tensor) -> torch.Tensor:
        return torch.log(root.pow(4).reshape(batch, -1, LOG_BANDS, per_band).mean(-1) + 1e-8) / 2

    energy = target_root.detach().pow(4).mean((1, 2), keepdim=True)
    return {
        "log": difference.abs().mean() / weight.mean(),
        "root": 4.0 * ((predicted_root - target_root).abs() * weight.sqrt()).mean() / (energy.pow(0.25).mean() + 1e-3),
        "change": 0.15 * change / weight.mean(),
        "band": 0.3 * (band_level(predicted_root) - band_level(target_root)).abs().mean(),
        "stereo": 0.3 * (predicted[..., spectrum:] - target[..., spectrum:]).abs().mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--pieces", type=int, default=220)
    parser.add_argument("--validation-pieces", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    pieces = [json.loads(line) for line in (arguments.corpus / "corpus.jsonl").read_text().splitlines()]
    order = torch.randperm(len(pieces), generator=torch.Generator().manual_seed(0)).tolist()
    pieces = [pieces[index] for index in order]
    started = time.time()
    validation = load_features(arguments.corpus, pieces[: arguments.validation_pieces])
    training = load_features(arguments.corpus, pieces[arguments.validation_pieces :][: arguments.pieces])
    print(f"{len(training)} pieces, features in {time.time() - started:.0f} s", flush=True)

    model = SpectralAutoencoder()
    checkpoint = arguments.out / "autoencoder.pt"
    everything = torch.cat(training)
    if arguments.resume and checkpoint.exists():
        model.load_state_dict(torch.load(checkpoint))
    else:
        chosen = torch.randperm(everything.shape[0])[:40_000]
        share = model.initialise_from_principal_components(everything[chosen].float())
        print(f"principal components explain {share:.4f} of the weighted variance", flush=True)

    def report(label: str) -> None:
        model.eval()
        with torch.no_grad():
            parts: dict[str, float] = {}
            for piece in validation:
                target = model.weigh(piece[None].float())
                for name, value in losses(model, target, model.decoder(model.encoder(target))).items():
                    parts[name] = parts.get(name, 0.0) + float(value) / len(validation)
        model.train()
        print(label, " ".join(f"{name} {value:.4f}" for name, value in parts.items()), flush=True)

    report("components only:")
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    started, step, shown = time.time(), 0, time.time()
    budget = arguments.minutes * 60.0
    while (elapsed := time.time() - started) < budget:
        rate = PEAK_RATE * min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * elapsed / budget)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        crops = []
        for _ in range(BATCH):
            piece = training[int(torch.randint(len(training), ()))]
            start = int(torch.randint(piece.shape[0] - CROP_FRAMES, ()))
            crops.append(piece[start : start + CROP_FRAMES])
        target = model.weigh(torch.stack(crops).float())
        latent = model.encoder(target)
        predicted = model.decoder(latent + LATENT_NOISE * torch.randn_like(latent))
        spread = 0.01 * functional.relu(latent.square().mean((0, 1)) - 1.5).mean()
        loss = sum(losses(model, target, predicted).values()) + spread
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            for name, value in model.named_parameters():
                average[name].lerp_(value, 1 - min(0.995, step / (step + 10)))
        if time.time() - shown > 60:
            shown = time.time()
            report(f"step {step}, {elapsed:.0f} s, loss {float(loss):.4f}; validation:")
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_(average[name])
        latent = torch.cat([model.encoder(model.weigh(piece[None].float()))[0] for piece in training])
        deviation = latent.std(0)
        # Louder components of the sound keep a larger share of the latent's unit of noise.
        weight_of_channel = (model.decoder.skip.weight.norm(dim=0) * deviation)
        emphasis = (weight_of_channel / weight_of_channel.max()).sqrt().clamp(min=0.5)
        model.latent_mean.copy_(latent.mean(0))
        model.latent_scale.copy_(deviation / emphasis)
    report(f"averaged, {step} steps:")
    torch.save(model.state_dict(), checkpoint)
    print(f"parameters {sum(p.numel() for p in model.parameters())}, latent channels {LATENT_CHANNELS}, stereo bands {STEREO_BANDS}")


if __name__ == "__main__":
    main()
