import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.ao import quantization
from torch.ao.nn.quantized import dynamic as quantized_dynamic
from torch.ao.quantization import quantize_fx

from quantcore import models
from quantcore.errors import RequestError, UnsupportedError, WeightsUnavailableError
from quantcore.models import Figures, architectures, bundled, catalogue, find, generate
from quantcore.models import torchvision as published
from quantcore.models.bundle import OVERLAY
from quantcore.models.layers import dynamic_layers
from quantcore.models.torchvision_import import torchvision
from quantcore.schema import ModelSpec
from tests.support.computing import QUIET, one_thread

SMALL_TWINS = ("mobilenet_v2", "mobilenet_v3_large", "resnet18", "shufflenet_v2_x0_5")
OWN = ("mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0", "resnet18")

pytestmark = QUIET


@pytest.fixture(autouse=True)
def process() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for folder in ("checkpoints", "quantized"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv(OVERLAY, str(tmp_path))
    return tmp_path


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give torch hub an empty cache, and a weights server that nobody listens on."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(published, "WEIGHTS_URL", "http://127.0.0.1:9/models")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def spec(name: str) -> ModelSpec:
    return ModelSpec(name)


def pictures(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        result: torch.Tensor = model(images)
    return result


def save_half(model: nn.Module, path: Path) -> None:
    half = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in model.state_dict().items()
    }
    save_file(half, path)


# The catalogue


def test_catalogue_lists_all_of_torchvision_and_the_bundle() -> None:
    everything = torchvision().models.list_models(module=torchvision().models)
    assert [name for name in catalogue() if name.startswith("torchvision/")] == [
        f"torchvision/{name}" for name in everything
    ]
    assert set(catalogue()) - {f"torchvision/{name}" for name in everything} == {
        f"bundled/{name}" for name in (*OWN, "row_lstm", "vit_tiny")
    }


def test_catalogue_and_digests_need_no_torch() -> None:
    code = (
        "import sys; from quantcore.models.catalogue import catalogue, find;"
        "from quantcore.models import weights_digest;"
        "from quantcore.schema.request import ModelSpec;"
        "catalogue(); weights_digest(ModelSpec('torchvision/resnet18@random'));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_catalogue_marks_torchvisions_twelve_twins_as_eager() -> None:
    eager = {
        info.architecture
        for info in catalogue().values()
        if info.static_mode == "eager" and info.source == "torchvision"
    }
    twins = torchvision().models.list_models(module=torchvision().models.quantization)
    assert eager == {name.removeprefix("quantized_") for name in twins}


def test_resnet18_has_its_published_figures() -> None:
    info = catalogue()["torchvision/resnet18"]
    assert (info.parameters, info.gflops) == (11_689_512, 1.814)
    assert info.figures == Figures(round(44.661 * 2**20), 0.69758)
    assert (info.image_size, info.resize_size, info.title) == (224, 256, "ResNet-18")
    assert info.weights_file == "resnet18-f37072fd.pth"
    assert info.labels[1] == "goldfish"
    assert len(info.labels) == info.classes == 1_000


def test_ready_quantized_weights_serve_only_the_engines_they_fit() -> None:
    assert catalogue()["torchvision/resnet50"].pretrained_engines == ("x86", "fbgemm")
    assert catalogue()["torchvision/mobilenet_v2"].pretrained_engines == ("qnnpack",)
    assert catalogue()["bundled/resnet18"].pretrained_engines == ("x86", "fbgemm", "qnnpack")
    assert not any("onednn" in info.pretrained_weights for info in catalogue().values())


def test_only_the_lstm_refuses_static_and_says_why() -> None:
    refused = {name: info for name, info in catalogue().items() if info.static_mode is None}
    assert list(refused) == ["bundled/row_lstm"]
    assert "Dynamic quantization" in refused["bundled/row_lstm"].static_refusal
    assert all((info.static_mode is None) == bool(info.static_refusal) for info in refused.values())


@pytest.mark.parametrize("name", ["bundled/row_lstm", "bundled/vit_tiny", "torchvision/googlenet"])
def test_catalogue_counts_the_layers_dynamic_quantization_converts(name: str) -> None:
    info = catalogue()[name]
    own = info.source == "bundled"
    model = bundled.architecture(info) if own else architectures.architecture(info.architecture)
    size = info.image_size
    before = sum(parameter.numel() for parameter in model.parameters())
    converted = quantization.quantize_dynamic(model, {nn.Linear, nn.LSTM, nn.GRU})
    convertible = [
        module
        for module in converted.modules()
        if type(module) in (quantized_dynamic.Linear, quantized_dynamic.LSTM)
    ]
    assert len(convertible) == sum(info.dynamic_layers.values())
    assert logits(converted, pictures(size=size)).shape == (2, info.classes)
    assert not own or before == info.parameters


def test_swins_attention_is_left_out_because_it_reads_its_weights() -> None:
    model = models.build(spec("torchvision/swin_t@random"))
    names = dynamic_layers(model)["Linear"]
    assert not [name for name in names if "attn" in name]
    assert len(names) == catalogue()["torchvision/swin_t"].dynamic_layers["Linear"]
    settings = dict.fromkeys(names, quantization.default_dynamic_qconfig)
    converted = quantization.quantize_dynamic(model, settings)
    assert logits(converted, pictures(1)).shape == (1, 1_000)


def test_generated_facts_equal_the_catalogue() -> None:
    """One cheap model of each source, generated anew."""
    for name, make in (
        ("bundled/resnet18", generate.bundled_facts),
        ("torchvision/resnet18", generate.published_facts),
    ):
        info = catalogue()[name]
        facts = make(info.architecture)
        if "figures" in facts:
            facts["figures"] = Figures(**facts["figures"])
        for key, value in facts.items():
            fact = getattr(info, key)
            assert fact == (tuple(value) if isinstance(value, list) else value), key


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("efficientnet_b0", "EfficientNet B0"),
        ("mobilenet_v3_large", "MobileNet v3 Large"),
        ("regnet_y_1_6gf", "RegNet Y 1.6 GF"),
        ("resnext101_32x8d", "ResNeXt-101 32x8d"),
        ("squeezenet1_1", "SqueezeNet 1.1"),
        ("vit_b_16", "ViT B/16"),
        ("wide_resnet50_2", "Wide ResNet-50-2"),
    ],
)
def test_titles_are_what_people_write(name: str, title: str) -> None:
    assert catalogue()[f"torchvision/{name}"].title == title


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("bundled/mobilenet", "bundled/mobilenet_v2"),
        ("torchvision/resnet81", "torchvision/resnet18"),
        ("torchvision/vit_tiny", "bundled/vit_tiny"),
    ],
)
def test_an_unknown_model_gets_the_nearest_name(name: str, nearest: str) -> None:
    with pytest.raises(RequestError) as error:
        find(spec(name))
    assert nearest in str(error.value)
    assert all(bundled_name in error.value.remedy for bundled_name in ("row_lstm", "vit_tiny"))
    assert "python -m quantcore models" in error.value.remedy


