"""Forward passes and losses beside other people's implementations, on the same weights.

SASRec beside torch.nn.TransformerEncoder, BERT4Rec beside transformers' BertForMaskedLM: both are always installed.
RecTools cannot be installed beside the pinned versions. No library has a TiSASRec to compare with, so its
attention is written out pair by pair, as the paper's equations are.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from raie.engine.backbones import Bert4Rec, Bert4RecShape, Contexts, ModelShape, SasRec, TiSasRec, TiSasRecShape
from raie.engine.backbones.tisasrec import interval_classes
from raie.engine.training.cross_entropy import linear_cross_entropy

ITEMS, LENGTH, DIM, LAYERS, HEADS = 40, 8, 16, 2, 4
ATOL = 2e-5  # single precision, states of order one, sums in another order


@pytest.fixture(scope="module")
def contexts() -> Contexts:
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(1, ITEMS + 1, (12, LENGTH), generator=generator)
    lengths = torch.randint(1, LENGTH + 1, (12, 1), generator=generator)
    times = torch.randint(0, 10**7, (12, LENGTH), generator=generator).cumsum(dim=1)
    return Contexts(items.masked_fill(torch.arange(LENGTH) >= lengths, 0), times)


TARGET = torch.arange(1, 13)


def with_large_weights(model: nn.Module) -> Any:
    """The model with weights so large that every part of it shows in what comes out."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        model.items.weight[0] = 0
    return model.eval()


def copy_linear(into: nn.Linear, layer: nn.Linear) -> None:
    into.load_state_dict(layer.state_dict())


# --- SASRec


def torch_encoder(model: SasRec) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        DIM, HEADS, 4 * DIM, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that norm_first rules out nested tensors
        encoder = nn.TransformerEncoder(layer, LAYERS, norm=nn.LayerNorm(DIM))
    with torch.no_grad():
        for theirs, ours in zip(encoder.layers, model.blocks, strict=True):
            attention = theirs.self_attn
            attention.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]))
            attention.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key.bias, ours.value.bias]))
            copy_linear(attention.out_proj, ours.output)
            copy_linear(theirs.linear1, ours.up)
            copy_linear(theirs.linear2, ours.down)
            theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
            theirs.norm2.load_state_dict(ours.feed_norm.state_dict())
        encoder.norm.load_state_dict(model.norm.state_dict())
    return encoder.eval()


def test_sasrec_has_the_states_and_the_loss_of_torchs_transformer_encoder(contexts: Contexts) -> None:
    model = with_large_weights(SasRec.fresh(ModelShape(ITEMS, LENGTH, DIM, LAYERS, HEADS)))
    inputs = model.items.weight[contexts.items] * math.sqrt(DIM) + model.positions.weight
    causal = nn.Transformer.generate_square_subsequent_mask(LENGTH)
    states = torch_encoder(model)(inputs, mask=causal, is_causal=True)
    real = contexts.items != 0
    torch.testing.assert_close(model.states(contexts)[real], states[real], rtol=0, atol=ATOL)
    ours, following = model.examples(contexts, TARGET, LENGTH)
    labels = torch.full((12, LENGTH), -100)  # -100 is what torch's loss passes over
    for row, items in enumerate(contexts.items.tolist()):
        window = [item for item in items if item] + [TARGET[row].item()]
        labels[row, : len(window) - 1] = torch.tensor(window[1:]) - 1
    expected = F.cross_entropy((states @ model.items.weight[1:].T).flatten(0, 1), labels.flatten())
    loss = linear_cross_entropy(ours, model.item_table()[1:], following - 1)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


# --- BERT4Rec


