"""Optical flow from a clip's first frame to each later one, as motion the 3D-CNN can read: u, v and strain.

Inverse-compositional Lucas-Kanade (Baker and Matthews, 2004) from coarse to fine: the gradients are those of the first
frame, so each refinement costs one warp and two smoothings. The search for a frame goes on from the flow to the frame
before, which finds what has moved far by then. The head's own motion, an affine field fitted robustly to the flow, is
taken out. Magnitudes go through an inverse hyperbolic sine with a learned scale, so that half a pixel and six pixels
both tell. Runs in float32 whatever the autocast.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional, init

from .configuration_aullm import AULLMConfig

LEVELS = (4, 2, 1)  # how much smaller the frames are at each level of the pyramid
NEAR = (2, 1)  # the levels that are left where the flow to the frame before is known
ITERATIONS = 3  # at each level
DAMPING = 0.2  # of the structure tensor, as a share of its mean: where nothing has texture, nothing moves
WINDOW = 3.5  # standard deviation of the window, in pixels of each level
SMOOTHING = 1.5  # standard deviation, in pixels of each level, of what smooths the flow after each step
PASSES = 4  # of the robust fit of the head's motion
SCALES = (0.3, 0.3, 0.05)  # at which u, v (pixels) and strain begin to be compressed
PADDING = 8  # pixels around a frame: the last rows and columns would move where nothing does


class OpticalFlow(nn.Module):
    """(B, T, 1, H, W) frames, or their `face_motion` -> (B, 3, T-1, H, W): u, v in pixels and strain, compressed."""

    channels = 3

    def __init__(self, config: AULLMConfig):
        super().__init__()
        self.smoothing = config.flow_smoothing
        self.log_scale = nn.Parameter(torch.zeros(self.channels))

    def reset_parameters(self) -> None:
        with torch.no_grad():
            init.zeros_(self.log_scale)
            self.log_scale += torch.tensor([math.log(scale) for scale in SCALES])

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        with torch.autocast(frames.device.type, enabled=False):
            frames = frames.float()
            known = frames.shape[2] == self.channels
            motion = frames if known else face_motion(frames, self.smoothing)  # (B, T-1, 3, H, W)
            scale = self.log_scale.exp()[:, None, None]
            return (motion / scale).asinh().transpose(1, 2)


def face_motion(frames: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """(B, T, 1, H, W) -> (B, T-1, 3, H, W): flow from the first frame without the head's motion, and strain.

    smoothing: standard deviation, in pixels, of a Gaussian that evens out the flow; 0 leaves it as it is.
    """
    with torch.no_grad():
        flow = torch.stack(list(flows_of(frames)), dim=1).flatten(0, 1)  # (B (T-1), 2, H, W)
        flow = smooth(flow, smoothing) if smoothing else flow
        flow = flow - head_motion(flow)
        return torch.cat([flow, strain(flow)], dim=1).unflatten(0, (-1, frames.shape[1] - 1))


def flows_of(frames: torch.Tensor) -> Iterator[torch.Tensor]:
    """(B, T, 1, H, W) -> the flow (B, 2, H, W) in pixels from the first frame to each later one."""
    padded = functional.pad(frames.flatten(0, 1), [PADDING] * 4, mode="replicate")
    first, *later = normalised(padded).unflatten(0, frames.shape[:2]).unbind(dim=1)
    templates = {level: template_of(at_level(first, level)) for level in LEVELS}
    flow, levels = first.new_zeros(first.shape[0], 2, *(side // LEVELS[0] for side in first.shape[2:])), LEVELS
    for frame in later:
        for level in levels:
            smaller = at_level(frame, level)
            flow = refine(templates[level], smaller, resized(flow, smaller.shape[2:]))
        yield flow[..., PADDING:-PADDING, PADDING:-PADDING]
        levels = NEAR


def normalised(frames: torch.Tensor) -> torch.Tensor:
    """Light and contrast that change slowly over the face are taken out; the range of the values with them."""
    centred = frames - smooth(frames, 6.0)
    contrast = centred.square().mean(dim=(2, 3), keepdim=True).sqrt()
    return centred / (smooth(centred.square(), 6.0).sqrt() + 0.4 * contrast + 1e-9)


class Template(NamedTuple):
    """The first frame at one level: what every refinement of a flow from it needs, (B, 1, h, w) or (B, h, w) each."""

    still: torch.Tensor  # the frame itself, but for the sampling's rounding: equal frames have no error
    gradients: tuple[torch.Tensor, torch.Tensor]
    tensor: tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # the structure tensor's xx, xy, yy, damped
    counts: torch.Tensor  # how much a pixel's step counts in its neighbourhood: texture can be followed
    spread: torch.Tensor  # the counts, smoothed


def at_level(frame: torch.Tensor, level: int) -> torch.Tensor:
    return smooth(functional.avg_pool2d(frame, level), 0.7)


def template_of(first: torch.Tensor) -> Template:
    gx, gy = gradients(first)
    xx, xy, yy = smooth(torch.cat([gx * gx, gx * gy, gy * gy], dim=1), WINDOW).unbind(dim=1)  # (B, h, w) each
    trust = ((xx * yy - xy * xy) / (xx + yy + 1e-9)).clamp(min=0)
    trust = (trust / (trust.mean(dim=(1, 2), keepdim=True) + 1e-9)).clamp(max=3)[:, None]
    damping = 1e-3 + DAMPING * (xx + yy).mean(dim=(1, 2), keepdim=True) / 2
    counts = trust + 0.02
    still = warp(first, first.new_zeros(first.shape[0], 2, *first.shape[2:]))
    return Template(still, (gx, gy), (xx + damping, xy, yy + damping), counts, smooth(counts, SMOOTHING))


def resized(flow: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """The flow (B, 2, ..) between frames of another size."""
    growth = size[0] / flow.shape[2]
    return functional.interpolate(flow, size=tuple(size), mode="bilinear", align_corners=False) * growth


def refine(template: Template, second: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """A few Gauss-Newton steps at one level; each is smoothed, pixels with texture counting more."""
    (gx, gy), (xx, xy, yy) = template.gradients, template.tensor
    determinant = xx * yy - xy * xy
    for _ in range(ITERATIONS):
        error = warp(second, flow) - template.still
        bx, by = smooth(torch.cat([gx * error, gy * error], dim=1), WINDOW).unbind(dim=1)
        step = torch.stack([yy * bx - xy * by, xx * by - xy * bx], dim=1) / determinant[:, None]
        flow = smooth((flow - step.clamp(-1, 1)) * template.counts, SMOOTHING) / template.spread
    return flow


def head_motion(flow: torch.Tensor) -> torch.Tensor:
    """The affine field (N, 2, H, W) that fits the flow best; what the face's muscles move counts little in the fit."""
    height, width = flow.shape[2:]
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, device=flow.device), torch.linspace(-1, 1, width, device=flow.device),
        indexing="ij",
    )  # fmt: skip
    basis = torch.stack([torch.ones_like(x), x, y]).flatten(1).T  # (H W, 3)
    target = flow.flatten(2).transpose(1, 2)  # (N, H W, 2)
    counts = torch.ones_like(target[..., :1])
    for _ in range(PASSES):
        weighted = basis * counts  # (N, H W, 3)
        normal = weighted.transpose(1, 2) @ basis + 1e-4 * torch.eye(3, device=flow.device)
        solve = solve_by_cofactors if torch.compiler.is_exporting() else torch.linalg.solve  # ONNX has no solver
        fit = solve(normal, weighted.transpose(1, 2) @ target)  # (N, 3, 2)
        field = basis @ fit
        residual = (target - field).square().sum(dim=2, keepdim=True).sqrt()
        scale = residual.mean(dim=1, keepdim=True).clamp(min=0.02)
        counts = 1 / (1 + (residual / scale).square())
    return field.transpose(1, 2).unflatten(2, (height, width))