def test_bundled_models_have_no_random_form() -> None:
    with pytest.raises(RequestError, match="trained weights"):
        find(spec("bundled/resnet18@random"))


def test_random_weights_promise_no_accuracy() -> None:
    info = find(spec("torchvision/resnet18@random"))
    assert info.name == "torchvision/resnet18@random"
    assert (info.figures, info.weights_file, info.pretrained_engines) == (None, None, ())


# Seeded weights


def test_random_weights_are_the_same_anywhere_and_leave_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = models.build(spec("torchvision/squeezenet1_1@random"))
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    second = models.build(spec("torchvision/squeezenet1_1@random"))
    assert torch.equal(logits(first, pictures()), logits(second, pictures()))


def test_random_digests_differ_by_architecture_only() -> None:
    digests = [
        models.weights_digest(spec(f"torchvision/{name}@random"))
        for name in ("resnet18", "resnet34", "resnet18")
    ]
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("name", SMALL_TWINS)
def test_the_twin_computes_what_the_float_model_does(name: str) -> None:
    plain = models.build(spec(f"torchvision/{name}@random"))
    twin = models.build_quantizable(spec(f"torchvision/{name}@random"))
    # torchvision's twins use ReLU where the plain MobileNet v2 has ReLU6, which cannot be fused.
    for module in list(plain.modules()):
        for child, inner in module.named_children():
            if type(inner) is nn.ReLU6:
                setattr(module, child, nn.ReLU())
    expected = logits(plain, pictures())
    torch.testing.assert_close(logits(twin, pictures()), expected, rtol=1e-4, atol=1e-5)
    assert not twin.training
    assert not any(tensor.is_meta for tensor in twin.state_dict().values())


def test_a_model_without_a_twin_is_refused_with_the_way_out() -> None:
    with pytest.raises(UnsupportedError) as error:
        models.build_quantizable(spec("torchvision/alexnet@random"))
    assert "FX graph mode" in error.value.remedy


# The bundle


@pytest.mark.parametrize("name", ["shufflenet_v2_x1_0", "row_lstm", "vit_tiny"])
def test_a_bundled_checkpoint_is_read_into_full_precision(overlay: Path, name: str) -> None:
    info = catalogue()[f"bundled/{name}"]
    path = overlay / "checkpoints" / f"{name}.safetensors"
    expected = bundled.architecture(info)
    save_half(expected, path)
    model = models.build(spec(info.name))
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    for key, value in expected.state_dict().items():
        torch.testing.assert_close(
            model.state_dict()[key], value.half().to(value.dtype), rtol=0, atol=0
        )
    assert logits(model, pictures()).shape == (2, 10)
    assert models.weights_digest(spec(info.name)) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_changed_checkpoint_has_another_digest(overlay: Path) -> None:
    path = overlay / "checkpoints" / "resnet18.safetensors"
    path.write_bytes(b"one")
    before = models.weights_digest(spec("bundled/resnet18"))
    path.write_bytes(b"another")
    assert models.weights_digest(spec("bundled/resnet18")) != before


