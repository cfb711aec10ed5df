"""Optimality of a linear fit, computed in NumPy from the mathematics alone: the judge of every solver here.

The problem, for standardized columns z_j = x_j / s_j (s_j the weighted 1/n standard deviation, or 1):

    P(b, b₀) = (1/Σw) Σᵢ wᵢ ℓ(ηᵢ, yᵢ) + λ Σ_j f_j (r|b_j| + (1 − r) b_j²/2),   η = Zb + b₀ + o.

Coefficients are given on the scale of x, so b_j = s_j · coef_j; centring z changes only what b₀ means.
The dual value of u, one number per sample, with v_j = −(1/Σw) Σᵢ wᵢ uᵢ zᵢⱼ, is

    D(u) = (1/Σw) Σᵢ wᵢ (uᵢ oᵢ − ℓ*(uᵢ, yᵢ)) − Σ_j g_j*(v_j),
    g_j*(v) = (|v| − λ f_j r)₊² / (2 λ f_j (1 − r)),

where g_j* is infinite outside |v| ≤ λ f_j r if λ f_j (1 − r) = 0, and Σ wᵢ uᵢ = 0 if there is an intercept.
D(u) ≤ P(b, b₀) for every u and (b, b₀), so P − D bounds how far P is from the minimum.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import numpy as np

Loss = Literal["squared", "logistic"]


class Certificate(NamedTuple):
    """What is known of one fit."""

    primal: float
    """P(b, b₀)."""
    dual: float
    """A lower bound of the smallest P."""
    gap: float
    """(primal − dual) / P at the null model."""
    kkt: float
    """Largest violation of the optimality conditions, relative to the largest gradient of the null model."""


def loss_value(loss: Loss, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ℓ(η, y): ½(η − y)², or log(1 + exp(η)) − yη."""
    return 0.5 * (eta - y) ** 2 if loss == "squared" else np.logaddexp(0, eta) - y * eta


def loss_slope(loss: Loss, eta: np.ndarray, y: np.ndarray) -> np.ndarray:
    """∂ℓ/∂η."""
    return eta - y if loss == "squared" else _sigmoid(eta) - y


def loss_curvature(loss: Loss, eta: np.ndarray) -> np.ndarray:
    """∂²ℓ/∂η²."""
    return np.ones_like(eta) if loss == "squared" else _sigmoid(eta) * _sigmoid(-eta)


def loss_conjugate(loss: Loss, u: np.ndarray, y: np.ndarray) -> np.ndarray:
    """ℓ*(u, y) = sup_η uη − ℓ(η, y): ½u² + uy, or the negative entropy of t = u + y, for t in [0, 1]."""
    if loss == "squared":
        return 0.5 * u**2 + u * y
    t = u + y
    if t.min() < -1e-15 or t.max() > 1 + 1e-15:
        return np.full_like(t, np.inf)
    t = np.clip(t, 0, 1)
    return _xlogx(t) + _xlogx(1 - t)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -x))


def _xlogx(t: np.ndarray) -> np.ndarray:
    return t * np.log(np.where(t > 0, t, 1))


