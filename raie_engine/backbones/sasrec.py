"""SASRec: a causal transformer over a user's last items, trained with full cross-entropy at every position.

Source: Kang and McAuley, arXiv 1808.09781; the loss is that of Klenitskiy and Vasilev, arXiv 2309.07602.
Departs from them: windows are left-justified, so a prefix of a window looks exactly like a shorter window, causal
attention needs no padding mask, and a left-padded window gives the same states as a right-padded one.
Legend: n windows, L positions, d hidden size, h heads, v item rows (row 0 is padding).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie_engine.backbones.protocol import Delta, Shape
from raie_engine.errors import DamagedArtifact
from raie_engine.finite import require_finite

__all__ = ["SasRec", "SasRecShape"]


@dataclass(frozen=True)
class SasRecShape:
    """Everything that fixes the shape of a SASRec; its canonical JSON is the backbone's config blob."""

    items: int
    length: int
    dim: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        if min(self.items, self.length, self.dim, self.layers, self.heads) < 1 or self.dim % self.heads:
            raise ValueError(f"sizes must be at least 1 and dim a multiple of heads, found {self}")


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each with a residual."""

    def __init__(self, shape: SasRecShape, dropout: float) -> None:
        super().__init__()
        d = shape.dim
        self.heads, self.rate = shape.heads, dropout
        self.attention_norm, self.feed_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.query, self.key, self.value, self.output = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x: Tensor, prefix: str, delta: Delta | None) -> Tensor:
        def linear(name: str, inputs: Tensor) -> Tensor:
            out: Tensor = getattr(self, name)(inputs)
            return out if delta is None else out + delta(f"{prefix}.{name}", inputs)

        n, length, d = x.shape
        normed = self.attention_norm(x)
        q, k, v = (
            linear(name, normed).view(n, length, self.heads, -1).transpose(1, 2)  # [n, h, L, d/h]
            for name in ("query", "key", "value")
        )
        rate = self.rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=rate)
        mixed = mixed.transpose(1, 2).reshape(n, length, d)
        x = x + F.dropout(linear("output", mixed), self.rate, self.training)
        grown = F.gelu(linear("up", self.feed_norm(x)))
        return x + F.dropout(linear("down", grown), self.rate, self.training)


class SasRec(nn.Module):
    """The backbone `sasrec`; frozen and in evaluation mode unless `training.train_backbone` holds it."""

    appended: Tensor

    def __init__(self, shape: SasRecShape, *, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        self.shape, self.rate = shape, dropout
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.items = nn.Embedding(shape.items + 1, shape.dim, padding_idx=0)
            self.positions = nn.Embedding(shape.length, shape.dim)
            self.blocks = nn.ModuleList(Block(shape, dropout) for _ in range(shape.layers))
            self.norm = nn.LayerNorm(shape.dim)
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.02)
            nn.init.zeros_(self.items.weight[0])
        self.register_buffer("appended", torch.zeros(0, shape.dim), persistent=False)

    @property
    def dim(self) -> int:
        return self.shape.dim

    @property
    def length(self) -> int:
        return self.shape.length

    @property
    def known_items(self) -> int:
        return self.shape.items

    @property
    def lora_targets(self) -> dict[str, Shape]:
        return {
            name: Shape(module.in_features, module.out_features)
            for name, module in self.named_modules()
            if isinstance(module, nn.Linear)
        }

    def item_table(self) -> Tensor:
        """[v, d]: the frozen rows, then the appended ones."""
        return torch.cat([self.items.weight, self.appended]) if len(self.appended) else self.items.weight

    def hidden(self, items: Tensor, delta: Delta | None = None) -> Tensor:
        """[n, L] to [n, L, d]; state j has read the real items 0..j of its window, wherever padding stood."""
        items = left_justified(items)
        x = F.embedding(items, self.item_table()) * self.dim**0.5 + self.positions.weight[: items.shape[1]]
        x = F.dropout(x, self.rate, self.training)
        for i, block in enumerate(self.blocks):
            x = block(x, f"blocks.{i}", delta)
        out: Tensor = self.norm(x)
        return out

    def with_item_rows(self, rows: Tensor) -> SasRec:
        """The same frozen weights, shared and not copied, with `rows` [new items, d] behind the known items' rows.

        They take the place of rows that were appended before.
        """
        extended = object.__new__(SasRec)
        extended.__dict__ = {**self.__dict__, "_buffers": {**self._buffers, "appended": rows}}
        return extended

    @cached_property
    def digest(self) -> str:
        """sha256 over the canonical configuration and the safetensors bytes of every weight."""
        config, weights = self.to_bytes()
        return hashlib.sha256(hashlib.sha256(config).digest() + hashlib.sha256(weights).digest()).hexdigest()

    def to_bytes(self) -> tuple[bytes, bytes]:
        """(canonical JSON configuration, safetensors weights)."""
        config = json.dumps(
            {"kind": "sasrec", **dataclasses.asdict(self.shape)}, sort_keys=True, separators=(",", ":")
        )
        return config.encode(), save_tensors({k: v.contiguous() for k, v in self.state_dict().items()})

    @staticmethod
    def from_bytes(config: bytes, weights: bytes) -> SasRec:
        """The frozen backbone that `to_bytes` wrote.

        Raises: DamagedArtifact where the bytes are not such a configuration or do not hold its weights; NotFinite.
        """
        try:
            fields = dict(json.loads(config))
            fields.pop("kind")
            model = SasRec(SasRecShape(**fields))
            model.load_state_dict(load_tensors(weights))
        except (ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise DamagedArtifact(
                f"expected the configuration and weights of a SASRec, found: {reason:.200}"
            ) from error
        require_finite(model.state_dict(), "the backbone")
        return model.eval().requires_grad_(False)


def left_justified(items: Tensor) -> Tensor:
    """Item rows [n, L] with all padding moved behind the real items, whose order stays."""
    return items.gather(1, (items == 0).to(torch.uint8).argsort(dim=1, stable=True))
