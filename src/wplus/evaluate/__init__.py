"""How good a model, or a folder of reconstructions, is: scores, intervals, tables and pictures.

judge = wplus.evaluate.load_judge()
photographs = wplus.evaluate.Photographs("photos", "photos256")
report = wplus.evaluate.evaluate([photographs], [wplus.evaluate.OnePass(model)], judge)
report.results[0].mean("lpips_alexnet")          # mean and its 95 % interval
"""

from wplus.evaluate.bootstrap import Interval, intervals
from wplus.evaluate.data import Batch, DataSet, Pairs, Photographs, Samples
from wplus.evaluate.folders import evaluate_folders
from wplus.evaluate.frechet import FeatureStatistics, frechet_distance
from wplus.evaluate.metrics import METRICS, Judge, load_judge
from wplus.evaluate.networks import FaceNet, InceptionFeatures
from wplus.evaluate.report import remarks, table, write
from wplus.evaluate.results import Failure, Report, Result
from wplus.evaluate.run import evaluate
from wplus.evaluate.settings import Settings
from wplus.evaluate.sheets import First, Worst
from wplus.evaluate.ways import Given, OnePass, Outcome, Refined, Way

__all__ = [
    "METRICS",
    "Batch",
    "DataSet",
    "FaceNet",
    "Failure",
    "FeatureStatistics",
    "First",
    "Given",
    "InceptionFeatures",
    "Interval",
    "Judge",
    "OnePass",
    "Outcome",
    "Pairs",
    "Photographs",
    "Refined",
    "Report",
    "Result",
    "Samples",
    "Settings",
    "Way",
    "Worst",
    "evaluate",
    "evaluate_folders",
    "frechet_distance",
    "intervals",
    "load_judge",
    "remarks",
    "table",
    "write",
]
