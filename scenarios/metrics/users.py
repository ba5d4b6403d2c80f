"""What the run did to users: forced reconnects, the way back, what was lost."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl

from scenarios.metrics.attribution import caused
from scenarios.metrics.run import Run
from scenarios.metrics.survival import quantile
from scenarios.record import is_cut

Value = float | int | None


def forced_reconnects(run: Run) -> Value:
    """Connections that opened (`t_open_s` set) and were closed by server, pod_gone or network in the window.

    At level series: the sum of `forced_closes`, unless a warm-up ends within a bin.
    """
    if run.level == "series":
        whole = run.window.from_s == int(run.window.from_s)
        return int(run.bins["forced_closes"].sum()) if whole else None
    return run.record.connections.filter(is_cut() & run.within("t_close_s")).height


def per_client_deploy(run: Run) -> dict[str, Value]:
    """Forced reconnects that deploys caused, per client and deploy; all null if no deploy was done.

    mean: Σ over deploys done of the closes it caused / Σ of clients connected at its request. p99 and more
    than once: over pairs of a deploy done and a client that was connected at its request or was hit by it
    later; p99 is the smallest number that 99 % of the pairs do not exceed. At level lost the clients
    connected are `series.open`, which is exact only for requests on a whole second; else, and at level
    series, null.
    """
    names = ("", "_p99", "hit_more_than_once_ratio")
    keys = [f"forced_reconnects_per_client_deploy{n}" if n.startswith("_") or not n else n for n in names]
    nothing: dict[str, Value] = dict.fromkeys(keys)
    done = run.deploys.filter(pl.col("outcome") == "done")
    if run.level == "series" or done.is_empty():
        return nothing
    hits = caused(run).filter(pl.col("deploy").is_in(done["deploy"].implode()))
    per_pair = hits.group_by("deploy", "user").len("hits")
    clients = pairs = 0
    for deploy, requested_s in done.select("deploy", "t_requested_s").iter_rows():
        connected = _connected(run, requested_s)
        if connected is None:
            return nothing
        open_then = run.record.connections.filter(_open_at(requested_s))["user"]
        hit = per_pair.filter(pl.col("deploy") == deploy)["user"]
        clients += connected
        pairs += connected + int((~hit.is_in(open_then.implode())).sum())
    if clients == 0:
        return nothing
    counts = sorted(per_pair["hits"].to_list())
    rank = math.ceil(0.99 * pairs - 1e-9)  # from 1; those who were not hit come first
    unhit = pairs - len(counts)
    p99 = 0 if rank <= unhit else counts[rank - unhit - 1]
    more = sum(count > 1 for count in counts)
    return dict(zip(keys, (hits.height / clients, p99, more / pairs), strict=True))


def _open_at(t_s: float) -> pl.Expr:
    closed_s = pl.col("t_close_s").fill_null(math.inf)
    return pl.col("t_open_s").is_not_null() & (pl.col("t_open_s") <= t_s) & (closed_s > t_s)


def _connected(run: Run, t_s: float) -> int | None:
    """Connections open at a moment, None where the level cannot tell."""
    if run.level == "full":
        return run.record.connections.filter(_open_at(t_s)).height
    if t_s != int(t_s):
        return None
    return int(run.record.series.filter(pl.col("t_s") == t_s)["open"].sum())


def peak_reconnects_per_s(run: Run) -> Value:
    """The largest bin of `series.reconnect_requests`, summed over releases; retries count too."""
    return int(run.bins["reconnect_requests"].max() or 0)  # type: ignore[arg-type]


def peak_reconnects_per_s_10s(run: Run) -> Value:
    """The largest sum of ten consecutive bins, over 10, however short the run."""
    rows = run.bins.filter(pl.col("reconnect_requests") > 0)
    at = rows["t_s"].cast(pl.Int64).to_list()
    count = rows["reconnect_requests"].to_list()
    best = total = first = 0
    for last, t in enumerate(at):
        total += count[last]
        while at[first] <= t - 10:
            total -= count[first]
            first += 1
        best = max(best, total)
    return best / 10


def losses(run: Run) -> pl.DataFrame:
    """One row for each loss in the window: a logged-in connection that was cut.

    `t_back_s`: the user's next log-in, null if none came before the end. `t_gone_s`: when the user left or
    gave up while offline, null if that did not happen. `known`: false where the user may have left unseen.
    """
    logged_in = pl.col("t_ready_s").is_not_null()
    rows = run.record.connections
    lost = rows.filter(logged_in & is_cut() & run.within("t_close_s"))
    backs = rows.filter(logged_in & (pl.col("t_ready_s") < run.window.to_s))
    with_back = followed(lost.select("user", pl.col("t_close_s").alias("t_lost_s")), backs)
    gone = _gone(run)
    found = with_back.join(gone, on="user", how="left").with_columns(
        pl.when(pl.col("t_back_s").is_null() & (pl.col("t_gone_s") < run.window.to_s))
        .then("t_gone_s")
        .alias("t_gone_s")
    )
    known = pl.col("t_back_s").is_not_null() | pl.col("t_gone_s").is_not_null() | pl.lit(_ends_are_known(run))
    return found.with_columns(known.alias("known")).sort("t_lost_s", "user")


def followed(lost: pl.DataFrame, backs: pl.DataFrame) -> pl.DataFrame:
    """`lost` (user, t_lost_s, …) with each user's next log-in after it."""
    return lost.sort("t_lost_s").join_asof(
        backs.select("user", pl.col("t_ready_s").alias("t_back_s")).sort("t_back_s"),
        left_on="t_lost_s",
        right_on="t_back_s",
        by="user",
        strategy="forward",
        check_sortedness=False,
    )


