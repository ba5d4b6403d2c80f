"""The XMPP server: who is online, and where each stanza goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from chatserver.namespaces import DISCO_INFO, DISCO_ITEMS, MUC, PING, ROSTER, SESSION, escape
from chatserver.options import Address, Options
from chatserver.wheel import Wheel
from chatserver.xmlstream import Element, StreamError
from chatserver.xmppd.login_queue import LoginQueue
from chatserver.xmppd.rooms import Rooms
from chatserver.xmppd.sasl import Accounts
from chatserver.xmppd.session import Session
from chatserver.xmppd.stanzas import Jid, error, result, stanza, tree
from chatserver.xmppd.stream import Stream

LOGIN_TIMEOUT_S = 60.0
"""From TCP accept to a bound session; logins that wait their turn included."""

BACKLOG = 1024
_TICK_S = 1.0


class Server:
    """One XMPP server on one event loop."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self.domain = options.domain.lower()
        self.resume_for_s = options.resume_for_s
        self.accounts = Accounts(options.password)
        self._address = options.xmpp
        self._loop = loop
        self._rooms_domain = f"conference.{self.domain}"
        self._rooms = Rooms()
        self._streams: set[Stream] = set()
        self._sessions: dict[str, dict[str, Session]] = {}  # by bare JID, then resource
        self._resumable: dict[str, Session] = {}
        self._logins: LoginQueue[Stream] = LoginQueue(options.logins_per_s)
        self._logins_timer: asyncio.TimerHandle | None = None
        self._deadlines: Wheel[Stream | Session] = Wheel(_TICK_S)
        self._tick: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None

    # Life

    async def start(self) -> Address:
        """Listen; returns the address. Raises OSError."""
        self._server = await self._loop.create_server(
            lambda: Stream(self), self._address.host, self._address.port, backlog=BACKLOG
        )
        return Address(*self._server.sockets[0].getsockname()[:2])

    async def stop(self) -> None:
        """Stop listening and end every stream with system-shutdown."""
        if self._server is not None:
            self._server.close()
        for stream in list(self._streams):
            stream.fail(StreamError("system-shutdown"))
        for timer in (self._tick, self._logins_timer):
            if timer is not None:
                timer.cancel()
        await asyncio.sleep(0)

    def on_connected(self, stream: Stream) -> None:
        """TCP accept."""
        self._streams.add(stream)
        self._set_deadline(stream, LOGIN_TIMEOUT_S)

    def on_disconnected(self, stream: Stream) -> None:
        """Without an end tag: the session may be resumed, where that was agreed on."""
        self._forget(stream)
        session = stream.session
        if session is None or session.stream is not stream:
            return
        session.stream = None
        if session.resume_id:
            self._set_deadline(session, self.resume_for_s)
        else:
            self._end(session)

    def end_session(self, stream: Stream) -> None:
        """The stream ends in order."""
        self._forget(stream)
        session, stream.session = stream.session, None
        if session is not None and session.stream is stream:
            session.stream = None
            self._end(session)

    def _forget(self, stream: Stream) -> None:
        self._streams.discard(stream)
        self._logins.leave(stream)
        self._deadlines.drop(stream)

    def _set_deadline(self, item: Stream | Session, after_s: float) -> None:
        self._deadlines.set(item, self._loop.time() + after_s)
        if self._tick is None:
            self._tick = self._loop.call_later(_TICK_S, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        for item in self._deadlines.due(self._loop.time()):
            if isinstance(item, Stream):
                item.fail(StreamError("connection-timeout"))
            else:
                self._end(item)
        if len(self._deadlines) and self._tick is None:
            self._tick = self._loop.call_later(_TICK_S, self._on_tick)

    # Logins and sessions

    def on_login(self, stream: Stream) -> None:
        """The credentials are good; the login may have to wait its turn."""
        self._logins.enter(stream, self._loop.time())
        if self._logins_timer is None:
            self._admit()

    def _admit(self) -> None:
        self._logins_timer = None
        for stream in self._logins.due(self._loop.time()):
            stream.log_in()
        if self._logins.next_s is not None:
            self._logins_timer = self._loop.call_at(self._logins.next_s, self._admit)

    def bind(self, stream: Stream, jid: Jid) -> Session:
        """A new session; one with the same full JID ends."""
        old = self._session(jid)
        if old is not None:
            if old.stream is not None:
                old.stream.fail(StreamError("conflict", "replaced by a new connection"))
            else:
                self._end(old)
        self._deadlines.drop(stream)
        session = Session(jid, stream)
        self._sessions.setdefault(jid.bare, {})[jid.resource] = session
        return session

    def enable(self, session: Session, resumable: bool) -> None:
        """Switch stream management on for a session."""
        session.enable(resumable)
        if session.resume_id:
            self._resumable[session.resume_id] = session

    def resume(self, stream: Stream, previous: str) -> Session | None:
        """Give a session to its user's new stream; None where there is none with that id."""
        session = self._resumable.get(previous)
        if session is None or session.jid.local != stream.user:
            return None
        if session.stream is not None:
            self._forget(session.stream)
            session.stream.cut()
        session.stream = stream
        self._deadlines.drop(session)
        self._deadlines.drop(stream)
        return session

    def _end(self, session: Session) -> None:
        """The session is over: everybody who should know hears it, and what it never got goes back."""
        self._deadlines.drop(session)
        self._resumable.pop(session.resume_id, None)
        mine = self._sessions.get(session.jid.bare, {})
        if mine.get(session.jid.resource) is session:
            del mine[session.jid.resource]
            if not mine:
                del self._sessions[session.jid.bare]
        if session.presence is not None:
            self._unavailable(session, stanza("presence", type="unavailable"))
        self._deliver_all(self._rooms.leave_all(str(session.jid)))
        if session.counters is not None:
            for missed in session.counters.unacknowledged:
                if missed.name == "message" and missed.attributes.get("type") != "groupchat":
                    self._refuse(missed, "service-unavailable")

    def _session(self, jid: Jid) -> Session | None:
        return self._sessions.get(jid.bare, {}).get(jid.resource)

    # Stanzas

    def on_stanza(self, session: Session, element: Element) -> None:
        """Handle one stanza of a bound client."""
        to = Jid.parse(element.attributes.get("to") or session.jid.bare)
        element = element.changed(from_=str(session.jid))
        if to.domain == self._rooms_domain and to.local:
            self._to_room(element, to)
        elif element.name == "message":
            self._message(element.changed(to=str(to)), to)
        elif element.name == "presence":
            self._presence(session, element, to)
        elif to.domain == self.domain and to.local and to.resource:
            other = self._session(to)
            if other is not None:
                other.deliver(element)
            else:
                self._refuse(element, "service-unavailable")
        elif element.attributes.get("type") in ("get", "set"):
            self._request(session, element, to)

    def _message(self, element: Element, to: Jid) -> None:
        kind = element.attributes.get("type")
        other = self._session(to)
        if other is not None:
            other.deliver(element)
            return
        if kind == "groupchat" or to.domain != self.domain:
            available = []
        else:  # RFC 6121, 8.5.2 and 8.5.3: a resource that is gone counts as the bare address
            available = [s for s in self._sessions.get(to.bare, {}).values() if s.presence is not None]
        for session in available:
            session.deliver(element)
        if not available and kind != "headline":
            self._refuse(element, "service-unavailable")

    def _presence(self, session: Session, element: Element, to: Jid) -> None:
        kind = element.attributes.get("type")
        if "to" in element.attributes:
            if to.domain == self.domain:
                for other in self._addressed(to):
                    other.deliver(element)
        elif kind is None:
            came = session.presence is None
            session.presence = element
            mine = [s for s in self._sessions[session.jid.bare].values() if s.presence is not None]
            for other in mine:
                other.deliver(element.changed(to=str(other.jid)))
                if came and other is not session and other.presence is not None:
                    session.deliver(other.presence.changed(to=str(session.jid)))
        elif kind == "unavailable" and session.presence is not None:
            self._deliver_all(self._rooms.leave_all(str(session.jid)))
            self._unavailable(session, element)
            session.deliver(element.changed(to=str(session.jid)))

    def _unavailable(self, session: Session, element: Element) -> None:
        session.presence = None
        for other in list(self._sessions.get(session.jid.bare, {}).values()):
            if other is not session and other.presence is not None:
                other.deliver(element.changed(from_=str(session.jid), to=str(other.jid)))

    def _addressed(self, to: Jid) -> list[Session]:
        if to.resource:
            other = self._session(to)
            return [other] if other is not None else []
        return [s for s in self._sessions.get(to.bare, {}).values() if s.presence is not None]

    def _to_room(self, element: Element, to: Jid) -> None:
        user = element.attributes["from"]
        if element.name == "presence":
            self._deliver_all(self._rooms.presence(element))
        elif element.name == "message" and element.attributes.get("type") == "groupchat":
            self._deliver_all(self._rooms.message(element))
        elif element.name == "iq" and element.child == (PING, "ping") and to.resource:
            # XEP-0410: am I still in the room?
            if self._rooms.nick_of(to.bare, user) == to.resource:
                self._deliver_all([result(element)])
            else:
                self._deliver_all(self._rooms.private(element))
        elif to.resource:
            self._deliver_all(self._rooms.private(element))
        elif element.attributes.get("type") == "get" and element.child == (DISCO_INFO, "query"):
            told = _info("conference", "text", to.local, (MUC, "muc_public", "muc_open", "muc_semianonymous"))
            self._deliver_all([result(element, told)])
        elif element.attributes.get("type") == "get" and element.child == (DISCO_ITEMS, "query"):
            self._deliver_all(
                [result(element, _items(f"{to.bare}/{nick}" for nick in self._rooms.nicks(to.bare)))]
            )
        else:
            self._refuse(element, "service-unavailable")

    def _request(self, session: Session, element: Element, to: Jid) -> None:
        """An iq to the server, to the room service or to the user's own account."""
        kind, child = element.attributes["type"], element.child
        own = to.bare in (self.domain, session.jid.bare)
        rooms = to.bare == self._rooms_domain
        told: str | None = None
        if ((own or rooms) and child == (PING, "ping")) or (own and child == (SESSION, "session")):
            told = ""
        elif own and kind == "get" and child == (ROSTER, "query"):
            told = f'<query xmlns="{ROSTER}"/>'
        elif kind == "get" and child == (DISCO_INFO, "query") and not self._node(element):
            if to.bare == self.domain:
                told = _info("server", "im", "Drainbow chat", (DISCO_INFO, DISCO_ITEMS, PING))
            elif own:
                told = _info("account", "registered", "", (DISCO_INFO,))
            elif rooms:
                told = _info("conference", "text", "Rooms", (DISCO_INFO, DISCO_ITEMS, MUC))
        elif kind == "get" and child == (DISCO_ITEMS, "query") and not self._node(element):
            if to.bare == self.domain:
                told = _items([self._rooms_domain])
            elif own:
                told = _items([])
            elif rooms:
                told = _items(self._rooms.jids())
        if told is None:
            self._refuse(element, "service-unavailable")
        else:
            session.deliver(result(element, told))

    def _node(self, element: Element) -> bool:
        return "node" in tree(element)[0].attrib

    def _refuse(self, element: Element, condition: str) -> None:
        refusal = error(element, condition)
        if refusal is not None:
            self._deliver_all([refusal])

    def _deliver_all(self, elements: Iterable[Element]) -> None:
        for element in elements:
            to = self._session(Jid.parse(element.attributes.get("to", "")))
            if to is not None:
                to.deliver(element)


def _info(category: str, kind: str, name: str, features: Iterable[str]) -> str:
    named = f' name="{escape(name)}"' if name else ""
    told = "".join(f'<feature var="{feature}"/>' for feature in features)
    return f'<query xmlns="{DISCO_INFO}"><identity category="{category}" type="{kind}"{named}/>{told}</query>'


def _items(jids: Iterable[str]) -> str:
    told = "".join(f'<item jid="{escape(jid)}"/>' for jid in jids)
    return f'<query xmlns="{DISCO_ITEMS}">{told}</query>'
