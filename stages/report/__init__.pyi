from .content import ReportSummary as ReportSummary
from .reliability import reliability_figures as reliability_figures
from .robustness import robustness_figures as robustness_figures
from .searched import priced as priced
from .stage import run as run, save_figures as save_figures
