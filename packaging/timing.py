"""Times several ways to start the check, in turn in one run: the median and the ratio to the first.

python3 packaging/timing.py PROGRAM... -- OPTION...
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

_ROUNDS = 100


def _once(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each program."""
    border = sys.argv.index("--")
    programs, options = sys.argv[1:border], sys.argv[border + 1 :]
    rounds = [[_once([program, *options]) for program in programs] for _ in range(_ROUNDS)]
    for index, program in enumerate(programs):
        median = statistics.median(each[index] for each in rounds)
        ratio = statistics.median(each[index] / each[0] for each in rounds)
        print(f"{program:50} {median * 1000:6.1f} ms {ratio:6.2f}")


if __name__ == "__main__":
    main()
