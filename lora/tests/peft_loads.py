"""Shows that what lora-convert writes loads in Python: PEFT folders in PEFT, `.pt` files in torch with weights_only=True.

Usage: python peft_loads.py FIXTURES CONVERTED
FIXTURES is `lora/tests/fixtures/adapters`; CONVERTED holds `peft/`, `peft_rslora/`, `peft_dora/` and `peft_patterns/`, written by
`lora-convert --to peft` from the folders of those names, and `original.pt`, written by `lora-convert --to original` from `model_lora_1234.pt`.
Needs torch, safetensors, peft.
"""
import pathlib
import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

fixtures, converted = map(pathlib.Path, sys.argv[1:3])


class Node(nn.Module):
    """Holds modules by name, so that a state dict's paths become a model."""


def model_of(weights):
    root = Node()
    for key, value in weights.items():
        if not key.endswith(".weight"):
            continue
        *path, last = key.removesuffix(".weight").split(".")
        node = root
        for part in path:
            if not hasattr(node, part):
                node.add_module(part, Node())
            node = getattr(node, part)
        layer = nn.Linear(value.shape[1], value.shape[0], bias=False)
        layer.weight.data.copy_(value)
        node.add_module(last, layer)
    return root


for name in ["peft", "peft_rslora", "peft_dora", "peft_patterns"]:
    model = PeftModel.from_pretrained(model_of(load_file(fixtures / "base.safetensors")), converted / name)
    merged = model.merge_and_unload().state_dict()
    expected = load_file(fixtures / f"{name}.merged.safetensors")
    worst = max((merged[key] - value).abs().max().item() for key, value in expected.items())
    assert worst < 1e-6, (name, worst)
    print(f"{name}: {len(expected)} weights as PEFT's own, largest difference {worst:.1e}")

ours = torch.load(converted / "original.pt", weights_only=True)
theirs = torch.load(fixtures / "model_lora_1234.pt", weights_only=True)
assert ours["step"] == theirs["step"] and ours["lora_state_dict"].keys() == theirs["lora_state_dict"].keys()
assert all(torch.equal(ours["lora_state_dict"][key], value) for key, value in theirs["lora_state_dict"].items())
print(f"original.pt: {len(ours['lora_state_dict'])} tensors to the bit")
