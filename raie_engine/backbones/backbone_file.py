"""A backbone of your own: one Python file whose class `Backbone` is an `ItemModel`; see docs/backbones.md.

The text of the file is part of the backbone's configuration, so it is stored and digested with every snapshot. Stored
text is never run. What runs is the user's own file, and only while its text is the stored one: who can write to a
registry cannot make another machine run something.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from raie.engine.backbones.item_model import ItemModel
from raie.engine.errors import ConfigError, WrongBackbone

__all__ = ["class_in_file", "foreign_code", "require_same_text"]

CLASS = "Backbone"


def class_in_file(path: Path) -> type[ItemModel]:
    """The class `Backbone` of a Python file, which runs.

    Args:
        path: the file.

    Returns:
        The class, with the text of the file.

    Raises:
        ConfigError: where there is no such file or class, or where the file fails.
    """
    text = _text(path)
    name = f"raie_backbone_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses and typing look a class's module up; the name is the text's own
    with foreign_code(str(path)):
        exec(compile(text, str(path), "exec"), module.__dict__)
    loaded = getattr(module, CLASS, None)
    if not (isinstance(loaded, type) and issubclass(loaded, ItemModel)):
        raise ConfigError(
            f"expected a class named {CLASS} in {path} that is an ItemModel, found "
            f"{'no such name' if loaded is None else repr(loaded)}; see docs/backbones.md"
        )
    return type(CLASS, (loaded,), {"kind": "file", "source": text, "__module__": name})


@contextmanager
def foreign_code(what: str) -> Iterator[None]:
    """Errors of the user's code become a ConfigError about `what`.

    Args:
        what: the thing, for the message.
    """
    try:
        yield
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ImportError,
        LookupError,
        NameError,
        OSError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"expected {what} to be a backbone that runs, found {type(error).__name__}: {reason:.300}"
        ) from error


def require_same_text(path: Path | None, stored: str) -> None:
    """Checks the user's file against the stored text.

    Args:
        path: the user's file; None for none.
        stored: the text that the model was set up with.

    Raises:
        WrongBackbone: unless the file is there and holds that text.
    """
    digest = hashlib.sha256(stored.encode()).hexdigest()[:12]
    wanted = f"expected the Python file of this model's backbone, with sha256 {digest}"
    if path is None:
        raise WrongBackbone(f"{wanted}, found none named; name yours in backbone.path or RAIE_BACKBONE_FILE")
    if not path.is_file():
        raise WrongBackbone(f"{wanted}, found nothing at {path}; put it there, or name it in RAIE_BACKBONE_FILE")
    text_digest = hashlib.sha256(_text(path).encode()).hexdigest()[:12]
    if text_digest != digest:
        raise WrongBackbone(
            f"{wanted}, found {text_digest} in {path}; stored code never runs, so bring the file as it was"
        )


def _text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"expected a Python file with a class {CLASS} at {path}, found none; set backbone.path")
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"expected Python text in {path}, found bytes that are not UTF-8") from error
