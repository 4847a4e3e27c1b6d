import pytest
import torch
import torch.nn.functional as F

from storygen.models.linear import ONEDNN, Linear, pack, packed_product, product

pytestmark = pytest.mark.skipif(not ONEDNN, reason="this PyTorch is built without oneDNN")


@pytest.mark.parametrize("shape", [(7, 5), (2, 7, 5), (2, 3, 7, 5), (1, 5)], ids=str)
@pytest.mark.parametrize("outputs", [3, 9])
def test_product_and_gradients(shape, outputs):
    """Wide and narrow weights take different orders of the same product in the backward pass."""
    torch.manual_seed(0)
    x, weight = torch.randn(shape, requires_grad=True), torch.randn(outputs, shape[-1], requires_grad=True)
    y, reference = product(x, weight), F.linear(x, weight)
    torch.testing.assert_close(y, reference)
    gradient = torch.randn_like(y)
    for ours, expected in zip(
        torch.autograd.grad(y, (x, weight), gradient),
        torch.autograd.grad(reference, (x, weight), gradient),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected)


def test_gradients_that_are_expanded():
    """The gradient of a sum is one number seen as a matrix."""
    x, weight = torch.randn(4, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
    product(x, weight).sum().backward()
    torch.testing.assert_close(weight.grad, x.detach().sum(dim=0).expand(3, -1))


@pytest.mark.parametrize("shape", [(5,), (0, 5), (2, 0, 5)], ids=str)
def test_odd_shapes_are_as_elsewhere(shape):
    layer = Linear(5, 3)
    y = layer(torch.randn(shape))
    assert y.shape == (*shape[:-1], 3)
    y.sum().backward()


def test_other_precisions_are_as_elsewhere():
    """bfloat16 training must not quietly run in float32."""
    layer, x = Linear(5, 3), torch.randn(4, 5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64
    assert layer.half()(x.half()).dtype == torch.float16


@torch.inference_mode()
@pytest.mark.parametrize("rows", [1, 4, 33])
def test_packed_product(rows):
    x, weight, plus = torch.randn(rows, 5), torch.randn(7, 5), torch.randn(rows, 7)
    torch.testing.assert_close(packed_product(x, pack(weight)), x @ weight.T)
    torch.testing.assert_close(packed_product(x, pack(weight), plus), x @ weight.T + plus)
