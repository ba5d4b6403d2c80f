"""For people: `locust -f loadgen/locustfile.py` with Locust's web UI, its reports and its options.

The number of users is Locust's; how they behave comes from `--chat-config`, or else from the defaults. Time
zero, from which sessions run, is when all users are logged in for the first time.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events

from loadgen.behaviour.settings import Behaviour
from loadgen.config import LoadConfig, LoadError, read_config
from loadgen.load import ChatLoad, ChatUser
from loadgen.places import Users

__all__ = ["ChatUser"]

_LOG = logging.getLogger(__name__)


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def _add_options(parser: Any, **_: Any) -> None:
    group = parser.add_argument_group("chat users")
    group.add_argument(
        "--chat-config",
        env_var="CHAT_CONFIG",
        default="",
        help="JSON file with the users' behaviour; the options below win",
    )
    group.add_argument(
        "--chat-url", env_var="CHAT_URL", default="", help="ws://host:port/path of the chat service"
    )
    group.add_argument(
        "--chat-log", env_var="CHAT_LOG", default="", help="file to which finished connections are appended"
    )


@events.init.add_listener  # type: ignore[untyped-decorator]
def _set_up(environment: Any, **_: Any) -> None:
    options = environment.parsed_options
    try:
        environment.chat_load = ChatLoad(
            environment, _config(options), resized=True, started=_zero_when_online
        )
    except LoadError as error:
        raise SystemExit(str(error)) from error


def _config(options: Any) -> LoadConfig:
    if options.chat_config:
        config = read_config(Path(options.chat_config))
        url, log = options.chat_url or config.url, options.chat_log or config.connections
    else:
        config = LoadConfig("", Behaviour(), seed=0, connections="")
        url = options.chat_url or "ws://127.0.0.1:5280/xmpp-websocket"
        log = options.chat_log or "connections.jsonl"
    return LoadConfig(url, config.behaviour, config.seed, log, domain=config.domain, password=config.password)


def _zero_when_online(users: Users) -> None:
    gevent.spawn(_watch, users)


def _watch(users: Users) -> None:
    zero = False
    while not users.ended:
        while users.warnings:
            _LOG.warning(users.warnings.popleft())
        if not zero and users.crowd.all_online:
            zero = True
            users.zero(time.time())
        gevent.sleep(0.2)
    if users.failed is not None:
        _LOG.error("the users stopped on an error of ours", exc_info=users.failed)
