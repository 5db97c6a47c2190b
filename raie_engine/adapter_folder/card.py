"""README.md of an exported adapter: a model card as the Hugging Face Hub reads it, and what the folder cannot carry.

Whatever somebody has typed is escaped: into a YAML string above, into plain Markdown text below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from raie.engine.adapter_folder.files import ITEM_ROWS_FILE, TRANSITIONS_FILE, FolderFacts
from raie.engine.training.adapter import Adapter

__all__ = ["CARD_FILE", "card", "shown"]

CARD_FILE = "README.md"
_MARKS = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~&$:@/])")
_HIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")


def shown(text: str) -> str:
    """Somebody's text as plain text of Markdown: no mark, no link, no HTML, one line.

    Args:
        text: anything.

    Returns:
        The escaped text.
    """
    return _MARKS.sub(lambda mark: f"&#{ord(mark[1])};", _HIDDEN.sub(" ", text))


def _quoted(text: str) -> str:
    """A YAML string: JSON in ASCII is one."""
    return json.dumps(_HIDDEN.sub(" ", text))


def card(facts: FolderFacts, adapter: Adapter, *, mixed: bool) -> bytes:
    """The model card.

    Args:
        facts: of the folder.
        adapter: that is in it.
        mixed: whether the region's scores are joined with counts of the log, which do not travel.

    Returns:
        Markdown in UTF-8.
    """
    lines = [
        "---",
        f"base_model: {_quoted(facts.base)}",
        "base_model_relation: adapter",
        "library_name: peft",
        "tags:",
        "- lora",
        "- recommendation",
        "- raie",
        "---",
        "",
        f"# {shown(facts.model)}, region {facts.region}",
        "",
        "LoRA adapter of one preference region of a recommender, exported by `raie adapter export`.",
        "",
        "| | |",
        "|---|---|",
        f"| model | {shown(facts.model)} |",
        f"| snapshot | `{facts.snapshot}` |",
        f"| region, version | {facts.region}, {facts.version} |",
        f"| base model | {shown(facts.base)} |",
        f"| digest of the base model | `{facts.base_digest}` |",
        f"| digest of its backbone | `{facts.backbone}` |",
        f"| rank, alpha | {adapter.rank}, {adapter.alpha} |",
        f"| items | {len(adapter.item_ids)} of {adapter.vocab_size} updated, rank {adapter.item_lora_a.shape[1]} |",
        "",
        "## Use",
        "",
        *_use(facts, adapter),
        "",
        "## What is not in it",
        "",
        *(f"- {line}" for line in _left_out(adapter, mixed=mixed)),
        "",
    ]
    return "\n".join(lines).encode()


def _use(facts: FolderFacts, adapter: Adapter) -> Sequence[str]:
    if facts.layout == "tokens":
        rank = max(adapter.rank, adapter.item_lora_a.shape[1])
        return [
            "```python",
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM",
            "",
            'model = AutoModelForCausalLM.from_pretrained("BASE")  # raie adapter export --base BASE',
            'model = PeftModel.from_pretrained(model, "THIS FOLDER")',
            "```",
            "",
            "An item is a token. `items.jsonl` of the base model has the tokens that stand for each item in a window, "
            "`raie_base.json` those of the prompt before them. The hidden state at an item's own token predicts the next "
            f"item; words have the score 0. vLLM: start it with `--max-lora-rank {rank}` or more.",
        ]
    return [
        "```python",
        "from peft import PeftModel",
        "from raie.engine.adapter_folder.base_model import load_base",
        "",
        'model = load_base(Path("BASE"))  # raie adapter export --base BASE',
        'states = PeftModel.from_pretrained(model, "THIS FOLDER")(items)  # item rows [n, L] -> hidden states [n, d]',
        "```",
        "",
        "`items.jsonl` of the base model has the row of each item; row 0 is padding. A hidden state times the rows of "
        "the adapted `items` embedding gives the scores.",
    ]


def _left_out(adapter: Adapter, *, mixed: bool) -> list[str]:
    lines = [
        f"The bias of each item, which LoRA has no place for: `{ITEM_ROWS_FILE}` has it, and PEFT does not add it.",
        f"That items after the first {adapter.vocab_size} are unknown to this region: raie never recommends them.",
        "Which users it is for: the centre of the region, and the map that sends a history to it.",
    ]
    if adapter.transitions is not None:
        lines.append(
            f"Item transition counts, which raie joins with the scores: `{TRANSITIONS_FILE}` has them for an import into "
            "raie, and nobody else reads it."
        )
    if mixed:
        lines.append(
            "The mixture of the scores with counts of the log: its weights and counts stay in the registry."
        )
    return lines
