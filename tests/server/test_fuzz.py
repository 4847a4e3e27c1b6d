"""Requests made from our own description of the API, right and wrong ones: none may be answered by a fault.

A thorough run takes a server and minutes: `schemathesis run http://127.0.0.1:7860/openapi.json`, as SECURITY.md says.
"""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode, checks

from storygen.artifact import Artifact
from storygen.server.app import create_app
from storygen.writer import Writer
from tests.server.conftest import OPEN
from tests.toys import Bigram

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture(scope="module")
def operations(tokenizer):
    """The API of a model whose stories are three tokens long on average, so that fuzzing takes no time."""
    size = tokenizer.vocab_size
    row = [2 / 3 / (size - 1)] * (size - 1) + [1 / 3]
    writer = Writer(Artifact(Bigram([row] * size), tokenizer, "toy", "0"))
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app({"toy": writer}, OPEN))
    return [each.ok() for each in schema.get_all_operations()]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_is_answered_by_a_fault(operations, mode):
    for operation in operations:
        completes = operation.path == "/v1/completions"

        @settings(
            max_examples=40 if completes else 3, database=None,
            phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case):
            answer = case.call()
            case.validate_response(answer, checks=CHECKS)
            assert "Traceback" not in answer.text

        if completes or mode is GenerationMode.POSITIVE:
            check()
