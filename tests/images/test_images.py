import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bundled import photos
from quantcore import uploads
from quantcore.errors import RequestError
from quantcore.images import (
    Split,
    classes,
    collected,
    files,
    images_digest,
    is_labelled,
    load_images,
    load_labels,
    preparation,
    zips,
)
from quantcore.models import ModelInfo, catalogue
from quantcore.models.torchvision_import import torchvision
from quantcore.schema import ImageSpec
from quantcore.settings import Settings
from quantcore.uploads import UploadedImages, Uploads

PROJECT = Path(__file__).parents[2]
FASHION = catalogue()["bundled/resnet18"]
IMAGENET = catalogue()["torchvision/resnet18"]


def noise(seed: int, size: tuple[int, int] = (40, 30), channels: int = 3) -> Image.Image:
    shape = (size[1], size[0], channels) if channels > 1 else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))


def write_folder(folder: Path, names: list[str]) -> str:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise(seed).save(path)
    return str(folder)


def two_classes(folder: Path, each: int = 50) -> str:
    names = [f"{label}/{number}.png" for label in ("tench", "goldfish") for number in range(each)]
    return write_folder(folder, names)


def write_zip(path: Path, members: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(path)


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def load(source: str, info: ModelInfo = IMAGENET, **settings: int) -> list[Split]:
    data = load_images(ImageSpec(source=source, **settings), info)
    splits = (data.calibration, data.qat, data.qat_held_out, data.evaluation)
    return [split for split in splits if split is not None]


# Bundled


def test_fashion_splits_have_the_promised_sizes_and_labels() -> None:
    data = load_images(ImageSpec(), FASHION)
    assert data.qat is not None
    assert data.qat_held_out is not None
    sizes = [len(split) for split in (data.calibration, data.qat, data.qat_held_out)]
    assert (*sizes, len(data.evaluation)) == (1_024, 7_000, 1_000, 2_000)
    assert (data.labelled, data.note, data.class_names) == (True, "", FASHION.labels)
    assert data.evaluation.labels is not None
    assert set(data.evaluation.labels.tolist()) == set(range(10))
    images, labels = next(data.evaluation.batches(5))
    assert images.shape == (5, 3, 64, 64)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels is not None
    assert labels.dtype == torch.int64


def test_fashion_files_are_disjoint_by_their_place_in_the_original() -> None:
    index = {}
    for name in ("calibration", "qat", "evaluation"):
        with np.load(PROJECT / "bundled" / "fashion_mnist" / f"{name}.npz") as file:
            index[name] = set(file["index"].tolist())
    assert not index["calibration"] & index["qat"]
    assert len(index["calibration"] | index["qat"]) == 9_024
    assert len(index["evaluation"]) == 10_000


def test_fashion_pictures_equal_an_independent_bilinear_scaling() -> None:
    split = load_images(ImageSpec(evaluation_images=3), FASHION).evaluation
    with np.load(PROJECT / "bundled" / "fashion_mnist" / "evaluation.npz") as file:
        original = file["images"][:3].astype(np.float64) / 255
        labels = file["labels"][:3]
    expected = np.stack([bilinear(picture, 64) for picture in original])
    found = split.tensor(3).numpy() * FASHION.std[0] + FASHION.mean[0]
    for channel in range(3):
        np.testing.assert_allclose(found[:, channel], expected, atol=1e-5)
    assert split.labels is not None
    np.testing.assert_array_equal(split.labels, labels)
    np.testing.assert_array_equal(np.asarray(split.thumbnail(1)) / 255, original[1])


def bilinear(picture: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Scale up with half-pixel centres, axis by axis, through numpy's own interpolation."""
    at = (np.arange(size) + 0.5) * len(picture) / size - 0.5
    positions = np.arange(len(picture))
    rows = np.stack([np.interp(at, positions, column) for column in picture.T], axis=1)
    return np.stack([np.interp(at, positions, row) for row in rows])


def test_more_pictures_than_there_are_gives_all_and_says_so() -> None:
    data = load_images(ImageSpec(evaluation_images=12_000), FASHION)
    assert len(data.evaluation) == 10_000
    assert data.note == "There are 10,000 evaluation pictures, not 12,000."


def test_stand_in_photographs_have_no_labels_and_share_no_pixel() -> None:
    data = load_images(ImageSpec(image_size=96), IMAGENET)
    assert (len(data.calibration), len(data.evaluation)) == (128, 128)
    assert (data.qat, data.labelled, data.evaluation.labels) == (None, False, None)
    assert "128 crops of stand-in photographs" in data.note
    assert data.calibration.tensor(2).shape == (2, 3, 96, 96)
    assert not is_labelled(ImageSpec(), IMAGENET)


def test_stand_in_photographs_are_what_their_script_makes(tmp_path: Path) -> None:
    for made in photos.write_photos(tmp_path):
        shipped = PROJECT / "bundled" / "photos" / made.name
        assert made.read_bytes() == shipped.read_bytes()


def test_splits_need_no_torch_until_pictures_are_taken() -> None:
    code = (
        "import sys; from quantcore.images import images_digest, load_labels;"
        "from quantcore.models.catalogue import catalogue;"
        "from quantcore.schema.request import ImageSpec;"
        "info = catalogue()['bundled/resnet18'];"
        "images_digest(ImageSpec(), info); assert len(load_labels(ImageSpec(), info)) == 2000;"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False)
    assert done.returncode == 0


# Preparation


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "efficientnet_v2_l", "swin_t"])
@pytest.mark.parametrize("size", [(301, 200), (150, 420)])
def test_preparation_equals_torchvisions_preset(name: str, size: tuple[int, int]) -> None:
    info = catalogue()[f"torchvision/{name}"]
    preset = torchvision().models.get_model_weights(name).DEFAULT.transforms()
    picture = noise(3, size)
    expected = preset(picture).numpy()
    np.testing.assert_allclose(
        preparation.prepare(picture, info, info.image_size), expected, atol=1e-6
    )