def _ends_are_known(run: Run) -> bool:
    """Whether a user of whom nothing more is seen is known to be still trying."""
    if run.spec.users.session.kind == "forever" or run.record.connections["t_end_s"].is_not_null().any():
        return True
    return run.level == "full" and run.spec.users.count is not None


def _gone(run: Run) -> pl.DataFrame:
    """When users left or gave up, as far as the log tells: user, t_gone_s.

    The log tells it by `t_end_s` (a session's fixed end) and `gave_up`; in a fixed population also by the
    next occupant of the same place, who comes at that moment.
    """
    rows = run.record.connections
    ends = rows.group_by("user").agg(pl.col("t_end_s").drop_nans().max().alias("t_gone_s")).drop_nulls()
    ends = ends.filter(pl.col("t_gone_s").is_finite())
    quits = _quits(run).select("user", "t_gone_s")
    parts = [ends, quits]
    if run.spec.users.count is not None:
        seats = rows.select(
            pl.col("user").str.extract(r"^u(\d+)-\d+$", 1).cast(pl.Int64).alias("place"),
            pl.col("user").str.extract(r"^u\d+-(\d+)$", 1).cast(pl.Int64).alias("occupant"),
            "user",
            "t_request_s",
        ).drop_nulls()
        firsts = seats.group_by("place", "occupant").agg(
            pl.col("t_request_s").min().alias("t_gone_s"), (pl.col("occupant").first() - 1).alias("before")
        )
        people = seats.select("place", "occupant", "user").unique()
        parts.append(
            people.join(firsts, left_on=["place", "occupant"], right_on=["place", "before"]).select(
                "user", "t_gone_s"
            )
        )
    return pl.concat(parts).group_by("user").agg(pl.col("t_gone_s").min())


def _quits(run: Run) -> pl.DataFrame:
    """Users who gave up, and when: user, t_gone_s.

    As the log says (`gave_up`), or where it has no such column: whose last attempts, as many as the policy
    allows (`give_up`), all failed.
    """
    rows = run.record.connections.sort("user", "t_request_s", "attempt")
    said = rows.filter(pl.col("gave_up"))
    if rows["gave_up"].is_not_null().any():
        return said.select("user", pl.col("t_close_s").alias("t_gone_s"))
    policy = run.spec.users.reconnect.chosen
    give_up = getattr(policy, "give_up", None)
    if give_up is None:
        return said.select("user", pl.col("t_close_s").alias("t_gone_s"))
    since_login = pl.col("t_ready_s").is_not_null().cast(pl.Int64).cum_sum().over("user")
    runs = (
        rows.with_columns(since_login.alias("_run"))
        .group_by("user", "_run")
        .agg(
            pl.col("failure").is_not_null().sum().alias("failed"), pl.col("t_close_s").max().alias("t_gone_s")
        )
    )
    return runs.filter(pl.col("failed") >= give_up).select("user", "t_gone_s")


