"""Makes bad input of good input: by bytes, by cells of a table, by values of a tree."""

import random
from collections.abc import Callable, Sequence
from typing import Any

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff" * 8, b"\xff" * 7 + b"\x7f")
CELLS = (
    *("", " ", "-1", "0", "7", "255", "256", "1.5", "1e400", "-inf", "nan", "NaN", "inf", "None", "True", "0x1F"),
    *(
        "9" * 18,
        "9" * 30,
        "9" * 5000,
        "1e15",
        "1e18",
        "1e300",
        '"',
        "'",
        ",",
        ";",
        "\t",
        "\r",
        "\0",
        "\ufeff",
        "\u00e9",
        "\u00b2",
    ),
    *("=1+1", "../../x", "/etc/passwd", "a" * 10_000, "1 2 3", "-0", "1e-400", "Training", "index", "label", "fold"),
)
VALUES: tuple[Callable[[], Any], ...] = tuple(
    lambda value=value: value
    for value in (
        *(None, True, False, 0, 1, -1, 2, 7, 1000, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.5, 1e300, 1e-300),
        *(
            float("nan"),
            float("inf"),
            -float("inf"),
            "",
            " ",
            "x",
            "nan",
            "..",
            "\0",
            "\n",
            "a" * 5000,
            "resnet18",
            "small",
        ),
        *("timm:x", "/etc/passwd", "cuda", "last epoch"),
    )
) + (
    list,
    dict,
    lambda: [[]],
    lambda: {"": None},
    lambda: [0] * 50,
    lambda: ["x", "x"],
    lambda: {"epoch": {}},
    lambda: {1: 2},
)


def mutate_bytes(content: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """One to three of: bits flipped, extreme numbers, ranges cut out, doubled, put in, cut off; or files spliced."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data, n = bytearray(content), len(content)
        start = rng.choice((rng.randrange(n + 1), rng.randrange(min(n, 512) + 1), max(0, n - rng.randrange(1, 512))))
        length = rng.choice((1, 2, 4, 8, 64, 512, n // 4))
        how = rng.randrange(8)
        if how == 0:
            for _ in range(rng.choice((1, 1, 2, 8, 64))):
                if n:
                    data[rng.randrange(n)] ^= 1 << rng.randrange(8)
        elif how == 1 and n:
            place = min(start, n - 1)
            data[place] ^= 1 << rng.randrange(8)
        elif how == 2:
            extreme = rng.choice(EXTREMES)
            data[start : start + len(extreme)] = extreme
        elif how == 3:
            del data[start : start + length]
        elif how == 4:
            data[start:start] = data[start : start + length]
        elif how == 5:
            data[start:start] = rng.randbytes(length if length < 1000 else 8)
        elif how == 6:
            del data[start:]
        elif others:
            other = rng.choice(others)
            data = data[:start] + other[rng.randrange(len(other) + 1) :]
        content = bytes(data)
    return content


def mutate_table(content: bytes, rng: random.Random) -> bytes:
    """Cells to extremes; columns and rows dropped, doubled, swapped, renamed."""
    rows = [line.split(",") for line in content.decode("utf-8", "replace").splitlines()]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.randrange(len(rows)) if rows else 0
        if not rows or not rows[row]:
            break
        column = rng.randrange(len(rows[row]))
        how = rng.randrange(9)
        if how < 3:
            rows[row][column] = rng.choice(CELLS)
        elif how == 3:
            words = rows[row][column].split(" ")
            words[rng.randrange(len(words))] = rng.choice(CELLS)
            rows[row][column] = " ".join(words)
        elif how == 4:
            rows[0][rng.randrange(len(rows[0]))] = rng.choice((*CELLS, *rows[0]))
        elif how == 5:
            del rows[row][column]
        elif how == 6:
            for cells in rows:
                cells.insert(0, cells.pop(min(column, len(cells) - 1)) if cells else "")
        elif how == 7:
            rows.insert(row, list(rows[rng.randrange(len(rows))]))
        else:
            del rows[row]
    return "\n".join(",".join(cells) for cells in rows).encode("utf-8", "replace")


def mutate_tree(value: Any, rng: random.Random, leaf: Callable[[Any, random.Random], Any] | None = None) -> Any:
    """Dicts and lists with one to three values replaced, keys renamed or dropped. `leaf` makes values of its own."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _mutate_node(value, rng, leaf)
    return value


def _mutate_node(value: Any, rng: random.Random, leaf: Callable[[Any, random.Random], Any] | None) -> Any:
    inside = isinstance(value, dict | list) and len(value)
    if not inside or rng.random() < 0.08:
        changed = leaf(value, rng) if leaf else None
        return rng.choice(VALUES)() if changed is None else changed
    if isinstance(value, list):
        place = rng.randrange(len(value))
        how = rng.randrange(4)
        if how == 0:
            return value[:place] + value[place + 1 :]
        if how == 1:
            return value + [value[place]]
        return [_mutate_node(v, rng, leaf) if i == place else v for i, v in enumerate(value)]
    key = rng.choice(list(value))
    how = rng.randrange(10)
    if how == 0:
        return {k: v for k, v in value.items() if k != key}
    if how == 1:
        new = rng.choice(("x", "", str(key).upper(), f"{key} ", "data", rng.choice(list(value))))
        return {new if k == key else k: v for k, v in value.items()}
    if how == 2:
        return value | {rng.choice(("colour", "module", "", "epoch")): rng.choice(VALUES)()}
    return {k: _mutate_node(v, rng, leaf) if k == key else v for k, v in value.items()}
