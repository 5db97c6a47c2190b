"""A mutant whose text is no longer in the code proves nothing any more: it is mended with the change that moved it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.mutants.mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_applies_and_names_tests_that_are_there(mutant: Mutant, tmp_path: Path) -> None:
    target = tmp_path / mutant.file
    target.parent.mkdir(parents=True)
    shutil.copy(ROOT / mutant.file, target)
    mutant.apply_to(tmp_path)
    compile(target.read_text(encoding="utf-8"), mutant.file, "exec")
    assert target.read_text(encoding="utf-8") != (ROOT / mutant.file).read_text(encoding="utf-8")
    assert (ROOT / mutant.tests[0]).is_file()


def test_a_mutant_whose_text_is_gone_says_so(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("x = 1\nx = 1\n", encoding="utf-8")
    for old in ("y", "x"):
        with pytest.raises(ValueError, match=f"expected '{old}' once in code.py"):
            Mutant("a mutant", "code.py", ((old, "z"),), ()).apply_to(tmp_path)