@pytest.mark.parametrize(
    ("name", "engine_name"), [("shufflenet_v2_x1_0", "x86"), ("mobilenet_v3_large", "qnnpack")]
)
def test_ready_quantized_weights_give_the_model_they_were_saved_from(
    overlay: Path, name: str, engine_name: str
) -> None:
    info = catalogue()[f"bundled/{name}"]
    torch.backends.quantized.engine = engine_name
    made = bundled.twin(info).train()
    made.fuse_model(is_qat=True)
    made.qconfig = quantization.get_default_qat_qconfig(engine_name)
    quantization.prepare_qat(made, inplace=True)
    made(pictures(4))
    quantization.convert(made.eval(), inplace=True)
    torch.save(made.state_dict(), overlay / "quantized" / f"{name}.{engine_name}.pt")
    loaded = models.ready_quantized(spec(info.name), engine_name)
    assert torch.equal(logits(loaded, pictures()), logits(made, pictures()))


def test_no_checkpoint_for_onednn_is_a_refusal_with_the_ones_there_are() -> None:
    with pytest.raises(UnsupportedError) as error:
        models.weights_digest(spec("bundled/resnet18"), ready_quantized_for="onednn")
    assert "x86" in error.value.remedy
    assert "qnnpack" in error.value.remedy


def test_fx_static_vit_traces_faithfully_for_other_batch_sizes() -> None:
    """What `static_mode == "fx"` promises of transformers, whose default trace check fails."""
    model = bundled.architecture(catalogue()["bundled/vit_tiny"]).eval()
    mapping = quantization.get_default_qconfig_mapping("x86")
    torch.backends.quantized.engine = "x86"
    prepared = quantize_fx.prepare_fx(model, mapping, (pictures(),))
    prepared(pictures(8))
    converted = quantize_fx.convert_fx(prepared)
    with torch.inference_mode():
        traced = torch.jit.freeze(torch.jit.trace(converted, pictures(1), check_trace=False))
    assert torch.equal(logits(traced, pictures(3)), logits(converted, pictures(3)))


# Published weights


@pytest.mark.parametrize("name", ["mnasnet0_5", "googlenet", "regnet_x_400mf"])
def test_published_weights_in_the_hubs_cache_are_used(hub: Path, name: str) -> None:
    info = catalogue()[f"torchvision/{name}"]
    expected = architectures.complete(name)
    path = hub / str(info.weights_file)
    torch.save(expected.state_dict(), path)
    model = models.build(spec(info.name))
    plain = architectures.drop_auxiliary(expected, name).eval()
    assert torch.equal(logits(model, pictures()), logits(plain, pictures()))
    assert models.weights_digest(spec(info.name)) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_torchvisions_quantized_weights_are_loaded_not_requantized(hub: Path) -> None:
    info = catalogue()["torchvision/shufflenet_v2_x0_5"]
    made = torchvision().models.get_model(
        "quantized_shufflenet_v2_x0_5", weights=None, quantize=True
    )
    torch.save(made.state_dict(), hub / info.pretrained_weights["x86"])
    loaded = models.ready_quantized(spec(info.name), "x86")
    assert torch.backends.quantized.engine == "x86"
    torch.testing.assert_close(logits(loaded, pictures()), logits(made, pictures()))


def test_weights_that_cannot_be_fetched_come_with_the_command_and_the_way_out(hub: Path) -> None:
    for attempt in (models.build, models.weights_digest):
        with pytest.raises(WeightsUnavailableError) as error:
            attempt(spec("torchvision/resnet18"))
        file = "resnet18-f37072fd.pth"
        assert f"curl -L -o {hub / file} {published.WEIGHTS_URL}/{file}" in error.value.remedy
        assert "torchvision/resnet18@random" in error.value.remedy
    assert list(hub.iterdir()) == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("served")
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "WEIGHTS_URL", f"http://127.0.0.1:{web.server_port}")
        yield folder
    web.shutdown()
    web.server_close()


def test_weights_are_fetched_once_and_held_against_their_name(hub: Path, server: Path) -> None:
    content = b"not really weights"
    digest = hashlib.sha256(content).hexdigest()
    name = f"own-{digest[:8]}.pth"
    (server / name).write_bytes(content)
    (server / "own-00000000.pth").write_bytes(content)
    info = catalogue()["torchvision/resnet18"]
    good, bad = (
        type(info)(**{**vars(info), "weights_file": file}) for file in (name, "own-00000000.pth")
    )
    assert published.weights_path(good).read_bytes() == content
    (server / name).unlink()
    assert published.weights_path(good) == hub / name
    with pytest.raises(WeightsUnavailableError, match="digest"):
        published.weights_path(bad)
    assert [path.name for path in hub.iterdir()] == [name]


def test_the_hubs_folder_is_where_torch_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    for environment in ({"TORCH_HOME": "/a"}, {"XDG_CACHE_HOME": "/b"}, {}):
        for key in ("TORCH_HOME", "XDG_CACHE_HOME"):
            monkeypatch.delenv(key, raising=False)
        for key, value in environment.items():
            monkeypatch.setenv(key, value)
        assert str(published.hub_folder()) == f"{torch.hub.get_dir()}/checkpoints"
