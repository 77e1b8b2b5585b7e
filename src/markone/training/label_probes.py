"""Label probes: what nearest neighbours, a linear map and single columns know of the labels of rows that are held out."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WIDTH = 256  # numbers of a row that distances are taken of
NEIGHBOURS = 10  # votes: 8 of 10 for one class happen to 1 in 20 rows where two classes are tossed for
LEAST_ROWS, MOST_CLASSES = 100, 64
LEAST_OF_A_CLASS = 5
RIDGE = 0.1  # of the mean eigenvalue: as many numbers as rows would otherwise be fitted exactly
CONFIDENT = 0.25  # share of the rows about which a probe is surest
BINS = 32  # of one column
LEAST_COLUMNS, MOST_COLUMNS = 3, 512


def label_probes(inputs: "torch.Tensor", targets: "torch.Tensor | None") -> dict[str, Any] | None:
    """How often nearest neighbours and a linear map, which do not know a row's label, agree with it.

    ``agreement`` of all rows, ``confident`` of those the probe is surest of, ``shuffled`` after the labels were shuffled; ``chance`` is the
    share of the largest class. ``structure``: the share of the variance in the first tenth of the principal directions, and
    ``structure_permuted`` the same after every column was permuted by itself. None for what are no classes, or few rows.
    """
    import torch

    if targets is None or targets.is_floating_point() or targets.ndim != 1:
        return None
    labels, own, counts = targets.unique(return_inverse=True, return_counts=True)
    if not 2 <= len(labels) <= MOST_CLASSES:
        return None
    kept = (counts >= LEAST_OF_A_CLASS)[own]
    if int(kept.sum()) < LEAST_ROWS or len(own[kept].unique()) < 2:
        return None
    own = own[kept].unique(return_inverse=True)[1]
    rows = embedded(inputs[kept])
    if rows is None:
        return None
    generator = torch.Generator().manual_seed(0)
    shuffled = own[torch.randperm(len(own), generator=generator)]
    near = neighbours(rows)
    both = {}
    for name in ("neighbours", "linear"):
        agrees, sure = _vote(near, own) if name == "neighbours" else _ridge(rows, own)
        mixed, _ = _vote(near, shuffled) if name == "neighbours" else _ridge(rows, shuffled)
        surest = sure >= sure.quantile(1 - CONFIDENT)
        both[name] = {
            "agreement": float(agrees.double().mean()),
            "confident": float(agrees[surest].double().mean()),
            "confident_rows": int(surest.sum()),
            "shuffled": float(mixed.double().mean()),
        }
    return {
        "rows": len(own),
        "classes": int(own.max()) + 1,
        "chance": float(own.bincount().max() / len(own)),
        **both,
        **_structure(rows, generator),
    }


def quarters(targets: "torch.Tensor | None") -> "torch.Tensor | None":
    """Of one number a row, which quarter of all numbers it lies in (n,): classes that probes can name. None for anything else."""
    import torch

    if targets is None or not targets.is_floating_point() or targets.numel() != len(targets):
        return None
    numbers = targets.reshape(-1).double()
    borders = numbers.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=numbers.dtype))
    return torch.bucketize(numbers, borders)


def embedded(inputs: "torch.Tensor") -> "torch.Tensor | None":
    """Rows (n, up to WIDTH) for distances: pictures by a coarse grid, tables standardized by column; None where nothing varies."""
    import torch
    from torch.nn import functional as F

    rows = inputs.float()
    if rows.ndim == 4 and rows[0].numel() > WIDTH:
        side = max(1, math.isqrt(WIDTH // rows.shape[1])) if rows.shape[1] <= WIDTH else 1
        rows = F.adaptive_avg_pool2d(rows, (min(side, rows.shape[2]), min(side, rows.shape[3])))
    picture = rows.ndim == 4
    rows = rows.reshape(len(rows), -1)
    if rows.shape[1] > WIDTH:
        draw = torch.Generator().manual_seed(0)
        rows = rows @ torch.randn(rows.shape[1], WIDTH, generator=draw, dtype=rows.dtype) / math.sqrt(WIDTH)
    rows = rows - rows.mean(0)
    spread = rows.std(0, correction=0)
    varies = spread > 1e-6 * spread.max()
    if not bool(varies.any()) or not bool(spread.isfinite().all()):
        return None
    rows, spread = rows[:, varies], spread[varies]
    return rows / (spread.square().mean().sqrt() if picture else spread)


def neighbours(rows: "torch.Tensor", others: "torch.Tensor | None" = None) -> "torch.Tensor":
    """For each row the places of the NEIGHBOURS nearest among the others at other places, (n, NEIGHBOURS)."""
    import torch

    far = torch.cdist(rows, rows if others is None else others)
    far.fill_diagonal_(math.inf)
    return far.topk(min(NEIGHBOURS, far.shape[1] - 1), largest=False).indices


def _vote(near: "torch.Tensor", own: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Whether the neighbours' majority is a row's own class, and how large a majority it is."""
    import torch
    from torch.nn import functional as F

    votes = F.one_hot(own, int(own.max()) + 1).float()[near].mean(1)
    ties = torch.rand(votes.shape, generator=torch.Generator().manual_seed(0), dtype=votes.dtype) * 1e-3
    share, winner = (votes + ties).max(1)
    return winner == own, share


