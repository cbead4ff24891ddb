"""What implicit GEMM by tiles (AMX) costs, as a formula, and what tiles cannot run.

In:  a `plan.Problem`. Out: a cost in multiply-adds of implicit GEMM by vectors. Pure, and blind to
the number of threads, as `winograd_cost` is.
"""

import math

from .winograd_cost import WEIGHT

# What tiles cost, in multiply-adds of implicit GEMM by vectors, by precision: a multiply-add, and
# to split an input element; and to finish a sum, and to pack a weight. Measured on one thread of a
# Sapphire Rapids at 2.3 GHz while it did not slow its tiles down; a multiply-add again on a later
# Xeon, once chains were whole.
TILE_PRODUCT = {"high": 0.24, "medium": 0.12}
TILE_SPLIT = {"high": 20, "medium": 12}
TILE_FINISH = 14
TILE_PACK = 30
# Of few channels: to split an element of the input's rows, and to make a sum of few steps and
# finish it.
TILE_ROW = 50
TILE_SHORT_SUM = 30
# Channels in and out that tiles are filled up to, pixels in a row.
TILE_DEPTH, TILE_COLUMNS, TILE_PIXELS = 32, 16, 16
# Most taps (FC_HALVES_TAPS), and steps of a window's runs (MOST_RUNS).
TILE_TAPS, TILE_RUNS = 256, 24
# Bytes of the input, in both halves, that one tile of pixels sees at most, and that a block of
# tiles sees where it can (STRIP_BYTES).
TILE_STRIP, TILE_BLOCK = 4 << 20, 1 << 20


def tile_steps(p, axis):
    """Phases of an input axis that taps see, and how far they reach beside the outputs."""
    stride, dilation, taps = p.stride[axis], p.dilation[axis], p.kernel[axis]
    return min(taps, stride // math.gcd(stride, dilation)), (taps - 1) * dilation // stride


def split_elements(p, rows, columns):
    """Input elements of one group that tiles split for so many output rows and columns."""
    (phases_down, down), (phases_across, across) = tile_steps(p, 1), tile_steps(p, 2)
    grid = phases_down * (rows + down) * phases_across * (columns + across)
    return p.kernel[0] * grid * rounded_up(p.group_in, TILE_DEPTH)


def split_in_blocks(p):
    """Input elements that tiles split: those that blocks share are split by each of them."""
    rows, columns = p.out_size[1:]
    while 4 * split_elements(p, rows, columns) > TILE_BLOCK and rows * columns > TILE_PIXELS:
        if rows > 1:
            rows = math.ceil(rows / 2)
        else:
            columns = math.ceil(columns / 2)
    blocks = math.ceil(p.out_size[1] / rows) * math.ceil(p.out_size[2] / columns)
    return blocks * split_elements(p, rows, columns)


def rounded_up(count, unit):
    """The next multiple of a unit."""
    return math.ceil(count / unit) * unit


def tile_refusal(p, precision, exact):
    """Why tiles cannot run a problem, or None where they can."""
    if not p.tiles:
        return "the level in use has no tiles"
    if precision == "highest" or exact:
        return "sums of floats as they are"
    if math.prod(p.out_size) == 0:
        return "nothing to compute"
    if not 0 < math.prod(p.kernel) <= TILE_TAPS:
        return f"kernels of 1 to {TILE_TAPS} taps"
    if 4 * split_elements(p, 1, TILE_PIXELS) > TILE_STRIP:
        return "its windows are too large for the cache"
    return None


def run_steps(p):
    """Steps of 32 values in a kernel row's run."""
    return math.ceil(p.group_in * p.kernel[2] / TILE_DEPTH)


def merges(p):
    """Whether kernel rows are runs of neighbouring pixels' channels that tiles can take."""
    return p.kernel[0] == p.dilation[2] == 1 and p.kernel[1] * run_steps(p) <= TILE_RUNS


def tile_cost(p, precision, runs):
    """Cost by tiles in multiply-adds, on the scale of `gemm_cost`: by runs, or tap by tap."""
    rows, columns = p.out_size[1:]
    if runs:
        depth = p.kernel[1] * run_steps(p) * TILE_DEPTH
        pixels = rows * rounded_up(columns, TILE_PIXELS)
        split = TILE_ROW * rows * columns * math.prod(p.stride) * p.group_in
    else:
        depth = math.prod(p.kernel) * rounded_up(p.group_in, TILE_DEPTH)
        # short rows run on over the columns between them, long ones are filled up
        walked = rows * min(columns + tile_steps(p, 2)[1], rounded_up(columns, TILE_PIXELS))
        pixels = rounded_up(walked, TILE_PIXELS)
        split = TILE_SPLIT[precision] * split_in_blocks(p)
    weights = depth * rounded_up(p.group_out, TILE_COLUMNS)
    finish = (TILE_SHORT_SUM if runs else TILE_FINISH) * rows * columns * p.group_out
    slices = p.batch * p.out_size[0]
    cost = weights * (TILE_PRODUCT[precision] * slices * pixels + WEIGHT)
    cost += slices * (split + finish)
    return cost if p.packed else cost + TILE_PACK * weights
