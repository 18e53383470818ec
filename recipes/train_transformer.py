"""Trains the embedded base's diffusion transformer on the latents of a rendered corpus.

    python recipes/train_transformer.py encode --corpus CORPUS --autoencoder RUN/autoencoder.pt --latents RUN/latents
    python recipes/train_transformer.py train --latents RUN/latents --tags TAGS.json --out RUN --minutes 75

Rectified flow as DiffRhythm's: x_t = (1 - t) noise + t data, velocity = data - noise, t = sigmoid(N(0, 1)). A piece's tags become
the mean of learned tag vectors; its beat grid becomes one pulse token per latent frame. Seeded; writes RUN/transformer.pt as it
goes, and `--resume` continues with weights, average, optimizers, step and clock.
"""

import argparse
import json
import math
import pathlib
import time

import numpy
import soundfile
import torch

from diffusion_transformer import DiffusionTransformer
from spectral_autoencoder import LATENT_CHANNELS, SpectralAutoencoder
from spectral_features import LATENT_HOP, SAMPLE_RATE_HZ, SpectralFeatures

CONFIG = {
    "dim": 256,
    "depth": 8,
    "heads": 4,
    "ff_mult": 3,
    "text_dim": 128,
    "conv_layers": 2,
    "mel_dim": LATENT_CHANNELS,
    "text_num_embeds": 48,
    "max_frames": 2048,
    "cond_dim": 128,
    "attention_heads": 4,
    "causal": False,
}
PULSES_PER_BEAT = 8
BATCH = 12
LENGTHS, LENGTH_SHARES = (130, 180, 258), (0.65, 0.2, 0.15)
WARM_UP_STEPS = 150
MATRIX_RATE, OTHER_RATE, FLOOR = 2e-3, 1e-3, 0.03
AVERAGE_DECAY = 0.998
DROP_EVERYTHING, DROP_STYLE, DROP_TAG, DROP_PULSE, KEEP_SPAN = 0.10, 0.05, 0.25, 0.40, 0.25


def encode(arguments) -> None:
    model = SpectralAutoencoder()
    model.load_state_dict(torch.load(arguments.autoencoder))
    model.eval()
    extract = SpectralFeatures()
    arguments.latents.mkdir(parents=True, exist_ok=True)
    index = arguments.latents / "latents.jsonl"
    done = {json.loads(line)["path"] for line in index.read_text().splitlines()} if index.exists() else set()
    with index.open("a") as lines, torch.no_grad():
        for line in (arguments.corpus / "corpus.jsonl").read_text().splitlines():
            piece = json.loads(line)
            if piece["path"] in done:
                continue
            audio, _ = soundfile.read(arguments.corpus / piece["path"], dtype="float32", always_2d=True)
            latent = model.encode(extract(torch.from_numpy(audio.T.copy()))[None])[0]
            numpy.save(arguments.latents / (piece["path"].replace("/", "_") + ".npy"), latent.numpy().astype("float16"))
            piece["latent_frames"] = latent.shape[0]
            lines.write(json.dumps(piece) + "\n")


def pulse_tokens(piece: dict, start_frame: int, frames: int) -> torch.Tensor:
    """Where in the bar each latent frame begins: 1 + beat * 8 + eighth of the beat; 0 where there is no grid."""
    seconds = (start_frame + torch.arange(frames)) * (LATENT_HOP / SAMPLE_RATE_HZ) - piece.get("first_beat_secs", 0.0)
    pulses = torch.floor(seconds * piece["tempo_bpm"] / 60.0 * PULSES_PER_BEAT + 1e-6).long()
    return 1 + pulses.remainder(PULSES_PER_BEAT * piece["beats_per_bar"])


class Corpus:
    def __init__(self, folder: pathlib.Path, tags: list[str], held_out_every: int = 40) -> None:
        self.pieces = [json.loads(line) for line in (folder / "latents.jsonl").read_text().splitlines()]
        self.latents = [torch.from_numpy(numpy.load(folder / (piece["path"].replace("/", "_") + ".npy"))) for piece in self.pieces]
        position = {tag: index for index, tag in enumerate(tags)}
        self.tag_count = len(tags)
        self.tags = [[position[tag] for tag in piece["tags"]] for piece in self.pieces]
        long_enough = [index for index, latent in enumerate(self.latents) if latent.shape[0] > 130]
        self.validation = long_enough[::held_out_every]
        held = set(self.validation)
        self.training = [index for index in long_enough if index not in held]

    def batch(self, indices: list[int], frames: int, random: torch.Generator, drops: bool) -> dict[str, torch.Tensor]:
        draw = lambda: float(torch.rand((), generator=random))
        data, text, mix, start_times, spans = [], [], [], [], []
        for index in indices:
            latent, piece = self.latents[index], self.pieces[index]
            usable = min(frames, latent.shape[0])
            start = int(torch.randint(latent.shape[0] - usable + 1, (), generator=random))
            crop = latent[start : start + usable].float()
            if usable < frames:
                crop = torch.cat([crop, crop[-1:].expand(frames - usable, -1)])
            tokens = pulse_tokens(piece, start, frames)
            weights = torch.zeros(self.tag_count)
            chosen = [tag for tag in self.tags[index] if not drops or draw() >= DROP_TAG]
            choice = draw() if drops else 1.0
            if chosen and choice >= DROP_EVERYTHING + DROP_STYLE:
                weights[chosen] = 1.0 / len(chosen)
            if choice < DROP_EVERYTHING or (drops and draw() < DROP_PULSE):
                tokens = torch.zeros_like(tokens)
            kept = torch.zeros(frames, 1)
            if drops and choice >= DROP_EVERYTHING and draw() < KEEP_SPAN:
                made = int((0.3 + 0.6 * draw()) * frames)
                begin = int(draw() * (frames - made + 1))
                kept[:begin], kept[begin + made :] = 1.0, 1.0
            data.append(crop)
            text.append(tokens)
            mix.append(weights)
            start_times.append(start / latent.shape[0])
            spans.append(kept)
        data = torch.stack(data)
        return {
            "data": data,
            "text": torch.stack(text),
            "mix": torch.stack(mix),
            "start_time": torch.tensor(start_times),
            "kept": torch.stack(spans),
            "noise": torch.randn(data.shape, generator=random),
            "time": torch.sigmoid(torch.randn(len(indices), generator=random)),
        }


