"""Messages between users: who is online, what is under way, what was lost."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random

from loadgen.behaviour.attempts import Attempt


class Line:
    """One logged-in connection as the mailroom sees it."""

    __slots__ = ("_at", "_incoming", "_lost", "_outgoing", "_row", "_sent", "attempt", "place", "user")

    def __init__(self, place: int, user: str, attempt: int) -> None:
        self.place, self.user, self.attempt = place, user, attempt
        self._at = 0
        self._sent = self._lost = 0
        self._outgoing: set[_Letter] = set()
        self._incoming: set[_Letter] = set()
        self._row: Attempt | None = None


class _Letter:
    __slots__ = ("cut", "message", "sender", "sent_s", "settle_s", "to")

    def __init__(self, message: str, sender: Line, to: Line, sent_s: float) -> None:
        self.message, self.sender, self.to, self.sent_s = message, sender, to, sent_s
        self.cut = False
        self.settle_s: float | None = None


class Mailroom:
    """Matches messages sent with messages received, for one crowd.

    A message is lost if it was sent to a user online at the sending, the sender's or the addressee's
    connection was then cut, and it did not arrive within `wait_s` after that. Not lost: those under way when
    the run ends less than `wait_s` after the sending, and those to an addressee who left by itself. A
    connection's row waits until the fate of its messages is known: `wait_s`, or up to twice that where both
    ends were cut.
    """

    def __init__(self, wait_s: float = 5.0) -> None:
        self._wait_s = wait_s
        self._online: list[Line] = []
        self._under_way: dict[str, _Letter] = {}
        self._to_settle: deque[tuple[float, _Letter]] = deque()  # ascending; a letter's last entry counts
        self._settled: list[Attempt] = []

    @property
    def online(self) -> int:
        """Users logged in."""
        return len(self._online)

    @property
    def due_s(self) -> float | None:
        """When to call `due` next, None if nothing waits."""
        if self._settled:
            return float("-inf")
        return self._to_settle[0][0] if self._to_settle else None

    def login(self, place: int, user: str, attempt: int) -> Line:
        """A user is online from now on."""
        line = Line(place, user, attempt)
        line._at = len(self._online)
        self._online.append(line)
        return line

    def someone_else(self, line: Line, rng: Random) -> Line | None:
        """A random other user who is online; one draw, or None and no draw if there is nobody else."""
        if len(self._online) < 2:
            return None
        found = int(rng.random() * (len(self._online) - 1))
        return self._online[found + (found >= line._at)]

    def send(self, sender: Line, to: Line, t_s: float) -> str:
        """A message leaves now; returns its id, unique over all crowds with other places."""
        sender._sent += 1
        message = f"{sender.user}.{sender.attempt}.{sender._sent}"
        letter = self._under_way[message] = _Letter(message, sender, to, t_s)
        sender._outgoing.add(letter)
        to._incoming.add(letter)
        return message

    def received(self, message: str, t_s: float) -> float | None:
        """A message came, on whichever connection; returns its time under way in seconds.

        None for one that is not known (any more): from another crowd, a duplicate, or far too late.
        """
        letter = self._under_way.get(message)
        if letter is None:
            return None
        self._settle(letter, lost=False)
        return t_s - letter.sent_s

    def logout(self, line: Line, row: Attempt, t_s: float, cut: bool) -> list[Attempt]:
        """A connection ended: cut, or closed by its user. Returns its row unless messages are under way."""
        last = self._online.pop()
        if last is not line:
            self._online[line._at] = last
            last._at = line._at
        for letter in sorted(line._incoming | line._outgoing, key=lambda letter: letter.message):
            if cut:
                letter.cut = True
            elif letter.to is line and not letter.cut:
                self._settle(letter, lost=False)
                continue
            letter.settle_s = t_s + self._wait_s
            self._to_settle.append((letter.settle_s, letter))
        line._row = replace(row, messages_sent=line._sent)
        return [] if line._outgoing else [_final(line)]

    def due(self, now_s: float) -> list[Attempt]:
        """Rows whose messages' fate is known by now."""
        while self._to_settle and self._to_settle[0][0] <= now_s:
            settle_s, letter = self._to_settle.popleft()
            if letter.message in self._under_way and letter.settle_s == settle_s:
                self._settle(letter, lost=letter.cut)
        settled, self._settled = self._settled, []
        return settled

    def end(self, t_s: float) -> list[Attempt]:
        """The run is over: all rows that still waited."""
        for letter in list(self._under_way.values()):
            self._settle(letter, lost=letter.cut and letter.sent_s <= t_s - self._wait_s)
        self._to_settle.clear()
        return self.due(t_s)

    def _settle(self, letter: _Letter, lost: bool) -> None:
        del self._under_way[letter.message]
        letter.to._incoming.discard(letter)
        sender = letter.sender
        sender._outgoing.discard(letter)
        sender._lost += lost
        if sender._row is not None and not sender._outgoing:
            self._settled.append(_final(sender))


def _final(line: Line) -> Attempt:
    assert line._row is not None
    return replace(line._row, messages_lost=line._lost)
