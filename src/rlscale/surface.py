"""Fits a law of the whole loss surface: exact, deterministic, from several starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rlscale.curve_points import Curves
from rlscale.errors import UserError
from rlscale.laws import Array, Target
from rlscale.laws.additive import Additive
from rlscale.laws.base_level import BaseLevel
from rlscale.laws.decomposition import Decomposition
from rlscale.laws.sigmoid import JointSigmoid, Sigmoid
from rlscale.laws.smooth_level import SmoothLevel
from rlscale.laws.surface_law import Coordinate, Frame, Sites, SurfaceLaw
from rlscale.marquardt import Indices, Minima, State, box_newton, descend

SURFACE_LAWS: dict[str, SurfaceLaw] = {
    law.name: law for law in (BaseLevel(), SmoothLevel(), Sigmoid(), JointSigmoid(), Additive(), Decomposition())
}
_LN10 = float(np.log(10.0))
_LEAST = 1e-12


@dataclass(frozen=True)
class Part:
    frame: Frame
    sites: Sites
    loss: Array
    weight: Array


class Residuals:
    def __init__(self, law, loss, parts, problem, lower, upper):
        self.law, self.loss, self.problem = law, loss, problem
        self.lower, self.upper = lower[:, law.shapes :], upper[:, law.shapes :]
        length = max(p.loss.size for p in parts)

        def pad(vs, fill):
            out = np.full((len(vs), length), fill)
            for row, v in zip(out, vs):
                row[: v.size] = v
            return out

        self.sites = Sites(
            *(
                pad([np.broadcast_to(np.ravel(p.sites[i]), p.loss.shape) for p in parts], 0.0 if i < 3 else 1.0)
                for i in range(4)
            )
        )
        self.observed = pad([p.loss for p in parts], 1.0)
        self.root = np.sqrt(pad([p.weight for p in parts], 0.0))
        if loss == "log":
            self.y = np.log10(self.observed)
        else:
            self.y = self.observed
        if law.link == "log":
            self.z = np.log10(self.observed)
            self.lroot = self.root * (1 if loss == "log" else self.observed)
        else:
            self.z = self.observed
            self.lroot = self.root * (1 if loss == "linear" else 1 / self.observed)
        self.exact = law.link == loss

    def _at(self, rows):
        if len(self.observed) == 1:
            return slice(0, 1), self.sites
        at = self.problem[rows]
        return at, Sites(*(v[at] for v in self.sites))

    def at(self, points, rows, closed=None):
        at, sites = self._at(rows)
        shape, c = points[:, : self.law.shapes], points[:, self.law.shapes :]
        basis = self.law.basis(shape, sites)
        f = np.matmul(c[:, None, :], basis)[:, 0, :]
        if self.exact or closed:
            w = self.lroot[at]
            b = basis * w[:, None, :]
            r = w * (self.z[at] - f)
            step = box_newton(
                np.matmul(b, b.transpose(0, 2, 1)),
                np.matmul(b, r[:, :, None])[:, :, 0],
                self.lower[rows] - c,
                self.upper[rows] - c,
            )
            new = np.clip(c + step, self.lower[rows], self.upper[rows])
            f = f + np.matmul((new - c)[:, None, :], basis)[:, 0, :]
            c = new
        points = np.concatenate([shape, c], axis=1)
        m, rate = self.model(f)
        r = self.root[at] * (self.y[at] - m)
        J = np.concatenate([self.law.tangent(shape, c, sites), basis], axis=1)
        J *= (self.root[at] if rate is None else self.root[at] * rate)[:, None, :]
        return State(points, r, J)

    def model(self, f):
        if self.exact:
            return f, None
        if self.law.link == "log":
            m = 10.0 ** np.minimum(f, 5.0)
            return m, m * _LN10
        f = np.maximum(f, _LEAST)
        return np.log10(f), 1 / (f * _LN10)


def parts_of(law, curves):
    log10_x = curves.log10_x + np.repeat(curves.mean_log10_x, curves.counts)
    params = np.repeat(curves.params, curves.counts)
    base = np.repeat(curves.base_loss, curves.counts)
    size = np.repeat(curves.size, curves.counts)
    out = []
    for s in np.unique(size) if law.by_size else [None]:
        sel = size == s if s is not None else np.ones(size.size, bool)
        cs = curves.size == s if s is not None else np.ones(curves.size.size, bool)
        sizes = np.unique(params[sel])
        x = log10_x[sel]
        mx = x.mean()
        bl = curves.base_loss[cs]
        frame = Frame(
            tuple(sizes),
            float(np.log10(sizes).mean()),
            float(mx),
            (float(x.min() - mx), float(x.max() - mx)),
            None if np.isnan(bl).any() else float(bl.mean()),
        )
        out.append(Part(frame, frame.sites(params[sel], x, base[sel]), curves.loss[sel], curves.weight[sel]))
    return out


def fit_proto(law, curves, loss, rounds=40, tol=1e-6, verbose=False):
    parts = parts_of(law, curves)
    coords = [law.coordinates(p.frame) for p in parts]
    lo = np.array([[(c.bounds or (c.parameter.lower, c.parameter.upper))[0] for c in cs] for cs in coords])
    hi = np.array([[(c.bounds or (c.parameter.lower, c.parameter.upper))[1] for c in cs] for cs in coords])
    # scale-like coefs
    shapes = [law.guesses(p.frame, p.sites, p.loss) for p in parts]
    prob = np.repeat(np.arange(len(parts)), [len(s) for s in shapes])
    starts = np.concatenate([np.concatenate(shapes), np.zeros((prob.size, lo.shape[1] - law.shapes))], axis=1)
    lo, hi = lo[prob], hi[prob]
    starts = np.clip(starts, lo, hi)
    R = Residuals(law, loss, parts, prob, lo, hi)
    rows = np.arange(prob.size)
    starts = R.at(R.at(starts, rows, True).points, rows, True).points
    floor = np.full(prob.size, 1e-28 * np.einsum("rp,rp->r", R.root * R.y, R.root * R.y).max())
    m = descend(R, starts, lo, hi, tolerance=tol, floor=floor, rounds=rounds)
    best = np.array([rows[prob == i][np.argmin(m.sse[prob == i])] for i in range(len(parts))])
    R2 = Residuals(law, loss, parts, np.arange(len(parts)), lo[best], hi[best])
    f = descend(R2, m.points[best], lo[best], hi[best], tolerance=1e-13, floor=floor[best], rounds=200)
    return parts, m, f, prob
