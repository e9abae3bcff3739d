"""One target under libFuzzer: `python -m tests.fuzz.worker TARGET [libFuzzer's options] [corpus folders]`.

Started by `python -m tests.fuzz`, in a process of its own: libFuzzer ends the process with a finding.
"""

from __future__ import annotations

import random
import sys

import atheris

with atheris.instrument_imports(include=["node.federation.as4"]):
    from node.federation import as4  # noqa: F401 - imported here to be instrumented

from . import law, mutation
from .targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer's options say it is enough."""
    _, name, *options = sys.argv
    target = TARGETS[name]

    def one_input(data: bytes) -> None:
        law.keep(target, data)

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        dice = random.Random(seed)
        return mutation.mutate(name, data, dice, lambda piece: atheris.Mutate(piece, len(piece) + 64))[:max_size]

    def crossover(one: bytes, other: bytes, max_size: int, seed: int) -> bytes:
        return mutation.cross(one, other, random.Random(seed))[:max_size]

    atheris.Setup([sys.argv[0], *options], one_input, custom_mutator=mutator, custom_crossover=crossover)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
