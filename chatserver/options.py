"""Settings of the programs: flags, each with an environment variable CHAT_<FLAG> behind it.

No variable ends in _HOST or _PORT: Kubernetes sets such ones itself for a Service that is called chat.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from chatserver.lifecycle import OnDeselected, OnSigterm, Policy

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}


class Address(NamedTuple):
    """Where to listen or whom to call."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Options:
    """All settings; each program uses its share."""

    program: str  # gateway, xmppd or all
    listen: Address
    admin: Address
    backend: Address
    xmpp: Address
    domain: str
    pod: str
    release: str  # six hex digits
    login_cpu_s: float
    backlog: int
    handshake_timeout_s: float
    ping_interval_s: float
    silent_intervals: int
    max_frame_bytes: int
    deselected_file: Path | None  # a pod label's value, as the Downward API writes it; None: not watched
    crash_after_s: float | None  # a release that is broken on purpose; None: it is not
    policy: Policy
    password: str  # "": any
    logins_per_s: float  # 0: no limit
    resume_for_s: float  # 0: stream management is not offered


def duration_s(text: str) -> float:
    """Seconds from `90s`, `2ms`, `24h` or a plain number of seconds. Raises ValueError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)", text)
    if match is None:
        raise ValueError("expected a duration such as 90s, 2ms or 24h")
    return float(match[1]) * _UNITS_S[match[2]]


def _positive_s(text: str) -> float:
    seconds = duration_s(text)
    if seconds <= 0:
        raise ValueError("must be more than 0s")
    return seconds


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("expected HOST:PORT with a port of 0 to 65535")
    return Address(host.strip("[]"), int(port))


def _release(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{6,40}", text):
        raise ValueError("expected a git SHA, six hex digits or more")
    return text[:6].lower()


def _at_least(lowest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise ValueError(f"expected a whole number of at least {lowest}")
        return int(text)

    return parse


def _rate(text: str) -> float:
    rate = float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else -1.0
    if rate < 0:
        raise ValueError("expected a number a second, 0 or more")
    return rate


def _pace(text: str) -> float:
    rate = _rate(text)
    if rate == 0:
        raise ValueError("must be more than 0 a second")
    return rate


def _name(text: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z.-]+", text):
        raise ValueError("expected letters, digits, dots and dashes")
    return text


class _Flag(NamedTuple):
    programs: str  # g: gateway, x: xmppd; `all` has both
    name: str
    metavar: str
    parse: Callable[[str], Any]
    default: str
    told: str


_FLAGS = (
    _Flag(
        "g",
        "listen",
        "HOST:PORT",
        _address,
        "127.0.0.1:5280",
        "websockets (/xmpp-websocket) and the chat page (/)",
    ),
    _Flag(
        "g",
        "admin",
        "HOST:PORT",
        _address,
        "127.0.0.1:9090",
        "/metrics, /healthz, /readyz; POST /drain, /deselected, /quit",
    ),
    _Flag("g", "backend", "HOST:PORT", _address, "127.0.0.1:5222", "XMPP server; in `all` the embedded one"),
    _Flag("x", "xmpp", "HOST:PORT", _address, "127.0.0.1:5222", "where the embedded XMPP server listens"),
    _Flag("gx", "domain", "NAME", _name, "chat.local", "XMPP domain"),
    _Flag("g", "pod", "NAME", _name, "", "told in Chat-Pod; default: host name"),
    _Flag(
        "g",
        "release",
        "SHA",
        _release,
        "000000",
        "told in Chat-Release; its first six hex digits are the page's colour",
    ),
    _Flag(
        "g", "login-cpu", "TIME", duration_s, "0ms", "CPU time to burn for each login, one after the other"
    ),
    _Flag("g", "backlog", "N", _at_least(1), "128", "connections that may wait for accept"),
    _Flag("g", "handshake-timeout", "TIME", _positive_s, "10s", "from TCP accept to the open XMPP stream"),
    _Flag("g", "ping-interval", "TIME", _positive_s, "30s", "between websocket pings to a quiet client"),
    _Flag(
        "g",
        "silent-intervals",
        "N",
        _at_least(1),
        "3",
        "ping intervals without traffic that make a connection silent",
    ),
    _Flag(
        "g",
        "max-frame-bytes",
        "N",
        _at_least(1024),
        "262144",
        "largest websocket message; larger ones are closed with 1009",
    ),
    _Flag(
        "g",
        "on-sigterm",
        "MODE",
        OnSigterm,
        "close",
        "close: after linger; hold: wait for the last; pace: ask to leave",
    ),
    _Flag(
        "g", "on-deselected", "MODE", OnDeselected, "leave_when_empty", "leave_when_empty, pace or nothing"
    ),
    _Flag(
        "g",
        "deselected-file",
        "PATH",
        Path,
        "",
        "file with a label's value (Downward API): not empty and not false acts as POST /deselected, else "
        "as its DELETE",
    ),
    _Flag(
        "g", "linger", "TIME", duration_s, "2s", "how long to go on accepting after SIGTERM or /deselected"
    ),
    _Flag(
        "g", "grace", "TIME", duration_s, "30s", "when SIGKILL follows SIGTERM; all is closed 1.5 s before"
    ),
    _Flag("g", "per-s", "RATE", _pace, "10", "clients to ask a second where a request names no rate"),
    _Flag(
        "g",
        "crash-after",
        "TIME",
        _positive_s,
        "",
        "break on purpose: end without a word so long after it was first found ready",
    ),
    _Flag("x", "password", "TEXT", str, "", "shared by all users; empty: any password will do"),
    _Flag("x", "logins-per-s", "RATE", _rate, "0", "logins wait their turn beyond this rate; 0: no limit"),
    _Flag(
        "x",
        "resume-for",
        "TIME",
        duration_s,
        "60s",
        "how long a broken stream may be resumed (XEP-0198); 0s: not offered",
    ),
)


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """The settings; a flag beats its environment variable, which beats the default.

    Exits with 2 and one line on stderr for a bad value.
    """
    parser = _Parser(prog="python -m chatserver", description=__doc__.splitlines()[0] if __doc__ else None)
    programs = parser.add_subparsers(dest="program", required=True, metavar="gateway|xmppd|all")
    for program, letters, told in (
        ("gateway", "g", "websocket (RFC 7395) to XMPP over TCP (RFC 6120)"),
        ("xmppd", "x", "a small XMPP server"),
        ("all", "gx", "both in one process"),
    ):
        command = programs.add_parser(program, help=told, description=told)
        for flag in _FLAGS:
            if set(flag.programs) & set(letters) and not (program == "all" and flag.name == "backend"):
                variable = _variable(flag.name)
                default = f"; default {flag.default}" if flag.default else ""
                command.add_argument(
                    f"--{flag.name}", metavar=flag.metavar, help=f"{flag.told} [{variable}{default}]"
                )
    chosen = vars(parser.parse_args(arguments))
    values: dict[str, Any] = {"program": chosen["program"]}
    for flag in _FLAGS:
        name = flag.name.replace("-", "_")
        given = chosen.get(name)
        source = f"--{flag.name}"
        if given is None and name in chosen and environment.get(_variable(flag.name)):
            given, source = environment[_variable(flag.name)], _variable(flag.name)
        text = flag.default if given is None else given
        try:
            values[name] = flag.parse(text) if text or given is not None else ""
        except ValueError as error:
            why = str(error)
            if flag.parse in (OnSigterm, OnDeselected):
                why = "expected " + ", ".join(flag.parse)
            parser.error(f"{source}={text!r}: {why}")
    return _options(values)


def _options(values: dict[str, Any]) -> Options:
    policy = Policy(
        values.pop("on_sigterm"),
        values.pop("on_deselected"),
        values.pop("linger"),
        values.pop("grace"),
        values.pop("per_s"),
    )
    if values["program"] == "all":
        values["backend"] = values["xmpp"]
    for optional in ("deselected_file", "crash_after"):
        values[optional] = values[optional] or None
    values["pod"] = values["pod"] or re.sub("[^0-9A-Za-z.-]", "-", socket.gethostname())
    known = {field.name for field in fields(Options)}
    named = {name if name in known else f"{name}_s": value for name, value in values.items()}
    return Options(policy=policy, **named)


def _variable(flag: str) -> str:
    return "CHAT_" + flag.upper().replace("-", "_")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> Any:
        self.exit(2, f"chatserver: {message}\n")
