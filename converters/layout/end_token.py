"""The end token's column, without argmax and gather.

Given:  x[argmax(ids)]: of x (N, L, C), the row of the first position of the highest id
Result: h = clip(table[ids], 0, 1), (N, L, 1, 1); the table (vocabulary, 1) is 0 but at the end token
        first = relu(h - T h), a 1x1 convolution over positions whose kernel T is strictly lower triangular
        einsum of x (N, C, 1, L) and first -> (N, C, 1, 1)

Identity: h is 1 at end tokens, else 0. T h is 0 up to the first one and at least 1 behind it, so `first` is one-hot. Every
number here is a small integer, exact in float16. The end token has the highest id of the vocabulary and every text has
one (that is the tokenizer's contract), so argmax finds it too.
Why: the Neural Engine has neither argmax, nor indices from the run, nor integers. The lookup stays where that of the embeddings
is, on the CPU. Table and T hold 2 where 1 is enough, so that weight compression that rounds a little down changes nothing.
Source: the einsum is that of ml-ane-transformers' attention; the rest is arithmetic.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.layout.pointwise import pointwise


class EndToken(nn.Module):
    """Picks the column of the first end token. Shapes: x (N, C, 1, L), ids (N, L) int -> (N, C, 1, 1)."""

    table: Tensor

    def __init__(self, vocabulary: int, token: int, length: int) -> None:
        super().__init__()
        table = torch.zeros(vocabulary, 1)
        table[token] = 2.0
        self.register_buffer("table", table)
        self.earlier = pointwise(torch.full((length, length), 2.0).tril(-1), None)

    def first(self, ids: Tensor) -> Tensor:
        """1 at each text's first end token, 0 elsewhere. Shapes: (N, L) int -> (N, L, 1, 1)."""
        is_end = F.embedding(ids, self.table).unsqueeze(3).clamp(0, 1)
        return torch.relu(is_end - self.earlier(is_end))

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        return torch.einsum("nchw,nwhu->nchu", x, self.first(ids))
