"""Follows a child from one mutating system call to the next, and makes one of them fail or be the last.

strace counts in each thread by itself: the fifth write of a second thread cannot be told from the fifth of the first, and is
never reached. Here the calls of all threads are counted together, by name, so each of them is a point. A filter in the child
(seccomp) stops it at these calls only, which also costs less than a stop at every call.

For x86-64, where the registers of a call are known to it. It looks at no call's data.
"""

import ctypes
import os
import signal
import struct
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

IS_POSSIBLE = sys.platform == "linux" and os.uname().machine == "x86_64"
# the number of each call, and which of its arguments says what it changes: a descriptor or a path
_DESCRIPTOR, _FIRST, _SECOND = "descriptor", 0, 1
CALLS: dict[str, tuple[int, str | int]] = {
    "openat": (257, _SECOND),
    "write": (1, _DESCRIPTOR),
    "pwrite64": (18, _DESCRIPTOR),
    "pwritev": (296, _DESCRIPTOR),
    "pwritev2": (328, _DESCRIPTOR),
    "ftruncate": (77, _DESCRIPTOR),
    "fallocate": (285, _DESCRIPTOR),
    "copy_file_range": (326, _DESCRIPTOR),
    "sendfile": (40, _DESCRIPTOR),
    "mkdir": (83, _FIRST),
    "mkdirat": (258, _SECOND),
    "fsync": (74, _DESCRIPTOR),
    "fdatasync": (75, _DESCRIPTOR),
    "sync_file_range": (277, _DESCRIPTOR),
    "syncfs": (306, _DESCRIPTOR),
    "rename": (82, _FIRST),
    "renameat": (264, _SECOND),
    "renameat2": (316, _SECOND),
    "link": (86, _FIRST),
    "linkat": (265, _SECOND),
    "unlink": (87, _FIRST),
    "unlinkat": (263, _SECOND),
    "rmdir": (84, _FIRST),
    "chmod": (90, _FIRST),
    "fchmod": (91, _DESCRIPTOR),
    "fchmodat": (268, _SECOND),
    "symlink": (88, _FIRST),
    "symlinkat": (266, _FIRST),
    # what is sent changes somebody else
    "sendto": (44, _DESCRIPTOR),
    "sendmsg": (46, _DESCRIPTOR),
}
_NAMES = {number: name for name, (number, _) in CALLS.items()}
_CREATING = os.O_CREAT | os.O_TRUNC | (os.O_TMPFILE & ~os.O_DIRECTORY)

_SEIZE, _CONT, _GETREGS, _SETREGS = 0x4206, 7, 12, 13
_TRACE_FORKS, _TRACE_SECCOMP, _EXITKILL = 2 | 4 | 8, 0x80, 0x100000
_EVENT_SECCOMP = 7
_WALL = 0x40000000
_AT_FDCWD = -100
_PR_SET_SECCOMP, _MODE_FILTER, _PR_SET_NO_NEW_PRIVS = 22, 2, 38
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_RET_TRACE, _RET_ALLOW = 0x7FF00000, 0x7FFF0000
_NUMBER_AT, _FLAGS_AT = 0, 32  # in seccomp_data: the call's number, and openat's flags

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.restype = ctypes.c_long
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


# `struct user_regs_struct`: 27 words, of which these are known here
_Registers = ctypes.c_ulonglong * 27
_RAX, _RDX, _RSI, _RDI, _ORIG_RAX = 10, 12, 13, 14, 15
SHORT = 1 << 12
"""In the place of an error, of which none is as great: the call is made with half of its bytes, and says so."""


def install_filter() -> None:
    """In the child: from now on it stops for its tracer at every call that changes something."""
    others = [number for name, (number, _) in CALLS.items() if name != "openat"]
    steps = [
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_EQUAL, len(others) + 2 - at, 0, number) for at, number in enumerate(others)),
        (_EQUAL, 0, 3, CALLS["openat"][0]),
        (_LOAD, 0, 0, _FLAGS_AT),
        (_ANY_BIT, 0, 1, _CREATING),
        (_RETURN, 0, 0, _RET_TRACE),
        (_RETURN, 0, 0, _RET_ALLOW),
    ]
    packed = b"".join(struct.pack("HBBI", *step) for step in steps)
    steps_at = ctypes.create_string_buffer(packed)
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(steps_at))
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the filter was refused")