def bert(model: Bert4Rec) -> nn.Module:
    """transformers' BERT with an item for each token: 0 is padding and the last one is the mask."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import BertConfig, BertForMaskedLM
    config = BertConfig(
        vocab_size=ITEMS + 2,
        hidden_size=DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * DIM,
        hidden_act="gelu",
        max_position_embeddings=LENGTH + 1,
        layer_norm_eps=1e-5,
        pad_token_id=0,
    )
    theirs = BertForMaskedLM(config)
    embeddings, head = theirs.bert.embeddings, theirs.cls.predictions
    with torch.no_grad():
        embeddings.word_embeddings.weight.copy_(torch.cat([model.items.weight, model.mask]))
        embeddings.position_embeddings.weight.copy_(model.positions.weight)
        embeddings.token_type_embeddings.weight.zero_()
        head.decoder.weight.copy_(embeddings.word_embeddings.weight)
        head.decoder.bias.zero_()
    embeddings.LayerNorm.load_state_dict(model.norm.state_dict())
    for layer, ours in zip(theirs.bert.encoder.layer, model.blocks, strict=True):
        attention = layer.attention
        copy_linear(attention.self.query, ours.query)
        copy_linear(attention.self.key, ours.key)
        copy_linear(attention.self.value, ours.value)
        copy_linear(attention.output.dense, ours.output)
        copy_linear(layer.intermediate.dense, ours.up)
        copy_linear(layer.output.dense, ours.down)
        attention.output.LayerNorm.load_state_dict(ours.attention_norm.state_dict())
        layer.output.LayerNorm.load_state_dict(ours.feed_norm.state_dict())
    copy_linear(head.transform.dense, model.head)
    head.transform.LayerNorm.load_state_dict(model.head_norm.state_dict())
    return theirs.eval()


@pytest.fixture(scope="module")
def bert4rec() -> tuple[Bert4Rec, nn.Module]:
    model = with_large_weights(Bert4Rec.fresh(Bert4RecShape(ITEMS, LENGTH, DIM, LAYERS, HEADS, mask_share=0.4)))
    return model, bert(model)


def test_bert4rec_scores_what_transformers_bert_scores_at_the_mask(
    bert4rec: tuple[Bert4Rec, nn.Module], contexts: Contexts
) -> None:
    model, theirs = bert4rec
    tokens = F.pad(contexts.items, (0, 1))
    lengths = (contexts.items != 0).sum(dim=1)
    tokens[torch.arange(12), lengths] = ITEMS + 1
    logits = theirs(input_ids=tokens, attention_mask=tokens != 0).logits[torch.arange(12), lengths]
    scores = model.encode(contexts) @ model.item_table().T
    torch.testing.assert_close(scores, logits[:, : ITEMS + 1], rtol=0, atol=1e-4)  # scores of order ten


def test_bert4rec_has_the_loss_of_transformers_bert_on_the_same_masks(
    bert4rec: tuple[Bert4Rec, nn.Module], contexts: Contexts
) -> None:
    model, theirs = bert4rec
    filled: list[Tensor] = []
    model_filled = model.filled_in
    torch.manual_seed(4)
    model.filled_in = lambda items, places: (filled.append(items), model_filled(items, places))[1]  # type: ignore[method-assign]
    states, masked = model.examples(contexts, TARGET, LENGTH)
    del model.filled_in
    (items,) = filled
    tokens = torch.where(items == -1, ITEMS + 1, items)
    labels = torch.full_like(tokens, -100)
    labels[tokens == ITEMS + 1] = masked
    assert 12 < len(masked) < 60
    logits = theirs(input_ids=tokens, attention_mask=tokens != 0).logits
    # Items alone can be recommended: neither padding nor the mask takes part in the softmax.
    expected = F.cross_entropy(logits[..., 1 : ITEMS + 1].flatten(0, 1), (labels - 1).flatten(), ignore_index=-101)
    loss = linear_cross_entropy(states, model.item_table()[1:], masked - 1)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)


# --- TiSASRec


def attention_pair_by_pair(block: nn.Module, x: Tensor, places: Tensor, times: Tensor, classes: Tensor) -> Tensor:
    """Equations 9 to 12 of the paper for one window: x [L, d], places [2, L, d], times [2, b, d], classes [L, L]."""
    normed, size = block.attention_norm(x), DIM // HEADS
    query, key, value = block.query(normed), block.key(normed), block.value(normed)
    out = torch.zeros_like(x)
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        for i in range(len(x)):
            scores = torch.stack(
                [
                    query[i, part] @ (key[j] + times[0, classes[i, j]] + places[0, j])[part] / math.sqrt(size)
                    for j in range(i + 1)
                ]
            )
            for j, share in enumerate(scores.softmax(dim=0)):
                out[i, part] += share * (value[j] + times[1, classes[i, j]] + places[1, j])[part]
    return x + block.output(out)


def test_tisasrec_attends_as_the_papers_equations_say(contexts: Contexts) -> None:
    model = with_large_weights(TiSasRec.fresh(TiSasRecShape(ITEMS, LENGTH, DIM, LAYERS, HEADS, intervals=16)))
    states = model.states(contexts)
    assert contexts.times is not None
    classes = interval_classes(contexts.times, 16)
    for row in range(4):
        x = model.items.weight[contexts.items[row]] * math.sqrt(DIM)
        for block in model.blocks:
            x = attention_pair_by_pair(block, x, model.places, model.intervals, classes[row])
            x = x + block.down(F.gelu(block.up(block.feed_norm(x))))
        real = contexts.items[row] != 0
        torch.testing.assert_close(states[row][real], model.norm(x)[real], rtol=0, atol=ATOL)


def test_intervals_fall_into_classes_that_tell_a_tie_from_a_second_and_a_day_from_a_month() -> None:
    times = torch.tensor([[0, 0, 1, 60, 3_600, 86_400, 2_592_000, 10**12]])
    (classes,) = interval_classes(times, 64)
    assert classes[0].tolist() == sorted(classes[0].tolist())
    assert classes[0, 1:].unique().numel() == 7
    assert classes[0, [0, 1, 7]].tolist() == [0, 0, 63]
    assert torch.equal(classes, classes.T)


def test_tisasrec_reads_the_time_between_items_and_no_time_as_such(contexts: Contexts) -> None:
    model = with_large_weights(TiSasRec.fresh(TiSasRecShape(ITEMS, LENGTH, DIM, LAYERS, HEADS)))
    assert contexts.times is not None
    states, real = model.states(contexts), (contexts.items != 0).sum(dim=1) > 1
    later = model.states(Contexts(contexts.items, contexts.times + 86_400))
    faster = model.states(Contexts(contexts.items, contexts.times // 1000))
    assert torch.equal(later, states)
    assert ((faster - states)[real, 1].abs().amax(dim=1) > 1e-3).all()
