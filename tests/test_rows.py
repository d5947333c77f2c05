"""Rows that are swept several times: kept, fetched ahead, written past the caches; quotients by what a row comes to."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

import graphc as gc
from graphc.codegen import form, rows, streamed
from graphc.codegen.intrinsics.target import has_two_multiply_adds
from graphc.passes.share import SHORT

Values = np.ndarray[Any, Any]


def softmax_and_gradient(shape: tuple[Any, ...], dtype: str, **options: Any) -> Any:
    x, w = gc.input("x", shape, dtype), gc.input("w", shape, dtype)
    y = gc.softmax(x, axis=-1)
    return gc.compile([x, w], [y, gc.grad(gc.sum(w * y), x)], options=gc.Options(**options))


def softmax_by_numpy(x: Values, w: Values) -> list[Values]:
    x, w = x.astype(float), w.astype(float)
    e = np.exp(x - x.max(-1, keepdims=True))
    y = e / e.sum(-1, keepdims=True)
    return [y, y * (w - (w * y).sum(-1, keepdims=True))]


def values(shape: tuple[int, ...], dtype: str) -> list[Values]:
    rng = np.random.default_rng(7)
    return [rng.normal(size=shape).astype(dtype) for _ in range(2)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [
        *((n, 64) for n in (0, 1, 7, 8, 9, 33)),  # bands of 8 rows
        *((n, c) for c in (129, 341, 342, 512) for n in (1, 6, 7, 8, 23)),  # of 7, 3, 2 and 2
        *((9, n) for n in (8, 15, 16, 17, 100, 127, 128, 129)),
        *((3, 255), (2, 256), (1, 300), (2, 1024), (2, 1025), (2, 1040), (1, 2500), (2, 4096), (0, 300), (2, 3, 257)),
        *((3, 1000), (2, 1999), (1, 2000), (2, 5, 100)),
    ],
)
def test_rows_of_any_length(shape: tuple[int, ...], dtype: str) -> None:
    """Ends of parts, blocks and lines; the batch is a symbol, so that rows are written by what chooses at run time."""
    x, w = values(shape, dtype)
    symbolic = ("n", *shape[1:])
    expected = softmax_by_numpy(x, w)
    for debug in (False, True):
        found = softmax_and_gradient(symbolic, dtype, debug=debug)(x, w)
        for have, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-7)


def test_only_large_arrays_are_fetched_and_written_so() -> None:
    small, large = (softmax_and_gradient((n, 1024), "float32").source for n in (100, 5000))
    assert all(word in large for word in ("fetch_lines_4(", "stream_f4("))
    assert not any(word in small for word in ("fetch", "stream"))


@pytest.mark.parametrize("shape", [(3000, 1001), (50, 256, 257)])
def test_results_written_past_the_caches(shape: tuple[int, ...]) -> None:
    """At any address and by any number of threads, the same bits, and nothing beside them."""
    x, w = values(shape, "float32")
    f = softmax_and_gradient(shape, "float32")
    assert "stream_f4" in f.source
    first = f(x, w)
    for have, want in zip(first, softmax_by_numpy(x, w), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    for threads, offset in ((1, 0), (2, 1), (3, 5), (4, 15)):
        memory = [np.full(x.size + 16, 7, np.float32) for _ in first]
        out = [m[offset : offset + x.size].reshape(shape) for m in memory]
        softmax_and_gradient(shape, "float32", threads=threads)(x, w, out=out)
        for have, want, m in zip(out, first, memory, strict=True):
            np.testing.assert_array_equal(have, want)
            assert (np.delete(m, np.s_[offset : offset + x.size]) == 7).all()


STEPS = ((5, 64), (3, 320), (2, 1024), (2, 2048), (7, 80), (3, 192), (2, 3, 128), (2, 3000), (4, 100), (0, 256))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", STEPS)
def test_rows_are_written_while_their_sweep_goes_on_where_lines_begin(
    shape: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs of several types that begin at the same place of a line and at others: the same bits, and nothing beside
    them."""
    x, w = values(shape, dtype)
    monkeypatch.setattr(streamed, "PAST_CACHES", 64)
    for name in ("SHORTEST", "SHORTER"):
        monkeypatch.setattr(streamed, name, 1)
    f, debugged = (softmax_and_signs(shape, dtype, cache=False, debug=debug) for debug in (False, True))
    assert ("store_lines_" in f.source) == (shape[-1] % 64 == 0 and shape[0] > 0)
    assert f.source.count("stream_") == (3 if shape[0] else 0)  # what a later sweep loads, too, of rows of any length
    wanted = f(x, w)
    y, slope = softmax_by_numpy(x, w)
    for found in (wanted, debugged(x, w)):
        for have, want in zip(found, (y, slope, found[1] > 0), strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    for begins in ((0, 0, 0), (0, 16, 3), (32, 0, 0), (8, 8, 64), (56, 40, 1)):
        written_at(f, (x, w), wanted, begins)


def layer_norm(xp: Any, x: Any, gain: Any, shift: Any) -> Any:
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    return centred / xp.sqrt(xp.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * gain + shift


def layer_norm_and_gradients(shape: tuple[Any, ...], dtype: str, **options: Any) -> Any:
    x, w = (gc.input(name, shape, dtype) for name in "xw")
    gain, shift = (gc.input(name, shape[-1:], dtype) for name in "ab")
    y = layer_norm(gc, x, gain, shift)
    return gc.compile([x, w, gain, shift], [y, *gc.vjp(y, [x, gain, shift], w)], options=gc.Options(**options))


def layer_norm_by_numpy(x: Values, w: Values, gain: Values, shift: Values) -> list[Values]:
    x, w, gain, shift = (a.astype(float) for a in (x, w, gain, shift))
    unit, slope, rows = layer_norm(np, x, 1.0, 0.0), w * gain, tuple(range(x.ndim - 1))
    mean, along = (np.mean(a, axis=-1, keepdims=True) for a in (slope, slope * unit))
    deviation = np.sqrt(np.var(x, axis=-1, keepdims=True) + 1e-5)
    return [unit * gain + shift, (slope - mean - unit * along) / deviation, (w * unit).sum(rows), w.sum(rows)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(5, 64), (3, 320), (5, 1024), (2, 2048), (2, 3, 128), (0, 256), (2, 1088), (9, 1000)]
)
def test_parts_of_rows_are_written_from_registers_where_lines_begin(
    shape: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no later sweep loads: on any number of threads and at any address the same bits, and nothing beside them."""
    monkeypatch.setattr(streamed, "PAST_CACHES", 64)
    for name in ("SHORTEST", "SHORTER"):
        monkeypatch.setattr(streamed, name, 1)
    (x, w), (gain, shift) = values(shape, dtype), values(shape[-1:], dtype)
    f, debugged = (layer_norm_and_gradients(shape, dtype, cache=False, debug=debug) for debug in (False, True))
    assert shape[-1] % 64 or f.source.count("store_or_keep_") >= 2
    wanted, by_numpy = f(x, w, gain, shift), layer_norm_by_numpy(x, w, gain, shift)
    for found in (wanted, debugged(x, w, gain, shift)):
        for have, want in zip(found, by_numpy, strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-4 if dtype == "float32" else 1e-11, atol=1e-4)
    on_three = layer_norm_and_gradients(shape, dtype, cache=False, threads=3)
    for begins in ((0, 0, 0, 0), (0, 16, 8, 8), (32, 0, 0, 0), (8, 56, 0, 0)):
        written_at(f, (x, w, gain, shift), wanted, begins)
        written_at(on_three, (x, w, gain, shift), wanted, begins)


def test_rows_are_folded_where_their_elements_are_computed_anyway() -> None:
    """The sum of slopes along a row, which the last sweep wants, beside that of slopes by what is normalised."""
    f = layer_norm_and_gradients((300, 2048), "float32")
    text = f.source.split("def kernel_1")[0]
    assert text.count("for i1 in range(") == 3
    (cotangent,) = re.findall(r"(p\d+) = word.*# input w", text)
    assert len(re.findall(rf"ld_f4_1_\d\({cotangent}, i0\*2048", text)) == 2
    (x, w), (gain, shift) = values((300, 2048), "float32"), values((2048,), "float32")
    for have, want in zip(f(x, w, gain, shift), layer_norm_by_numpy(x, w, gain, shift), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_folded_later_are_in_time_for_all_who_want_them(dtype: str) -> None:
    """Sums of one product that are wanted by the sweep after, by the last one, by totals and by no one else."""
    x, w = gc.input("x", (37, 300), dtype), gc.input("w", (37, 300), dtype)
    a, b = values((37, 300), dtype)

    def build(xp: Any, x: Any, w: Any) -> list[Any]:
        slope, most = x * w, xp.max(x, axis=1, keepdims=True)
        e = xp.exp(x - most)
        y = e / xp.sum(e, axis=1, keepdims=True)
        early, late = xp.sum(slope, axis=1, keepdims=True), xp.sum(slope * y, axis=1, keepdims=True)
        once = xp.sum(xp.abs(x) * w, axis=1)
        return [slope * y - early, slope - late * early, xp.sum(late), once, xp.sum(once * once)]

    found, wanted = gc.compile([x, w], build(gc, x, w))(a, b), build(np, a.astype(float), b.astype(float))
    for have, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-4 if dtype == "float32" else 1e-11, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("apart", [1, 2])
@pytest.mark.parametrize("shape", [(3, 2, 320), (2, 5, 64), (2, 3, 70), (3, 4, 400), (2, 3, 1500)])
def test_rows_of_several_axes_are_written_and_loaded_again(
    shape: tuple[int, ...], apart: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two axes that are no single loop, since an operand is the same along one of them."""
    monkeypatch.setattr(streamed, "PAST_CACHES", 64)
    for name in ("SHORTEST", "SHORTER"):
        monkeypatch.setattr(streamed, name, 1)
    (a, b), mask = values(shape, dtype), values((1, *(1 if k == apart else shape[k] for k in (1, 2))), dtype)[0]
    x, w, m = (gc.input(name, v.shape, dtype) for name, v in (("x", a), ("w", b), ("m", mask)))

    def fold(xp: Any, name: str, z: Any) -> Any:
        return getattr(xp, name)(z, axis=(1, 2), keepdims=True)

    def both(xp: Any, x: Any, w: Any, m: Any) -> Any:
        e = xp.exp(x * m - fold(xp, "max", x * m))
        y = e / fold(xp, "sum", e)
        return [y, y * (w - fold(xp, "sum", w * y))]

    every = (gc.Options(cache=False, debug=debug) for debug in (False, True))
    f, debugged = (gc.compile([x, w, m], both(gc, x, w, m), options=options) for options in every)
    assert f.source.count("stream_") == 2
    wanted = f(a, b, mask)
    for found in (wanted, debugged(a, b, mask)):
        for have, want in zip(found, both(np, a, b, mask), strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-6)
    for begins in ((0, 0), (16, 40), (32, 8)):
        written_at(f, (a, b, mask), wanted, begins)


def written_at(f: Any, arrays: Any, wanted: Any, begins: tuple[int, ...]) -> None:
    """Outputs begin so many bytes into a line of cache: they have the same bits, and nothing beside them is written."""
    memory = [np.full(want.nbytes + 192, 7, np.uint8) for want in wanted]
    at = [-m.ctypes.data % 64 + begin for m, begin in zip(memory, begins, strict=True)]
    places = [slice(k, k + want.nbytes) for k, want in zip(at, wanted, strict=True)]
    out = [m[p].view(v.dtype).reshape(v.shape) for m, p, v in zip(memory, places, wanted, strict=True)]
    f(*arrays, out=out)
    for have, want, m, p in zip(out, wanted, memory, places, strict=True):
        assert have.tobytes() == want.tobytes()
        assert (np.delete(m, p) == 7).all()


def softmax_and_signs(shape: tuple[int, ...], dtype: str, **options: Any) -> Any:
    x, w = gc.input("x", shape, dtype), gc.input("w", shape, dtype)
    y = gc.softmax(x, axis=-1)
    slope = gc.grad(gc.sum(w * y), x)
    return gc.compile([x, w], [y, slope, slope > 0], options=gc.Options(**options))


@pytest.mark.parametrize("rows", [3, 9000])
@pytest.mark.parametrize(("columns", "loops"), [(1024, 1), (1000, 2)])
def test_what_is_stored_is_not_computed_again(rows: int, columns: int, loops: int) -> None:
    """A later sweep of the row loads it: from the result, or from where it waits to be streamed.

    Of 1,000 columns the last 40 are a loop of their own.
    """
    x, w = values((rows, columns), "float32")
    f = softmax_and_gradient((rows, columns), "float32")
    assert f.source.count("share(") == loops
    for have, want in zip(f(x, w), softmax_by_numpy(x, w), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)


def test_short_rows_go_on_while_one_waits_for_its_fold() -> None:
    """Each sweep is made for a band of rows before the next one, unless rows are long or one sweep is all."""
    for columns, band in ((64, 8), (128, 8), (129, 7), (512, 2), (513, 1)):
        bands = re.findall(r"for h in range\(lo, hi, (\d)\)", softmax_and_gradient((40, columns), "float32").source)
        assert bands == ([str(band)] if band > 1 else [])
    x = gc.input("x", (40, 64), "float32")
    assert "for h in" not in gc.compile([x], 2 * gc.max(x, axis=1)).source


def test_what_rows_of_a_band_come_to_and_their_totals() -> None:
    """Results of several dtypes, to be told apart while they wait; columns and totals beside them."""
    x, w = values((21, 2, 64), "float32")
    a, b = gc.input("a", ("n", 2, 64), "float32"), gc.input("b", ("n", 2, 64), "float32")
    centred = a - gc.mean(a, axis=-1, keepdims=True)
    first, few = gc.argmax(a * b, axis=-1), gc.sum(gc.astype(a, "float64"), axis=-1)
    moved = centred * gc.astype(few + first, "float32")[..., None]
    outputs = [moved, first, few, gc.sum(moved), gc.sum(b, axis=0), gc.sum(centred * b, axis=0)]
    f, debugged = (gc.compile([a, b], outputs, options=gc.Options(debug=debug)) for debug in (False, True))
    x8, w8 = x.astype(float), w.astype(float)
    c8, k = x8 - x8.mean(-1, keepdims=True), np.argmax(x * w, -1)
    m8 = c8 * (x8.sum(-1) + k)[..., None]
    for found in (f(x, w), debugged(x, w)):
        for have, want in zip(found, (m8, k, x8.sum(-1), m8.sum(), w8.sum(0), (c8 * w8).sum(0)), strict=True):
            np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-2)


def test_the_interpreter_of_a_band_has_results_of_several_sizes_beside_one_another() -> None:
    x, _ = values((5, 16), "float32")
    a = gc.input("a", (5, 16), "float32")
    f = gc.compile([a], gc.argmax(gc.softmax(a, axis=1), axis=1), options=gc.Options(debug=True))
    np.testing.assert_array_equal(f(x), x.argmax(1))


def test_each_array_is_asked_for_in_a_sweep_of_its_own() -> None:
    """Lines of two arrays in turn take longer to come."""
    parts = softmax_and_gradient((5000, 1024), "float32").source.split("for f in")
    assert [part.count("fetch_lines") for part in parts] == [0, 1, 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 256), (5, 320), (33, 1024), (7, 272)])
