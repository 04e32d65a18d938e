"""Claims that are tried side by side: each that holds is told, and so is each that does not."""

import concurrent.futures
import os
import sys
import time
import traceback

from program import Broken, holds


class Claims:
    """With words, only the claims whose names hold one of them."""

    def __init__(self, words):
        self.words, self.all, self.skipped, self.begun = words, {}, [], time.monotonic()

    def add(self, name, claim):
        if not self.words or any(word in name for word in self.words):
            self.all[name] = claim

    def skip(self, what):
        self.skipped.append(what)

    def end(self, what):
        """Tries them all; then ends the process if any is broken."""
        broken = []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            tries = {pool.submit(claim): name for name, claim in self.all.items()}
            for done in concurrent.futures.as_completed(tries):
                error = done.exception()
                if error is None:
                    holds(tries[done])
                    continue
                broken.append(tries[done])
                print(f"BROKEN  {tries[done]}", flush=True)
                if isinstance(error, Broken):
                    print(f"        {error}", flush=True)
                else:
                    traceback.print_exception(error, file=sys.stdout)
        for what in self.skipped:
            print(f"SKIPPED  {what}")
        seconds = time.monotonic() - self.begun
        if broken:
            print(f"{len(broken)} of {len(self.all)} claims are broken ({seconds:.0f} s):")
            sys.exit("\n".join(broken))
        print(f"{what}: {len(self.all)} claims hold ({seconds:.0f} s)")
