"""Runs on executors: who watches them, what they wrote, and trials that kill their process."""

from contextlib import contextmanager

from plugin_files import WORKLOAD, changed
from trials import SMALL, small

from memsim import plugins
from memsim.execute import carry_out_all
from memsim.execute.watch import Unwatched

STRIKE = """
    mark: str = ""

    def strike(self):
        import multiprocessing, os, signal

        if not self.mark or multiprocessing.parent_process() is None:
            return
        if self.mark != "always":
            try:
                os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""Kills the process, always or unless there is a file, but not the test's own."""
PLUGIN = changed(
    changed(WORKLOAD, "    pages: int = 10\n", "    pages: int = 10\n" + STRIKE),
    "        n = self.pages\n",
    "        self.strike()\n        n = self.pages\n",
)


class Listener(Unwatched):
    """Remembers what executors tell."""

    def __init__(self):
        self.begun = []
        self.shares = {}
        self.ended = []

    def begins(self, trial, worker):
        self.begun.append((trial.name, worker))

    def advances(self, trial, share):
        self.shares[trial.name] = share

    def ends(self, done):
        self.ended.append(done.trial.name)


def map_trials(trials, how, watcher):
    """Carry out all trials; return what became of them in the same order."""
    wanted = list(trials)
    done = {d.trial.name: d for d in carry_out_all(iter(wanted), how, watcher)}
    return [done[trial.name] for trial in wanted]


def tables(folder):
    """The bytes of all files of a run but the manifest."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


@contextmanager
def striking(tmp_path, *marks, seeds="1"):
    """Load a scenario of one policy with an axis: what kills the process of a trial."""
    path = tmp_path / "strike.py"
    path.write_text(PLUGIN)
    strike = "workloads:\n  strike: {kind: strike, mark: ''}\n"
    axis = f"axes: {{workloads.strike.mark: {list(map(str, marks))}}}\n"
    with plugins.outside([str(path)]):
        text = changed(SMALL, "workloads:\n", strike) + axis
        yield small(text, policies=("none",), seeds=seeds)


def executing(dask_worker):
    """How many trials a Dask worker is at, wanted or not."""
    return len(dask_worker.state.executing)