@dataclasses.dataclass(frozen=True)
class LinearProblem:
    """Data and penalty of a family of linear fits, one for each λ; everything on the standardized scale."""

    loss: Loss
    Z: np.ndarray
    y: np.ndarray
    w: np.ndarray
    """Weights that sum to 1."""
    offset: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    """Z = (X − center) / scale."""
    l1_ratio: float
    factors: np.ndarray
    intercept: bool

    def eta(self, b: np.ndarray, b0: float) -> np.ndarray:
        return self.Z @ b + b0 + self.offset

    def primal(self, b: np.ndarray, b0: float, lam: float) -> float:
        """P(b, b₀)."""
        penalty = lam * self.factors * (self.l1_ratio * np.abs(b) + (1 - self.l1_ratio) * b**2 / 2)
        return float(self.w @ loss_value(self.loss, self.eta(b, b0), self.y) + penalty.sum())

    def correlate(self, u: np.ndarray) -> np.ndarray:
        """(1/Σw) Σᵢ wᵢ uᵢ zᵢⱼ, for every column."""
        return self.Z.T @ (self.w * u)

    def free_columns(self) -> np.ndarray:
        """The columns that nothing penalizes, the intercept's among them: shape (n, k)."""
        free = self.Z[:, self.factors == 0]
        return np.column_stack([np.ones(len(self.y)), free]) if self.intercept else free

    def refit_free(self, eta: np.ndarray) -> np.ndarray:
        """Move η along the unpenalized columns to the smallest loss, by Newton's method with halving."""
        columns = self.free_columns()
        if columns.shape[1] == 0:
            return eta
        A = np.linalg.qr(columns)[0]  # the same span, whatever the scale of the columns
        value = self.w @ loss_value(self.loss, eta, self.y)
        for _ in range(50):
            wu = self.w * loss_slope(self.loss, eta, self.y)
            gradient = A.T @ wu
            if np.linalg.norm(gradient) <= 1e-15 * np.linalg.norm(wu):
                break
            hessian = (A.T * (self.w * loss_curvature(self.loss, eta))) @ A
            direction = A @ np.linalg.solve(hessian, gradient)
            for step in 0.5 ** np.arange(40):
                candidate = eta - step * direction
                candidate_value = self.w @ loss_value(self.loss, candidate, self.y)
                if candidate_value <= value + 1e-13 * abs(value):
                    eta, value = candidate, candidate_value
                    break
            else:
                break
        return eta

    def project(self, u: np.ndarray) -> np.ndarray:
        """Take from u what it has along the unpenalized columns, in the inner product of the weights."""
        root = np.sqrt(self.w)
        Q = np.linalg.qr(root[:, None] * self.free_columns())[0]
        scaled = root * u
        for _ in range(2):
            scaled = scaled - Q @ (Q.T @ scaled)
        return scaled / root

    def dual(self, u: np.ndarray, lam: float) -> float:
        """D(u): −∞ if u is infeasible by more than the rounding of a sum over samples."""
        v = np.abs(self.correlate(u))
        rounding = 1e-13 * np.sqrt(self.w @ u**2)
        rounding_columns = rounding * np.sqrt(self.w @ self.Z**2)
        kink = lam * self.factors * self.l1_ratio
        slope = lam * self.factors * (1 - self.l1_ratio)
        excess = np.maximum(v - kink, 0)
        if np.any((excess > rounding_columns) & (slope == 0)):
            return -np.inf
        if self.intercept and abs(self.w @ u) > rounding:
            return -np.inf
        conjugate = np.sum(excess[slope > 0] ** 2 / (2 * slope[slope > 0]))
        return float(self.w @ (u * self.offset - loss_conjugate(self.loss, u, self.y)) - conjugate)

    def best_dual(self, u: np.ndarray, lam: float) -> float:
        """Return the best of a few D(t·u), t in [0, 1], for u orthogonal to the free columns.

        The candidates are the largest t that the conjugates allow, and the largest at which they all vanish.
        """
        v = np.abs(self.correlate(u))
        kink = lam * self.factors * self.l1_ratio
        largest = kink / np.maximum(v, np.maximum(kink, np.finfo(float).tiny))
        hard = (self.factors > 0) & (self.l1_ratio == 1)
        candidates = (largest[hard].min(initial=1.0), largest[self.factors > 0].min(initial=1.0))
        return max(self.dual(t * u, lam) for t in candidates)

    def null_primal(self) -> float:
        """P where only what nothing penalizes is fitted: the scale of gaps."""
        return float(self.w @ loss_value(self.loss, self.null_eta, self.y))

    @functools.cached_property
    def null_eta(self) -> np.ndarray:
        """η of the null model."""
        return self.refit_free(self.offset)

    def lam_max(self) -> float:
        """Smallest λ at which the null model is optimal, for r > 0."""
        penalized = self.factors > 0
        gradient = self.correlate(loss_slope(self.loss, self.null_eta, self.y))
        return float(np.max(np.abs(gradient[penalized]) / (self.factors[penalized] * self.l1_ratio)))

    def best_intercept(self, coef: np.ndarray) -> float:
        """Minimizer of P over the intercept alone, on the given scale."""
        only_intercept = dataclasses.replace(self, factors=np.ones_like(self.factors))
        start = self.eta(self.scale * coef, 0.0)
        return float(np.mean(only_intercept.refit_free(start) - start) - self.center @ coef)

    def certify(self, coef: np.ndarray, intercept: float, lam: float) -> Certificate:
        """Judge one fit, given on the scale of X."""
        coef = np.asarray(coef, np.float64)
        b, b0 = self.scale * coef, float(intercept) + float(self.center @ coef)
        eta = self.eta(b, b0)
        primal = self.primal(b, b0, lam)
        # The better the dual point, the smaller the gap: free coefficients are refitted for it, and the
        # rounding error of the refit is taken away, which is large beside a small u.
        u = self.project(loss_slope(self.loss, self.refit_free(eta), self.y))
        dual = self.best_dual(u, lam)
        return Certificate(primal, dual, (primal - dual) / self.null_primal(), self.kkt(b, b0, lam))

    def kkt(self, b: np.ndarray, b0: float, lam: float) -> float:
        """Largest distance of −∂loss/∂b_j to the penalty's subdifferential, or of ∂loss/∂b₀ to 0.

        In units of the largest gradient of the null model.
        """
        u = loss_slope(self.loss, self.eta(b, b0), self.y)
        gradient = self.correlate(u) + lam * self.factors * (1 - self.l1_ratio) * b
        kink = lam * self.factors * self.l1_ratio
        residual = np.where(b != 0, np.abs(gradient + kink * np.sign(b)), np.maximum(np.abs(gradient) - kink, 0))
        unit = np.abs(self.correlate(loss_slope(self.loss, self.null_eta, self.y))).max()
        return float(max(residual.max(), abs(self.w @ u) if self.intercept else 0.0) / unit)


def linear_problem(
    X: np.ndarray,
    y: np.ndarray,
    *,
    loss: Loss = "squared",
    sample_weight: np.ndarray | None = None,
    offset: np.ndarray | None = None,
    l1_ratio: float = 1.0,
    factors: np.ndarray | None = None,
    intercept: bool = True,
    standardize: bool = True,
) -> LinearProblem:
    """Standardize the columns, if asked; samples of weight zero are dropped."""
    X, y = np.asarray(X, np.float64), np.asarray(y, np.float64)
    w = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    o = np.zeros(len(y)) if offset is None else np.asarray(offset, np.float64)
    X, y, o, w = X[w > 0], y[w > 0], o[w > 0], w[w > 0] / w.sum()
    mean = w @ X
    deviation = np.sqrt(w @ (X - mean) ** 2)
    scale = np.where(standardize & (deviation > 0), deviation, 1)
    # Centring changes nothing but b₀, and keeps the rounding errors of large column means out.
    center = mean if intercept else np.zeros_like(mean)
    f = np.ones(X.shape[1]) if factors is None else np.asarray(factors, np.float64)
    return LinearProblem(loss, (X - center) / scale, y, w, o, center, scale, l1_ratio, f, intercept)
