"""Tests of kernels as ordinary Python: of what has no entry point of its own.

``tests/unit/kernels/test_plain.py`` runs them in a process without the JIT.
"""

from memsim.kernels._jit import DISABLED

collect_ignore_glob = [] if DISABLED else ["test_*.py"]