def test_a_row_is_written_while_the_next_one_is_swept(
    shape: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last that is made, if its lines begin with rows: the same bits in chunks of several rows, nothing beside."""
    monkeypatch.setattr(form, "CHUNK", 4 * shape[1])
    x, w = values(shape, dtype)
    wanted = softmax_and_signs(shape, dtype, cache=False)(x, w)
    monkeypatch.setattr(streamed, "PAST_CACHES", 64)
    monkeypatch.setattr(rows, "_FETCHED", 0)
    f, debugged = (softmax_and_signs(shape, dtype, cache=False, debug=debug) for debug in (False, True))
    assert ("i0 > lo" in f.source) == (shape[0] > 1 and shape[1] % 64 == 0)
    for have, want in zip(debugged(x, w)[:2], wanted[:2], strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    for begins in ((0, 0, 0), (0, 16, 3), (32, 0, 64), (8, 8, 1)):
        written_at(f, (x, w), wanted, begins)


def test_a_band_asks_for_the_next_one() -> None:
    """Of rows of 256, 1024 bytes each, that are four or eight rows; of longer ones fewer."""
    for columns in (256, 512, 1024):
        later = (1024 if has_two_multiply_adds() else 2048) // columns
        source = softmax_and_gradient((2000, columns), "float32").source
        found = re.findall(r"fetch_lines_\d+\(p\d \+ \(i0\*\d+ \+ f\*4 \+ (\d+)\)\)", source)
        assert set(found) == {str(later * 4 * columns)}


def test_columns_of_what_is_loaded_are_folded_in_the_last_sweep_that_loads_it() -> None:
    x, w = gc.input("x", (5000, 1024), "float32"), gc.input("w", (5000, 1024), "float32")
    e = gc.exp(x - gc.max(x, axis=1, keepdims=True))
    f = gc.compile([x, w], [w / gc.sum(e, axis=1, keepdims=True), gc.sum(w, axis=0)])
    assert len(re.findall(r"ld_f4_1_\d\(p2, i0", f.source)) == 1
    a, b = values((5000, 1024), "float32")
    t = np.exp(a.astype(float) - a.max(1, keepdims=True)).sum(1, keepdims=True)
    for have, want in zip(f(a, b), (b / t, b.astype(float).sum(0)), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-3)


FOLDED: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sum": (gc.sum, np.sum), "prod": (gc.prod, np.prod), "max": (gc.max, np.max), "min": (gc.min, np.min),
    "argmax": (gc.argmax, np.argmax), "argmin": (gc.argmin, np.argmin),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FOLDED)
def test_short_rows_are_folded_in_place_to_the_same_bits(name: str, dtype: str) -> None:
    """Lengths about those of vectors and of four; the routine, which takes any length, is the measure."""
    ours, numpys = FOLDED[name]
    rng = np.random.default_rng(5)
    for n in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 200, 255, 256, 257):
        x, any_length = gc.input("x", (5, n), dtype), gc.input("x", (5, "n"), dtype)
        a = (1 + 0.1 * rng.normal(size=(5, n))).astype(dtype)
        a[1] *= -1
        a[2, n // 2], a[3] = np.nan, -0.0
        a[3, n // 3], a[4, -1] = 0.0, np.inf
        here = gc.compile([x], ours(x, axis=1))(a)
        there = gc.compile([any_length], ours(any_length, axis=1))(a)
        assert here.tobytes() == there.tobytes()
        np.testing.assert_allclose(here, numpys(a, axis=1), rtol=1e-5 if dtype == "float32" else 1e-13)
        if name in ("max", "min"):
            assert np.signbit(here[3]) == (name == "min" and n > 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("ours", "numpys"), [(gc.var, np.var), (gc.logsumexp, logsumexp)], ids=["var", "logsumexp"])
def test_states_of_short_rows_are_made_in_place_to_the_same_bits(
    ours: Any, numpys: Any, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also variances of rows that are otherwise sums."""
    monkeypatch.setattr(import_module("graphc.passes.share"), "SHORT", 0)
    rng = np.random.default_rng(6)
    for n in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 128, 129, 200, 255, 256, 257):
        x, any_length = gc.input("x", (8, n), dtype), gc.input("x", (8, "n"), dtype)
        a = (100 + rng.normal(size=(8, n))).astype(dtype)
        a[1] *= -1
        a[2, n // 2], a[3, -1], a[4], a[5], a[6, : n // 2], a[7] = np.nan, np.inf, -np.inf, np.inf, -np.inf, -1e4
        for value in (lambda x: x, lambda x: x - 1):  # read where they lie; computed
            here = gc.compile([x], ours(value(x), axis=1), options=gc.Options(cache=False))(a)
            there = gc.compile([any_length], ours(value(any_length), axis=1))(a)
            assert here.tobytes() == there.tobytes()
            with np.errstate(invalid="ignore"):
                expected = numpys(value(a.astype(float)), axis=1)
            np.testing.assert_allclose(here, expected, rtol=1e-5 if dtype == "float32" else 1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_variances_of_short_rows_are_those_of_exact_means(dtype: str) -> None:
    """Far from zero the mean is rounded by much of the deviation; of equal elements none is left, and never less."""
    rng = np.random.default_rng(7)
    for n in (2, 3, 10, 16, 17, 24, 25, SHORT, SHORT + 1):
        x = gc.input("x", ("n", n), dtype)
        deviations = gc.compile([x], (gc.var(x, axis=1), gc.std(x, axis=1)))
        far = (1e4 + rng.normal(size=(300, n))).astype(dtype)
        np.testing.assert_allclose(
            deviations(far)[0], np.var(far.astype("longdouble"), axis=1), rtol=4 * np.finfo(dtype).eps
        )
        equal = np.repeat(rng.uniform(0.1, 10, (300, 1)), n, axis=1).astype(dtype)
        std = deviations(equal)[1]
        assert (std >= 0).all()
        assert (std <= np.finfo(dtype).eps * equal[:, 0]).all()


@pytest.mark.parametrize(("length", "lines"), [(520, 5), (512, 4), (784, 7), (514, 32)])
def test_a_chunk_of_rows_is_interpreted_as_it_is_compiled(
    length: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "PAST_CACHES", 0)
    monkeypatch.setattr(rows, "_FETCHED", 0)
    x, w = values((3, length), "float64")
    f = softmax_and_gradient((3, length), "float64", debug=True)
    assert all(word in f.source for word in (f"fetch_lines_{lines}(", "stream_f8("))
    for have, want in zip(f(x, w), softmax_by_numpy(x, w), strict=True):
        np.testing.assert_allclose(have, want, rtol=1e-13, atol=1e-15)


def test_a_total_takes_what_rows_come_to() -> None:
    x = gc.input("x", (50, 300))
    y = x * x
    row = gc.sum(y, axis=1, keepdims=True)
    f = gc.compile([x], [y / row, gc.sum(y)])
    a = np.random.default_rng(1).normal(size=(50, 300))
    assert f.source.count("sum_f8(") == 1
    np.testing.assert_allclose(f(a)[1], (a * a).sum(), rtol=1e-15)


# quotients


def quotients(dtype: str) -> Callable[[Values, Values], Values]:
    x, y = gc.input("x", ("n", "m"), dtype), gc.input("y", ("n", 1), dtype)
    f = gc.compile([x, y], x / y)
    assert "over(" in f.source
    return lambda a, b: np.asarray(f(a, b))


def any_floats(shape: tuple[int, int], dtype: str) -> Values:
    """Floats of any bits, and those at which division is special."""
    kind: Any = {"float32": np.uint32, "float64": np.uint64}[dtype]
    bits = np.random.default_rng(3).integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)
    found, limits = bits.view(dtype), np.finfo(dtype)
    least = limits.smallest_subnormal
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, limits.tiny, least, -3 * least, limits.max, limits.tiny / 3, 1, -1]
    found[: len(special), 0] = special
    found[-1, -len(special) :] = special
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_quotients_by_what_rows_share_have_the_bits_of_quotients(dtype: str) -> None:
    """All but those that are near to subnormal, which may be off by one unit of the last place."""
    x, y = any_floats((400, 90), dtype), any_floats((400, 12), dtype)
    limits = np.finfo(dtype)
    for column in y.T:
        with np.errstate(all="ignore"):
            expected = x / column[:, None]
        found = quotients(dtype)(x, np.ascontiguousarray(column[:, None]))
        same = (found == expected) & (np.signbit(found) == np.signbit(expected)) | np.isnan(found) & np.isnan(expected)
        tiny = np.abs(expected) < limits.tiny / limits.eps
        assert (same | tiny).all()
        np.testing.assert_allclose(found[tiny], expected[tiny], rtol=2 * limits.eps, atol=2 * limits.smallest_subnormal)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_over_themselves_are_one(dtype: str) -> None:
    x = np.random.default_rng(5).lognormal(sigma=20, size=(1000, 1)).astype(dtype)
    assert (quotients(dtype)(np.repeat(x, 3, axis=1), x) == 1).all()