class Base(torch.nn.Module):
    """The transformer and the tag vectors [tags, cond_dim] it is conditioned on."""

    def __init__(self, tag_count: int) -> None:
        super().__init__()
        self.transformer = DiffusionTransformer(**CONFIG)
        self.tag_vectors = torch.nn.Parameter(torch.randn(tag_count, CONFIG["cond_dim"]))

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        time, data, noise = batch["time"][:, None, None], batch["data"], batch["noise"]
        noised = (1 - time) * noise + time * data
        style = batch["mix"] @ self.tag_vectors
        velocity = self.transformer(noised, data * batch["kept"], batch["text"], style, batch["time"], batch["start_time"])
        error = (velocity.float() - (data - noise)).square().mean(-1, keepdim=True)
        made = 1 - batch["kept"]
        return (error * made).sum() / made.sum()


def train(arguments) -> None:
    torch.manual_seed(arguments.seed)
    tags = json.loads(arguments.tags.read_text())
    corpus = Corpus(arguments.latents, tags)
    print(f"{len(corpus.training)} training and {len(corpus.validation)} validation pieces", flush=True)
    model = Base(len(tags))
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    matrices = [p for n, p in model.named_parameters() if "transformer_blocks" in n and p.ndim == 2]
    matrix_ids = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in matrix_ids]
    # Muon orthogonalises the blocks' matrices (Jordan et al., 2024); everything else takes AdamW.
    optimizers = [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.01),
    ]
    peak_rates = (MATRIX_RATE, OTHER_RATE)
    average = {name: value.detach().clone() for name, value in model.named_parameters()}
    step, clock = 0, 0.0
    checkpoint = arguments.out / "transformer.pt"
    if arguments.resume and checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        average, step, clock = state["average"], state["step"], state["clock"]
    arguments.out.mkdir(parents=True, exist_ok=True)
    metrics = (arguments.out / "transformer-metrics.jsonl").open("a")

    def save() -> None:
        state = {"model": model.state_dict(), "average": average, "optimizers": [o.state_dict() for o in optimizers], "step": step, "clock": clock}
        torch.save(state, checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    def validate() -> float:
        random = torch.Generator().manual_seed(99)
        kept = {name: value.detach().clone() for name, value in model.named_parameters()}
        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(average[name])
            chosen = corpus.validation[: 4 * BATCH]
            total = [float(model.loss(corpus.batch(chosen[i : i + BATCH], 130, random, False))) for i in range(0, len(chosen), BATCH)]
            for name, value in model.named_parameters():
                value.copy_(kept[name])
        return sum(total) / len(total)

    random = torch.Generator().manual_seed(arguments.seed + step)
    budget, previous, shown, running = arguments.minutes * 60.0, time.time(), 0.0, None
    while clock < budget:
        progress = clock / budget
        rate = min(1.0, (step + 1) / WARM_UP_STEPS) * (FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * progress)))
        for optimizer, peak in zip(optimizers, peak_rates):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        frames = LENGTHS[int(torch.multinomial(torch.tensor(LENGTH_SHARES), 1, generator=random))]
        size = max(1, BATCH * 130 // frames)
        chosen = [corpus.training[int(torch.randint(len(corpus.training), (), generator=random))] for _ in range(size)]
        batch = corpus.batch(chosen, frames, random, True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.bfloat16):
            loss = model.loss(batch)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        decay = min(AVERAGE_DECAY, step / (step + 10))
        with torch.no_grad():
            for name, value in model.named_parameters():
                average[name].lerp_(value, 1 - decay)
        running = float(loss) if running is None else 0.98 * running + 0.02 * float(loss)
        now = time.time()
        clock, previous = clock + now - previous, now
        if clock - shown > arguments.report_secs:
            shown = clock
            record = {"step": step, "secs": round(clock), "loss": round(running, 4), "validation": round(validate(), 4), "rate": rate}
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()
            print(record, flush=True)
            save()
            previous = time.time()
    save()
    print(f"finished after {step} steps; validation {validate():.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    encoding = commands.add_parser("encode")
    encoding.add_argument("--corpus", type=pathlib.Path, required=True)
    encoding.add_argument("--autoencoder", type=pathlib.Path, required=True)
    encoding.add_argument("--latents", type=pathlib.Path, required=True)
    training = commands.add_parser("train")
    training.add_argument("--latents", type=pathlib.Path, required=True)
    training.add_argument("--tags", type=pathlib.Path, required=True)
    training.add_argument("--out", type=pathlib.Path, required=True)
    training.add_argument("--minutes", type=float, default=75.0)
    training.add_argument("--report-secs", type=float, default=120.0)
    training.add_argument("--seed", type=int, default=1)
    training.add_argument("--bfloat16", action="store_true")
    training.add_argument("--resume", action="store_true")
    arguments = parser.parse_args()
    encode(arguments) if arguments.command == "encode" else train(arguments)


if __name__ == "__main__":
    main()
