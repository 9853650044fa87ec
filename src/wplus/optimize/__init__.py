"""The optimizer of codes under refinement, super-resolution, inpainting and transplants."""

from wplus.optimize.constraint import Constraint, pixel_mean
from wplus.optimize.loop import minimize
from wplus.optimize.losses import TERMS, grid_energy, total
from wplus.optimize.refinement import Refinement, fast_precision, refine
from wplus.optimize.schedules import default_steps, phases_for, photograph_task, start_of

__all__ = [
    "TERMS", "Constraint", "Refinement", "default_steps", "fast_precision", "grid_energy",
    "minimize", "phases_for", "photograph_task", "pixel_mean", "refine", "start_of", "total",
]  # fmt: skip
