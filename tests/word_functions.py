"""Word functions for the test of their compiler: with plain operations they are plain Python, too."""

from __future__ import annotations

from graphc.runtime import layout as at

LIMIT = 100


def collatz(n: int, most: int, c: int) -> int:
    """Steps until n is 1, at most `most`."""
    steps = 0
    while n != 1 and steps < most:
        if n & 1:
            n = 3 * n + 1
        else:
            half = 0
            while 2 * half < n:
                half += 1
            n = half
        steps += 1
    return steps


def sums(a: int, b: int, c: int) -> int:
    total = 0
    for i in range(a):
        for j in range(i, b):
            total += i * j
    for k in range(a, b, -1):
        total -= k
    return total


def logic(a: int, b: int, c: int) -> int:
    if a > b or (b > c and c >= 0) or a == -5:
        return 1
    if not_so(a, b, c) and collatz(a * a + 1, 3, 0) <= 2:
        return LIMIT | 3
    return (a < b) + at.TABLE


def not_so(a: int, b: int, c: int) -> int:
    if a <= 0:
        if b != 0:
            return 1
        if c:
            a = 0
        elif b == c:
            return 1
        else:
            return LIMIT
    return a
