"""Bad plug-ins: each is one message that names file and line, and the right exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_desk import (
    import_trace,
    memsim,
    one_message,
    run_metric,
    run_policy,
    run_workload,
    set_up,
)
from plugin_files import METRIC, POLICY, TRACE, WORKLOAD, changed, line_of

MAIN = "from memsim.cli import main; main()"


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with a small scenario, to try plug-ins in."""
    return set_up(tmp_path, monkeypatch)


# --- bad files ---------------------------------------------------------------------------------

BAD_FILES = [
    pytest.param("def f(:\n", "mine.py:1:7: is no Python: invalid syntax", id="syntax"),
    pytest.param("x = 1\n1 / 0\n",
                 "mine.py:2: its import raises ZeroDivisionError: division by zero", id="raises"),
    pytest.param("import nothing_like_it\n", "mine.py:1: its import raises ModuleNotFoundError: "
                 "No module named 'nothing_like_it'", id="missing module"),
    pytest.param("\n\nprint('hello')\n", "mine.py:3: its import prints", id="prints"),
    pytest.param("import sys\nsys.exit(0)\n", "mine.py:2: its import calls sys.exit", id="exits"),
    pytest.param("raise BaseException\n", "mine.py:1: its import raises BaseException", id="base"),
    pytest.param("raise ValueError('\\x1b[31m')\n",
                 "mine.py:1: its import raises ValueError: \\x1b[31m", id="escapes"),
    pytest.param("x = 1\n", "mine.py: is no plug-in: it defines none of its kinds", id="none"),
    pytest.param(POLICY + "\n\ndef measure(record):\n    return {}\n",
                 "mine.py: is more than one plug-in: it defines Policy and COLUMNS", id="two"),
    pytest.param("class Policy:\n    pass\n",
                 "mine.py:1: does not define a class Policy that is a pydantic model", id="class"),
    pytest.param(changed(POLICY, "def tables", "def table"),
                 "mine.py:11: has a Policy without a method tables()", id="method"),
    pytest.param(changed(POLICY, '("linux-6.1",)', '("linux-6.2",)'),
                 'mine.py:14: has a Policy with an unknown profile "linux-6.2"; known: ',
                 id="profile"),
    pytest.param(changed(POLICY, '("any",)', '("a", "b", "c", "d", "e")'),
                 "mine.py:11: has a Policy without TYPES, a ClassVar tuple of 1 to 4 different",
                 id="types"),
    pytest.param(changed(POLICY, '("any",)', '("a", "a")'),
                 "mine.py:11: has a Policy without TYPES, a ClassVar tuple of 1 to 4 different",
                 id="type twice"),
    pytest.param(changed(POLICY, "share: int", "cmdline: int"),
                 'mine.py:17: has a Policy with a field "cmdline", which scenarios use for',
                 id="policy key"),
    pytest.param(changed(WORKLOAD, "pages: int = 10", "kind: int = 10"),
                 'mine.py:13: has a Workload with a field "kind", which scenarios use for',
                 id="workload key"),
    pytest.param("import sys\nsys.stdout.close()\n", "mine.py:2: its import prints", id="closes"),
    pytest.param(changed(POLICY, "share: int = 3", "share: np.ndarray = None"),
                 "mine.py:11: its import raises PydanticSchemaGenerationError: ", id="field"),
    pytest.param(changed(POLICY, "share: int = 3", "share: object = object()"),
                 "mine.py:11: describing class Policy raises PydanticSerializationError: ",
                 id="default"),
    pytest.param(changed(METRIC, 'Column("free_ratio"', 'Column("zones"'),
                 'mine.py:5: has two columns "zones"', id="columns"),
    pytest.param(changed(METRIC, '"float64"', '"float32"'),
                 "mine.py:5: has a column \"free_ratio\" of dtype 'float32', expected int64 or ",
                 id="dtype"),
    pytest.param(changed(METRIC, "def measure", "def measures"),
                 "mine.py: does not define measure()", id="measure"),
    pytest.param(changed(TRACE, "def read", "def reads"),
                 "mine.py: does not define read()", id="read"),
    pytest.param(b"\x00\x01\x02", "mine.py: is no Python: it is no text", id="binary"),
    pytest.param(b"# \xff\xfe\n", "mine.py: is no Python: ", id="no utf-8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), BAD_FILES)
def test_a_bad_file_is_one_message(desk, text, message):
    Path("mine.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = one_message(memsim("list", "policies", "--plugin", "mine.py"))
    assert found.startswith(message), found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.py", "nowhere.py: cannot be read: No such file or directory"),
        ("folder.py", "folder.py: is no file"),
        ("none.py", 'none.py: memsim\'s own policies have a "none" already'),
        ("two-words.py", 'two-words.py: "two-words" is no name for a plug-in'),
        ("_mine.py", '_mine.py: "_mine" is no name for a plug-in'),
        ("class.py", 'class.py: "class" is no name for a plug-in'),
        ("mine.txt", "mine.txt: expected a file whose name ends in .py"),
        ("a\x1b[1m.py", 'a\\x1b[1m.py: "a\\x1b[1m" is no name for a plug-in'),
    ],
)
def test_a_bad_name_is_one_message(desk, name, message):
    (desk / "folder.py").mkdir()
    if name not in ("nowhere.py", "folder.py"):
        (desk / name).write_text(POLICY)
    assert one_message(memsim("list", "policies", "--plugin", name)) == message


def test_two_plugins_of_one_name_are_refused(desk):
    (desk / "other").mkdir()
    for path in ("mine.py", "other/mine.py"):
        (desk / path).write_text(POLICY)
    result = memsim("schema", "--plugin", "mine.py", "--plugin", "other/mine.py")
    assert one_message(result) == 'other/mine.py: mine.py is called "mine" too'
    (desk / "other/mine.py").write_text(METRIC)
    assert memsim("schema", "--plugin", "mine.py", "--plugin", "other/mine.py").exit_code == 0


# --- bad policies: refused before anything runs -----------------------------------------------

TABLES = "        return tables\n"
BAD_TABLES = {
    "        raise KeyError(3)\n": "tables() raises KeyError: 3",
    "        print(tables)\n": "tables() prints",
    "        exit()\n": "tables() calls sys.exit",
    "        return None\n": "tables(): expected PolicyTables, found NoneType",
    "        return tables._replace(claim=[0] * 4)\n": "tables(): claim is no array but list",
    "        return tables._replace(claim=np.zeros(3, np.int32))\n":
        "tables(): claim has shape (3,), expected (4,)",
    "        return tables._replace(claim=np.zeros(4))\n":
        "tables(): claim has dtype float64, expected int32",
    "        return policy_tables(by_use({}), options={OPT_POOL: 1})\n":
        "tables(): OPT_POOL is set, but linux-6.1 has no such mechanism",
    "        return tables._replace(claim=np.random.default_rng().integers(0, 3, 4, np.int32))\n":
        "tables(): differ when they are asked for again",
}  # fmt: skip


@pytest.mark.parametrize(("code", "message"), BAD_TABLES.items())
def test_bad_tables_are_one_message(desk, code, message):
    text = changed(POLICY, TABLES, code)
    own = "raises" in message or "prints" in message or "exit" in message
    line = line_of(text, code.strip()) if own else line_of(text, "def tables")
    assert one_message(run_policy(text)) == f"mine.py:{line}: {message}"
    assert not (desk / "results").exists()


def test_an_option_that_raises_is_named(desk):
    text = POLICY + (
        "\n    def model_post_init(self, context):\n        self.share // (self.share - 4)\n"
    )
    result = run_policy(text, "--set", "policies.none.share=4")
    assert one_message(result) == (
        "mine.py:24: Policy() raises ZeroDivisionError: integer division or modulo by zero"
    )


# --- bad workloads, metrics, traces: in the trial ---------------------------------------------


def failure(result):
    """What the only failed trial says."""
    message = one_message(result, code=3)
    assert message.startswith("failed: policy none, seed 1: "), message
    return message.removeprefix("failed: policy none, seed 1: ")


YIELD = "        yield AllocBatch(time, op, row, cpu, handle)\n"
BAD_BATCHES = {
    "        raise LookupError('lost')\n": "stream() raises LookupError: lost",
    "        yield AllocBatch(time, op, row, cpu, handle[:3])\n":
        "stream(): the arrays of a batch are not of one length: "
        "time 10, op 10, request 10, cpu 10, handle 3",
    "        yield AllocBatch(time[::-1], op, row, cpu, handle)\n":
        "stream(): the events are not sorted by time",
    "        yield AllocBatch(time * 1000, op, row, cpu, handle)\n":
        "stream(): an event at 9000000000 ns, the trial ends at 100000000 ns",
    "        yield AllocBatch(time, op + np.uint8(13), row, cpu, handle)\n":
        "stream(): op: expected an order up to 12, found 13",
    "        yield AllocBatch(time, op, row + np.uint16(1), cpu, handle)\n":
        "stream(): request: there are 1, found 1",
    "        yield AllocBatch(time, op, row, cpu + np.uint16(9), handle)\n":
        "stream(): cpu: there is no such CPU, found 9",
    "        yield AllocBatch(time, op, row, cpu, handle + np.int32(1))\n":
        "stream(): handle: there are 10, found 10",
    "        yield AllocBatch(time, op, row, cpu, handle.astype(float))\n":
        "stream(): handle: expected an array (n,) of int32, found float64 (10,)",
    "        yield 'batch'\n": "stream(): expected an AllocBatch, found str",
    "        raise GeneratorExit\n        yield\n": "stream() raises GeneratorExit",
    "        while True: yield AllocBatch(time[:0], op[:0], row[:0], cpu[:0], handle[:0])\n":
        "stream(): time does not go on in 10000 batches",
    "        while True: yield AllocBatch(time[:1], op[:1], row[:1], cpu[:1], handle[:1])\n":
        "stream(): time does not go on in 10000 batches",
    "        self.model_validate({'pages': 'many'})\n":
        "stream() raises ValidationError: 1 validation error for Workload\\npages\\n  Input should "
        "be a valid integer, unable to parse string as an integer [type=int_parsing, "
        "input_value='many', input_type=str]\\n    For further information visit "
        "https://errors.pydantic.dev/",
}  # fmt: skip


@pytest.mark.parametrize(("code", "message"), BAD_BATCHES.items())
def test_a_bad_stream_fails_the_trial(desk, code, message):
    text = changed(WORKLOAD, YIELD, code)
    assert failure(run_workload(text)).startswith(f"mine.py:{line_of(text, code)}: {message}")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return None", "stream(): expected a Stream, found NoneType"),
        ("return Stream([request], 3, ())",
         "stream(): requests: expected a tuple of Request, found list"),
        ("return Stream((3,), 3, ())", "stream(): requests: expected Request, found int"),
        ("return Stream((request,), -1, ())",
         "stream(): handles: expected a whole number from 0, found -1"),
        ("from memsim.schema import HeldBlocks\n"
         "        held = HeldBlocks(np.array([-1, -1, 7, 7]), np.zeros(4, np.int64))\n"
         "        return Stream((request,), 4, self.batches(), before=held)",
         "stream(): before: a pfn appears twice"),
        ("return Stream((request,), 3, 4)",
         "stream(): batches: expected AllocBatch one by one, found int"),
    ],
)  # fmt: skip
def test_a_bad_plan_fails_the_trial(desk, code, message):
    text = changed(WORKLOAD, "return Stream((request,), self.pages, self.batches())", code)
    assert failure(run_workload(text)) == f"mine.py:{line_of(text, 'def stream')}: {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('{"zones": len', '{"zone": len', "measure(): 'zone' is none of its COLUMNS"),
        ('{"zones": len(record.zones), ', "{",
         'measure(): no value of its column "zones"; None leaves it blank'),
        ("len(record.zones)", "1.0",
         'measure(): column "zones": expected int or None, found float'),
        ("len(record.zones)", "2**63",
         'measure(): column "zones": 9223372036854775808 does not fit a table; '
         "None leaves it blank"),
        ("/ pages}", '* float("nan")}',
         'measure(): column "free_ratio": nan does not fit a table; None leaves it blank'),
        ("/ pages}", "/ 0}", "measure() raises ZeroDivisionError: division by zero"),
    ],
)  # fmt: skip
def test_a_bad_metric_fails_the_trial(desk, old, new, message):
    text = changed(METRIC, old, new)
    line = line_of(text, "return {" if "raises" in message else "def measure")
    assert failure(run_metric(text)) == f"mine.py:{line}: {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("head.startswith(MARK)", "1", "sniff(): expected True or False, found int"),
        ("head.startswith(MARK)", "head[10**9]", "sniff() raises IndexError: index out of range"),
        ("pfn=np.array([int(row[1])", "pfn=np.array([int(row[2])",
         "read() raises IndexError: list index out of range"),
        ("cpu=np.zeros(n, np.uint16)", "cpu=np.zeros(1, np.uint16)",
         "read(): cpu has 1 rows, time has 2"),
        ("order=np.zeros(n, np.int8)", "order=np.zeros(n)",
         "read(): order: expected an array (n,) of int8, found float64"),
        ('("GFP_KERNEL",)', "()", "read(): gfp: expected less than 0, found 0"),
        ('("GFP_KERNEL",)', '("GFP_COLONEL",)',
         "read(): gfp_texts: there is no gfp flag 'GFP_COLONEL'"),
        ("order=np.zeros(n, np.int8)", "order=np.full(n, 11, np.int8)",
         "read(): order: expected 0 to 10 of allocations and frees, found 11"),
        ("gfp=np.zeros(n, np.int16)", "gfp=none.astype(np.int16)",
         "read(): gfp: an allocation has none"),
        ("splitlines()[1:]", "splitlines()[:0:-1]", "read(): the rows are not sorted by time"),
    ],
)  # fmt: skip
def test_a_bad_trace_format_is_one_message(desk, old, new, message):
    text = changed(TRACE, old, new)
    at = new if "raises" in message else f"def {message.partition('(')[0]}"
    assert one_message(import_trace(text)) == f"mine.py:{line_of(text, at)}: {message}"


