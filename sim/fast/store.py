"""The arrays behind one pointer.

Compiled functions take one record of `layout.STORE` and look at the arrays through it: a tuple of arrays as an
argument would cost a reference count for each of them at each call.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import carray as _array  # type: ignore[attr-defined, import-untyped, unused-ignore]
from numba.core import types  # type: ignore[import-untyped, unused-ignore]
from numba.extending import intrinsic  # type: ignore[import-untyped, unused-ignore]

from sim.fast.compiled import compiled
from sim.fast.layout import COUNTERS, KINDS, STORE, Array
from sim.fast.memory import CACHE_LINE
from sim.fast.queues import slot_of

USER_BYTES = KINDS["users"].itemsize
EVENT_BYTES = KINDS["blocks"].itemsize
LIFE_BYTES = KINDS["lives"].itemsize
HOST_BYTES = KINDS["hosts"].itemsize
W: TypeAlias = Any
"""A record of `layout.STORE`, in compiled code."""


_USERS = KINDS["users"]
_PODS = KINDS["pods"]
_BACKENDS = KINDS["backends"]
_ARRIVALS = KINDS["arrivals"]
_VACANT = KINDS["vacant"]
_CALENDAR = KINDS["calendar"]
_CHANCES = KINDS["chances"]
_STAYS = KINDS["stays"]
_TRIED = KINDS["tried"]
_LIVES = KINDS["lives"]
_HOSTS = KINDS["hosts"]
_PRESENT = KINDS["present"]
_POOL = KINDS["pool"]
_WAITS = KINDS["waits"]
_PARTS = KINDS["parts"]
_LENGTHS = KINDS["lengths"]
_SUMS = KINDS["sums"]
_ROWS = KINDS["rows"]
_BINS = KINDS["bins"]
_TIMERS = KINDS["timers"]
_STAGES = KINDS["stages"]
_KNOCKS = KINDS["knocks"]
_LOGINS = KINDS["logins"]
_TURNS = KINDS["turns"]
_READIES = KINDS["readies"]
_LOSSES = KINDS["losses"]
_FLIGHTS = KINDS["flights"]
_BUSY = KINDS["busy"]
_UNSORTED = KINDS["unsorted"]
_MARKS = KINDS["marks"]
_RETURNING = KINDS["returning"]
_UNPLACED = KINDS["unplaced"]
_WHEEL = KINDS["wheel"]
_BLOCKS = KINDS["blocks"]


def _address_as_pointer(_: Any, address: Any) -> Any:
    """An address as a pointer."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


_pointer: Any = intrinsic(_address_as_pointer)


def _fetched_soon(_: Any, address: Any) -> Any:
    """Have the cache line at this address read, without waiting for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), number, number, number])
        name = "llvm.prefetch.p0"
        prefetch = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        where = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        builder.call(prefetch, [where, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(address), generate


_fetch: Any = intrinsic(_fetched_soon)


@compiled
def soon(w: W, slot: int) -> None:
    """This user's record will be needed: both of its cache lines are on their way."""
    _fetch(w.users_at + slot * USER_BYTES)
    _fetch(w.users_at + slot * USER_BYTES + CACHE_LINE)


@compiled
def life_soon(w: W, at: int) -> None:
    """This life will be needed."""
    _fetch(w.lives_at + at * LIFE_BYTES)


@compiled
def fetch_block(w: W, block: int) -> None:
    """All lives of this block will be needed, and who hosts them."""
    if block >= 0:
        _fetch(w.hosts_at + 16 * block * HOST_BYTES)
        for at in range(16):
            _fetch(w.lives_at + (16 * block + at) * LIFE_BYTES)


@compiled
def events_soon(w: W, first: int, n: int) -> None:
    """So many events of the wheel's blocks will be needed."""
    for byte in range(first * EVENT_BYTES, (first + n) * EVENT_BYTES, CACHE_LINE):
        _fetch(w.blocks_at + byte)


@compiled
def soon_on_top(w: W, heap: Array) -> None:
    """As `soon`, for the users of a heap's first events."""
    for place in range(1, 4):
        soon(w, slot_of(heap[place].what))


@compiled
def at(address: int) -> W:
    """The record at this address."""
    return _array(_pointer(address), (1,), STORE)[0]


@compiled
def users(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.users_at), (w.users_n,), _USERS)
    return found


@compiled
def pods(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.pods_at), (w.pods_n,), _PODS)
    return found


@compiled
def backends(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.backends_at), (w.backends_n,), _BACKENDS)
    return found


@compiled
def arrivals(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.arrivals_at), (w.arrivals_n,), _ARRIVALS)
    return found


@compiled
def vacant(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.vacant_at), (w.vacant_n,), _VACANT)
    return found


@compiled
def calendar(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.calendar_at), (w.calendar_n,), _CALENDAR)
    return found


@compiled
def present(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.present_at), (w.present_n,), _PRESENT)
    return found


@compiled
def pool(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.pool_at), (w.pool_n,), _POOL)
    return found


@compiled
def waits(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.waits_at), (w.waits_n,), _WAITS)
    return found


@compiled
def parts(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.parts_at), (w.parts_n,), _PARTS)
    return found


@compiled
def lengths(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.lengths_at), (w.lengths_n,), _LENGTHS)
    return found


@compiled
def sums(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.sums_at), (w.sums_n,), _SUMS)
    return found


@compiled
def rows(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.rows_at), (w.rows_n,), _ROWS)
    return found


@compiled
def bins(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.bins_at), (w.bins_n, w.window, COUNTERS), _BINS)
    return found


@compiled
def timers(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.timers_at), (w.timers_n,), _TIMERS)
    return found


@compiled
def stages(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.stages_at), (w.stages_n,), _STAGES)
    return found


@compiled
def knocks(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.knocks_at), (w.knocks_n,), _KNOCKS)
    return found


@compiled
def logins(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.logins_at), (w.logins_n,), _LOGINS)
    return found


@compiled
def turns(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.turns_at), (w.turns_n,), _TURNS)
    return found


@compiled
def readies(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.readies_at), (w.readies_n,), _READIES)
    return found


@compiled
def losses(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.losses_at), (w.losses_n,), _LOSSES)
    return found


@compiled
def lives(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.lives_at), (w.lives_n,), _LIVES)
    return found


@compiled
def hosts(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.hosts_at), (w.hosts_n,), _HOSTS)
    return found


@compiled
def chances(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.chances_at), (w.chances_n,), _CHANCES)
    return found


@compiled
def stays(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.stays_at), (w.stays_n,), _STAYS)
    return found


@compiled
def tried(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.tried_at), (w.tried_n,), _TRIED)
    return found


@compiled
def flights(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.flights_at), (w.flights_n,), _FLIGHTS)
    return found


@compiled
def busy(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.busy_at), (w.busy_n,), _BUSY)
    return found


@compiled
def unsorted(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.unsorted_at), (w.unsorted_n,), _UNSORTED)
    return found


@compiled
def marks(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.marks_at), (w.marks_n,), _MARKS)
    return found


@compiled
def returning(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.returning_at), (w.returning_n,), _RETURNING)
    return found


@compiled
def unplaced(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.unplaced_at), (w.unplaced_n,), _UNPLACED)
    return found


@compiled
def wheel(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.wheel_at), (w.wheel_n,), _WHEEL)
    return found


@compiled
def blocks(w: W) -> Array:
    """As `layout.KINDS` says."""
    found: Array = _array(_pointer(w.blocks_at), (w.blocks_n,), _BLOCKS)
    return found
