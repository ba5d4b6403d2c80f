"""The hook: told by a call or by a label, a pod leaves when it is empty, paces its clients away, or stays."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from types import SimpleNamespace

import pytest

from chatserver.deselection import says_deselected, watch


@pytest.mark.parametrize(
    ("text", "deselected"),
    [
        ("", False), ("\n", False), ("false", False), ("False\n", False),
        ("true", True), ('"true"', True), ("1700000000", True),
    ],
)  # fmt: skip
def test_a_label_that_is_neither_empty_nor_false_says_deselected(text: str, deselected: bool) -> None:
    assert says_deselected(text) == deselected


def test_only_changes_of_the_label_count_and_a_file_that_cannot_be_read_changes_nothing(
    chat: SimpleNamespace, tmp_path: Path
) -> None:
    path, calls = tmp_path / "label", []

    def swap(text: str) -> None:
        """As the kubelet does it: the file is replaced, never half written."""
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(path)

    async def main() -> None:
        async def looked(count: int = 3) -> None:
            await asyncio.sleep(0.01 * count)

        watching = asyncio.create_task(
            watch(path, lambda: calls.append("deselect"), lambda: calls.append("select"), every_s=0.002)
        )
        await looked()
        assert calls == []
        swap("")
        await looked()
        assert calls == []
        swap("true")
        await chat.until(lambda: calls == ["deselect"])
        swap("1700000000")
        path.unlink()
        await looked()
        swap("")
        await chat.until(lambda: calls == ["deselect", "select"])
        watching.cancel()

    chat.run(main)


def test_a_gateway_whose_label_is_set_leaves_when_it_is_empty(chat: SimpleNamespace, tmp_path: Path) -> None:
    label = tmp_path / "deselected"
    label.write_text("")

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chatserver", "all", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"),
            *("--xmpp=127.0.0.1:0", "--linger=0s", f"--deselected-file={label}"),
            stderr=PIPE,
        )
        assert process.stderr is not None
        assert b"gateway" in await process.stderr.readline()
        label.write_text("true")
        assert await asyncio.wait_for(process.wait(), 20) == 0

    chat.run(main)


def test_mode_pace_asks_clients_to_leave_and_mode_nothing_does_nothing(chat: SimpleNamespace) -> None:
    async def main() -> None:
        flags = ("--on-deselected=pace", "--per-s=100", "--linger=0s")
        async with chat.service(*flags) as service:
            ann = await service.user("ann")
            await service.admin("POST /deselected")
            assert (await ann.closed())[0] == 1012
            await chat.until(service.gateways[0].finished.is_set)
        async with chat.service("--on-deselected=nothing", "--linger=0s") as service:
            await service.admin("POST /deselected")
            bob = await service.user("bob")
            await bob.iq("get", '<ping xmlns="urn:xmpp:ping"/>')
            assert not service.gateways[0].finished.is_set()

    chat.run(main)


def test_a_release_that_is_to_crash_does_so_after_it_was_found_ready(chat: SimpleNamespace) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chatserver", "all", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0"),
            *("--xmpp=127.0.0.1:0", "--crash-after=100ms"),
            stderr=PIPE,
            env=dict(os.environ),
        )
        assert process.stderr is not None
        line = (await process.stderr.readline()).decode()
        match = re.search(r"admin at http://([^/]+)/", line)
        assert match is not None
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.3)
        while (await chat.http(match[1], "GET /readyz"))[0] != 200:
            await asyncio.sleep(0.02)
        assert await asyncio.wait_for(process.wait(), 20) == 70

    chat.run(main)
