"""The one door to numba: compilation, its cache, pointers, prefetch.

With ``NUMBA_DISABLE_JIT=1`` every name here is the identity or a no-op, and the kernels are
ordinary Python on ordinary numpy arrays.

numba's own cache does not notice an edited callee in another file, so the cache directory is named
by a hash of all kernel sources and of ``mm.py``, whose constants are baked in.
"""

from __future__ import annotations

import hashlib
import operator
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from numpy.typing import NDArray

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_HERE = Path(__file__).parent


def source_hash() -> str:
    """Hash the sources that decide what the compiled kernels do (16 hexadecimal digits)."""
    digest = hashlib.sha256()
    for path in (*sorted(_HERE.rglob("*.py")), _HERE.parent / "mm.py"):
        name = path.relative_to(_HERE.parent).as_posix()
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _cache_roots() -> list[Path]:
    roots = []
    if asked := os.environ.get("MEMSIM_CACHE_DIR"):
        roots.append(Path(asked))
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        roots.append(Path(xdg) / "memsim")
    if home := os.environ.get("HOME"):
        roots.append(Path(home) / ".cache" / "memsim")
    uid = os.getuid() if hasattr(os, "getuid") else 0
    roots.append(Path(tempfile.gettempdir()) / f"memsim-{uid}")
    return roots