def test_adjoints_of_broadcast_operands_are_summed_before_what_rows_share() -> None:
    """The cotangent of s is -sum(g * (x / s)) / s, with one sum and one quotient a row beside the value's own."""
    x, g, s = gc.input("x", (4, 300)), gc.input("g", (4, 300)), gc.input("s", (4, 1))
    f = gc.compile([x, g, s], gc.grad(gc.sum(g * (x / s)), s))
    a, b = values((4, 300), "float64")
    c = np.array([[1.0], [-2.0], [0.5], [1e-3]])
    assert (f.source.count("over("), f.source.count("sum_f8(")) == (1, 1)
    np.testing.assert_allclose(f(a, b, c), -(a * b).sum(1, keepdims=True) / c**2, rtol=1e-12)


def test_quotients_by_the_same_are_those_of_the_machine() -> None:
    """Two float64 over the same divisor are products with its reciprocal, corrected."""
    info = np.finfo(np.float64)
    special = [0.0, 1.0, 3.0, info.max, info.tiny, np.inf, np.nan, 1e300, 1e-300, 7e-155]
    rng = np.random.default_rng(5)
    drawn = rng.standard_normal((3, 20_000)) * 10.0 ** rng.integers(-150, 150, (3, 20_000))
    grid = np.array([g.ravel() for g in np.meshgrid(*[[*special, *(-v for v in special)]] * 3)])
    a, b, d = np.concatenate([grid, drawn], axis=1)
    x, y, z = (gc.input(name, a.shape) for name in "xyz")
    f = gc.compile([x, y, z], (x / z, y / z))
    assert f.source.count("= over(") == 2
    with np.errstate(all="ignore"):
        for found, wanted in zip(f(a, b, d), (a / d, b / d), strict=True):
            normal = ~(np.abs(wanted) < info.tiny / info.eps) | (wanted == 0)
            np.testing.assert_array_equal(found[normal], wanted[normal])
            np.testing.assert_array_equal(
                np.signbit(found)[normal & ~np.isnan(wanted)], np.signbit(wanted)[normal & ~np.isnan(wanted)]
            )


def test_quotients_by_constants_are_those_of_the_machine() -> None:
    """Of float64, by a product with the reciprocal; beside vector math, and of float32, as ever."""
    info = np.finfo(np.float64)
    divisors = [0.7, 3.0, -1e300, 1e-300, info.smallest_subnormal, info.max, np.inf, -np.inf, -0.0, 0.0, np.nan]
    a = any_floats((400, 90), "float64")
    x, y = gc.input("x", a.shape), gc.input("y", a.shape, "float32")
    f = gc.compile([x], tuple(x / c for c in divisors))
    assert f.source.count("= over(") == len(divisors)
    with np.errstate(all="ignore"):
        for found, wanted in zip(f(a), (a / c for c in divisors), strict=True):
            normal = ~(np.abs(wanted) < info.tiny / info.eps) | (a == 0)
            np.testing.assert_array_equal(found[normal], wanted[normal])
            assert np.array_equal(np.signbit(found[normal]), np.signbit(wanted[normal])) or np.isnan(wanted).any()
    for out in (y / 3, gc.exp(x) / 3):
        assert "= over(" not in gc.compile([x, y], out).source
