"""The DiffRhythm diffusion transformer (ASLP-lab/DiffRhythm, model/dit.py and model/modules.py) for the embedded base's recipe.

Tensor names and arithmetic are the reference's; sizes, head count and causality are arguments. Shapes: x [batch, frames, channels].
"""

import math

import torch
from torch import nn
from torch.nn import functional


class TimestepEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.time_mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.register_buffer("frequencies", torch.exp(torch.arange(128) * (-math.log(10_000) / 127)), persistent=False)

    def forward(self, time: torch.Tensor) -> torch.Tensor:
        angles = 1000.0 * time[:, None] * self.frequencies
        return self.time_mlp(torch.cat([angles.sin(), angles.cos()], dim=-1))


class GlobalResponseNorm(nn.Module):
    """The L2 norm runs over time, as in the reference."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        norm = hidden.norm(p=2, dim=1, keepdim=True)
        return self.gamma * (hidden * norm / (norm.mean(dim=-1, keepdim=True) + 1e-6)) + self.beta + hidden


class ConvNextV2Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, 2 * width)
        self.grn = GlobalResponseNorm(2 * width)
        self.pwconv2 = nn.Linear(2 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        mixed = self.dwconv(hidden.transpose(1, 2)).transpose(1, 2)
        return hidden + self.pwconv2(self.grn(functional.gelu(self.pwconv1(self.norm(mixed)))))


class TextEmbedding(nn.Module):
    def __init__(self, tokens: int, width: int, blocks: int, positions: int = 4096) -> None:
        super().__init__()
        self.text_embed = nn.Embedding(tokens + 1, width)
        self.text_blocks = nn.Sequential(*(ConvNextV2Block(width) for _ in range(blocks)))
        frequencies = 1.0 / (10_000 ** (torch.arange(0, width, 2)[: width // 2].float() / width))
        angles = torch.outer(torch.arange(positions).float(), frequencies)
        self.register_buffer("positions", torch.cat([angles.cos(), angles.sin()], dim=-1), persistent=False)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        return self.text_blocks(self.text_embed(text) + self.positions[: text.shape[1]])


class ConvPositionEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1d = nn.Sequential(
            nn.Conv1d(width, width, 31, groups=16, padding=15), nn.Mish(), nn.Conv1d(width, width, 31, groups=16, padding=15), nn.Mish()
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.conv1d(hidden.transpose(1, 2)).transpose(1, 2)


class InputEmbedding(nn.Module):
    def __init__(self, channels: int, condition: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(2 * channels + 3 * condition, width)
        self.conv_pos_embed = ConvPositionEmbedding(width)

    def forward(self, x, audio_condition, text, style, condition):
        frames = x.shape[1]
        repeat = lambda vector: vector[:, None].expand(-1, frames, -1)
        hidden = self.proj(torch.cat([x, audio_condition, text, repeat(style), repeat(condition)], dim=-1))
        return self.conv_pos_embed(hidden) + hidden


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, hidden, cosine, sine):
        batch, frames, width = hidden.shape
        split = lambda projected: projected.view(batch, frames, self.heads, -1).transpose(1, 2)

        def rotate(heads):
            first, second = heads.chunk(2, dim=-1)
            return heads * cosine + torch.cat([-second, first], dim=-1) * sine

        query, key, value = rotate(split(self.q_proj(hidden))), rotate(split(self.k_proj(hidden))), split(self.v_proj(hidden))
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.o_proj(attended.transpose(1, 2).reshape(batch, frames, width))


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(width, hidden, bias=False), nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, causal: bool) -> None:
        super().__init__()
        self.self_attn, self.mlp = Attention(width, heads, causal), FeedForward(width, hidden)
        self.input_layernorm, self.post_attention_layernorm = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)

    def forward(self, hidden, cosine, sine):
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), cosine, sine)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class FinalNorm(nn.Module):
    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.linear = nn.Linear(condition, 2 * width)

    def forward(self, hidden: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        scale, shift = self.linear(functional.silu(condition))[:, None].chunk(2, dim=-1)
        return functional.layer_norm(hidden, hidden.shape[-1:], eps=1e-6) * (1 + scale) + shift


class DiffusionTransformer(nn.Module):
    def __init__(self, *, dim, depth, ff_mult, text_dim, conv_layers, mel_dim, text_num_embeds, cond_dim, attention_heads, causal, **_) -> None:
        super().__init__()
        self.head_width = dim // attention_heads
        self.time_embed, self.start_time_embed = TimestepEmbedding(cond_dim), TimestepEmbedding(cond_dim)
        self.text_embed = TextEmbedding(text_num_embeds, text_dim, conv_layers)
        self.input_embed = InputEmbedding(mel_dim, cond_dim, dim)
        self.transformer_blocks = nn.ModuleList(Block(dim, attention_heads, dim * ff_mult, causal) for _ in range(depth))
        self.text_fusion_linears = nn.ModuleList(nn.Sequential(nn.Linear(cond_dim, dim), nn.SiLU()) for _ in range(depth // 2))
        self.norm_out, self.proj_out = FinalNorm(dim, cond_dim), nn.Linear(dim, mel_dim)

    def forward(self, x, audio_condition, text, style, time, start_time):
        condition = self.time_embed(time) + self.start_time_embed(start_time)
        text_embedding = self.text_embed(text)
        hidden = self.input_embed(x, audio_condition, text_embedding, style, condition)
        inverse = 1.0 / (10_000 ** (torch.arange(0, self.head_width, 2).float() / self.head_width))
        angles = torch.outer(torch.arange(x.shape[1]).float(), inverse).repeat(1, 2)
        cosine, sine = angles.cos(), angles.sin()
        for index, block in enumerate(self.transformer_blocks):
            hidden = block(hidden, cosine, sine)
            if index < len(self.text_fusion_linears):
                hidden = hidden + self.text_fusion_linears[index](text_embedding)
        return self.proj_out(self.norm_out(hidden, condition))
