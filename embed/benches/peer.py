"""The peer's side of `cargo bench -p embed`: MuQ-MuLan at its released sizes with random weights, in PyTorch.

    pip install muq
    python embed/benches/peer.py [--threads 2] [--runs 5]

Prints seconds for ten seconds of sound and for 24 tokens, best and median.
"""

import argparse
import statistics
import time

import torch
from muq.muq import MuQ, MuQConfig
from muq.muq_mulan.muq_mulan import MuQMuLan
from transformers import XLMRobertaConfig, XLMRobertaModel

CONFORMER = {
    "num_attention_heads": 16, "intermediate_size": 4096, "hidden_act": "swish", "position_embeddings_type": "rotary",
    "rotary_embedding_base": 10000, "conv_depthwise_kernel_size": 31, "conformer_conv_dropout": 0.1, "layer_norm_eps": 1e-5,
    "feat_extract_activation": "gelu", "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16,
    "hidden_dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.1, "layerdrop": 0.1,
    "max_source_positions": 5000,
    # Newer versions of transformers ask for it.
    "_attn_implementation": "sdpa",
}
STATISTICS = {"melspec_2048_mean": 6.768444971712967, "melspec_2048_std": 18.417922652295623}
HEAD = {"dim": 768, "tf_depth": 8, "heads": 8, "dim_head": 64, "attn_dropout": 0.0, "ff_dropout": 0.0, "ff_mult": 4}


def random_muq(*_, **__):
    return MuQ(MuQConfig(stat=STATISTICS, w2v2_config=CONFORMER, use_rvq_target=True))


def random_roberta(*_, **__):
    return XLMRobertaModel(
        XLMRobertaConfig(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5)
    )


def best(runs, function):
    seconds = []
    with torch.inference_mode():
        function()
        for _ in range(runs):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return f"best {min(seconds):.3f} s, median {statistics.median(seconds):.3f} s"


parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=torch.get_num_threads())
parser.add_argument("--runs", type=int, default=5)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
MuQ.from_pretrained = random_muq
XLMRobertaModel.from_pretrained = random_roberta
model = MuQMuLan(
    {
        "mulan": {"sr": 24000, "clip_secs": 10, "dim_latent": 512},
        "audio_model": {"name": "OpenMuQ/MuQ-large-msd-iter", "model_dim": 1024, "use_layer_idx": -1},
        "text_model": {"name": "xlm-roberta-base", "model_dim": None},
        "audio_transformer": HEAD,
        "text_transformer": {**HEAD, "max_seq_len": 1024},
    }
).eval()
# Newer versions of transformers return the hidden states of whole models only; the tower asks for the last one.
conformer = model.mulan.audio.model.model.conformer
forward = conformer.forward


def last_state(x, **_):
    last = forward(x)[0]
    return {"last_hidden_state": last, "hidden_states": (last,)}


conformer.forward = last_state
sound = torch.randn(1, 240000)
tokens = torch.arange(24)[None] * 7
print("ten seconds:", best(arguments.runs, lambda: model(wavs=sound)))
text = model.mulan.text
words = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
print(
    "24 tokens:",
    best(arguments.runs, lambda: text.transformer(text.proj(text.pred_pretrained_model_hidden(**words))).mean(-2)),
)