def test_tables_are_asked_for_on_the_kernel_of_the_machine(desk):
    text = changed(POLICY, '("linux-6.1",)', '("linux-2.6.14",)')
    text = changed(
        text, "        tables = ", "        assert kernel.max_page_order == 12\n        tables = "
    )
    ppc64 = "machine={like: ppc64-6g}"
    assert run_policy(text, "--set", ppc64).exit_code == 0
    small = one_message(run_policy(text, "--set", "machine={like: ppc64-6g, max_order: 12}"))
    assert small == f"mine.py:{line_of(text, 'assert')}: tables() raises AssertionError"


# --- what does not end --------------------------------------------------------------------------

HANGS = {
    "import": (run_policy, POLICY + "\n\nwhile True:\n    pass\n", "its import"),
    "tables": (
        run_policy, changed(POLICY, TABLES, "        while True: len([])\n"), "tables()",
    ),
    "stubborn": (
        run_workload,
        changed(WORKLOAD, YIELD, "        while True:\n            try:\n                len([])\n"
                "            except Exception:\n                pass\n"),
        "stream()",
    ),
    "end of a stream": (
        run_workload,
        changed(WORKLOAD, YIELD, "        try:\n            yield 3\n        finally:\n"
                "            while True: len([])\n"),
        "stream()",
    ),
    "measure": (
        run_metric, changed(METRIC, "    pages = ", "    while True: len([])\n    pages = "),
        "measure()",
    ),
    "read": (
        import_trace, changed(TRACE, "    n = ", "    while True: len([])\n    n = "),
        "read()",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HANGS)
def test_code_that_does_not_end_is_interrupted(desk, monkeypatch, case):
    monkeypatch.setenv("MEMSIM_PLUGIN_SECONDS", "0.3")
    run, text, what = HANGS[case]
    message = one_message(run(text))
    path, line, rest = message.split(":", 2)
    assert (path, rest) == ("mine.py", f" {what} takes longer than 0.3 s")
    assert int(line) >= line_of(text, "while")


def test_code_that_does_not_end_is_interrupted_in_threads(desk, monkeypatch):
    monkeypatch.setenv("MEMSIM_PLUGIN_SECONDS", "0.3")
    text = changed(WORKLOAD, YIELD, "        while True: len([])\n")
    message = one_message(run_workload(text, "--jobs", "2", "--seeds", "1..4"))
    line = line_of(text, "while True")
    assert message == f"mine.py:{line}: stream() takes longer than 0.3 s"


def test_code_that_cannot_be_interrupted_ends_the_process(desk):
    (desk / "mine.py").write_text("import time\n\n\ntime.sleep(1000)\n")
    command = [sys.executable, "-c", MAIN, "list", "policies", "--plugin", "mine.py"]
    done = subprocess.run(
        command, env={**os.environ, "MEMSIM_PLUGIN_SECONDS": "0.2"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("mine.py:4: its import takes longer than 0.2 s\n  hint: ")


def test_a_thread_that_does_not_end_keeps_no_command_from_ending(desk):
    loop = "import threading, time\n\n\ndef loop():\n    while True:\n        time.sleep(0.01)\n"
    (desk / "mine.py").write_text(f"{loop}\n\nthreading.Thread(target=loop).start()\n\n\n{POLICY}")
    command = [sys.executable, "-c", MAIN, "list", "policies", "none", "--plugin", "mine.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout.startswith("none ")
    hint = "\n  hint: end it, or make it a daemon\n"
    assert done.stderr in {f"mine.py:{n}: leaves a thread running{hint}" for n in (5, 6)}


def test_a_bad_limit_is_told(desk, monkeypatch):
    monkeypatch.setenv("MEMSIM_PLUGIN_SECONDS", "soon")
    message = one_message(run_policy(POLICY))
    assert message == "MEMSIM_PLUGIN_SECONDS: expected a number of seconds above 0, found soon"
