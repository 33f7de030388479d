"""ONNX files: what is taken and kept of them, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, numpy_helper
from pydantic import TypeAdapter

from quantcore.errors import RequestError
from quantcore.untrusted import inspect
from quantcore.untrusted.examine import examine, preload
from quantcore.untrusted.examined import Examined
from tests.untrusted import onnx_files

WRITTEN: TypeAdapter[Examined] = TypeAdapter(Examined)


def examined(folder: Path, model: ModelProto, name: str = "a.onnx") -> Examined:
    """Return the facts of a file, after a way through JSON as between processes."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    preload(inspect(path).kind)
    facts = examine(path, folder)
    assert WRITTEN.validate_json(WRITTEN.dump_json(facts)) == facts
    return facts


def noise(pictures: int, side: int = 32) -> Any:
    return np.random.default_rng(1).standard_normal((pictures, 3, side, side)).astype(np.float32)


def answers(model: ModelProto, pictures: Any, name: str = "x") -> Any:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {name: pictures})[0]


def kept(folder: Path) -> ModelProto:
    return onnx.load(folder / "model.onnx")


TAKEN: dict[str, tuple[Callable[[], ModelProto], int]] = {
    "any size": (onnx_files.model, 224),
    "one size": (lambda: onnx_files.model(("n", 3, 32, 32)), 32),
    "one picture": (lambda: onnx_files.model((1, 3, 32, 32)), 32),
    "one picture, in a Reshape": (onnx_files.fixed_batch, 32),
    "an open side in a Reshape": (lambda: onnx_files.fixed_batch((1, -1)), 32),
    "five pictures": (lambda: onnx_files.model((5, 3, 32, 32)), 32),
    "functions": (onnx_files.sound_function, 224),
    "nested graphs": (lambda: onnx_files.nested(3), 224),
    "quantized": (onnx_files.quantized, 32),
    "the newest opset": (lambda: onnx_files.of_opset(onnx.defs.onnx_opset_version()), 224),
    "opset 11": (lambda: onnx_files.of_opset(11), 224),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_kept_answers_as_the_file_for_any_number_of_pictures(
    name: str, tmp_path: Path
) -> None:
    make, size = TAKEN[name]
    model = make()
    facts = examined(tmp_path, model)
    assert (facts.outputs, facts.channels, facts.image_size) == (3, 3, size)
    assert facts.any_batch
    assert facts.in_8_bits == (name == "quantized")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 2
    pictures = noise(batch)
    again = kept(tmp_path)
    np.testing.assert_allclose(
        answers(again, pictures, "images"), answers(model, pictures), rtol=1e-4, atol=1e-4
    )
    assert answers(again, noise(batch + 1), "images").shape == (batch + 1, 3)
    assert [each.name for each in (*again.graph.input, *again.graph.output)] == ["images", "logits"]
    assert not again.functions


def test_pictures_with_channels_last_are_turned_in_front(tmp_path: Path) -> None:
    model = onnx_files.channels_last()
    facts = examined(tmp_path, model)
    pictures = noise(2)
    np.testing.assert_allclose(
        answers(kept(tmp_path), pictures, "images"),
        answers(model, pictures.transpose(0, 2, 3, 1)),
        rtol=1e-4,
        atol=1e-4,
    )
    assert any("channels last" in note for note in facts.notes)


def test_names_that_are_taken_make_room(tmp_path: Path) -> None:
    model = onnx_files.model()
    for node in model.graph.node:
        node.input[:] = ["images" if name == "flat" else name for name in node.input]
        node.output[:] = ["images" if name == "flat" else name for name in node.output]
    for node in model.graph.node:
        node.input[:] = ["logits" if name == "bias" else name for name in node.input]
    model.graph.initializer[2].name = "logits"
    examined(tmp_path, model)
    pictures = noise(2)
    np.testing.assert_allclose(
        answers(kept(tmp_path), pictures, "images"), answers(model, pictures), rtol=1e-5, atol=1e-5
    )


def test_a_graph_that_mixes_its_pictures_is_not_opened_to_several(tmp_path: Path) -> None:
    assert not examined(tmp_path, onnx_files.one_picture_only()).any_batch
    assert examined(tmp_path, onnx_files.fixed_batch()).any_batch


def test_layers_weights_and_8_bits_are_counted(tmp_path: Path) -> None:
    facts = examined(tmp_path, onnx_files.model())
    assert facts.dynamic_layers == {"Linear": 1}
    assert facts.parameters == 8 * 27 + 8 * 3 + 3
    assert "quantized already" in " ".join(examined(tmp_path, onnx_files.quantized()).notes)


@pytest.mark.parametrize(
    "text", ['["cat", "dog", "owl"]', "{0: 'cat', 1: 'dog', 2: 'owl'}", "cat\ndog\nowl\n"]
)
def test_class_names_beside_the_graph_are_read(text: str, tmp_path: Path) -> None:
    model = onnx_files.model()
    model.metadata_props.add(key="names", value=text)
    facts = examined(tmp_path, model)
    assert facts.labels == ("cat", "dog", "owl")
    assert not kept(tmp_path).metadata_props


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "x" * 2**21, json.dumps(["cat", "dog"]), "__import__('os').getcwd()"]
)
def test_other_texts_beside_the_graph_are_left_alone(text: str, tmp_path: Path) -> None:
    model = onnx_files.model()
    for name in ("labels", "mean", "std"):
        model.metadata_props.add(key=name, value=text)
    facts = examined(tmp_path, model)
    assert (facts.labels, facts.mean, facts.std) == ((), (), ())


def test_the_preparation_beside_the_graph_is_read(tmp_path: Path) -> None:
    model = onnx_files.model()
    model.metadata_props.add(key="mean", value="[0.5, 0.5, 0.25]")
    model.metadata_props.add(key="std", value="[0.5, 1, NaN]")
    facts = examined(tmp_path, model)
    assert (facts.mean, facts.std) == ((0.5, 0.5, 0.25), ())


@pytest.mark.parametrize("name", onnx_files.REFUSED)
def test_a_bad_file_is_refused_for_its_own_reason(name: str, tmp_path: Path) -> None:
    make, about = onnx_files.REFUSED[name]
    # A file that exists, so that it is not refused for want of it.
    (tmp_path / "weights.bin").write_bytes(bytes(96))
    with pytest.raises(RequestError, match=about) as caught:
        examined(tmp_path, make())
    assert caught.value.remedy
    assert not (tmp_path / "model.onnx").exists()


def test_the_sentence_over_weights_elsewhere_tells_how_to_save_one_file(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(numpy_helper.to_array(onnx_files.weights()[1]).tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_files.outside("weights.bin").SerializeToString())
    with pytest.raises(RequestError) as caught:
        inspect(path)
    program = caught.value.remedy.partition("\n")[2]
    exec(program.replace("model.onnx", str(path)).replace("whole.onnx", str(tmp_path / "w.onnx")))
    facts = examined(tmp_path, onnx.load(tmp_path / "w.onnx"))
    assert facts.outputs == 3


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(share: float, tmp_path: Path) -> None:
    content = onnx_files.model().SerializeToString()
    path = tmp_path / "a.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RequestError, match=r"damaged|holds no graph"):
        inspect(path)
