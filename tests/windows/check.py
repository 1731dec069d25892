"""Recomputes an example's results from the CSV file alone, and holds its output against them.

    pipectl run examples/sessions.yaml --once | python3 tests/windows/check.py sessions data/user_log.csv
"""

import csv
import json
import sys
from collections import Counter, defaultdict
from datetime import datetime, timedelta

NAMES = "user_id item_id cat_id merchant_id brand_id month day action age_range gender province".split()


def rows(path):
    with open(path, encoding="utf-8", newline="") as file:
        for cells in csv.reader(file):
            if cells != NAMES:  # the header, where there is one
                yield dict(zip(NAMES, cells))


def day(row):
    return datetime(2015, int(row["month"]), int(row["day"])).strftime("%Y-%m-%dT00:00:00.000Z")


def province_top5(log):
    days = defaultdict(Counter)
    for row in log:
        if row["action"] == "2":
            days[day(row)][row["province"]] += 1
    return {
        (start, rank): (province, -count)
        for start, counts in days.items()
        for rank, (count, province) in enumerate(sorted((-c, p) for p, c in counts.items())[:5], 1)
    }


def conversion_rate(log):
    groups = defaultdict(list)
    for row in log:
        groups[day(row), row["province"]].append(row)
    expected = {}
    for group, members in groups.items():
        actions = Counter(row["action"] for row in members)
        bought, clicked = actions["2"], actions["0"]
        rate = bought / clicked if clicked else None
        expected[group] = (rate, bought, clicked, len({row["user_id"] for row in members}), len(members))
    return expected


def sessions(log):
    """Each session as (user, milliseconds from its first row to its last, rows, items), with how many there are of it."""
    users = defaultdict(list)
    for number, row in enumerate(log):
        users[row["user_id"]].append((number * 100, row["item_id"]))
    found = Counter()
    for user, events in users.items():
        session = [events[0]]
        for event in events[1:] + [None]:
            if event and event[0] - session[-1][0] < 3000:
                session.append(event)
                continue
            items = len({item for _, item in session})
            found[user, session[-1][0] - session[0][0], len(session), items] += 1
            session = [event]
    return found


def shipped(log):
    return Counter(row["gender"] for row in log)


def given(example, lines):
    results = [json.loads(line) for line in lines]
    time = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))
    if example == "shipped":
        sums = Counter()
        for r in results:
            sums[r["key"]] += r["count"]
        return sums
    if example == "sessions":
        length = lambda r: time(r["window_end"]) - time(r["window_start"]) - timedelta(seconds=3)
        return Counter((r["key"], round(length(r) / timedelta(milliseconds=1)), r["rows"], r["items"]) for r in results)
    if example == "province-top5":
        pairs = [((r["window_start"], r["rank"]), (r["province"], r["count"])) for r in results]
    else:
        names = "conversion conversion_of conversion_per shoppers rows".split()
        pairs = [((r["window_start"], r["key"]), tuple(r[n] for n in names)) for r in results]
    assert len(pairs) == len(dict(pairs)), "a window was given twice"
    return dict(pairs)


def main():
    example, path = sys.argv[1:]
    recount = {"province-top5": province_top5, "conversion-rate": conversion_rate, "sessions": sessions, "shipped": shipped}
    expected, got = recount[example](rows(path)), given(example, sys.stdin)
    for key in sorted(set(expected) | set(got), key=str):
        if expected.get(key) != got.get(key):
            sys.exit(f"{example}: {key}: expected {expected.get(key)}, got {got.get(key)}")
    print(f"{example}: {len(expected)} results are right")


main()
