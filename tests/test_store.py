"""The record: what is written reads back, damage is found and named, workers and buckets share."""

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from ad_jax import store
from ad_jax.errors import InputError
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