def solve_by_cofactors(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """x with `matrix` (N, 3, 3) @ x = `right` (N, 3, K), by products and sums alone."""
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(dim=1) for row in matrix.unbind(dim=1))
    rows = [[e * i - f * h, c * h - b * i, b * f - c * e],
            [f * g - d * i, a * i - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d]]  # fmt: skip
    adjugate = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)  # (N, 3, 3)
    determinant = a * rows[0][0] + b * rows[1][0] + c * rows[2][0]
    return adjugate @ right / determinant[:, None, None]


def strain(flow: torch.Tensor) -> torch.Tensor:
    """How far the skin is stretched or sheared: the Frobenius norm of the flow's strain tensor (N, 1, H, W)."""
    u, v = flow.split(1, dim=1)
    (ux, uy), (vx, vy) = gradients(u), gradients(v)
    return (ux.square() + vy.square() + (uy + vx).square() / 2 + 1e-12).sqrt()


def gradients(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Central differences along x and y, (N, 1, H, W) each."""
    padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
    return (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2


def smooth(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    """A Gaussian over (N, C, H, W), the borders repeated; as two matrix products, which CPUs do fastest."""
    height, width = maps.shape[-2:]
    return constant(gaussian, height, sigma, like=maps) @ maps @ constant(gaussian, width, sigma, like=maps).T


def warp(frames: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """The second frame (N, 1, H, W) as it would look without the flow."""
    height, width = frames.shape[2:]
    still, pixel = (constant(make, height, width, like=flow) for make in (places, pixel_size))  # (H, W, 2), (2,)
    moved = still + flow.permute(0, 2, 3, 1) * pixel
    return functional.grid_sample(frames, moved, mode="bicubic", padding_mode="border", align_corners=True)


def constant(make: Callable[..., torch.Tensor], *sizes: float, like: torch.Tensor) -> torch.Tensor:
    """`make(*sizes)` where `like` is, kept from call to call: making one takes longer than using it."""
    if torch.compiler.is_compiling() or type(like) is not torch.Tensor:  # traced: there is nothing that could be kept
        return make(*sizes, device=like.device, dtype=like.dtype)
    return _kept(make, *sizes, like.device, like.dtype)


@lru_cache(maxsize=64)
def _kept(make: Callable[..., torch.Tensor], *what) -> torch.Tensor:
    *sizes, device, dtype = what
    with torch.inference_mode(False):
        return make(*sizes, device=device, dtype=dtype)


def gaussian(size: int, sigma: float, **where) -> torch.Tensor:
    """The matrix (size, size) that smooths a column of `size` numbers, the first and last repeated beyond the ends."""
    place = torch.arange(size, **where)
    radius = math.ceil(2.5 * sigma)
    offsets = torch.arange(-radius, radius + 1, **where)
    weights = (-offsets.square() / (2 * sigma**2)).exp()
    columns = (place[:, None] + offsets).clamp(0, size - 1).long()
    return torch.zeros(size, size, **where).scatter_add_(1, columns, (weights / weights.sum()).expand(size, -1))


def places(height: int, width: int, **where) -> torch.Tensor:
    """(H, W, 2): x and y of every pixel, from -1 to 1, as `grid_sample` takes them."""
    y, x = torch.meshgrid(torch.arange(height, **where), torch.arange(width, **where), indexing="ij")
    return torch.stack([x, y], dim=-1) * pixel_size(height, width, **where) - 1


def pixel_size(height: int, width: int, **where) -> torch.Tensor:
    """(2,): how far apart the `places` of neighbours are, along x and y."""
    return torch.tensor([2 / (width - 1), 2 / (height - 1)], **where)


__all__ = ["OpticalFlow", "face_motion"]
