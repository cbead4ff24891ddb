"""Readers of data: what they return, and what they say of damaged files; batches, transforms."""

import gzip
import struct

import numpy as np
import pytest

from fastconv.train import data
from fastconv.train.data import Batches, Crop, Dataset, Normalise, flip

IDX_CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx_bytes(array, code=None):
    code = IDX_CODES["u1"] if code is None else code
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.tobytes()


def write_pair(folder, part, count, suffix=""):
    """Write an IDX pair as MNIST's; return the arrays."""
    rng = np.random.default_rng(count)
    images = rng.integers(0, 256, (count, 4, 5), np.uint8)
    labels = rng.integers(0, 10, count, np.uint8)
    pack = gzip.compress if suffix else bytes
    (folder / f"{part}-images-idx3-ubyte{suffix}").write_bytes(pack(idx_bytes(images)))
    (folder / f"{part}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx_bytes(labels)))
    return images, labels


# ---------------------------------------------------------------- IDX


@pytest.mark.parametrize("dtype, code", IDX_CODES.items())
@pytest.mark.parametrize("compressed", [False, True])
def test_read_idx(tmp_path, dtype, code, compressed):
    array = (np.arange(24).reshape(2, 3, 4) - (dtype != "u1")).astype(dtype)
    content = idx_bytes(array, code)
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if compressed else content)
    result = data.read_idx(path)
    assert result.dtype == np.dtype(dtype).newbyteorder("=") and result.dtype.isnative
    np.testing.assert_array_equal(result, array)
    result[0] = 0  # it is the caller's own


GOOD = idx_bytes(np.zeros((2, 3), np.uint8))
DAMAGED = {
    "empty": (b"", "expected an IDX file, .* found an empty file"),
    "other": (b"\x89PNG....", "expected an IDX file, .* found 89 50 4e 47"),
    "type": (b"\0\0\x07\x01" + GOOD[4:], "expected an IDX file, .* found 00 00 07 01"),
    "header": (GOOD[:9], "expected 12 bytes of header for 2 axes, found 9"),
    "short": (GOOD[:-1], r"expected 6 bytes of elements \(uint8, shape \(2, 3\)\), found 5"),
    "long": (GOOD + b"\0", "expected 6 bytes of elements .*, found 7"),
    "gzip": (gzip.compress(GOOD)[:-9], "expected a whole gzip file, found one cut off"),
    "gzip start": (gzip.compress(GOOD)[:5], "expected a whole gzip file, found one cut off"),
    "gzip inside": (gzip.compress(GOOD)[:12] + b"\xff" * 30, "expected a whole gzip file"),
}


@pytest.mark.parametrize("content, text", DAMAGED.values(), ids=DAMAGED)
def test_read_idx_of_damaged_files(tmp_path, content, text):
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"some-file: {text}"):
        data.read_idx(path)


def test_a_missing_file_is_named(tmp_path):
    for read in (data.read_idx, data.read_cifar10, data.read_npz):
        with pytest.raises(FileNotFoundError, match="absent.npz"):
            read(tmp_path / "absent.npz")


# ---------------------------------------------------------------- CIFAR-10


def cifar_bytes(count, seed=0):
    records = np.random.default_rng(seed).integers(0, 256, (count, 3073), np.uint8)
    records[:, 0] %= 10
    return records


def test_read_cifar10(tmp_path):
    first, second = cifar_bytes(3), cifar_bytes(2, 1)
    for name, records in (("a.bin", first), ("b.bin", second)):
        (tmp_path / name).write_bytes(records.tobytes())
    images, labels = data.read_cifar10(tmp_path / "a.bin", tmp_path / "b.bin")
    assert images.shape == (5, 3, 32, 32) and images.dtype == np.uint8
    np.testing.assert_array_equal(labels, [*first[:, 0], *second[:, 0]])
    assert images[4, 2, 31, 30] == second[1, -2]
    assert images[0, 1, 0, 0] == first[0, 1 + 1024]


