"""The peer's side of `cargo xtask loss-curve`: the same training in PyTorch with PEFT, on the batches and initial values that our side wrote.

The network is the reference's (testing/pytorch/diffusion_transformer.py); loss, style, optimizer, schedule and clipping are written here anew, from
the settings alone. Prints the losses on the held-out songs as a line of JSON.

    python xtask/peer/loss_curve.py FOLDER --base lora/base/lorelei-base.safetensors --every 50
"""

import argparse
import collections
import json
import math
import os
import pathlib
import sys
import time
import tomllib

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors import safe_open
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testing/pytorch"))
from diffusion_transformer import DiffusionTransformer  # noqa: E402


class Adapted(torch.nn.Module):
    """The base with LoRA on it, and the trigger: the style vector that is learned with the factors."""

    def __init__(self, base: pathlib.Path, initial: dict[str, torch.Tensor], settings: dict) -> None:
        super().__init__()
        with safe_open(base, "pt") as file:
            description = json.loads(file.metadata()["lorelei_base"])
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        transformer = DiffusionTransformer(**description["transformer"])
        # Our names say whose layers they are.
        prefix = "transformer."
        weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        transformer.load_state_dict(weights)
        transformer.requires_grad_(False)
        self.tag_vectors = tensors["tag_vectors"]
        layers = [name.removeprefix(prefix).removesuffix(".lora_A") for name in initial if name.endswith(".lora_A")]
        options = LoraConfig(r=settings["rank"], lora_alpha=settings["alpha"], lora_dropout=settings["dropout"], target_modules=layers)
        self.transformer = inject_adapter_in_model(options, transformer)
        self.trigger = torch.nn.Parameter(initial["trigger"].clone())
        attached = 0
        for name, parameter in self.transformer.named_parameters():
            if parameter.requires_grad:
                layer, factor = name.removesuffix(".default.weight").rsplit(".", 1)
                parameter.data.copy_(initial[f"{prefix}{layer}.{factor}"])
                attached += 1
        assert attached == len(initial) - 1, f"{attached} factors are attached, {len(initial) - 1} were given"

    def loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        instant = batch["time"][:, None, None]
        noised = (1 - instant) * batch["noise"] + instant * batch["data"]
        # The mean of the trigger and the tags' vectors; nothing where the style is dropped.
        known = batch["tags"] @ self.tag_vectors + self.trigger
        style = known / (1 + batch["tags"].sum(1, keepdim=True)) * (1 - batch["dropped"].float())[:, None]
        predicted = self.transformer(
            noised, torch.zeros_like(noised), batch["text"].long(), style, batch["time"], batch["start_time"]
        )
        error = (predicted - (batch["data"] - batch["noise"])).square().mean(-1)
        mask = (torch.arange(error.shape[1])[None] < batch["valid_frames"].long()[:, None]).float()
        return (error * mask).sum() / mask.sum()


def batches(path: pathlib.Path) -> list[dict[str, torch.Tensor]]:
    found = collections.defaultdict(dict)
    for name, tensor in load_file(path).items():
        number, part = name.split(".")
        found[int(number)][part] = tensor
    return [found[number] for number in sorted(found)]


def rate(step: int, settings: dict) -> float:
    """Linear warm-up, then a cosine that is down to a share of the peak at the last step; steps are counted from 0."""
    peak, warm_up, total = settings["learning_rate"], min(settings["warm_up_steps"], settings["steps"] // 2), settings["steps"]
    if step < warm_up:
        return peak * (step + 1) / warm_up
    progress = (step - warm_up) / max(1, total - warm_up - 1)
    floor = settings["final_rate_ratio"]
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


@torch.no_grad()
def validate(model: Adapted, held_out: list[dict[str, torch.Tensor]]) -> float:
    items = [len(batch["time"]) for batch in held_out]
    losses = [float(model.loss(batch)) for batch in held_out]
    return sum(loss * count for loss, count in zip(losses, items)) / sum(items)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--base", type=pathlib.Path, required=True)
    parser.add_argument("--every", type=int, required=True)
    arguments = parser.parse_args()
    if threads := os.environ.get("RAYON_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    settings = tomllib.loads((arguments.folder / "settings.toml").read_text())
    training, held_out = batches(arguments.folder / "training.safetensors"), batches(arguments.folder / "validation.safetensors")
    model = Adapted(arguments.base, load_file(arguments.folder / "initial.safetensors"), settings)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0, weight_decay=settings["weight_decay"])
    started = time.perf_counter()
    curve = [(0, validate(model, held_out))]
    for step, batch in enumerate(training):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, settings)
        optimizer.zero_grad()
        model.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(trained, settings["gradient_clip"])
        optimizer.step()
        if (step + 1) % arguments.every == 0:
            curve.append((step + 1, validate(model, held_out)))
            print(f"step {step + 1}: {curve[-1][1]:.6f}", file=sys.stderr, flush=True)
    print(json.dumps({"seconds": time.perf_counter() - started, "validation": curve}))


if __name__ == "__main__":
    main()
