"""How far a sweep is: a bar where stderr is a terminal, one line a step where it is none."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from ad_jax.cli.streams import say

BAR = "  {percentage:3.0f} % |{bar:24}| {n_fmt}/{total_fmt} trainings{postfix}"


class Steps:
    """Called with the progress after every chunk; the end of its block ends the bar."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> Steps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __call__(self, progress: Any) -> None:
        # NaN before anything ran here
        known = progress.left == progress.left and progress.done < progress.total
        soon = f"about {progress.left:.0f} s left" if known else ""
        if sys.stderr.isatty():
            self._draw(progress, soon)
            return
        say(
            f"  {progress.done}/{progress.total} members ({progress.skipped} from the record), "
            f"{progress.seconds:.0f} s of which {progress.compile_seconds:.0f} s compiling "
            f"{progress.compilations} programs{', ' if soon else ''}{soon}"
        )

    def _draw(self, progress: Any, soon: str) -> None:
        from tqdm import tqdm

        if self._bar is None:
            tqdm.monitor_interval = 0  # no thread of its own
            self._bar = tqdm(
                total=progress.total,
                initial=progress.done,
                file=sys.stderr,
                bar_format=BAR,
                mininterval=0,
                ncols=79,
            )
        self._bar.total, self._bar.n = progress.total, progress.done
        self._bar.set_postfix_str(f"{progress.seconds:.0f} s{', ' if soon else ''}{soon}")
