"""Files of weights: what goes in comes out under every name, and what a file of a stranger can do: nothing."""

from __future__ import annotations

import io
import os
import struct
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc as gc
from graphc.nn import weights

SHAPES = {"k": (4, 5), "b": (5,), "flag": (3,)}


def parameters() -> list[gc.Node]:
    kernel, bias = (gc.parameter(n, np.full(SHAPES[n], 7, "f")) for n in "kb")
    return [kernel, bias, gc.parameter("flag", np.array([True, False, True]))]


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


def header(text: str, version: bytes = b"\1\0", data: bytes = b"\0" * 80, length: int | None = None) -> bytes:
    """An array file with this text for a header."""
    form = "<H" if version[:1] == b"\1" else "<I"
    return b"\x93NUMPY" + version + struct.pack(form, len(text) if length is None else length) + text.encode() + data


def described(dtype: str = "'<f4'", shape: str = "(4, 5)", order: str = "False") -> str:
    return f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


GOOD = {"k.npy": npy(np.ones((4, 5), "f")), "b.npy": npy(np.ones(5, "f")), "flag.npy": npy(np.ones(3, bool))}


def archive(members: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED, **changed: bytes) -> bytes:
    """An archive of these members, the good ones with some changed if none are given."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as z:
        for name, data in (members or {**GOOD, **{f"{n}.npy": data for n, data in changed.items()}}).items():
            z.writestr(name, data)
    return file.getvalue()


def patched(find: bytes, offset: int, new: bytes, last: bool = False) -> bytes:
    """The good archive with some bytes changed, counted from where `find` first or last stands."""
    data = bytearray(archive())
    at = (data.rfind(find) if last else data.find(find)) + offset
    data[at : at + len(new)] = new
    return bytes(data)


def twice() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        for name in [*GOOD, "k.npy"]:
            info = zipfile.ZipInfo(name)
            z.NameToInfo.pop(name, None)
            z.writestr(info, GOOD[name])
    return file.getvalue()


def bomb(count: int) -> bytes:
    """An array of zeros that is much longer than its archive."""
    text = described(shape=f"({count},)")
    return archive(compression=zipfile.ZIP_DEFLATED, k=header(text, data=bytes(4 * count)))


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
WHOLE = archive()
FIRST_VALUE = WHOLE.index(np.ones(1, "f").tobytes())

HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "text": lambda: b"weights, says the file" * 9,
    "zeros": lambda: bytes(1000),
    "an array without an archive": lambda: GOOD["k.npy"],
    "an archive of nothing": lambda: archive({"empty": b""})[:0] + END + bytes(18),
    "a pickle": lambda: b"\x80\x04cposix\nsystem\n(X\x04\0\0\0exittR.",
    "its end is missing": lambda: WHOLE[:-40],
    "its half is missing": lambda: WHOLE[: len(WHOLE) // 2],
    "its start is missing": lambda: WHOLE[100:],
    "a bit of a value": lambda: WHOLE[:FIRST_VALUE] + bytes([WHOLE[FIRST_VALUE] ^ 1]) + WHOLE[FIRST_VALUE + 1 :],
    "an encrypted member": lambda: patched(CENTRAL, 8, b"\1\0"),
    "an unknown method": lambda: patched(CENTRAL, 10, b"\x63\0"),
    "a deflated member that is not": lambda: patched(CENTRAL, 10, b"\x08\0"),
    "packed by bzip2": lambda: archive(compression=zipfile.ZIP_BZIP2),
    "packed by LZMA": lambda: archive(compression=zipfile.ZIP_LZMA),
    "a version of zip to come": lambda: patched(CENTRAL, 6, b"\xff\xff"),
    "a wrong checksum": lambda: patched(CENTRAL, 16, b"abcd"),
    "a size that is too small": lambda: patched(CENTRAL, 20, b"\x10\0\0\0\x10\0\0\0"),
    "a size of four gigabytes": lambda: patched(CENTRAL, 20, b"\xfe\xff\xff\xff\xfe\xff\xff\xff"),
    "an offset behind the end": lambda: patched(CENTRAL, 42, b"\xfe\xff\xff\x7f"),
    "a list of members behind the end": lambda: patched(END, 16, b"\xfe\xff\xff\x7f", last=True),
    "a list of members that is too long": lambda: patched(END, 12, b"\xfe\xff\xff\x7f", last=True),
    "a local header that is none": lambda: patched(LOCAL, 0, b"PK\7\7"),
    "a name that differs in the local header": lambda: patched(b"k.npy", 0, b"z.npy"),
    "a member that stands twice": twice,
    "a member too many": lambda: archive({**GOOD, "more.npy": GOOD["b.npy"]}),
    "a member that is no array": lambda: archive({**GOOD, "k": b"text"}),
    "a member too few": lambda: archive({n: d for n, d in GOOD.items() if n[0] != "b"}),
    "nine thousand members": lambda: archive({**GOOD, **{f"{k}.npy": b"" for k in range(9000)}}),
    "an empty member": lambda: archive(k=b""),
    "a member of zeros": lambda: archive(k=bytes(200)),
    "objects": lambda: archive(k=npy(np.array([[print] * 5] * 4, object))),
    "another dtype": lambda: archive(k=npy(np.ones((4, 5)))),
    "another byte order": lambda: archive(k=npy(np.ones((4, 5), ">f4"))),
    "a record": lambda: archive(k=npy(np.zeros((4, 5), [("a", "f4")]))),
    "another shape": lambda: archive(k=npy(np.ones((5, 4), "f"))),
    "a negative shape": lambda: archive(k=header(described(shape="(-4, -5)"))),
    "a shape beyond all memory": lambda: archive(k=header(described(shape="(4, 2305843009213693952)"))),
    "a shape that is true": lambda: archive(k=header(described(shape="(True, 5)"))),
    "fewer values than the header says": lambda: archive(k=GOOD["k.npy"][:-4]),
    "more values than the header says": lambda: archive(k=GOOD["k.npy"] + b"more"),
    "eighty megabytes of zeros": lambda: bomb(20_000_000),
    "a header that is a program": lambda: archive(k=header("__import__('os').abort()\n")),
    "a header nested without end": lambda: archive(k=header("(" * 9000 + ")" * 900 + "\n")),
    "a header of minus signs": lambda: archive(k=header("{'shape': " + "-" * 9000 + "1}\n")),
    "a header that is too long": lambda: archive(k=header(described() + " " * 15_000)),
    "a header of two gigabytes": lambda: archive(k=header(described(), b"\2\0", length=2**31)),
    "a header of another version": lambda: archive(k=header(described(), b"\3\0")),
    "a header without a shape": lambda: archive(k=header("{'descr': '<f4', 'fortran_order': False}\n")),
    "bools that are neither": lambda: archive(flag=GOOD["flag.npy"][:-3] + b"\1\2\1"),
    "more bytes than the parameters": lambda: archive(k=GOOD["k.npy"] + bytes(3 << 20)),
}


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 41
    assert len({make() for name, make in HOSTILE.items() if "megabytes" not in name}) == len(HOSTILE) - 1


def test_the_good_archive_is_read(tmp_path: Path) -> None:
    for data in (WHOLE, archive(compression=zipfile.ZIP_DEFLATED)):
        (tmp_path / "w.npz").write_bytes(data)
        loaded = parameters()
        weights.load(tmp_path / "w.npz", loaded)
        assert all((w.value == 1).all() for w in loaded)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_an_error_that_changes_nothing_and_takes_no_memory(name: str, tmp_path: Path) -> None:
    path, state = tmp_path / "w.npz", parameters()
    path.write_bytes(HOSTILE[name]())
    before = [w.value for w in state]
    tracemalloc.start()
    try:
        with pytest.raises(gc.InputError, match=r"w\.npz"):
            weights.load(path, state)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    for a, w in zip(before, state, strict=True):
        np.testing.assert_array_equal(a, w.value)


def test_damage_of_every_byte_is_an_error_or_means_nothing(tmp_path: Path) -> None:
    """A bit flipped at any place: what is read then is what was written, or an error."""
    path = tmp_path / "w.npz"
    state = parameters()
    for at in range(len(WHOLE)):
        path.write_bytes(WHOLE[:at] + bytes([WHOLE[at] ^ (1 << at % 8)]) + WHOLE[at + 1 :])
        try:
            weights.load(path, state)
        except gc.InputError:
            assert all((w.value != 1).any() for w in state[:2])
        else:
            assert all((w.value == 1).all() for w in state)
            state = parameters()


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices with names")
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "sparse"])
def test_what_is_no_file_of_weights_at_all(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(60 << 30)
    error = IsADirectoryError if kind == "folder" else gc.InputError
    with pytest.raises(error, match=r"w\.npz"):
        weights.load(path, parameters())


# Names


NAMES = [
    ["w", "w.npy"],
    ["w.npy", "w", "w.npy.npy"],
    ["w", "w", "w_1", "w"],
    ["it's", 'say "x"', "line\nbreak", "tab\t", "back\\slash", "a/b", "/etc/passwd", "../up", "..", ".", " ", "a//b/"],
    ["file", "arr_0", "args", "kwds", "self"],
    ["größe", "名前", "🎲", "é", "e\u0301"],
    ["x" * 300, "x" * 60_000],
    ["%s", "{x}", "<b>&amp;</b>", "$(ls)", "`", "#", "A", "a"],
]


@pytest.mark.parametrize("names", NAMES, ids=lambda names: ascii(names)[:40])
def test_values_come_back_under_every_name(names: list[str], tmp_path: Path) -> None:
    def named(start: float) -> list[gc.Node]:
        return [gc.parameter(n, np.full(2, start + k)) for k, n in enumerate(names)]

    saved, loaded = named(1.0), named(100.0)
    weights.save(tmp_path / "w.npz", saved)
    weights.load(tmp_path / "w.npz", loaded)
    assert [w.value[0] for w in loaded] == [1.0 + k for k in range(len(names))]
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 70_000], ids=["NUL", "surrogate", "long"])
def test_a_name_that_no_archive_holds_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(gc.GraphcError):
        weights.save(tmp_path / "w.npz", [gc.parameter(name, 1.0)])
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_every_kind_come_back(tmp_path: Path) -> None:
    given = [np.zeros((0, 3)), np.array(2.5), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(4, dtype="u1")]
    given += [np.array([True, False]), np.array([np.nan, -0.0, np.inf]), np.arange(3, dtype="f4")[::-1]]
    weights.save(tmp_path / "w.npz", [gc.parameter(f"p{k}", a) for k, a in enumerate(given)])
    loaded = [gc.parameter(f"p{k}", np.ones_like(a)) for k, a in enumerate(given)]
    weights.load(tmp_path / "w.npz", loaded)
    for a, w in zip(given, loaded, strict=True):
        assert np.ascontiguousarray(a).tobytes() == w.value.tobytes()
    np.savez(tmp_path / "by_numpy.npz", **{f"p{k}": a for k, a in enumerate(given)})
    weights.load(tmp_path / "by_numpy.npz", loaded)
    with np.load(tmp_path / "w.npz") as archive:
        assert all(a.tobytes() == archive[f"p{k}"].tobytes() for k, a in enumerate(given))


# Where they are written


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_a_link_in_the_folder_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one in the place of the file, nor one under the name that the file has while it is written."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "w.npz").symlink_to(precious)
    for name in (f"w.npz.{os.getpid()}.part", "w.npz.part", "w.npz.tmp"):
        (folder / name).symlink_to(precious)
    weights.save(folder / "w.npz", parameters())
    assert precious.read_text() == "precious"
    assert not (folder / "w.npz").is_symlink()
    monkeypatch.setattr(weights.secrets, "token_hex", lambda n: "guessed")
    (folder / ".guessed.part").symlink_to(precious)
    with pytest.raises(FileExistsError):
        weights.save(folder / "w.npz", parameters())
    assert (folder / ".guessed.part").is_symlink()
    assert precious.read_text() == "precious"


@pytest.mark.skipif(os.name != "posix", reason="links and modes")
def test_a_file_has_the_mode_that_the_user_wants_of_files(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        weights.save(tmp_path / "w.npz", parameters())
    finally:
        os.umask(old)
    assert (tmp_path / "w.npz").stat().st_mode & 0o777 == 0o640


def test_four_threads_that_save_one_path_leave_one_whole_file(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    start = threading.Barrier(4)

    def save(value: float) -> None:
        mine = [gc.parameter("w", np.full(20_000, value))]
        try:
            start.wait()
            for _ in range(25):
                weights.save(tmp_path / "w.npz", mine)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(float(k),)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]
    (found,) = loaded = [gc.parameter("w", np.full(20_000, -1.0))]
    weights.load(tmp_path / "w.npz", loaded)
    assert found.value[0] in range(4)
    assert (found.value == found.value[0]).all()


def test_an_error_names_the_path_that_was_given(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        weights.save(tmp_path / "nowhere" / "w.npz", parameters())
    assert caught.value.filename == str(tmp_path / "nowhere" / "w.npz")
