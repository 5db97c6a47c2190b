"""What the extras of raie add, and the one line that a user gets where one is not installed.

The base logs, promotes, rolls back, signs and verifies; libraries that train, draw or reach a server come with extras.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec

from raie.errors import MissingExtra

__all__ = ["EXTRAS", "explain", "require"]

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "bom": ("cyclonedx", "packageurl"),
    "engine": ("numpy", "pandas", "pyarrow", "safetensors", "scipy", "torch"),
    "llm": ("huggingface_hub", "tokenizers", "transformers"),
    "mlflow": ("mlflow", "pandas", "requests"),
    "plots": ("matplotlib",),
    "postgres": ("psycopg",),
    "ray": ("ray",),
    "s3": ("boto3", "botocore"),
    "serve": ("fastapi", "prometheus_client", "pydantic", "uvicorn"),
}
"""Extra -> the modules that come with it, as they are imported."""


def require(*extras: str) -> None:
    """Check that extras are installed, before work begins that would need them at its end; imports nothing.

    Args: extras: keys of EXTRAS.
    Raises: MissingExtra naming the first module that is not there.
    """
    for extra in extras:
        for module in EXTRAS[extra]:
            if not _is_installed(module):
                raise _missing(module, extra)


def explain(error: ImportError) -> MissingExtra | None:
    """The error that says what to install; None for a module that belongs to no extra, or that is there but broken.

    Args: error: as an import raised it.
    """
    module = (error.name or "").partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or _is_installed(module):
        return None
    return next((_missing(module, extra) for extra, modules in EXTRAS.items() if module in modules), None)


def _missing(module: str, extra: str) -> MissingExtra:
    return MissingExtra(
        f"expected {module}, which this needs, found it is not installed: run `pip install 'raie[{extra}]'`"
    )


def _is_installed(module: str) -> bool:
    if module in sys.modules:
        return sys.modules[module] is not None
    return bool(module) and find_spec(module) is not None
