"""Uploaded zips of pictures: checked through, warned of, refused."""

import base64
import io
import re
from pathlib import Path

import pytest
from PIL import Image
from pydantic import TypeAdapter
from pydantic_core import to_json

from quantcore.errors import RequestError
from quantcore.untrusted.pictures import CheckedPictures, check_pictures
from tests.untrusted import malformed_pictures as malformed
from tests.untrusted.malformed_pictures import Members, good, packed, picture

COUNT = 10 * len(malformed.FAMILIES)


def ignore(_: str, __: float) -> None:
    pass


def checked_pictures(folder: Path, members: Members) -> CheckedPictures:
    path = folder / "content"
    path.write_bytes(packed(members))
    return check_pictures(path, folder, ignore)


def test_every_malformed_zip_is_refused_for_its_own_reason(tmp_path: Path) -> None:
    path = tmp_path / "content"
    for number in range(COUNT):
        content, name, about = malformed.make(number)
        path.write_bytes(content)
        with pytest.raises(RequestError) as caught:
            check_pictures(path, tmp_path, ignore)
        assert re.search(about, caught.value.reason), (name, number, caught.value)
        assert caught.value.remedy, name
        assert str(tmp_path) not in str(caught.value), name
        assert name == "traversal" or ".." not in str(caught.value)


def test_good_pictures_of_every_kind_are_counted_and_shown(tmp_path: Path) -> None:
    stages: list[tuple[str, float]] = []
    path = tmp_path / "content"
    path.write_bytes(packed(good(60)))
    checked = check_pictures(path, tmp_path, lambda stage, share: stages.append((stage, share)))
    assert checked.images.count == 120
    assert checked.images.classes == (("cat", 60), ("dog", 60))
    assert not [text for text in checked.images.warnings if "evaluate" not in text]
    assert [name for name, _ in checked.thumbnails] == ["cat"] * 12 + ["dog"] * 12
    for _, text in checked.thumbnails:
        with Image.open(io.BytesIO(base64.b64decode(text))) as small:
            assert small.format == "PNG"
            assert max(small.size) <= 96
    assert ("looking at picture 101 of 120", 100 / 120) in stages
    again = TypeAdapter(CheckedPictures).validate_json(to_json(checked))
    assert again == checked


def test_loose_pictures_and_one_folder_around_all_have_no_classes(tmp_path: Path) -> None:
    loose = {f"{number}.png": picture(number) for number in range(4)}
    assert not checked_pictures(tmp_path, loose).images.labelled
    around = {f"holiday/{name}": content for name, content in loose.items()}
    checked = checked_pictures(tmp_path, around)
    assert (checked.images.count, checked.images.classes) == (4, ())
    assert {name for name, _ in checked.thumbnails} == {""}


def test_a_table_of_labels_wins_over_folders(tmp_path: Path) -> None:
    names = list(good())
    rows = "\r\n".join(f"{Path(name).parent}\\{Path(name).name};pet" for name in names[1:])
    table = f"\ufeffImage;Note;Class\r\n{names[0]};;wild\r\n".encode() + b""
    rows = rows.replace(";pet", ";;pet")
    checked = checked_pictures(tmp_path, good() | {"labels.csv": table + rows.encode()})
    assert checked.images.classes == (("pet", 5), ("wild", 1))


def test_pictures_are_turned_upright_and_read_whatever_their_mode(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    modes = {
        f"cat/{mode}.png": Image.new(mode, (40, 20))
        for mode in ("1", "L", "LA", "P", "RGBA", "I;16")
    }
    members = {}
    for name, image in modes.items():
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        members[name] = buffer.getvalue()
    for name, image in {
        "dog/turned.jpg": Image.new("RGB", (40, 20), "red"),
        "dog/print.jpg": Image.new("CMYK", (40, 20)),
    }.items():
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", exif=exif)
        members[name] = buffer.getvalue()
    checked = checked_pictures(tmp_path, members)
    shown = [Image.open(io.BytesIO(base64.b64decode(text))) for _, text in checked.thumbnails]
    assert [image.size for image in shown] == [(40, 20)] * 6 + [(20, 40)] * 2


def warnings(folder: Path, members: Members) -> str:
    return "\n".join(checked_pictures(folder, members).images.warnings)


def test_what_may_spoil_a_measurement_is_said(tmp_path: Path) -> None:
    unequal = {f"cat/{n}.png": picture(n) for n in range(60)}
    unequal |= {f"dog/{n}.png": picture(100 + n) for n in range(5)}
    text = warnings(tmp_path, unequal)
    assert "Only 26 pictures will evaluate the model: one picture is 3.8 points." in text
    assert "Fewer than 20 pictures: dog (5)." in text
    assert "The classes are unequal: 60 of cat, 5 of dog." in text
    assert "quantization-aware" not in text
    text = warnings(tmp_path, good())
    assert "too few pictures for quantization-aware training" in text


def test_what_is_no_picture_and_wrong_names_are_said(tmp_path: Path) -> None:
    text = warnings(tmp_path, good() | {"cat/png.jpg": picture(5), "notes.txt": b"x"})
    assert "1 picture in another format than the name says: cat/png.jpg (PNG)." in text
    assert "1 file that is no pictures is left out: notes.txt." in text


def test_pictures_that_are_there_twice_are_said(tmp_path: Path) -> None:
    members = good(20)
    members["dog/again.jpg"] = members["cat/0.jpg"]
    text = warnings(tmp_path, members)
    assert "1 picture is there more than once, such as cat/0.jpg and dog/again.jpg." in text
    assert "1 picture is in more than one class, such as cat/0.jpg in cat and dog." in text


def test_pictures_saved_twice_in_different_splits_are_said(tmp_path: Path) -> None:
    clear = {}
    for number in range(40):
        small = Image.open(io.BytesIO(picture(number, size=(6, 6))))
        for copy, quality in enumerate((95, 80)):
            buffer = io.BytesIO()
            small.resize((96, 96), Image.Resampling.NEAREST).save(buffer, "JPEG", quality=quality)
            label = ("cat", "dog")[number % 2]
            clear[f"{label}/{number}-{copy}.jpg"] = buffer.getvalue()
    text = warnings(tmp_path, clear)
    assert "look like one that it is tuned with" in text
    assert "there more than once" not in text
    once = {name: content for name, content in clear.items() if name.endswith("-0.jpg")}
    assert "look like one" not in warnings(tmp_path, once)
