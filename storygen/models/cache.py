"""The KV cache: keys and values of the tokens that a Transformer has read, so that it reads each only once."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from storygen.models.base import State

SPARE = 64
"""Slots and more that are allocated ahead, so that most steps copy nothing."""


class KVCache(State):
    """Keys and values of each layer, in slots of which all rows fill the same one at a step.

    Rows that have read fewer tokens begin at a later slot: `start[row]` is the slot of the row's first token, and a
    token's position is its slot minus that start. Old slots are dropped by moving the rest to the left, after which a
    start may be negative. Nothing here is differentiated through.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], window: int) -> None:
        """A cache of what the first call has computed: keys and values (rows, heads, time, head_dim) of each layer."""
        self._layers = layers  # put into one tensor only when the cache is used: training never does
        self._memory: Tensor | None = None
        """Keys and values of all, (layers, 2, rows, heads, slots, head_dim), with room to grow in rows and slots.

        There is always a row to spare: compiled code is made for that, or for memory that is just full.
        """
        self.window = window
        """How many tokens a token can see, itself included."""
        self.rows, _, self.end, _ = layers[0][0].shape
        self.start = [0] * self.rows
        self._same = [[0] * self.rows for _ in range(self.rows)]
        """For each two rows the slot before which they hold the same: beams differ in their last few tokens only."""

    @property
    def positions(self) -> list[int]:
        """The position of each row's next token, which is the number of tokens that the row has read."""
        return [self.end - start for start in self.start]

    def reserve(self, time: int) -> None:
        """Makes room for `time` more tokens; what no later token can see is dropped if need be."""
        if self._memory is None:
            first = self._first()
            stacked = torch.stack([torch.stack((k[:, :, first:], v[:, :, first:])) for k, v in self._layers]).detach()
            self._layers = ()
            self._move(-first)
            self._allocate(stacked, self.rows + 1, time)
        elif self.end + time > self._memory.shape[4]:
            first = self._first()
            seen = self._memory[:, :, : self.rows, :, first : self.end]
            self._move(-first)
            if first >= max(SPARE, time):
                self._memory[:, :, : self.rows, :, : self.end] = seen.clone()  # a copy, as the two overlap
            else:
                self._allocate(seen, self._memory.shape[2], time)

    def append(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Writes keys and values (rows, heads, time, head_dim) behind the end, for which room must be reserved.

        Returns all keys and values from the first slot that `visible` tells of to the new ones.
        """
        first, end = self._first(), self.end + k.shape[2]
        keys, values = self._memory[layer, 0, : self.rows], self._memory[layer, 1, : self.rows]
        keys[:, :, self.end : end] = k.detach()
        values[:, :, self.end : end] = v.detach()
        return keys[:, :, first:end], values[:, :, first:end]

    def next_slots(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """For each layer where one new token's key and value go, (2, rows, heads, head_dim), and all keys and values.

        The same as `append`, for which room must be reserved too, in fewer operators.
        """
        seen = self._memory[:, :, : self.rows, :, self._first() : self.end + 1]  # with the new slot as the last one
        return zip(seen[..., -1, :].unbind(0), seen[:, 0].unbind(0), seen[:, 1].unbind(0), strict=True)

    def past(self) -> tuple[Tensor, Tensor]:
        """All keys and values, (layers, 2, rows, heads, slots, head_dim), and what to add to the scores of the slots.

        The second is (rows, slots): 0, or -inf where the row has nothing yet.
        """
        first = self._first()
        starts = torch.tensor(self.start, device=self._memory.device)[:, None]
        hidden = torch.arange(first, self.end, device=starts.device) < starts
        bias = torch.zeros(hidden.shape, device=starts.device).masked_fill(hidden, float("-inf"))
        return self._memory[:, :, : self.rows, :, first : self.end], bias

    def write(self, new: Tensor) -> None:
        """Appends keys and values of one token for all layers, (layers, 2, rows, heads, head_dim)."""
        self._memory[:, :, : self.rows, :, self.end] = new
        self.advance(1)

    def advance(self, time: int) -> "KVCache":
        """Counts the tokens that all layers have appended."""
        self.end += time
        return self

    def visible(self, time: int, device: torch.device) -> Tensor | None:
        """Which slots each of `time` new tokens may look at, (rows or 1, 1, time, slots); None if all of them."""
        first = self._first()
        ragged = max(self.start) > first
        if time == 1 and not ragged:
            return None
        slot = torch.arange(first, self.end + time, device=device)
        query = torch.arange(self.end, self.end + time, device=device)[:, None]
        mask = ((slot <= query) & (slot > query - self.window))[None, None]  # (1, 1, time, slots)
        if ragged:
            mask = mask & (slot >= torch.tensor(self.start, device=device)[:, None, None, None])
        return mask

    def select(self, rows: Sequence[int]) -> "KVCache":
        if list(rows) == list(range(self.rows)):
            return self
        self.reserve(0)
        memory, first = self._memory, self._first()
        if len(rows) >= memory.shape[2]:
            self._allocate(memory[:, :, rows, :, : self.end], len(rows) + len(rows) // 2 + 1, 0)
        else:
            moved = [(to, row) for to, row in enumerate(rows) if to != row]
            if moved:  # a beam that goes on where it was is not copied, nor what another shares with it
                same = min(self._same[to][row] if to < self.rows else 0 for to, row in moved)
                to, source = (torch.tensor(each, device=memory.device) for each in zip(*moved, strict=True))
                copied = slice(max(first, same), self.end)
                memory[:, :, to, :, copied] = memory[:, :, source, :, copied]
        self._same = [[self.end if one == other else self._same[one][other] for other in rows] for one in rows]
        self.start = [self.start[row] for row in rows]
        self.rows = len(rows)
        return self

    def join(self, other: "KVCache") -> "KVCache":
        self.reserve(0)
        other.reserve(0)
        first, other_first = self._first(), other._first()
        if other.end > self.end:  # all rows end at the same slot
            shift = other.end - self.end
            seen = self._memory[:, :, : self.rows, :, first : self.end].clone()
            self.reserve(shift)
            self._move(shift)
            first = self.end - seen.shape[4]
            self._memory[:, :, : self.rows, :, first : self.end] = seen
        rows = self.rows + other.rows
        if rows >= self._memory.shape[2]:
            self._allocate(self._memory[:, :, : self.rows, :, : self.end], rows + rows // 2 + 1, 0)
        begin = self.end - (other.end - other_first)
        new = self._memory[:, :, self.rows : rows]
        new[:, :, :, :, begin : self.end] = other._memory[:, :, : other.rows, :, other_first : other.end]
        # Masked slots must hold numbers all the same: 0 times a NaN that some earlier row left there is NaN.
        new[:, :, :, :, first:begin] = 0
        self._memory[:, :, : self.rows, :, begin:first] = 0
        other._move(self.end - other.end)
        self.start += other.start
        self._same = [
            *(row + [0] * other.rows for row in self._same),
            *([0] * self.rows + row for row in other._same),
        ]
        self.rows = rows
        return self

    def _first(self) -> int:
        """The first slot that some row's next token can see."""
        return max(0, min(self.start), self.end - (self.window - 1))

    def _move(self, slots: int) -> None:
        """Counts all slots from another first one."""
        self.start = [start + slots for start in self.start]
        self._same = [[max(0, slot + slots) for slot in row] for row in self._same]
        self.end += slots

    def _allocate(self, content: Tensor, rows: int, time: int) -> None:
        """Takes new memory for the content (layers, 2, rows, heads, slots, head_dim) and `time` more slots to come."""
        layers, two, filled, heads, slots, width = content.shape
        room = slots + time + max(SPARE, min(slots, self.window // 2))
        self._memory = content.new_empty(layers, two, rows, heads, room, width)
        self._memory[:, :, :filled, :, :slots] = content
