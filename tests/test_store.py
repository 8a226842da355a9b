"""The record: what is written reads back, damage is found and named, workers and buckets share."""

import hashlib
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

from ad_jax import store
from ad_jax.base.errors import InputError
from ad_jax.runs import plan
from ad_jax.store import Record, digest, files, places


def rows(numbers, offset=0.0):
    return {
        digest(i): {"scores": np.arange(4.0) + i + offset, "seconds": np.array(float(i))}
        for i in numbers
    }


def the_file(folder):
    (path,) = folder.glob("*.safetensors")
    return path


def flip(path):
    """Damages the last byte; the new content."""
    content = path.read_bytes()
    content = content[:-1] + bytes([content[-1] ^ 1])
    path.write_bytes(content)
    return content


def test_rows_of_any_layout_read_back(tmp_path):
    given = {
        "a": {"x": np.arange(6, dtype=np.float32).reshape(2, 3).T, "n": np.array(3)},
        "b": {"x": np.arange(6, dtype=np.float32).reshape(2, 3).T + 1, "n": np.array(4)},
        "c": {"flag": np.array([True, False]), "nothing": np.zeros((0, 2), np.uint32)},
        "d": {"x": np.full(2, np.nan)},
    }
    Record(tmp_path).put(given)
    again = Record(tmp_path)
    assert len(again) == 4 and again.get("e") is None
    for key, row in given.items():
        found = again.get(key)
        assert set(found) == set(row)
        for name, value in row.items():
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_notes_are_no_part_of_a_key(tmp_path, monkeypatch):
    from ad_jax.store import record

    Record(tmp_path).put(rows([1]))
    monkeypatch.setattr(record, "_ABOUT", {"commit": "another", "jax": "0"})
    other = Record(tmp_path)
    other.put(rows([1, 2]))
    heads = []
    for path in sorted(tmp_path.glob("*.safetensors")):
        with open(path, "rb") as handle:
            heads.append(files.read_head(handle, path))
    assert {head.about["commit"] for head in heads} >= {"another"}
    assert len(other) == 2 and sum(len(k) for h in heads for k in h.tables) == 2


