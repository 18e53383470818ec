"""The peer's side of `cargo xtask bench --peer PYTHON`: the same jobs in PyTorch, diffusers, PEFT and librosa.

    python bench/peer/peer.py JOB --runs 5 [--frames 256] [--batch 1]

Prints `{"seconds": [...], "peak_bytes": N}`. Needs: torch diffusers peft transformers librosa safetensors.
"""

import argparse
import json
import os
import pathlib
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
REFERENCE = pathlib.Path(__file__).resolve().parents[2] / "testing/pytorch"
BASE = pathlib.Path(__file__).resolve().parents[2] / "lora/base/lorelei-base.safetensors"
EMBEDDED_FRAMES, EMBEDDED_BATCH, STEPS, GUIDANCE = 130, 8, 24, 3.0


def transformer(wide):
    import torch
    from diffusers import StableAudioDiTModel
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    torch.manual_seed(0)
    layers, heads, width = (24, 24, 64) if wide else (16, 8, 128)
    model = StableAudioDiTModel(
        num_layers=layers, num_attention_heads=heads, attention_head_dim=width, cross_attention_dim=heads * width,
        num_key_value_attention_heads=heads, global_states_input_dim=768,
    ).eval()
    batch, frames = ARGUMENTS.batch, ARGUMENTS.frames or 256
    x, prompt, conditions = torch.randn(batch, 64, frames), torch.randn(batch, 65, 768), torch.randn(batch, 1, 768)
    positions = get_1d_rotary_pos_embed(width // 2, frames + 1, use_real=True, repeat_interleave_real=False)
    moment = torch.full((batch,), 0.5)

    def call(module):
        return module(
            x, moment, encoder_hidden_states=prompt, global_hidden_states=conditions, rotary_embedding=positions, return_dict=False
        )[0]

    return model, call, x


def transformer_forward():
    import torch

    model, call, _ = transformer(False)

    def run():
        with torch.no_grad():
            call(model)

    return run


def lora_step(wide=False, checkpointed=False):
    import torch
    from peft import LoraConfig, get_peft_model

    model, call, x = transformer(wide)
    if checkpointed:
        model.enable_gradient_checkpointing()
        x.requires_grad_(True)
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    adapted.train() if checkpointed else adapted.eval()
    optimizer = torch.optim.AdamW([parameter for parameter in adapted.parameters() if parameter.requires_grad], 1e-4)
    target = torch.randn_like(x)

    def run():
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(call(adapted), target).backward()
        optimizer.step()

    return run


def embedded():
    sys.path.insert(0, str(REFERENCE))
    import torch
    from diffusion_transformer import DiffusionTransformer
    from safetensors.torch import load_file, safe_open
    from spectral_autoencoder import SpectralAutoencoder

    with safe_open(BASE, "pt") as file:
        config = json.loads(file.metadata()["lorelei_base"])["transformer"]
    tensors = {name: value.float() for name, value in load_file(BASE).items()}
    part = lambda prefix: {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    model = DiffusionTransformer(**config)
    model.load_state_dict(part("transformer."))
    autoencoder = SpectralAutoencoder()
    autoencoder.load_state_dict(part("autoencoder."))
    return model, autoencoder.eval(), config, torch


def embedded_step():
    model, _, config, torch = embedded()
    from peft import LoraConfig, get_peft_model

    targets = r".*(self_attn\.[qkvo]_proj|time_mlp\.[02]|norm_out\.linear|proj_out)"
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, lora_dropout=0.25, target_modules=targets)).train()
    optimizer = torch.optim.AdamW([parameter for parameter in adapted.parameters() if parameter.requires_grad], 2e-3)
    x = torch.randn(EMBEDDED_BATCH, EMBEDDED_FRAMES, config["mel_dim"])
    text = torch.zeros(EMBEDDED_BATCH, EMBEDDED_FRAMES, dtype=torch.long)
    style, moment = torch.randn(EMBEDDED_BATCH, config["cond_dim"]), torch.full((EMBEDDED_BATCH,), 0.5)

    def run():
        optimizer.zero_grad()
        adapted(x, torch.zeros_like(x), text, style, moment, moment).square().mean().backward()
        optimizer.step()

    return run


