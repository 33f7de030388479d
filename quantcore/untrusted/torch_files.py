"""Files of torch.save, read without torch: today's zip, the older form, and TorchScript."""

from pathlib import Path

from quantcore.errors import RequestError
from quantcore.untrusted.archive import Archive, open_archive
from quantcore.untrusted.pickles import MAX_BYTES, read, read_bytes
from quantcore.untrusted.rebuild import Storage, contents_of, item_sizes
from quantcore.untrusted.tensors import Contents, damaged
from quantcore.untrusted.zip_structure import STORED

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001


def read_torch_zip(path: Path) -> Contents:
    """Return the content of a zip of torch.save, with a checked tensor for each it describes.

    Raises:
        RequestError: zip, pickle or tensors are damaged or claim what the file does not hold.
    """
    archive = open_archive(path)
    root = root_of(archive)
    pickled = read_bytes(archive.read(f"{root}data.pkl", MAX_BYTES))
    return contents_of(pickled, _zip_storages(archive, root))


def check_torchscript(path: Path) -> Archive:
    """Return a TorchScript file's archive, the claims of its tensors checked.

    Raises:
        RequestError: zip, pickles or tensors are damaged or claim what the file does not hold.
    """
    archive = open_archive(path)
    root = root_of(archive)
    for name, folder in (("data.pkl", "data/"), ("constants.pkl", "constants/")):
        if root + name in archive.entries:
            pickled = read_bytes(archive.read(root + name, MAX_BYTES))
            storages = _zip_storages(archive, root, folder)
            try:
                contents_of(pickled, storages)
            except RequestError:
                # Constants may lie with the other tensors.
                if folder == "data/":
                    raise
                contents_of(pickled, _zip_storages(archive, root))
    return archive


def root_of(archive: Archive) -> str:
    """Return the one folder that everything in torch's zips lies in, with its slash.

    Raises:
        RequestError: there are several, so what the file holds depends on who reads it.
    """
    roots = {name.partition("/")[0] for name in archive.entries}
    if len(roots) != 1:
        raise RequestError(
            "The zip holds more than one folder at its top, which torch.save does not write.",
            "Upload the file as torch.save wrote it.",
        )
    return f"{roots.pop()}/"


def _zip_storages(archive: Archive, root: str, folder: str = "data/") -> dict[str, Storage]:
    byte_order = (
        archive.read(f"{root}byteorder", 16) if f"{root}byteorder" in archive.entries else b""
    )
    beginning = root + folder
    storages = {}
    for name, entry in archive.entries.items():
        if name.startswith(beginning):
            if entry.method != STORED:
                raise RequestError(
                    "The weights inside the file are packed, which torch.save does not do.",
                    "Upload the file as torch.save wrote it, not unzipped and zipped again.",
                )
            big_endian = byte_order.strip() == b"big"
            storages[name.removeprefix(beginning)] = Storage(entry.start, entry.size, big_endian)
    return storages


def read_legacy(path: Path) -> Contents:
    """Return the content of a file of torch.save's older form, from before torch 1.6.

    Raises:
        RequestError: as `read_torch_zip`.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        if read(file).value != LEGACY_MAGIC or read(file).value != LEGACY_PROTOCOL:
            raise damaged("its beginning is not that of a file of torch.save")
        system = read(file).value
        pickled = read(file)
        keys = read(file).value
        position = file.tell()
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise damaged("its list of tensors cannot be read")
        big_endian = isinstance(system, dict) and system.get("little_endian") is False
        sizes = item_sizes(pickled)
        storages = {}
        for key in keys:
            file.seek(position)
            numbers = int.from_bytes(file.read(8), "big" if big_endian else "little", signed=True)
            size = numbers * sizes.get(key, 1)
            position += 8 + size
            if numbers < 0 or position > length or key in storages:
                raise damaged("it was cut off, or its tensors are not where it says")
            storages[key] = Storage(position - size, size, big_endian)
    return contents_of(pickled, storages)