def test_every_damaged_byte_is_found(tmp_path):
    """Head, keys, padding, numbers: wherever a byte changes, the row is gone and named."""
    Record(tmp_path).put(rows([1]))
    path = the_file(tmp_path)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.warns(UserWarning, match=path.name):
            record = Record(tmp_path)
            found = record.get(digest(1))
            assert found is None
            list(record.chunks())
        assert list(record.damaged) == [path.name]
    for length in (0, 5, 200, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.warns(UserWarning, match=path.name):
            assert not Record(tmp_path).has(digest(1))


def forged(told, tensors, header=None):
    """A file of any head and tensors, with the checksum that belongs to it."""
    told = {"checksum": files._BLANK, **told} if isinstance(told, dict) else told
    header = header or {**tensors, "__metadata__": {"ad_jax": json.dumps(told)}}
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    content = len(head).to_bytes(8, "little") + head + np.arange(8.0).tobytes()
    checksum = hashlib.sha256(content).hexdigest().encode()
    return content.replace(files._BLANK.encode(), checksum, 1)


FINE = {"format": 1, "tables": [["k"]], "about": {}}
TENSOR = {"dtype": "F64", "shape": [1, 8], "data_offsets": [0, 64]}
HOSTILE = {
    "nested head": forged(None, {}, b"[" * 200_000),
    "nested notes": forged(None, {"0.x": TENSOR}, {"__metadata__": {"ad_jax": "[" * 200_000}}),
    "head no object": forged(None, {}, b"[1, 2]"),
    "tables a number": forged({**FINE, "tables": 5}, {"0.x": TENSOR}),
    "tables of numbers": forged({**FINE, "tables": [5]}, {"0.x": TENSOR}),
    "a table a text": forged({**FINE, "tables": ["k"]}, {"0.x": TENSOR}),
    "keys no texts": forged({**FINE, "tables": [[["k"]]]}, {"0.x": TENSOR}),
    "table out of range": forged(FINE, {"7.x": TENSOR}),
    "table from the end": forged(FINE, {"-1.x": TENSOR}),
    "table no number": forged(FINE, {"x": TENSOR}),
    "more rows than keys": forged(FINE, {"0.x": {**TENSOR, "shape": [8, 1]}}),
    "no rows": forged(FINE, {"0.x": {**TENSOR, "shape": []}}),
    "shape a text": forged(FINE, {"0.x": {**TENSOR, "shape": "18"}}),
    "unknown dtype": forged(FINE, {"0.x": {**TENSOR, "dtype": "Q9"}}),
    "offsets beyond": forged(FINE, {"0.x": {**TENSOR, "data_offsets": [32, 64]}}),
    "offset no number": forged(FINE, {"0.x": {**TENSOR, "data_offsets": [0, "64"]}}),
    "tensor no object": forged(FINE, {"0.x": 3}),
    "notes a list": forged({**FINE, "about": []}, {"0.x": TENSOR}),
    "format a text": forged({**FINE, "format": "1"}, {"0.x": TENSOR}),
    "checksum a number": forged({**FINE, "checksum": 5}, {"0.x": TENSOR}),
    "checksum empty": forged({**FINE, "checksum": ""}, {"0.x": TENSOR}),
    "checksum a surrogate": forged({**FINE, "checksum": "\ud800" * 64}, {"0.x": TENSOR}),
}


def used(folder):
    """All that reads a record's files, on a record with one good row."""
    record = Record(folder)
    for key in list(record.keys()):
        record.get(key)
    list(record.chunks()), list(record.logs())
    store.merge([folder], folder.parent / f"{folder.name} merged")
    return record


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_named_and_set_aside(tmp_path, name):
    folder = tmp_path / "record"
    Record(folder).put(rows([1]))
    (folder / "hostile.safetensors").write_bytes(HOSTILE[name])
    with pytest.warns(UserWarning, match="hostile.safetensors is damaged"):
        record = used(folder)
    assert list(record.damaged) == ["hostile.safetensors"]
    assert list(record.keys()) == [digest(1)] and record.get(digest(1)) is not None


def test_a_forged_file_that_is_well_formed_is_read(tmp_path):
    """So what the hostile ones fail by is what is said of them."""
    (tmp_path / "forged.safetensors").write_bytes(forged(FINE, {"0.x": TENSOR}))
    np.testing.assert_array_equal(Record(tmp_path).get("k")["x"], np.arange(8.0))


def test_heads_of_random_json_are_read_or_set_aside(tmp_path):
    generator = np.random.default_rng(0)
    scalars = [None, True, 0, 1, -1, 2**70, 1e308, "", "0.x", "k", "F64", "\ud800", [], {}]

    def value(depth):
        kind = generator.integers(0, 4 if depth else 2)
        if kind < 2:
            return scalars[generator.integers(len(scalars))]
        some = [value(depth - 1) for _ in range(generator.integers(0, 3))]
        return some if kind == 2 else {f"{i}.x": one for i, one in enumerate(some)}

    folder = tmp_path / "record"
    Record(folder).put(rows([1]))
    for i in range(150):
        told, tensors = dict(FINE), {"0.x": dict(TENSOR)}
        place = [told, tensors, tensors["0.x"]][generator.integers(3)]
        place[list(place)[generator.integers(len(place))]] = value(2)
        told["format"] = 1 if told["format"] == 2**70 else told["format"]  # newer: refused
        (folder / f"{i}.safetensors").write_bytes(forged(told, tensors))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = used(folder)
    assert record.get(digest(1)) is not None and len(record.damaged) > 75


def test_logs_of_anything_are_passed_over(tmp_path):
    """Lines that no worker wrote neither stop a status nor count in it."""
    record = Record(tmp_path)
    record.log({"members": 2, "seconds": 4.0, "keys": ["k"]})
    odd = [
        b"[" * 100_000,
        b"5",
        b"null",
        b"\xff\xfe",
        b'{"members": "2", "keys": 5}',
        b'{"keys": []}',
    ]
    odd += [b'{"members": 1, "seconds": 1, "keys": [[]], "worker": "w", "time": "now"}']
    (tmp_path / "logs" / "odd.jsonl").write_bytes(b"\n".join(odd))
    workers, speed = plan._speed(Record(tmp_path), {"k"})
    assert workers == 1 and speed == 0.5


def test_damaged_rows_are_done_again_beside_the_file(tmp_path):
    Record(tmp_path).put(rows([1, 2]))
    path = the_file(tmp_path)
    damaged = flip(path)
    with pytest.warns(UserWarning, match="left alone"):
        record = Record(tmp_path)
        assert record.get(digest(1)) is None
    record.put(rows([1, 2]))
    assert record.get(digest(2)) is not None and path.read_bytes() == damaged
    again = Record(tmp_path)
    for i in (1, 2):
        assert again.get(digest(i)) is not None
    with pytest.warns(UserWarning, match="left alone"):
        assert [chunk.path for chunk in again.chunks()] == [again.path_of(digest(1))]


def test_a_newer_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FORMAT", 9)
    Record(tmp_path).put(rows([1]))
    content = the_file(tmp_path).read_bytes()
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"newer ad_jax \(format 9, this one reads 1\)"):
        Record(tmp_path)
    assert the_file(tmp_path).read_bytes() == content


