"""When will at most m connections remain, with an interval."""

from deployer.forecast.by_age import forecast, from_histograms, outlook
from deployer.forecast.by_count import from_counts, outlook_from_counts
from deployer.forecast.lives import ForecastError, Histogram, Lives
from deployer.forecast.outlook import Forecast, Outlook

__all__ = [
    "Forecast",
    "ForecastError",
    "Histogram",
    "Lives",
    "Outlook",
    "forecast",
    "from_counts",
    "from_histograms",
    "outlook",
    "outlook_from_counts",
]