@pytest.mark.parametrize(
    "content, text",
    [
        (b"", "expected records of 3073 bytes .* found 0 bytes"),
        (cifar_bytes(2).tobytes()[:-1], "found 6145 bytes, 2.00 records"),
        (b"\x0a" + cifar_bytes(1).tobytes()[1:], "expected labels from 0 to 9 .* found 10 in rec"),
    ],
)
def test_read_cifar10_of_damaged_files(tmp_path, content, text):
    (tmp_path / "batch.bin").write_bytes(content)
    with pytest.raises(ValueError, match=f"batch.bin: .*{text}"):
        data.read_cifar10(tmp_path / "batch.bin")


def test_read_cifar10_of_no_files():
    with pytest.raises(ValueError, match="read_cifar10: paths must name at least one file"):
        data.read_cifar10()


# ---------------------------------------------------------------- NPZ


def test_read_npz(tmp_path):
    path = tmp_path / "digits.npz"
    np.savez(path, pictures=np.ones((3, 4, 5), np.uint8), labels=np.uint8([1, 0, 2]))
    images, labels = data.read_npz(path, "pictures", "labels")
    assert images.shape == (3, 1, 4, 5) and labels.dtype == np.int64


def npz_bytes(tmp_path, **arrays):
    np.savez(tmp_path / "made.npz", **arrays)
    return (tmp_path / "made.npz").read_bytes()


BAD_ARRAYS = {
    "missing": ({"x": np.zeros((2, 3, 3))}, r"expected arrays 'x' and 'y', found \['x'\]"),
    "flat": ({"x": np.zeros((2, 9)), "y": np.zeros(2, int)}, r"images must be .* got .* \(2, 9\)"),
    "few": ({"x": np.zeros((2, 3, 3)), "y": np.zeros(1, int)}, "labels must be 2 integers"),
    "float": ({"x": np.zeros((2, 3, 3)), "y": np.zeros(2)}, "labels must be 2 integers"),
    "pickle": ({"x": np.array([None]), "y": np.zeros(1, int)}, ".*Object arrays cannot be loaded"),
}