def test_workers_see_each_other_and_the_second_is_dropped(tmp_path):
    one, other = Record(tmp_path), Record(tmp_path)
    one.put(rows([1, 2]))
    assert not other.has(digest(1))
    other.put(rows([1, 2]))  # finished the same chunk
    other.put(rows([2, 3]))  # and one that overlaps
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    one.refresh()
    assert len(one) == 3 and one.get(digest(3)) is not None
    held = [key for record in (Record(tmp_path),) for c in record.chunks() for key in c.keys]
    assert sorted(held) == sorted(set(held))


def test_names_stay_free_of_what_is_half_written(tmp_path):
    record = Record(tmp_path)
    part = tmp_path / f".x.safetensors.1{places.PART}"
    part.write_bytes(b"half")
    record.begin()
    assert part.exists() and len(Record(tmp_path)) == 0
    os.utime(part, (time.time() - 7200,) * 2)
    record.begin()
    assert not part.exists()


def test_logs_of_several_workers(tmp_path):
    one, other = Record(tmp_path), Record(tmp_path)
    for i in range(3):
        one.log({"members": i})
        other.log({"members": 10 + i})
    with open(tmp_path / "logs" / f"{one.worker}.jsonl", "a") as file:
        file.write('{"torn": ')
    lines = list(Record(tmp_path).logs())
    assert sorted(line["members"] for line in lines) == [0, 1, 2, 10, 11, 12]
    assert {line["worker"] for line in lines} == {one.worker, other.worker}
    assert len(list((tmp_path / "logs").iterdir())) == 2


def test_failures_are_kept_until_done(tmp_path):
    record = Record(tmp_path)
    record.fail(digest(1), {"error": "ValueError: no"})
    told = json.loads((tmp_path / "failed" / f"{digest(1)}.json").read_text())
    assert told["error"] == "ValueError: no" and told["worker"] == record.worker
    assert record.failed() == {digest(1)}
    record.put(rows([1]))
    assert record.failed() == set()
    record.mend([digest(1)])
    assert not list((tmp_path / "failed").iterdir())


# ---- merging ----