def test_another_image_size_keeps_the_models_proportion() -> None:
    picture = noise(1, (512, 512))
    half = preparation.prepare(picture, IMAGENET, 112)
    preset = torchvision().transforms._presets.ImageClassification(crop_size=112, resize_size=128)
    np.testing.assert_allclose(half, preset(picture).numpy(), atol=1e-6)


def test_fashion_models_see_own_pictures_in_greyscale() -> None:
    prepared = preparation.prepare(noise(0), FASHION, 64)
    np.testing.assert_array_equal(prepared[0], prepared[1])
    np.testing.assert_array_equal(prepared[0], prepared[2])


def opened(picture: Image.Image, kind: str, **options: object) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    content = buffer.getvalue()
    return files.PictureFile(PurePosixPath("one"), lambda: content).open()


def test_exif_orientation_turns_the_picture_upright() -> None:
    picture = noise(0, (20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = opened(picture, "PNG", exif=exif)
    assert upright.size == (10, 20)
    np.testing.assert_array_equal(np.asarray(upright), np.rot90(np.asarray(picture), -1))


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert opened(clear, "PNG").getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_greyscale_is_scaled_not_clipped() -> None:
    deep = Image.fromarray(np.full((8, 8), 257 * 100, np.uint16))
    assert opened(deep, "PNG").getpixel((0, 0)) == 100


# Uploaded pictures


def test_class_folders_are_split_disjointly_and_keep_their_labels(tmp_path: Path) -> None:
    splits = load(two_classes(tmp_path))
    indices = [set(split.indices.tolist()) for split in splits]
    assert [len(part) for part in indices] == [20, 35, 5, 40]
    assert len(set.union(*indices)) == 100
    for split in splits:
        paths = [split.pictures.files[index].path for index in split.indices]  # type: ignore[attr-defined]
        expected = [0 if path.parts[0] == "tench" else 1 for path in paths]
        assert split.labels is not None
        assert split.labels.tolist() == expected


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    source = two_classes(tmp_path)
    first, again, other = (load(source, seed=seed)[0].indices.tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_fewer_evaluation_pictures_leave_the_other_splits_alone(tmp_path: Path) -> None:
    source = two_classes(tmp_path)
    many, few = load(source), load(source, evaluation_images=7)
    assert len(few[-1]) == 7
    assert few[-1].indices.tolist() == many[-1].indices[:7].tolist()
    assert [split.digest for split in few[:-1]] == [split.digest for split in many[:-1]]
    assert few[-1].digest != many[-1].digest


def test_a_zip_equals_the_folder_it_was_made_of(tmp_path: Path) -> None:
    folder = Path(two_classes(tmp_path / "pets", each=4))
    members = {
        f"pets/{path.relative_to(folder)}": path.read_bytes() for path in folder.rglob("*.png")
    }
    archive = write_zip(tmp_path / "pets.zip", members | {"__MACOSX/pets/._1.png": b"junk"})
    for unpacked, packed in zip(load(str(folder)), load(archive), strict=True):
        assert torch.equal(unpacked.tensor(8), packed.tensor(8))
        np.testing.assert_array_equal(unpacked.labels, packed.labels)


def test_loose_pictures_are_unlabelled(tmp_path: Path) -> None:
    spec = ImageSpec(source=write_folder(tmp_path, [f"{number}.png" for number in range(10)]))
    data = load_images(spec, IMAGENET)
    assert (data.labelled, data.qat, len(data.calibration), len(data.evaluation)) == (
        False,
        None,
        2,
        8,
    )
    assert "no labels" in data.note
    assert load_labels(spec, IMAGENET) is None
    assert not is_labelled(spec, IMAGENET)


def test_one_folder_that_names_no_class_is_taken_for_loose_pictures(tmp_path: Path) -> None:
    source = write_folder(tmp_path, [f"holiday/{number}.png" for number in range(4)])
    assert not is_labelled(ImageSpec(source=source), IMAGENET)
    source = write_folder(tmp_path / "named", [f"tench/{number}.png" for number in range(4)])
    assert is_labelled(ImageSpec(source=source), IMAGENET)


@pytest.mark.parametrize(
    ("folders", "labels"),
    [
        (["T-shirt_TOP", "ankle boot"], {0, 9}),
        (["tshirttop", "Ankle-Boot"], {0, 9}),
        (["0", "9"], {0, 9}),
        (["00", "09"], {0, 9}),
    ],
)
def test_folders_are_matched_to_labels(
    tmp_path: Path, folders: list[str], labels: set[int]
) -> None:
    source = write_folder(tmp_path, [f"{name}/{n}.png" for name in folders for n in range(5)])
    found = np.concatenate([split.labels for split in load(source, FASHION)])
    assert set(found.tolist()) == labels


def test_a_dog_and_a_garment_are_distinguished_by_case(tmp_path: Path) -> None:
    source = write_folder(tmp_path, [f"Cardigan/{n}.png" for n in range(4)])
    labels = load_labels(ImageSpec(source=source), IMAGENET)
    assert labels is not None
    assert set(labels.tolist()) == {264}


def test_a_full_set_of_wordnet_ids_is_imagenet_in_order(tmp_path: Path) -> None:
    few = replace(IMAGENET, classes=3, labels=("tench", "goldfish", "great white shark"))
    names = [f"n0{number}000000/{n}.png" for number in (3, 1, 2) for n in range(4)]
    splits = load(write_folder(tmp_path, names), few)
    for split in splits:
        paths = [split.pictures.files[index].path for index in split.indices]  # type: ignore[attr-defined]
        assert split.labels is not None
        assert split.labels.tolist() == [int(str(path)[2]) - 1 for path in paths]


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (["tench/1.png", "unicorn/1.png"], "unicorn: no such class in ResNet-18"),
        (["tench/1.png", "1000/1.png"], "1000: no such class"),
        (["tench/1.png", "2.png"], "2.png: beside the class folders"),
        (["CARDIGAN/1.png", "tench/1.png"], "numbers 264 and 474"),
        (["1.png"], "a single picture"),
        (["readme.txt.gif.doc/.hidden.png"], "holds no pictures"),
    ],
)
def test_what_cannot_be_matched_is_named(tmp_path: Path, names: list[str], part: str) -> None:
    with pytest.raises(RequestError, match=part) as error:
        load(write_folder(tmp_path, names))
    assert error.value.remedy


def test_a_missing_source_is_named() -> None:
    with pytest.raises(RequestError, match="no folder or zip file '/nowhere/at all'"):
        load("/nowhere/at all")


def test_a_damaged_picture_is_named_when_it_is_taken(tmp_path: Path) -> None:
    source = write_folder(tmp_path, ["tench/1.png", "tench/2.png", "goldfish/bad.png"])
    bad = tmp_path / "goldfish" / "bad.png"
    bad.write_bytes(bad.read_bytes()[:200])
    everything = chain.from_iterable(split.batches(8) for split in load(source))
    with pytest.raises(RequestError, match=r"goldfish/bad\.png cannot be read"):
        list(everything)


def test_a_picture_of_too_many_pixels_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_folder(tmp_path, ["1.png", "2.png"])
    monkeypatch.setattr(preparation, "MAX_PIXELS", 1_000)
    with pytest.raises(RequestError, match="40 × 30 pixels are too many"):
        load(source)[0].tensor(1)


def huge(path: Path) -> str:
    return write_zip(path, {"1.png": bytes(2_000), "2.png": png(noise(0))})


def escaping(path: Path) -> str:
    return write_zip(path, {"../../etc/1.png": png(noise(0)), "2.png": png(noise(1))})


def absolute(path: Path) -> str:
    return write_zip(path, {"/etc/1.png": png(noise(0)), "2.png": png(noise(1))})


def backslashed(path: Path) -> str:
    return write_zip(path, {"..\\1.png": png(noise(0)), "2.png": png(noise(1))})


def not_a_zip(path: Path) -> str:
    path.write_bytes(b"PK but not really")
    return str(path)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (huge, "larger than"),
        (escaping, "points out of it"),
        (absolute, "points out of it"),
        (backslashed, "points out of it"),
        (not_a_zip, "cannot be read as a zip file"),
    ],
)
def test_an_unsafe_or_broken_zip_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], str], part: str
) -> None:
    monkeypatch.setattr(zips, "MAX_FILE_BYTES", 1_999 if make is huge else zips.MAX_FILE_BYTES)
    with pytest.raises(RequestError, match=part):
        load(make(tmp_path / "pictures.zip"))
    assert [path.name for path in tmp_path.iterdir()] == ["pictures.zip"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_zip(tmp_path / "bomb.zip", {f"{n}.png": bytes(1_000) for n in range(5)})
    monkeypatch.setattr(zips, "MAX_ZIP_BYTES", 4_999)
    with pytest.raises(RequestError, match="unpacks to more than"):
        load(source)


# Tables of labels


def listed(folder: Path, table: str, name: str = "labels.csv") -> str:
    source = write_folder(folder, [f"{part}/{n}.png" for part in ("a", "b") for n in range(2)])
    (folder / name).write_bytes(table.encode("utf-8"))
    return source


TABLES = {
    "plain": "file,label\na/0.png,tench\na/1.png,goldfish\nb/0.png,tench\nb/1.png,goldfish\n",
    "bom": "\ufefffilename;n;class\na/0.png;1;Tench\na/1.png;2;Goldfish\nb/0.png;3;tench\n"
    "b/1.png;4;goldfish",
    "tabs": "label\tpath\r\ntench\ta\\0.png\r\ngoldfish\ta/1.png\r\ntench\t./b/0.png\r\n"
    "goldfish\tb/1.png\r\n",
    "headless": "a/0.png,tench\na/1.png,goldfish\n\nb/0.png,tench\nb/1.png,goldfish\n",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_says_what_pictures_show_whatever_their_folders(
    tmp_path: Path, table: str, packed: bool
) -> None:
    source = listed(tmp_path / "set", table, "Labels.CSV")
    if packed:
        members = {
            f"set/{path.relative_to(source)}": path.read_bytes()
            for path in Path(source).rglob("*.*")
        }
        source = write_zip(tmp_path / "set.zip", members)
    for split in load(source):
        paths = [split.pictures.files[index].path for index in split.indices]  # type: ignore[attr-defined]
        assert split.labels is not None
        assert split.labels.tolist() == [int(path.stem) for path in paths]


def test_a_table_may_name_pictures_without_their_folders(tmp_path: Path) -> None:
    source = write_folder(tmp_path, ["x/1.png", "y/2.png", "y/3.png"])
    (tmp_path / "labels.csv").write_text("file,label\n1.png,tench\n2.png,tench\n3.png,goldfish\n")
    labels = np.concatenate([split.labels for split in load(source)])
    assert sorted(labels.tolist()) == [0, 0, 1]


@pytest.mark.parametrize(
    ("table", "part"),
    [
        (TABLES["plain"] + "c/7.png,tench\n", "names c/7.png, which is not there"),
        (TABLES["plain"].replace("b/1.png,goldfish\n", ""), "has no row for b/1.png"),
        (TABLES["plain"] + "b/1.png,tench\n", "names b/1.png twice"),
        (TABLES["plain"].replace("a/0.png,tench", "a/0.png,"), "names a/0.png without a label"),
        ("file,label\n0.png,tench\n", "0.png, which is the name of 2 pictures"),
        ("file,kind\na/0.png,tench\n", "has no column named label"),
        ("what,label\na/0.png,tench\n", "has no column named file"),
        ("", "labels.csv is empty"),
        ("file,label\na/0.png\n", "Row 2 of labels.csv has too few columns"),
    ],
)
def test_a_table_that_does_not_fit_its_pictures_says_where(
    tmp_path: Path, table: str, part: str
) -> None:
    with pytest.raises(RequestError, match=part) as error:
        load(listed(tmp_path, table))
    assert error.value.remedy


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    source = listed(tmp_path, "")
    (tmp_path / "labels.csv").write_bytes("file,label\na/0.png,Hündin\n".encode("latin-1"))
    with pytest.raises(RequestError, match="not text in UTF-8"):
        load(source)


def test_the_digest_moves_with_the_table(tmp_path: Path) -> None:
    spec = ImageSpec(source=listed(tmp_path, TABLES["plain"]))
    before = images_digest(spec, IMAGENET)
    (tmp_path / "labels.csv").write_text(TABLES["plain"].replace("goldfish", "hen"))
    assert images_digest(spec, IMAGENET) != before


# Labels


def test_placeholders_take_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    unnamed = replace(IMAGENET, classes=3, labels=("class 0", "class 1", "class 2"))
    source = write_folder(tmp_path, [f"{name}/{n}.png" for name in "bca" for n in range(4)])
    for split in load(source, unnamed):
        paths = [split.pictures.files[index].path for index in split.indices]  # type: ignore[attr-defined]
        assert split.labels is not None
        assert split.labels.tolist() == ["abc".index(path.parts[0]) for path in paths]
    named = replace(unnamed, labels=("class 0", "class 1", "other"))
    with pytest.raises(RequestError, match="a, b, c: no such class"):
        load(source, named)


def test_what_matches_by_no_name_is_as_its_owner_said() -> None:
    folders = ["tench", "puss", "doggy", "Cardigan"]
    said = {"puss": "tabby", "doggy": "beagle", "tench": "hen", "other": "cock"}
    found = classes.match_labels(folders, IMAGENET, said)
    assert found is not None
    wanted = [IMAGENET.labels.index(name) for name in ("hen", "tabby", "beagle", "Cardigan")]
    assert found.tolist() == wanted
    both = {"CARDIGAN": "Cardigan", "tench": "hen"}
    found = classes.match_labels(["CARDIGAN"], IMAGENET, both)
    assert found is not None
    assert found.tolist() == [264]
    by_itself = classes.match_labels(["tench", "goldfish"], IMAGENET, both)
    assert by_itself is not None
    assert by_itself.tolist() == [0, 1]
    with pytest.raises(RequestError, match="puss: no such class"):
        classes.match_labels(["puss", "tench"], IMAGENET, {"puss": "a class of another model"})


def test_classes_of_the_model_that_no_picture_shows_are_said(tmp_path: Path) -> None:
    source = write_folder(tmp_path, [f"{name}/{n}.png" for name in range(9) for n in range(2)])
    note = load_images(ImageSpec(source=source, evaluation_images=2), FASHION).note
    assert "show 9 of the model's 10 classes; there is none of Ankle boot." in note


# Uploads


@pytest.fixture
def library(settings: Settings) -> Uploads:
    uploads.use(settings.data)
    return Uploads(settings)


def upload(library: Uploads, members: dict[str, bytes], **said: str) -> ImageSpec:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    record = library.receive("C:\\my pets.zip", [buffer.getvalue()])
    images = UploadedImages(len(members), (("x", 1),), tuple(said.items()))
    library.describe(record.token, images=images)
    return ImageSpec(source=record.name)


PETS = {f"{label}/{n}.png": png(noise(n)) for label in ("puss", "dog") for n in range(30)}


def test_an_upload_is_read_as_its_zip_with_its_owners_labels(library: Uploads) -> None:
    spec = upload(library, PETS, puss="tabby", dog="beagle")
    data = load_images(spec, IMAGENET)
    assert data.name == "my pets.zip"
    assert data.evaluation.labels is not None
    wanted = {IMAGENET.labels.index(name) for name in ("tabby", "beagle")}
    assert set(data.evaluation.labels.tolist()) == wanted
    token = uploads.token_of(str(spec.source))
    before = images_digest(spec, IMAGENET)
    other = UploadedImages(60, (("x", 1),), (("dog", "tabby"), ("puss", "tabby")))
    library.describe(token, images=other)
    assert images_digest(spec, IMAGENET) != before
    assert set(load_images(spec, IMAGENET).evaluation.labels) == {IMAGENET.labels.index("tabby")}


def take_all(source: str, info: ModelInfo) -> None:
    for split in load(source, info):
        split.tensor(len(split))


def test_errors_of_an_upload_name_its_file_and_no_folder(library: Uploads, tmp_path: Path) -> None:
    texts = []
    for members, info in (
        (PETS, IMAGENET),
        ({"../1.png": b"1", "2.png": b"2"}, IMAGENET),
        ({"1.gif": b"1"}, IMAGENET),
        ({"1.png": png(noise(1))}, IMAGENET),
        ({"1.png": png(noise(1)), "2.png": b"GIF89a"}, IMAGENET),
    ):
        spec = upload(library, members)
        with pytest.raises(RequestError) as error:
            take_all(str(spec.source), info)
        texts.append(str(error.value))
    assert all(str(tmp_path) not in text for text in texts)
    assert all("my pets.zip" in text for text in texts[1:4])
    library.delete(uploads.token_of(str(spec.source)))
    with pytest.raises(RequestError, match="no longer here"):
        load(str(spec.source))


def test_an_upload_that_is_a_model_holds_no_pictures(library: Uploads) -> None:
    record = library.receive("net.pth", [b"numbers"])
    with pytest.raises(RequestError, match=r"net\.pth does not hold pictures"):
        load(record.name)


# Digests


def test_the_digest_stands_for_contents_not_for_place_or_time(tmp_path: Path) -> None:
    first = two_classes(tmp_path / "first", each=3)
    second = two_classes(tmp_path / "second", each=3)
    specs = [ImageSpec(source=source) for source in (first, second)]
    assert images_digest(specs[0], IMAGENET) == images_digest(specs[1], IMAGENET)
    noise(99).save(tmp_path / "second" / "tench" / "0.png")
    assert images_digest(specs[0], IMAGENET) != images_digest(specs[1], IMAGENET)


@pytest.mark.parametrize("info", [FASHION, IMAGENET], ids=["fashion", "imagenet"])
def test_the_digest_moves_with_what_the_model_sees(info: ModelInfo) -> None:
    plain = images_digest(ImageSpec(), info)
    assert plain == images_digest(ImageSpec(evaluation_images=10), info)
    assert plain == images_digest(ImageSpec(image_size=info.image_size), info)
    assert plain != images_digest(ImageSpec(image_size=info.image_size + 32), info)
    assert plain != images_digest(ImageSpec(), replace(info, mean=(0.0, 0.0, 0.0)))


def test_allocation_never_loses_or_doubles_a_picture() -> None:
    for count in (2, 3, 10, 41, 1_000, 30_000):
        for labelled in (True, False):
            parts = collected.allocate(count, 0, labelled)
            together = np.concatenate(list(parts.values()))
            assert sorted(together.tolist()) == list(range(count))
            assert {"calibration", "evaluation"} <= set(parts)
            assert len(parts["calibration"]) <= 1_024


def test_the_same_picture_is_never_in_two_splits() -> None:
    for seed in range(30):
        chance = np.random.default_rng(seed)
        count = int(chance.integers(2, 200))
        kinds = chance.integers(0, chance.integers(2, count + 1), count)
        kinds[:2] = 0, 1
        same = [np.flatnonzero(kinds == kind).tolist() for kind in set(kinds.tolist())]
        groups = [group for group in same if len(group) > 1]
        parts = collected.allocate(count, seed, True, groups)
        assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(count))
        assert {"calibration", "evaluation"} <= set(parts)
        assert ("qat" in parts) == ("qat_held_out" in parts)
        seen = [set(kinds[part].tolist()) for part in parts.values()]
        assert sum(map(len, seen)) == len(set.union(*seen))


def test_sizes_of_splits_stay_about_the_same_where_pictures_are_there_twice() -> None:
    groups = [(index, index + 100) for index in range(100)]
    parts = collected.allocate(200, 0, True, groups)
    assert [len(part) for part in parts.values()] == [40, 70, 10, 80]


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_there_twice_is_kept_in_one_split_and_changes_the_digest(
    tmp_path: Path, packed: bool
) -> None:
    contents = [png(noise(n)) for n in range(20)]
    members = {
        f"{label}/{n}-{copy}.png": contents[n + 10 * index]
        for index, label in enumerate(("tench", "goldfish"))
        for n in range(10)
        for copy in range(3)
    }
    source = str(tmp_path / "folder")
    if packed:
        source = write_zip(tmp_path / "twice.zip", members)
    else:
        for name, content in members.items():
            (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "folder" / name).write_bytes(content)
    names = [
        {
            str(split.pictures.files[index].path).partition("-")[0]  # type: ignore[attr-defined]
            for index in split.indices
        }
        for split in load(source)
    ]
    assert len(names) == 4
    assert sum(map(len, names)) == 20
    with pytest.raises(RequestError, match="the same picture only"):
        load(write_zip(tmp_path / "one.zip", {f"{n}.png": contents[0] for n in range(4)}))