@pytest.mark.parametrize("arrays, text", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_read_npz_of_other_arrays(tmp_path, arrays, text):
    path = tmp_path / "file.npz"
    path.write_bytes(npz_bytes(tmp_path, **arrays))
    with pytest.raises(ValueError, match=f"file.npz:? {text}"):
        data.read_npz(path)


def test_read_npz_of_damaged_files(tmp_path):
    whole = npz_bytes(tmp_path, x=np.arange(1200).reshape(3, 20, 20), y=np.arange(3))
    path = tmp_path / "file.npz"
    for content in (b"", whole[: len(whole) // 2], b"\x93NUMPY" + whole):
        path.write_bytes(content[:5000] if content[:1] == b"\x93" else content)
        with pytest.raises(ValueError, match="file.npz must hold arrays by name, got another"):
            data.read_npz(path)
    path.write_bytes(whole[:2000] + b"\xff" * 40 + whole[2040:])
    with pytest.raises(ValueError, match="file.npz"):
        data.read_npz(path)


# ---------------------------------------------------------------- folders


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_read_folder_of_idx_files(tmp_path, suffix):
    pairs = [write_pair(tmp_path, "train", 7, suffix), write_pair(tmp_path, "t10k", 3, suffix)]
    for dataset, (images, labels) in zip(data.read_folder(tmp_path), pairs, strict=True):
        np.testing.assert_array_equal(dataset.images[:, 0], images)
        np.testing.assert_array_equal(dataset.labels, labels)


def test_read_folder_of_half_a_data_set(tmp_path):
    write_pair(tmp_path, "train", 7)
    with pytest.raises(ValueError, match="expected t10k-images-idx3-ubyte and t10k-labels"):
        data.read_folder(tmp_path)


def test_read_folder_of_cifar10(tmp_path):
    for number in range(1, 6):
        (tmp_path / f"data_batch_{number}.bin").write_bytes(cifar_bytes(2, number).tobytes())
    (tmp_path / "test_batch.bin").write_bytes(cifar_bytes(3).tobytes())
    train, test = data.read_folder(tmp_path)
    assert (train.count, test.count) == (10, 3)


def test_read_folder_of_one_archive(tmp_path):
    images = np.arange(10, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    np.savez(tmp_path / "all.npz", x=images, y=np.arange(10))
    train, test = data.read_folder(tmp_path, seed=3)
    assert (train.count, test.count) == (8, 2)
    assert sorted([*train.labels, *test.labels]) == list(range(10))
    np.testing.assert_array_equal(train.images[:, 0, 0, 0], train.labels)
    again = data.read_folder(tmp_path, seed=3)
    np.testing.assert_array_equal(again[1].labels, test.labels)


@pytest.mark.parametrize("made", [True, False])
def test_read_folder_of_something_else(tmp_path, made):
    folder = tmp_path / "folder"
    if made:
        folder.mkdir()
        (folder / "photo.jpg").write_bytes(b"")
    found = r"\['photo.jpg'\]" if made else "no folder"
    with pytest.raises(ValueError, match=f"folder: expected train-images.* found {found}"):
        data.read_folder(folder)


# ---------------------------------------------------------------- batches


@pytest.fixture
def numbered():
    images = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 3, 4), np.uint8)
    return Dataset(images, np.arange(10))


def test_split(numbered):
    kept, held_back = numbered.split(3, seed=1)
    assert (kept.count, held_back.count) == (7, 3)
    assert list(held_back.labels) == sorted(set(range(10)) - set(kept.labels))
    assert list(numbered.split(3, seed=2)[1].labels) != list(held_back.labels)
    with pytest.raises(ValueError, match="held_back must be between 0 and 10, got 11"):
        numbered.split(11)


def test_batches_cover_everything_once(numbered):
    batches = Batches(numbered, 4)
    assert len(batches) == 3
    parts = list(batches.epoch(0))
    assert [len(labels) for _, labels in parts] == [4, 4, 2]
    order = np.concatenate([labels for _, labels in parts])
    assert sorted(order) == list(range(10)) and list(order) != list(range(10))
    for images, labels in parts:
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_order_follows_from_the_seed(numbered):
    def order(rng):
        return [*np.concatenate([labels for _, labels in Batches(numbered, 4).epoch(rng)])]

    assert order(1) == order(1) != order(2)
    assert order(None) != order(None) or order(None) != order(None)
    straight = Batches(numbered, 4, shuffle=False)
    assert [*np.concatenate([labels for _, labels in straight.epoch()])] == list(range(10))


def test_bad_batches(numbered):
    with pytest.raises(ValueError, match="Batches: size must be at least 1"):
        Batches(numbered, 0)
    with pytest.raises(ValueError, match="as many labels as images, at least one, got 9 and 10"):
        Batches((numbered.images, numbered.labels[:9]), 2)
    with pytest.raises(ValueError, match="got 0 and 0"):
        Batches(numbered.take([]), 2)


def test_transforms_see_images_in_turn(numbered):
    batches = Batches(
        numbered, 10, shuffle=False, transforms=[lambda x, rng: x + 1.5, lambda x, rng: x * 2]
    )
    ((images, _),) = batches.epoch()
    np.testing.assert_array_equal(images[:, 0, 0, 0], 2 * np.arange(10) + 3)


def test_normalise(rng):
    images = rng.integers(0, 256, (50, 3, 8, 8), np.uint8)
    images[:, 2] = 7
    result = Normalise.of(images)(images)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[:, :2].mean((0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(result[:, :2].std((0, 2, 3)), 1, atol=1e-5)
    np.testing.assert_array_equal(result[:, 2], 0)
    np.testing.assert_allclose(Normalise(1, 2)(images), (images - 1.0) / 2)


def test_flip(rng):
    images = rng.integers(0, 256, (200, 1, 3, 4), np.uint8)
    before = images.copy()
    result = flip(images, np.random.default_rng(0))
    mirrored = (result == images[..., ::-1]).all((1, 2, 3))
    same = (result == images).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130
    np.testing.assert_array_equal(images, before)


def test_crop(rng):
    images = np.zeros((300, 2, 5, 6), np.uint8)
    images[:, :, 2, 3] = 9
    result = Crop(1)(images, rng)
    assert result.shape == images.shape
    np.testing.assert_array_equal(result[:, 0], result[:, 1])
    rows, columns = np.nonzero(result[:, 0])[1:]
    places = set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert places == {(row, column) for row in (1, 2, 3) for column in (2, 3, 4)}
    np.testing.assert_array_equal(Crop(0)(images, rng), images)
