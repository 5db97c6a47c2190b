from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from raie.engine.backbones import Contexts, ItemModel, ModelShape
from raie.engine.backbones.bert4rec import Bert4Rec, Bert4RecShape
from raie.engine.backbones.next_item import at_places, last_places, successors, where_real


class Numbered(ItemModel):
    """The state of row i, position j is i L + j."""

    def __init__(self) -> None:
        super().__init__(ModelShape(items=20, length=6, dim=1, layers=1, heads=1))

    def states(self, contexts: Contexts) -> Tensor:
        n, length = contexts.items.shape
        return torch.arange(float(n * length)).reshape(n, length, 1)


def test_each_position_predicts_the_next_item_and_the_last_one_the_target() -> None:
    items = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
    following = successors(Contexts(items), torch.tensor([9, 8, 3]))
    assert following.tolist() == [[2, 3, 4, 9], [6, 8, 0, 0], [3, 0, 0, 0]]
    assert items.tolist() == [[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]], "the windows are left as they were"


def test_the_state_that_predicts_the_next_item_is_that_of_the_last_real_one() -> None:
    places = torch.arange(12.0).reshape(3, 4, 1)  # the state of row i, position j is 4 i + j
    contexts = Contexts(torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [0, 0, 0, 0]]))
    last, _ = last_places(contexts.lengths, 1)
    assert at_places(places, last).flatten().tolist() == [3, 5, 8]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(1, 6))
def test_windows_of_one_length_are_read_as_those_of_several_are(lengths: list[int], count: int) -> None:
    values = torch.arange(float(len(lengths) * 6 * 2)).reshape(len(lengths), 6, 2)
    places, real = last_places(torch.tensor(lengths), count)
    taken = at_places(values, places)
    assert taken.is_contiguous()
    for row, length in enumerate(lengths):
        expected = [values[row, max(length - count + position, 0)].tolist() for position in range(count)]
        assert taken[row].tolist() == expected
        assert real[row].tolist() == [length - count + position >= 0 for position in range(count)]
    assert where_real(taken, real).tolist() == taken[real].tolist()


def test_the_loss_reads_the_last_positions_of_each_window() -> None:
    items = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 0, 0]])
    target = torch.tensor([9, 10, 11])
    states, following = Numbered().examples(Contexts(items), target, 2)
    assert states.flatten().tolist() == [1, 2, 6, 7, 8]
    assert following.tolist() == [3, 9, 7, 10, 11]
    states, following = Numbered().examples(Contexts(items), target, 10)
    assert states.flatten().tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert following.tolist() == [2, 3, 9, 5, 6, 7, 10, 11]
    states, following = Numbered().examples(Contexts(items), target, 1)
    assert following.tolist() == target.tolist()


def test_windows_that_say_what_their_targets_are_train_on_these_alone() -> None:
    items = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 0, 0]])
    target = torch.tensor([9, 10, 11])
    contexts = Contexts(items, targets=torch.tensor([3, 1, 1]))
    states, following = Numbered().examples(contexts, target, 2)
    assert states.flatten().tolist() == [0, 1, 2, 7, 8]
    assert following.tolist() == [2, 3, 9, 10, 11]
    _, following = Numbered().examples(contexts.take(torch.tensor([1, 2])), target[1:], 2)
    assert following.tolist() == [10, 11]
    padded = contexts.left_justified().filled_up(4)
    assert (len(padded), padded.targets.tolist()) == (4, [3, 1, 1, 0])
    none = contexts.take(torch.zeros(0, dtype=torch.int64))
    assert Numbered().examples(none, target[:0], 2)[1].tolist() == []


def test_a_mask_falls_on_targets_alone() -> None:
    model = Bert4Rec.fresh(Bert4RecShape(20, 4, 8, 1, 2, mask_share=1.0)).eval()
    contexts = Contexts(torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7]]), targets=torch.tensor([2, 1]))
    _, masked = model.examples(contexts, torch.tensor([9, 10]), 4)
    assert masked.tolist() == [3, 9, 10]


def test_with_as_many_positions_as_the_stride_an_item_is_a_target_once() -> None:
    history = torch.arange(1, 14)  # 13 items: windows of 6 items and a target, from every third item on
    starts = [0, 3, 6]
    items = torch.stack([history[start : start + 6] for start in starts])
    target = torch.stack([history[start + 6] for start in starts])
    _, following = Numbered().examples(Contexts(items), target, 3)
    assert sorted(following.tolist()) == list(range(5, 14))
