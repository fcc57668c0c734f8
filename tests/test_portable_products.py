"""Products by oneDNN, which a portable stage takes for PyTorch's own."""

import subprocess
import sys

import torch
from repository import ROOT

from spiro_diffusion.compute import portable_products
from spiro_diffusion.core import portable

STEP = """
import torch
from spiro_diffusion.compute import portable_products
portable_products.settle()
torch.manual_seed(0)
layer, x = torch.nn.Linear(24, 40), torch.randn(3, 50, 24, requires_grad=True)
layer(x).square().mean().backward()
exact, seen = torch.nn.Linear(24, 40).double(), x.detach().double().requires_grad_()
exact.load_state_dict(layer.state_dict())
exact(seen).square().mean().backward()
for found, true in ((x, seen), (layer.weight, exact.weight), (layer.bias, exact.bias)):
    torch.testing.assert_close(found.grad.double(), true.grad, rtol=1e-4, atol=1e-7)
with torch.profiler.profile() as record:
    layer(x).sum().backward()
print(sum(event.key == "mkldnn::_linear_pointwise" and event.count for event in record.key_averages()))
"""


def products_by_onednn(**environment: str) -> int:
    """Of a linear layer's step, forward and backward, in a process with these settings; gradients are right."""
    command = [sys.executable, "-c", STEP]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "Warning" not in done.stderr
    return int(done.stdout)


def test_a_portable_process_computes_a_layer_and_its_gradients_by_onednn() -> None:
    assert products_by_onednn(**portable.KERNELS) == 3
    assert products_by_onednn() == 0


def test_products_agree_with_pytorch_however_the_matrices_lie() -> None:
    torch.manual_seed(0)
    a, b, bias = torch.randn(30, 20), torch.randn(20, 10), torch.randn(10)
    for left in (a, a.t().contiguous().t(), torch.randn(60, 40)[::2, ::2]):
        for right in (b, b.t().contiguous().t(), torch.randn(20, 30)[:, ::3]):
            torch.testing.assert_close(portable_products.mm(left, right), left @ right)
            torch.testing.assert_close(portable_products.addmm(bias, left, right), bias + left @ right)
    both = portable_products.addmm(torch.randn(30, 1), a, b, beta=0, alpha=2)
    torch.testing.assert_close(both, 2 * (a @ b))


def test_other_number_types_and_empty_matrices_are_left_to_pytorch() -> None:
    for kind in (torch.float64, torch.bfloat16, torch.int64):
        a, b = torch.ones(3, 4).to(kind), torch.ones(4, 2).to(kind)
        assert torch.equal(portable_products.mm(a, b), torch.full((3, 2), 4).to(kind))
    assert torch.equal(portable_products.mm(torch.ones(3, 0), torch.ones(0, 2)), torch.zeros(3, 2))
    assert portable_products.addmm(torch.ones(2), torch.ones(0, 4), torch.ones(4, 2)).shape == (0, 2)
