"""What all tests share: no network, one small tokenizer, and two small models that fit it."""

import os
import socket

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import hypothesis
import pytest
import torch

from storygen import artifact
from storygen.config import LSTMConfig, TransformerConfig
from storygen.data.files import read_files
from storygen.data.sources import builtin_tales
from storygen.models import build_model
from storygen.tokenizers import train_tokenizer
from storygen.tuning.reward import RewardModel
from tests.hub import WRITE, HubStandIn
from train import prepare

BROWSER_TESTS = "tests/e2e/"
LOCAL = ("127.0.0.1", "::1", "localhost", "0.0.0.0", "")

if os.environ.get("PYTEST_XDIST_WORKER"):
    torch.set_num_threads(1)  # there are no fewer workers than cores

# The same examples every time, and no limit on the time of one: on a busy machine any can take long.
hypothesis.settings.register_profile("storygen", deadline=None, derandomize=True)
hypothesis.settings.load_profile("storygen")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """One more than cores, as browser tests mostly wait; what the user has set comes first."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file goes to one worker, for what its tests share; the browser tests all go to one, for their app."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return "browser" if nodeid.startswith(BROWSER_TESTS) else super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # or files with many tests would come first, and the browser last
    return Scheduling(config, log) if config.option.dist in ("load", "loadfile") else None


def pytest_collection_modifyitems(items):
    """The browser tests begin at once, as they take longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(BROWSER_TESTS))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Refuses every connection that leaves the machine, and says which test tried."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOCAL:
            pytest.fail(f"the test tried to reach {address[0]}:{address[1]}; tests run without a network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def tales():
    """The texts of the built-in validation stories."""
    return [story.text for story in read_files(builtin_tales()[1])]


@pytest.fixture(scope="session")
def tokenizer(tales):
    """A byte-level BPE of 400 tokens."""
    return train_tokenizer("bpe", tales, 400)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """The built-in tales, packed with a BPE of 500 tokens."""
    folder = tmp_path_factory.mktemp("data") / "tales"
    prepare.main(["--source", "tales", "--out", str(folder), "--vocab-size", "500"])
    return folder


def tiny_config(architecture, vocab_size=400, **changes):
    """A model small enough to run in a millisecond."""
    if architecture == "lstm":
        values = {"embedding_size": 24, "hidden_size": 32, "num_layers": 2, "context_length": 64, **changes}
        return LSTMConfig(vocab_size=vocab_size, **values)
    values = {
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "intermediate_size": 48,
        "context_length": 64,
        **changes,
    }
    return TransformerConfig(vocab_size=vocab_size, **values)


def lively(model, seed=0, std=0.3):
    """The model with weights large enough for its logits to differ: at initialisation it knows nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=std, generator=generator)
    return model.eval()


@pytest.fixture(scope="session", params=["transformer", "lstm"])
def model(request):
    """Each architecture in turn, with a vocabulary of 400."""
    return lively(build_model(tiny_config(request.param)))


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory, tokenizer):
    """Folders of two small artifacts, transformer and lstm, each with a reward model."""
    root = tmp_path_factory.mktemp("models")
    for architecture in ("transformer", "lstm"):
        model = lively(build_model(tiny_config(architecture, tokenizer.vocab_size)))
        reward = RewardModel(torch.randn(2 * model.head.in_features, generator=torch.Generator().manual_seed(0)))
        training = {"parameters": model.num_parameters}
        artifact.save(root / architecture, model, tokenizer, training, reward=reward)
    return root


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A stand-in for the Hub, to which the `huggingface_hub` of this process talks: as ann, with an empty cache.

    The client reads its settings when it is imported, so they are changed where it keeps them.
    """
    from huggingface_hub import constants

    with HubStandIn() as stand_in:
        monkeypatch.setenv("HF_TOKEN", WRITE)
        for name, value in {
            "ENDPOINT": stand_in.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": stand_in.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(tmp_path / "hf-cache"),
            "HF_TOKEN_PATH": str(tmp_path / "hf-token"),
            "HF_HUB_DISABLE_XET": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        yield stand_in
