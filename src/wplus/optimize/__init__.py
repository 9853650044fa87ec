"""The optimizer of codes under refinement, super-resolution, inpainting and transplants."""

from wplus.optimize.constraint import Constraint, Degradation, pixel_mean
from wplus.optimize.loop import Optimized, minimize
from wplus.optimize.losses import TERMS, Evaluation, Problem, Term, grid_energy, total
from wplus.optimize.refinement import Refinement, fast_precision, refine
from wplus.optimize.schedules import default_steps, phases_for, photograph_task, start_of

__all__ = [
    "TERMS",
    "Constraint",
    "Degradation",
    "Evaluation",
    "Optimized",
    "Problem",
    "Refinement",
    "Term",
    "default_steps",
    "fast_precision",
    "grid_energy",
    "minimize",
    "phases_for",
    "photograph_task",
    "pixel_mean",
    "refine",
    "start_of",
    "total",
]