def embedded_clip():
    model, autoencoder, config, torch = embedded()
    noise = torch.randn(1, EMBEDDED_FRAMES, config["mel_dim"])
    text = torch.zeros(2, EMBEDDED_FRAMES, dtype=torch.long)
    style = torch.cat([torch.randn(1, config["cond_dim"]), torch.zeros(1, config["cond_dim"])])
    start = torch.full((2,), 0.3)

    def run():
        with torch.no_grad():
            x = noise
            for step in range(STEPS):
                both = x.expand(2, -1, -1)
                velocity, null = model(both, torch.zeros_like(both), text, style, torch.full((2,), step / STEPS), start).chunk(2)
                x = x + (velocity + (velocity - null) * GUIDANCE) / STEPS
            autoencoder.decode(x)

    return run


def oobleck(encode):
    import torch
    from diffusers import AutoencoderOobleck

    torch.manual_seed(0)
    model = AutoencoderOobleck().eval()
    frames = ARGUMENTS.frames or 216
    latents = torch.randn(ARGUMENTS.batch, 64, frames)
    audio = torch.randn(ARGUMENTS.batch, 2, frames * 2048) * 0.3

    def run():
        with torch.no_grad():
            model.encode(audio).latent_dist.mode() if encode else model.decode(latents).sample

    return run


def features():
    import librosa
    import numpy

    left, right = (numpy.random.default_rng(0).uniform(-0.2, 0.2, (2, 60 * 44100))).astype("float32")
    rate = 44100

    def run():
        audio, side = (left + right) / 2, (left - right) / 2
        power = numpy.abs(librosa.stft(audio, n_fft=4096, hop_length=1024)) ** 2
        side_power = numpy.abs(librosa.stft(side, n_fft=4096, hop_length=1024)) ** 2
        for low, high in [(0, 24), (24, 372), (372, 2049)]:
            librosa.power_to_db(side_power[low:high].sum(0) / power[low:high].sum(0))
        for channel in (left, right):
            librosa.feature.rms(y=channel, frame_length=4096, hop_length=1024)
        mel = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=rate))
        librosa.feature.mfcc(S=mel, sr=rate)
        librosa.feature.chroma_stft(S=power, sr=rate)
        magnitude = numpy.sqrt(power)
        librosa.feature.spectral_contrast(S=magnitude, sr=rate)
        librosa.feature.spectral_centroid(S=magnitude, sr=rate)
        librosa.feature.spectral_bandwidth(S=magnitude, sr=rate)
        librosa.feature.spectral_rolloff(S=magnitude, sr=rate)
        librosa.feature.spectral_flatness(S=magnitude)
        librosa.feature.zero_crossing_rate(audio, frame_length=4096, hop_length=1024)
        librosa.onset.onset_strength(S=mel, sr=rate)

    return run


def start():
    import subprocess

    def run():
        subprocess.run([sys.executable, "-c", "import diffusers"], check=True)

    return run


JOBS = {
    "transformer-forward": transformer_forward,
    "lora-step": lora_step,
    "lora-step-checkpointed": lambda: lora_step(checkpointed=True),
    "lora-step-wide": lambda: lora_step(wide=True),
    "lora-step-wide-checkpointed": lambda: lora_step(wide=True, checkpointed=True),
    "embedded-step": embedded_step,
    "embedded-clip": embedded_clip,
    "oobleck-decode": lambda: oobleck(False),
    "oobleck-encode": lambda: oobleck(True),
    "features": features,
    "start": start,
}


def main():
    if threads := os.environ.get("RAYON_NUM_THREADS"):
        import torch

        torch.set_num_threads(int(threads))
    run = JOBS[ARGUMENTS.job]()
    run()
    seconds = []
    for _ in range(ARGUMENTS.runs):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--batch", type=int, default=1)
    ARGUMENTS = parser.parse_args()
    main()
