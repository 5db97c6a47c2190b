"""The fuzzer: `python -m tests.fuzz.run [SECONDS] [PARSER ...]`; `make fuzz` installs what it needs.

Each parser is fuzzed in a process of its own, for SECONDS, from its seeds. libFuzzer ends that process for an exception
that is none of ours, for an input that takes ten seconds, and for memory beyond 2 GiB, and leaves the input in ./fuzz.
Such an input becomes a regression test in tests/test_untrusted.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TIMEOUT_S, MEMORY_MB, LONGEST = 10, 2048, 1 << 14


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--one"]:
        return fuzz(arguments[1], arguments[2:])
    seconds = int(arguments[0]) if arguments else 60
    wanted = arguments[1:] or parser_names()
    crashed = [name for name in wanted if not survives(name, seconds)]
    print(f"{len(wanted)} parsers, {len(crashed)} with a fault{': ' if crashed else ''}{', '.join(crashed)}")
    return 1 if crashed else 0


def parser_names() -> list[str]:
    from tests.fuzz.parsers import PARSERS

    return list(PARSERS)


def survives(name: str, seconds: int) -> bool:
    """Whether a parser stood so long; what the fuzzer says of a fault is shown."""
    folder = Path("fuzz") / name.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-malloc_limit_mb={MEMORY_MB}",
        f"-max_len={LONGEST}",
        f"-artifact_prefix={folder}/",
        str(folder / "corpus"),
    ]
    (folder / "corpus").mkdir(exist_ok=True)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", "--one", name, *options], capture_output=True, text=True
    )
    done = re.findall(r"^Done (\d+) runs", ran.stderr, re.MULTILINE)
    print(f"{name:16} {f'{int(done[-1]):,} inputs' if done else 'FAULT'}", flush=True)
    if not done:
        print(f"{ran.stdout[-2000:]}\n{ran.stderr[-4000:]}")
    return bool(done) and ran.returncode == 0


def fuzz(name: str, options: list[str]) -> int:
    """Fuzzes one parser in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["raie_engine", "registry", "safetensors", "json"]):
        from tests.fuzz.parsers import PARSERS, refused
    parser = PARSERS[name]
    for number, seed in enumerate(parser.seeds):
        (Path(options[-1]) / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *options], lambda data: refused(parser, data) or None)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
