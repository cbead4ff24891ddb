"""Pictures: of images, filters, feature maps, networks and races.

Two steps, kept apart. Arrays become pictures (uint8, (H, W) grey or (H, W, 3) colour) with NumPy
alone; pictures and results become figures with matplotlib, which comes with the extra "demo".
Figures are made directly, without pyplot: nothing global changes, no window opens.

    array --grey_levels, signed_levels, direction_colours, mosaic--> picture
    weights --filter_picture--> picture,  feature maps --map_picture--> picture
    pictures --picture_sheet--> Figure --save--> bytes of a file
    bench result --bench_chart, roofline_chart--> Figure
    race result --race_chart--> Figure,  profile of a network --profile_chart--> Figure
    networks --complexity_chart--> Figure,  training --history_chart--> Figure
"""

from fastconv.plot.charts import bench_chart, race_chart, roofline_chart
from fastconv.plot.networks import (
    complexity_chart,
    filter_picture,
    history_chart,
    map_picture,
)
from fastconv.plot.nodes import profile_chart
from fastconv.plot.pictures import (
    Picture,
    direction_colours,
    grey_levels,
    mosaic,
    picture_sheet,
    save,
    signed_levels,
)

__all__ = [
    "Picture",
    "bench_chart",
    "complexity_chart",
    "direction_colours",
    "filter_picture",
    "grey_levels",
    "history_chart",
    "map_picture",
    "mosaic",
    "picture_sheet",
    "profile_chart",
    "race_chart",
    "roofline_chart",
    "save",
    "signed_levels",
]