def test_merge_copies_verifies_and_never_doubles(tmp_path):
    a, b, c = (tmp_path / name for name in "abc")
    Record(a).put(rows([1, 2]))
    Record(a).put(rows([3]))
    Record(b).put(rows([2, 3, 4]))
    Record(b).log({"members": 3})
    Record(b).fail(digest(9), {"error": "no"})
    done = store.merge([a, b], c)
    assert done == store.Merged(chunks=3, rows=4, known=2, damaged=0)
    joined = Record(c)
    assert [float(joined.get(digest(i))["scores"][0]) for i in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert joined.failed() == {digest(9)} and len(list(joined.logs())) == 1
    held = [key for chunk in joined.chunks() for key in chunk.keys]
    assert sorted(held) == sorted(set(held))
    assert store.merge([a, b], c) == store.Merged(chunks=0, rows=0, known=6, damaged=0)


def test_merge_refuses_contradictions_and_names_both(tmp_path):
    a, b, c = (tmp_path / name for name in "abc")
    Record(a).put(rows([1, 2]))
    Record(b).put(rows([2, 3], offset=0.1))
    with pytest.raises(InputError, match=f"{a}.*{b}"):
        store.merge([a, b], c)
    assert not c.exists()
    with pytest.raises(InputError, match="into itself"):
        store.merge([a], a)
    with pytest.raises(InputError, match="no finished chunk"):
        store.merge([tmp_path / "nowhere"], c)


def test_merge_forgives_the_rounding_of_measures_and_keeps_the_first(tmp_path):
    def one(**changes):
        row = {
            "params": np.arange(3, dtype=np.float32),
            "stop": np.array(4),
            "held_out_scores": np.array([[-20.0, np.nan, 3.0]], np.float32),
            **changes,
        }
        return {digest(1): row}

    a, b = tmp_path / "a", tmp_path / "b"
    Record(a).put(one())
    moved = np.array([[-20.0, np.nan, 3.0 + 2e-6]], np.float32)
    Record(b).put(one(held_out_scores=moved))
    assert store.merge([a, b], tmp_path / "c").known == 1
    kept = Record(tmp_path / "c").get(digest(1))
    np.testing.assert_array_equal(kept["held_out_scores"], [[-20, np.nan, 3]])
    for number, changes in enumerate(
        [
            {"params": np.nextafter(np.arange(3, dtype=np.float32), np.float32(9))},
            {"stop": np.array(5)},
            {"held_out_scores": moved + 1},
            {"held_out_scores": np.nan_to_num(moved)},
            {"held_out_scores": moved.astype(float)},
        ]
    ):
        Record(tmp_path / f"{number}").put(one(**changes))
        with pytest.raises(InputError, match="differs"):
            store.merge([a, tmp_path / f"{number}"], tmp_path / "d")


def test_merge_forgives_the_time_it_took(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    Record(a).put(rows([1]))
    slower = rows([1])
    slower[digest(1)]["seconds"] = np.array(99.0)
    Record(b).put(slower)
    assert store.merge([a, b], tmp_path / "c").known == 1


def test_merge_leaves_damaged_files_out(tmp_path):
    a = tmp_path / "a"
    Record(a).put(rows([1]))
    Record(a).put(rows([2]))
    path = sorted(a.glob("*.safetensors"))[0]
    flip(path)
    with pytest.warns(UserWarning, match=path.name):
        done = store.merge([a], tmp_path / "c")
    assert done.damaged == 1 and done.rows == 1
    assert len(Record(tmp_path / "c")) == 1


# ---- disks ----


def test_a_full_disk_is_one_error_with_its_name_and_loses_nothing(tmp_path):
    """RLIMIT_FSIZE stands for it: writing fails in the middle of a file."""
    record = Record(tmp_path)
    record.put(rows([1]))
    large = {digest(2): {"scores": np.zeros(50_000)}}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as error:
            record.put(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename.endswith(".safetensors")
    assert not list(tmp_path.glob(".*"))
    again = Record(tmp_path)
    assert len(again) == 1 and again.get(digest(1)) is not None and not again.damaged
    record.put(large)
    assert len(Record(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_fails_at_the_start(tmp_path, monkeypatch):
    def refuse(*arguments, **more):
        raise OSError(30, "Read-only file system")

    record = Record(tmp_path)
    record.put(rows([1]))
    monkeypatch.setattr(places, "open", refuse, raising=False)
    with pytest.raises(OSError, match="Read-only") as error:
        record.begin()
    assert str(tmp_path) in str(error.value.filename)


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "not supported")

    monkeypatch.setattr(places.os, "link", refuse)
    Record(tmp_path).put(rows([1]))
    assert Record(tmp_path).get(digest(1)) is not None and not list(tmp_path.glob(".*"))


# ---- buckets ----


@pytest.fixture
def bucket(monkeypatch):
    """`s3://` answered from memory."""
    pytest.importorskip("fsspec")
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "s3", MemoryFileSystem)
    MemoryFileSystem.store.clear()
    yield "s3://bucket/record"
    MemoryFileSystem.store.clear()


def test_a_bucket_holds_the_same(bucket, tmp_path):
    record = Record(bucket)
    record.begin()
    record.put(rows([1, 2]))
    Record(bucket).put(rows([1, 2]))
    record.fail(digest(7), {"error": "no"})
    again = Record(bucket)
    assert len(again) == 2 and again.get(digest(2))["scores"][0] == 2
    assert again.failed() == {digest(7)} and len(list(again.logs())) == 1
    assert store.merge([bucket], tmp_path).rows == 2
    assert store.merge([tmp_path], bucket).known == 2


@pytest.mark.parametrize("text", ["ftp://a/b", "nothing://a/b"])
def test_unknown_buckets_are_refused(text):
    with pytest.raises(InputError, match="gs://"):
        Record(text)


def test_local_paths_import_no_bucket_library():
    code = """
import sys
from ad_jax.store import Record
Record("/nowhere")
heavy = {"etils", "fsspec", "jax", "safetensors"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- kills ----


def _write(folder, start, slow):
    """A worker that never ends: chunks of three rows, with a pause before each rename."""
    link = os.link

    def slowly(*arguments):
        time.sleep(slow)
        link(*arguments)

    places.os.link = slowly
    record = Record(folder)
    for number in range(start, 10_000):
        record.refresh()
        record.put(rows(range(3 * number, 3 * number + 3)))
        record.log({"members": 3, "keys": list(rows([number]))})


@pytest.mark.whole
def test_killed_writers_lose_and_double_nothing(tmp_path):
    """Three workers on overlapping chunks, killed at random moments, most within a write."""
    generator = np.random.default_rng(0)
    context = multiprocessing.get_context("forkserver")
    seen = 0
    for _ in range(4):
        workers = [context.Process(target=_write, args=(tmp_path, k, 0.003)) for k in range(3)]
        for worker in workers:
            worker.start()
        deadline = time.time() + 30
        while len(list(tmp_path.glob("*.safetensors"))) < seen + 5 and time.time() < deadline:
            time.sleep(0.01)
        for worker in workers:
            time.sleep(generator.uniform(0, 0.05))
            worker.kill()
            worker.join()
        record = Record(tmp_path)
        held = [key for chunk in record.chunks() for key in chunk.keys]
        assert not record.damaged and len(held) >= seen
        assert set(held) == set(record.keys()) and len(record) % 3 == 0
        whole = rows(range(len(record) + 30))
        for key in held:
            np.testing.assert_array_equal(record.get(key)["scores"], whole[key]["scores"])
        assert all("members" in line for line in record.logs())
        seen = len(list(tmp_path.glob("*.safetensors")))
    assert seen >= 20
