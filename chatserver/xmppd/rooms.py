"""Chat rooms (XEP-0045, what every client needs of it): who sits where, and who hears what. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from chatserver.namespaces import MUC_USER, escape
from chatserver.xmlstream import Element
from chatserver.xmppd.stanzas import Jid, error, stanza


@dataclass(slots=True)
class _Occupant:
    user: str  # full JID
    presence: Element


@dataclass(slots=True)
class _Room:
    jid: str
    subject: Element
    occupants: dict[str, _Occupant] = field(default_factory=dict)

    def nick_of(self, user: str) -> str | None:
        return next((nick for nick, occupant in self.occupants.items() if occupant.user == user), None)


class Rooms:
    """All rooms of one server; a room is there while somebody is in it.

    Every method returns the stanzas to deliver, in order, each with a full JID in `to`.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._rooms_of: dict[str, set[str]] = {}

    def jids(self) -> Sequence[str]:
        """The rooms that are there."""
        return tuple(self._rooms)

    def nicks(self, room: str) -> Sequence[str]:
        """Who is in a room."""
        return tuple(self._rooms[room].occupants) if room in self._rooms else ()

    def nick_of(self, room: str, user: str) -> str | None:
        """A user's nick in a room, None outside of it."""
        return self._rooms[room].nick_of(user) if room in self._rooms else None

    def presence(self, element: Element) -> list[Element]:
        """A presence to a room: join, change of nick or of status, or leave."""
        user, to = element.attributes["from"], Jid.parse(element.attributes["to"])
        kind = element.attributes.get("type")
        if kind == "unavailable":
            return self._leave(to.bare, user)
        if kind is not None:
            return []
        if not to.resource:
            return _refused(element, "jid-malformed", "modify")
        room = self._rooms.get(to.bare) or _Room(
            to.bare, stanza("message", "<subject/>", type="groupchat", from_=to.bare)
        )
        nick, out = to.resource, []
        holder = room.occupants.get(nick)
        if holder is not None and holder.user != user:
            if Jid.parse(holder.user).bare != Jid.parse(user).bare:
                return _refused(element, "conflict")
            out += self._leave(
                to.bare, holder.user
            )  # the same person is back before the old connection was missed
        self._rooms[room.jid] = room
        old_nick = room.nick_of(user)
        if old_nick is not None and old_nick != nick:
            out += self._tell(room, old_nick, "unavailable", '<status code="303"/>', new_nick=nick)
            del room.occupants[old_nick]
        for other, occupant in room.occupants.items():
            if old_nick is None:
                out.append(_about(room, other, occupant.presence, user))
        room.occupants[nick] = _Occupant(user, element)
        self._rooms_of.setdefault(user, set()).add(room.jid)
        out += self._tell(room, nick)
        if old_nick is None:
            out.append(room.subject.changed(to=user))
        return out

    def message(self, element: Element) -> list[Element]:
        """A groupchat message: everybody hears it, its sender too."""
        room, nick = self._seat(element.attributes["from"], Jid.parse(element.attributes["to"]).bare)
        if room is None:
            return _refused(element, "not-acceptable", "modify")
        heard = element.changed(from_=f"{room.jid}/{nick}")
        if b"<subject" in element.inner and b"<body" not in element.inner:
            room.subject = heard
        return [heard.changed(to=occupant.user) for occupant in room.occupants.values()]

    def private(self, element: Element) -> list[Element]:
        """A stanza to one occupant, by nick."""
        to = Jid.parse(element.attributes["to"])
        room, nick = self._seat(element.attributes["from"], to.bare)
        if room is None:
            return _refused(element, "not-acceptable", "modify")
        if to.resource not in room.occupants:
            return _refused(element, "item-not-found")
        return [element.changed(from_=f"{room.jid}/{nick}", to=room.occupants[to.resource].user)]

    def leave_all(self, user: str) -> list[Element]:
        """The user is gone."""
        return [heard for room in sorted(self._rooms_of.get(user, ())) for heard in self._leave(room, user)]

    def _seat(self, user: str, jid: str) -> tuple[_Room, str] | tuple[None, str]:
        """The room and the user's nick in it; no room where the user is in none of that name."""
        room = self._rooms.get(jid)
        nick = room.nick_of(user) if room else None
        return (room, nick) if room is not None and nick is not None else (None, "")

    def _leave(self, jid: str, user: str) -> list[Element]:
        room, nick = self._seat(user, jid)
        if room is None:
            return []
        out = self._tell(room, nick, "unavailable")
        del room.occupants[nick]
        if not room.occupants:
            del self._rooms[jid]
        self._rooms_of[user].discard(jid)
        if not self._rooms_of[user]:
            del self._rooms_of[user]
        return out

    def _tell(
        self, room: _Room, nick: str, kind: str = "", status: str = "", new_nick: str = ""
    ) -> list[Element]:
        """What everybody, the subject last, hears of one occupant."""
        subject = room.occupants[nick]
        presence = subject.presence if not kind else stanza("presence", type=kind)
        others = [o.user for o in room.occupants.values() if o is not subject]
        out = [_about(room, nick, presence, user, kind, status, new_nick) for user in others]
        return [
            *out,
            _about(room, nick, presence, subject.user, kind, status + '<status code="110"/>', new_nick),
        ]


def _about(
    room: _Room, nick: str, presence: Element, to: str, kind: str = "", status: str = "", new_nick: str = ""
) -> Element:
    renamed = f' nick="{escape(new_nick)}"' if new_nick else ""
    role = "none" if kind else "participant"
    told = f'<x xmlns="{MUC_USER}"><item affiliation="none" role="{role}"{renamed}/>{status}</x>'
    return presence.changed(from_=f"{room.jid}/{nick}", to=to)._replace(inner=presence.inner + told.encode())


def _refused(element: Element, condition: str, kind: str = "cancel") -> list[Element]:
    refusal = error(element, condition, kind)
    return [] if refusal is None else [refusal]