@dataclass
class Tracer:
    """Follows one child.

    Attributes:
        child: Its id.
        call: The name of the call to disturb.
        number: Which of them, in the whole process; 0 disturbs none.
        error: What the call shall fail with, unless it goes to a socket, or `SHORT`; 0 kills the process instead, minus a
            signal sends that one and makes the call.
        held: The call waits for `reached` and is made then; nothing is disturbed by us.
        reached: Called at that call, before it is made.
        tell: Gets the name of each call and what it changes.
        look: Gets the thread and the registers of each call, before it is made.
    """

    child: int
    call: str = ""
    number: int = 0
    error: int = 0
    held: bool = False
    reached: Callable[[], None] | None = None
    tell: Callable[[str, str], None] | None = None
    look: "Callable[[int, str, ctypes.Array[ctypes.c_ulonglong]], None] | None" = None
    _counts: Counter[str] = field(default_factory=Counter)

    def seize(self) -> None:
        """Follow it from now on, and what it starts."""
        options = _TRACE_FORKS | _TRACE_SECCOMP | _EXITKILL
        if _libc.ptrace(_SEIZE, self.child, None, options):
            raise OSError(ctypes.get_errno(), "the child cannot be traced")

    def follow(self) -> int:
        """Until it ends; returns its exit code, or minus its signal."""
        while True:
            thread, status = os.waitpid(-1, _WALL)
            if not os.WIFSTOPPED(status):
                if thread == self.child:
                    return os.waitstatus_to_exitcode(status)
                continue
            event = status >> 16
            if event == _EVENT_SECCOMP and self._is_ours(thread):
                self._passed(thread)
            # it may be gone: the kill was not ours to order
            _libc.ptrace(_CONT, thread, None, 0 if event else os.WSTOPSIG(status))

    def _is_ours(self, thread: int) -> bool:
        """A thread of the child itself, not of another program that the child runs."""
        return Path(f"/proc/{self.child}/task/{thread}").exists()

    def _passed(self, thread: int) -> None:
        registers = _Registers()
        if _libc.ptrace(_GETREGS, thread, None, ctypes.byref(registers)):
            return  # killed meanwhile
        name = _NAMES[registers[_ORIG_RAX]]
        self._counts[name] += 1
        if self.tell is not None:
            self.tell(name, _what(thread, name, registers))
        if self.look is not None:
            self.look(thread, name, registers)
        if name != self.call or self._counts[name] != self.number:
            return
        if self.reached is not None:
            self.reached()
        if self.held or (self.error > 0 and _goes_to_a_socket(thread, name, registers)):
            return  # no disk refuses what is sent to a socket, which another run may do at this number
        if self.error <= 0:
            os.kill(self.child, -self.error or signal.SIGKILL)
            return
        if self.error == SHORT:
            registers[_RDX] = max(1, registers[_RDX] // 2)
            _libc.ptrace(_SETREGS, thread, None, ctypes.byref(registers))
            return
        registers[_ORIG_RAX] = 2**64 - 1  # no call: the kernel hands out what stands in rax
        registers[_RAX] = 2**64 - self.error
        _libc.ptrace(_SETREGS, thread, None, ctypes.byref(registers))


def _goes_to_a_socket(
    thread: int, name: str, registers: "ctypes.Array[ctypes.c_ulonglong]"
) -> bool:
    with suppress(OSError):  # a descriptor that is none fails by itself
        return CALLS[name][1] == _DESCRIPTOR and _what(thread, name, registers).startswith(
            "socket:"
        )
    return False


def _what(thread: int, name: str, registers: "ctypes.Array[ctypes.c_ulonglong]") -> str:
    """The file that a call changes, as well as it can be told."""
    place = CALLS[name][1]
    process = Path(f"/proc/{thread}")
    if place == _DESCRIPTOR:
        return str((process / f"fd/{registers[_RDI]}").readlink())
    with (process / "mem").open("rb", buffering=0) as memory:
        memory.seek(registers[_RDI if place == _FIRST else _RSI])
        path = os.fsdecode(memory.read(4096).partition(b"\0")[0])
    above = ctypes.c_int(registers[_RDI]).value if place == _SECOND else _AT_FDCWD
    folder = process / ("cwd" if above == _AT_FDCWD else f"fd/{above}")
    return os.path.normpath(folder.readlink() / path)