def _private_directory(path: Path) -> bool:
    """Make ``path`` if need be; say whether it is ours alone and can be written."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        if hasattr(os, "getuid") and info.st_uid != os.getuid():
            return False
        path.chmod(0o700)
    except OSError:
        return False
    return os.access(path, os.W_OK | os.X_OK)


def cache_directory() -> Path | None:
    """Return the directory of compiled kernels, None if none can be written.

    The first of MEMSIM_CACHE_DIR, XDG_CACHE_HOME/memsim, HOME/.cache/memsim and a private folder
    in the system's temporary directory that works, plus a hash of the sources; mode 0700.
    """
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    for root in _cache_roots():
        directory = root / f"{source_hash()}-py{version}"
        if _private_directory(directory):
            return directory
    return None


COLUMNS = 4
"""Columns of the arrays of which kernels take single columns."""
DISABLED = os.environ.get("NUMBA_DISABLE_JIT", "0") == "1"

if DISABLED:
    CACHE: Path | None = None

    def kernel(function: F) -> F:
        """Mark an entry point: arrays in, arrays out."""
        return function

    def inline(function: F) -> F:
        """Mark a helper that is compiled into its callers."""
        return function

    def helper(function: F) -> F:
        """Mark a helper that stays a function of its own (rare paths)."""
        return function

    def ptr(array: NDArray[Any]) -> NDArray[Any]:
        """Return the array itself."""
        return array

    def pointers(table: T) -> T:
        """Return the named tuple itself."""
        return table

    def prefetch(array: NDArray[Any], index: int) -> None:
        """Do nothing."""

    def ctz(value: int) -> int:
        """Count trailing zero bits of a positive integer."""
        return (value & -value).bit_length() - 1

    def popcount(value: int) -> int:
        """Count the bits that are set."""
        return value.bit_count()

else:
    CACHE = cache_directory()
    from llvmlite import ir
    from numba import config, njit, types
    from numba.core.cgutils import alloca_once
    from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
    from numba.core.imputils import lower_builtin, lower_getattr_generic
    from numba.core.typing.templates import AttributeTemplate, infer_getattr
    from numba.extending import intrinsic, models, register_model

    if CACHE is not None:
        # numba reads the environment only when it is imported, which may have been long ago.
        config.CACHE_DIR = str(CACHE)  # type: ignore[attr-defined]

    def kernel(function: F) -> F:
        """Mark an entry point: compiled once per signature, cached on disk, without the GIL."""
        return cast("F", njit(cache=CACHE is not None, nogil=True, error_model="numpy")(function))

    _layouts: list[ir.Type] = []
    """How the named tuples lie that kernels pass on by address."""

    class _Part(JITCodeLibrary):
        """The code of a helper, which is optimised and run only as part of a kernel.

        numba would optimise and assemble each helper together with all that it calls, and so do
        the work of a chain of calls once for every link of it.
        """

        def add_ir_module(self, ir_module: ir.Module) -> None:
            """Tell the optimiser that nothing which is written to lies in a named tuple."""
            for function in ir_module.functions:
                for argument in function.args:
                    if getattr(argument.type, "pointee", None) in _layouts:
                        argument.add_attribute("noalias")
            super().add_ir_module(ir_module)  # type: ignore[no-untyped-call]

        def _optimize_final_module(self) -> None:
            """Leave that to the kernel."""

        def _finalize_final_module(self) -> None:
            self._finalize_dynamic_globals()  # type: ignore[no-untyped-call]
            self._verify_declare_only_symbols()  # type: ignore[no-untyped-call]
            self._finalized = True

        def get_pointer_to_function(self, name: str) -> int:
            """Say that there is none."""
            return 0

        @property
        def codegen(self) -> Any:
            """The code generator, which is not told of environments: kernels raise nothing."""
            return _WithoutEnvironments(self._codegen)

    class _WithoutEnvironments:
        def __init__(self, codegen: Any) -> None:
            self._codegen = codegen

        def __getattr__(self, name: str) -> Any:
            return getattr(self._codegen, name)

        def set_env(self, name: str, env: object) -> None:
            """Set nothing: the helper's own code is never loaded."""

    @contextmanager
    def _as_part() -> Iterator[None]:
        """Compile as parts of a kernel what is compiled meanwhile."""
        outer = JITCPUCodegen._library_class
        JITCPUCodegen._library_class = _Part
        try:
            yield
        finally:
            JITCPUCodegen._library_class = outer

    def _one_version(function: F, *, forceinline: bool) -> F:
        """Compile a function that only kernels call, once for all kinds of integers.

        By itself numba compiles it anew for int32, for uint8 and for every constant. No wrapper
        is built to call it from Python or C. Unless told, ``forceinline`` is the caller's.
        """
        options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        dispatcher: Any = njit(nogil=True, error_model="numpy", forceinline=forceinline, **options)(
            function
        )
        template = dispatcher.get_call_template

        def get_call_template(args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
            with _as_part():
                return template([_wide(a) for a in args], {k: _wide(a) for k, a in kws.items()})

        dispatcher.get_call_template = get_call_template
        return cast("F", dispatcher)

    def _wide(argument: types.Type) -> types.Type:
        """Give the type that an argument is passed as."""
        plain = types.unliteral(argument)  # type: ignore[no-untyped-call]
        return types.int64 if isinstance(plain, types.Integer) else plain

    def inline(function: F) -> F:
        """Mark a helper that is compiled into its callers."""
        return _one_version(function, forceinline=True)

    def helper(function: F) -> F:
        """Mark a helper that mostly stays a function of its own (rare paths)."""
        return _one_version(function, forceinline=False)

    @intrinsic
    def ptr(typing_context, array):  # type: ignore[no-untyped-def]
        """Return the raw element pointer of an array: no reference counts, no wraparound."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return context.make_array(signature.args[0])(context, builder, args[0]).data

        return types.CPointer(array.dtype)(array), codegen  # type: ignore[no-untyped-call]

    class _Column(types.CPointer):
        """The address of the first element of a column of an array with COLUMNS of them."""

        def __init__(self, dtype: Any) -> None:
            super().__init__(dtype)  # type: ignore[no-untyped-call]
            self.name = f"Column({dtype})"

        @property
        def key(self) -> Any:
            """What makes two of them alike."""
            return self.name

    @register_model(_Column)
    class _ColumnModel(models.PointerModel):
        pass

    def _element(builder: Any, kind: Any, address: Any, index: Any) -> Any:
        if isinstance(kind, _Column):
            index = builder.mul(index, index.type(COLUMNS))
        return builder.gep(address, [index])

    @lower_builtin(operator.getitem, _Column, types.Integer)  # type: ignore[no-untyped-call]
    def _read_element(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.load(_element(builder, signature.args[0], *args))

    @lower_builtin(operator.setitem, _Column, types.Integer, types.Any)  # type: ignore[no-untyped-call]
    def _write_element(context, builder, signature, args):  # type: ignore[no-untyped-def]
        builder.store(args[2], _element(builder, signature.args[0], *args[:2]))

    def _lean(kind: Any) -> Any:
        if not isinstance(kind, types.Array):
            return kind
        return (_Column if kind.layout == "A" else types.CPointer)(kind.dtype)

    class _Reference(types.Type):
        """The address of a named tuple whose arrays are raw element pointers.

        Helpers hand it on; by value, thirty fields went to the stack and back in each call.
        """

        def __init__(self, table: Any) -> None:
            kinds = (table[i] for i in range(len(table)))
            self.fields = dict(zip(table.fields, map(_lean, kinds), strict=True))
            super().__init__(f"Reference({table.instance_class.__name__})")
            self._key = f"{self.name} {self.fields}"

        @property
        def key(self) -> str:
            """What makes two of them alike; numba asks for it very often."""
            return self._key

    @register_model(_Reference)
    class _ReferenceModel(models.PrimitiveModel):
        def __init__(self, manager: Any, kind: _Reference) -> None:
            layout = ir.LiteralStructType(
                [manager[k].get_value_type() for k in kind.fields.values()]
            )
            _layouts.append(layout)
            super().__init__(manager, kind, layout.as_pointer())  # type: ignore[no-untyped-call]

    @infer_getattr
    class _ReferenceFields(AttributeTemplate):
        key = _Reference

        def generic_resolve(self, value: Any, attr: str) -> Any:  # type: ignore[override]
            """Give the type of a field."""
            return value.fields.get(attr)

    def _field(builder: Any, address: Any, index: int) -> Any:
        return builder.gep(address, [ir.IntType(32)(0), ir.IntType(32)(index)], inbounds=True)

    @lower_getattr_generic(_Reference)  # type: ignore[no-untyped-call]
    def _read_field(context, builder, reference, address, name):  # type: ignore[no-untyped-def]
        return builder.load(_field(builder, address, list(reference.fields).index(name)))

    @intrinsic
    def pointers(typing_context, table):  # type: ignore[no-untyped-def]
        """Take the element pointers of a named tuple's arrays, once, at the top of a kernel.

        What is returned has the tuple's fields and is valid until the kernel ends. It must be made
        in a kernel: in a function that is inlined it would lie in what that leaves behind.
        """
        reference = _Reference(table)

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            address = alloca_once(builder, context.get_value_type(reference).pointee)  # type: ignore[no-untyped-call]
            for i in range(len(table)):
                value = builder.extract_value(args[0], i)
                if isinstance(table[i], types.Array):
                    value = context.make_array(table[i])(context, builder, value).data
                builder.store(value, _field(builder, address, i))
            return address

        return reference(table), codegen

    @intrinsic
    def prefetch(typing_context, pointer, index):  # type: ignore[no-untyped-def]
        """Ask for the cache line of ``pointer[index]``, to be written soon."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            int32 = ir.IntType(32)
            element = _element(builder, pointer, *args)
            address = builder.bitcast(element, ir.IntType(8).as_pointer())
            function = builder.module.declare_intrinsic(
                "llvm.prefetch",
                (address.type,),
                ir.FunctionType(ir.VoidType(), [address.type, int32, int32, int32]),
            )
            builder.call(function, [address, int32(1), int32(3), int32(1)])
            return context.get_dummy_value()

        return types.void(pointer, index), codegen

    @intrinsic
    def ctz(typing_context, value):  # type: ignore[no-untyped-def]
        """Count trailing zero bits of a positive integer."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return builder.cttz(args[0], ir.IntType(1)(0))

        return types.int64(types.int64), codegen

    @intrinsic
    def popcount(typing_context, value):  # type: ignore[no-untyped-def]
        """Count the bits that are set."""

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            return builder.ctpop(args[0])

        return types.int64(types.int64), codegen
