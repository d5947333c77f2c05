"""The compiler of word functions against Python itself."""

from __future__ import annotations

import itertools
import types

import pytest
import small_programs as small
import word_functions

from graphc.runtime.backend import compile_modules
from graphc.runtime.native import Native
from graphc.runtime.words import compile_words, load

NAMES = ("collatz", "sums", "logic", "not_so")


@pytest.fixture(scope="module")
def native():
    return Native((compile_modules(word_functions),), NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_compiled_equals_python(native, name):
    for args in itertools.product((-5, -1, 0, 1, 2, 7, 12), repeat=3):
        if name != "collatz" or args[0] > 0:
            assert small.call(native, *args, name=name) == getattr(word_functions, name)(*args), (name, args)


def test_what_the_language_lacks_is_told(tmp_path, monkeypatch):
    (tmp_path / "wrong_words.py").write_text("def f(a, b, c):\n    return a / b\n")
    monkeypatch.syspath_prepend(tmp_path)
    module: types.ModuleType = __import__("wrong_words")
    with pytest.raises(NotImplementedError, match="line 2: a / b"):
        compile_words([module], "")


def test_operations_are_not_for_python():
    with pytest.raises(TypeError, match="never called as Python"):
        load(0, 0)