def way_back(run: Run) -> dict[str, Value]:
    """`reconnect_s_*` and `offline_user_s`, from the losses; null at level series.

    reconnect_s: Kaplan-Meier over (loss → logged in again), censored where the user left, gave up or the
    run ended first; null where the estimate does not reach the quantile. offline_user_s: the sum over all
    losses of the time until the first of these; null where users may have left unseen.
    """
    keys = ("reconnect_s_p50", "reconnect_s_p95", "reconnect_s_p99")
    if run.level == "series":
        return {**dict.fromkeys(keys), "offline_user_s": None}
    spans = _spans(run)
    ended, censored = _ended_and_censored(spans)
    found: dict[str, Value] = {
        key: quantile(ended, censored, q) for key, q in zip(keys, (0.5, 0.95, 0.99), strict=True)
    }
    found["offline_user_s"] = math.fsum(spans["span_s"].to_list()) if bool(spans["known"].all()) else None
    return found


def waits(run: Run) -> tuple[list[float], list[float]]:
    """The seconds from each loss to logged in again, and those after which a wait was last seen going on.

    `reconnect_s_*` are the Kaplan-Meier quantiles of them. Both empty at level series.
    """
    return ([], []) if run.level == "series" else _ended_and_censored(_spans(run))


def _spans(run: Run) -> pl.DataFrame:
    until = pl.min_horizontal("t_back_s", "t_gone_s").fill_null(run.window.to_s)
    return losses(run).with_columns((until - pl.col("t_lost_s")).alias("span_s"))


def _ended_and_censored(spans: pl.DataFrame) -> tuple[list[float], list[float]]:
    back = pl.col("t_back_s").is_not_null()
    # Where the log does not tell how long a user went on trying, nothing is known after the loss itself.
    unknown = spans.filter(~back).select(pl.when("known").then("span_s").otherwise(0.0))
    return spans.filter(back)["span_s"].to_list(), unknown["span_s"].to_list()


def gave_up(run: Run) -> Value:
    """Users who gave up in the window; null below level full."""
    if run.level != "full":
        return None
    return _quits(run).filter(run.within("t_gone_s")).height


def failed_attempts(run: Run) -> Value:
    """Attempts that failed (`failure` set) in the window, so never logged in; null below level full."""
    if run.level != "full":
        return None
    rows = run.record.connections
    return rows.filter(
        pl.col("t_ready_s").is_null() & pl.col("failure").is_not_null() & run.within("t_close_s")
    ).height


def messages_lost(run: Run) -> Value:
    """Σ `messages_lost` over connections that ended in the window or were still open; null below level full.

    The log itself leaves out the last 5 s and addressees who left. Null too where no message was counted.
    """
    rows = run.record.connections
    if run.level != "full" or (rows.height > 0 and rows["messages_lost"].is_null().all()):
        return None
    ended = run.within("t_close_s") | pl.col("t_close_s").is_null()
    return int(rows.filter(ended)["messages_lost"].sum())


def storm_recovery_s(run: Run) -> Value:
    """From a deploy's first forced close until 95 % of its losers are back; the longest over deploys.

    A loser is back at the first log-in after the last close that this deploy caused; Kaplan-Meier, censored
    where the user left, gave up or the run ended first. Null if no deploy closed anything, if a deploy's 95
    % were not reached, and at level series.
    """
    if run.level == "series":
        return None
    hits = caused(run).filter(pl.col("deploy").is_not_null())
    backs = run.record.connections.filter(pl.col("t_ready_s") < run.window.to_s)
    gone = _gone(run)
    worst: float | None = None
    for deploy in hits["deploy"].unique().sort():
        of = hits.filter(pl.col("deploy") == deploy)
        first_s: float = of["t_close_s"].min()  # type: ignore[assignment]
        last = of.group_by("user").agg(pl.col("t_close_s").max().alias("t_lost_s"))
        rows = followed(last, backs).join(gone, on="user", how="left")
        ended: Sequence[float] = (rows["t_back_s"].drop_nulls() - first_s).to_list()
        away = rows.filter(pl.col("t_back_s").is_null())
        until = pl.max_horizontal(
            pl.col("t_gone_s").fill_null(run.window.to_s).clip(upper_bound=run.window.to_s), "t_lost_s"
        )
        censored = away.select(until - first_s).to_series().to_list()
        took_s = quantile(ended, censored, 0.95)
        if took_s is None:
            return None
        worst = took_s if worst is None else max(worst, took_s)
    return worst