def _ridge(rows: "torch.Tensor", own: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """The same of a linear map that was fitted to the other half of the rows; sure by how far the first class is ahead."""
    import torch
    from torch.nn import functional as F

    wide = torch.cat((rows, torch.ones(len(rows), 1)), dim=1)
    wanted = F.one_hot(own, int(own.max()) + 1).float()
    half = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1)) % 2 == 0
    agrees, sure = torch.empty(len(rows), dtype=torch.bool), torch.empty(len(rows), dtype=rows.dtype)
    for fitted, held in ((half, ~half), (~half, half)):
        x, y = wide[fitted].double(), wanted[fitted].double()
        square = x.T @ x
        ridge = RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
        scores = wide[held].double() @ torch.linalg.solve(square + ridge, x.T @ y)
        best = scores.topk(2, dim=1)
        agrees[held] = best.indices[:, 0] == own[held]
        sure[held] = (best.values[:, 0] - best.values[:, 1]).float()
    return agrees, sure


def _structure(rows: "torch.Tensor", generator: "torch.Generator") -> dict[str, float]:
    """Whether the rows lie in few directions: what random numbers do not."""
    import torch

    draws = torch.rand(rows.shape, generator=generator).argsort(0)
    found = []
    for given in (rows, rows.gather(0, draws)):
        values = torch.linalg.svdvals(given).square()
        first = max(1, round(len(values) / 10))
        found.append(float(values[:first].sum() / values.sum()))
    return {"structure": found[0], "structure_permuted": found[1]}


def best_feature(
    inputs: "torch.Tensor", targets: "torch.Tensor | None", names: tuple[str, ...]
) -> dict[str, Any] | None:
    """The column that by itself tells most of the classes of held-out rows, and what the other columns tell without it.

    A column is cut into BINS bins of equally many rows, and each bin says its majority. ``gap``: the smallest distance between values of
    different classes beside each other, in standard deviations of the column.
    """
    import torch
    from torch.nn import functional as F

    columns = inputs.shape[1]
    if targets is None or targets.is_floating_point() or not LEAST_COLUMNS <= columns <= MOST_COLUMNS:
        return None
    own = targets.unique(return_inverse=True)[1]
    classes = int(own.max()) + 1
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(2))
    fitted, held = order[::2], order[1::2]
    edges = inputs[fitted].double().quantile(torch.arange(1, BINS, dtype=torch.float64) / BINS, dim=0).T.contiguous()
    bins = torch.searchsorted(edges, inputs.double().T.contiguous())
    wanted = F.one_hot(own, classes).double()
    counts = torch.zeros(columns, BINS, classes, dtype=torch.float64)
    counts.scatter_add_(1, bins[:, fitted, None].expand(-1, -1, classes), wanted[fitted].expand(columns, -1, -1))
    says = (counts + 1e-3 * wanted.mean(0)).argmax(2)
    right = (says.gather(1, bins[:, held]) == own[held]).double().mean(1)
    best = int(right.argmax())
    found: dict[str, Any] = {
        "name": names[best] if best < len(names) else f"column {best}",
        "agreement": float(right[best]),
        "median": float(right.median()),
        "gap": _gap(inputs[:, best], own),
    }
    others = torch.arange(columns) != best
    rest = label_probes(inputs[:, others], targets) if found["agreement"] > found["median"] else None
    if rest is not None:
        found["others"] = max(rest["neighbours"]["agreement"], rest["linear"]["agreement"])
    return found


def _gap(values: "torch.Tensor", own: "torch.Tensor") -> float:
    order = values.argsort()
    values, own = values[order].double(), own[order]
    change = own[1:] != own[:-1]
    spread = float(values.std(correction=0))
    return float((values[1:] - values[:-1])[change].min()) / spread if spread > 0 and bool(change.any()) else 0.0
