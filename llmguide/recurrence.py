"""Recurrence: a model that reads one token after another and carries what it remembers in a few numbers."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

State = tuple[Float[Tensor, "B F"], Float[Tensor, "B F"]]  # what a layer says, and what it remembers


class LSTM(nn.Module):
    r"""Long short-term memory: a memory that is forgotten and written a little at every step, through gates.

    From input $x_t$ and the last output $h_{t-1}$ come four rows of F numbers, in one product:
    $[i, f, g, o] = x_t W + h_{t-1} U + b$. Then $c_t = \sigma(f) \odot c_{t-1} + \sigma(i) \odot \tanh(g)$ is the
    memory and $h_t = \sigma(o) \odot \tanh(c_t)$ the output. Weights start uniform within $\pm 1/\sqrt{F}$, the bias of
    the forget gate at 1, so that a new layer remembers.

    Args:
        width: D, how many numbers come in at a position.
        hidden: F, how many numbers are remembered, and go out.

    Raises:
        ValueError: a width below 1.

    Taught in: concepts/recurrence-to-attention
    Source: hochreiter1997long; gers2000learning for the forget gate; jozefowicz2015empirical for its bias
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        if width < 1 or hidden < 1:
            raise ValueError(f"width is {width} and hidden {hidden}; both must be at least 1")
        self.hidden = hidden
        self.project_in = nn.Linear(width, 4 * hidden)  # rows: input gate, forget gate, candidate, output gate
        self.project_state = nn.Linear(hidden, 4 * hidden, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(hidden**-0.5), hidden**-0.5)
        nn.init.ones_(self.project_in.bias[hidden : 2 * hidden])

    def forward(
        self, x: Float[Tensor, "B T D"], *, state: State | None = None, keep: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T F"], State]:
        """Read the positions in order.

        Args:
            state: what was carried so far; zeros where None.
            keep: False at padding, which leaves the state as it is.

        Returns:
            The output of every position, and the state after the last: hand it in again to read on.
        """
        output, memory = x.new_zeros(2, len(x), self.hidden) if state is None else state
        inputs = self.project_in(x.transpose(0, 1))  # (T, B, 4 F): all positions at once, since none waits for another
        recurrent, outputs = self.project_state.weight.T, []
        for position, gates_in in enumerate(inputs.unbind()):
            gates = torch.addmm(gates_in, output, recurrent)  # (B, 4 F): the only product that has to wait
            write, forget, candidate, read = gates.chunk(4, dim=-1)
            new_memory = forget.sigmoid() * memory + write.sigmoid() * candidate.tanh()
            new_output = read.sigmoid() * new_memory.tanh()
            if keep is not None:
                real = keep[:, position, None]
                new_memory, new_output = new_memory.where(real, memory), new_output.where(real, output)
            memory, output = new_memory, new_output
            outputs.append(output)
        return torch.stack(outputs, dim=1), (output, memory)


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """The numbers that describe a recurrent model; checked when made.

    Args:
        vocabulary: V, how many token ids there are.
        width: D, how many numbers describe a position; as many are remembered in each layer (F = D).
        layers: L, how many LSTM layers.
        dropout: share of numbers set to 0 in training, between layers and never between positions.

    Raises:
        ValueError: a value that cannot be; the message names it.
    """

    vocabulary: int
    width: int
    layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and less than 1")

    @property
    def context(self) -> int | None:
        """None, no limit: the state is as large after a thousand tokens as after one."""
        return None


class RecurrentCache:
    """The state one layer carries: what `KeyValueCache` is to attention, of a size that does not grow."""

    def __init__(self) -> None:
        self.state: State | None = None

    def select(self, rows: Int[Tensor, " B"]) -> None:
        """Keep these rows of the batch, in this order; a row may be taken more than once."""
        if self.state is not None:
            output, memory = self.state
            self.state = output[rows], memory[rows]


class LSTMLanguageModel(nn.Module):
    """Layers of LSTM that say at each position what token comes next; called like `llmguide.model.Decoder`.

    The token embedding is used twice, to read ids and to score the next ones (tied weights).

    Taught in: concepts/recurrence-to-attention
    Source: zaremba2014recurrent; press2016using for the tied weights
    """

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        nn.init.normal_(self.token_embedding.weight, std=0.5)  # no norm follows: smaller numbers learn slowly
        self.layers = nn.ModuleList(LSTM(config.width, config.width) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        *,
        keep: Bool[Tensor, "B S"] | None = None,
        cache: list[RecurrentCache] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Score every token of the vocabulary as the next one, at each position.

        Args:
            keep: True at real tokens, False at padding; with a cache, of all positions so far.
            cache: from `new_cache`; then `ids` are the new positions only.

        Raises:
            ValueError: no tokens, or a `keep` of the wrong shape.
        """
        length = ids.shape[1]
        if length == 0:
            raise ValueError("the text has no tokens; give at least one")
        if keep is not None:
            if len(keep) != len(ids) or keep.shape[1] < length or (cache is None and keep.shape[1] > length):
                raise ValueError(f"keep has shape {tuple(keep.shape)}, which does not fit {tuple(ids.shape)} ids")
            keep = keep[:, -length:]
        x = self.dropout(self.token_embedding(ids))  # (B, T, D)
        for place, layer in enumerate(self.layers):
            x, state = layer(x, state=cache[place].state if cache else None, keep=keep)
            x = self.dropout(x)
            if cache:
                cache[place].state = state
        return x @ self.token_embedding.weight.T

    def new_cache(self, _capacity: int | None = None) -> list[RecurrentCache]:
        """An empty state for each layer; a capacity means nothing to it."""
        return [RecurrentCache() for _ in range(self.config.layers)]
