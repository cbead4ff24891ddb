"""The choice of algorithm: pure functions of shapes, dtype, memory order and precision.

`choose` never looks at data or at the number of threads, so the same call takes the same way (and
gives the same bits) everywhere on one machine. Each way carries the reason for it, which
`explain_conv2d` and FASTCONV_VERBOSE=1 show.

    algorithm  form        how
    direct     rows        few input channels: kernel rows are runs of a GEMM
    direct     stationary  still fewer, channels last: a window's weights stay in registers
    direct     planes      single planes, few input channels of planes: vectors along the width
    direct     pointwise   1x1 on planes: vectors along the pixels
    direct     depthwise   one channel a group, channels last: vectors along the channels
    direct     grouped     groups of a few channels: several groups in a vector along the channels
    im2col     pointers    implicit GEMM through pointers to pixels
    im2col     3 bfloat16  implicit GEMM by tiles (AMX), each product three of bfloat16 halves
    im2col     bfloat16    the same with one product, precision "medium"
    im2col     runs, ...   either for few input channels: kernel rows are runs
    winograd   F(m,r)      stride-1 kernels of 3, 5 or 7 taps, any dilation: fewer multiplications
"""

import math
from functools import lru_cache
from typing import NamedTuple

from ._engine.dispatch import machine_is_intel
from ._engine.tile_cost import merges, tile_cost, tile_refusal
from ._engine.winograd_cost import KERNELS, WEIGHT, choose_tile, cost

ALGORITHMS = ("auto", "direct", "im2col", "winograd")

# Multiply-adds that cost as much as packing one kernel for Winograd rather than for implicit GEMM.
TRANSFORM_WEIGHT = 600

# What implicit GEMM loses on planes: transposing an input pixel in costs as much as so many output
# channels. Where all of a plane is one row it costs less, and transposing a sum out as much as so
# many input channels. There vectors along the pixels, which read planes from afar, take this much
# longer over their multiplications.
TRANSPOSED_IN = 13
ROW_IN, ROW_OUT = 4, 22
PLANES_AFAR = 1.1 if machine_is_intel() else 1.03
# What vectors along the width cost beside their multiply-adds, in vector multiply-adds: to copy a
# vector of input from planes, or from channels-last memory, and to begin a row. All of it is done
# for each so many output channels.
PLANES_COPY = 30
CHANNELS_LAST_COPY = 130
ROW = 120
PLANES_CHANNELS = 6
# Of either method's peak, for their multiply-adds.
TILE_SHARE = 0.85

# What the rows form loses on planes: transposing a sum out costs as much as so many multiply-adds.
# Vectors along the width transpose nothing; copying and many short rows leave them this share.
TRANSPOSED_SUM = 18
SHARED_COPY = 0.9

# What vectors of the rows form cost beside their multiply-adds, in these, a sum.
ROWS_SUM = 10
# Some hosts slow tiles down to a third at times, and vectors not at all: where Winograd or a direct
# form is nearly as fast it is the safer choice. Tiles must cost no more than this share of it.
WELL_AHEAD = {"winograd": 0.95, "direct": 0.7}
# Forms by vectors that tiles may replace: tap by tap, and run by run.
DENSE_FORMS = "pointers", "pointwise"
RUN_FORMS = "rows", "planes"
# Where weights that stay in registers beat tiles: one pass over a window's kernel rows, of which a
# pass takes FC_STATIONARY_ROWS at most, or a few passes that hold so many weights each. With more
# output channels wide tiles are as fast; one pass in place of pointers serves the latter number.
MOST_PASSES, LEAST_HELD, HELD_ROWS = 3, 16, 5
HELD_OUT, HELD_OUT_AT_ONCE = 32, 160
# Output of a picture large enough for tiles.
LARGE = 1, 64, 64

# Narrow groups are copied strip by strip, wider by what windows reach: no more than so many pixels.
STRIP_REACH = 256


class Choice(NamedTuple):
    """What to run: the algorithm, its form, Winograd's output tile (0 elsewhere), and why."""

    algorithm: str
    form: str
    tile: int
    reason: str


class Plan(NamedTuple):
    """How a convolution will run; what `explain_conv2d` returns.

    Attributes
    ----------
    algorithm, form : str
        The method and its variant.
    tile : str
        Register tile or Winograd tile.
    isa : str
        Instruction-set level.
    workspace_bytes : int
        Scratch memory per thread.
    packed_bytes : int
        Size of the packed weights.
    flops : int
        Floating-point operations of the definition: 2 per multiply-add, whatever the algorithm.
    precision : str
        The precision asked for.
    unused : tuple
        Input rows and columns at the end that no window reaches, one number an axis.
    reason : str
        Why this algorithm.
    """

    algorithm: str
    form: str
    tile: str
    isa: str
    workspace_bytes: int
    packed_bytes: int
    flops: int
    precision: str
    unused: tuple
    reason: str

    def __str__(self):
        lines = [
            f"{self.algorithm} ({self.form}): {self.reason}",
            f"tile {self.tile}, {self.isa}, precision {self.precision}",
            f"{self.flops / 1e6:,.1f} MFLOP, workspace {self.workspace_bytes / 1024:,.0f} KiB a "
            f"thread, packed weights {self.packed_bytes / 1024:,.0f} KiB",
        ]
        if any(self.unused):
            left = " x ".join(map(str, self.unused))
            lines.append(f"input left over at the end, reached by no window: {left}")
        return "\n".join(lines)


class Problem(NamedTuple):
    """What a choice may depend on; spatial tuples have three entries (depth, height, width)."""

    op: str
    batch: int
    in_channels: int
    out_channels: int
    groups: int
    kernel: tuple
    stride: tuple
    dilation: tuple
    padded: bool  # also where stride or kernel make the output another size than the input
    out_size: tuple
    channels_contiguous: bool  # of x, of the result where x has one channel
    run: int  # pixels that lie side by side in input, result and residual
    packed: bool  # weights are packed once for many calls
    lanes: int
    tiles: bool = False  # the machine multiplies this type by tiles
    held: int = 0  # weights of each output channel that registers hold

    @property
    def group_in(self):
        """Input channels of one group."""
        return self.in_channels // self.groups

    @property
    def group_out(self):
        """Output channels of one group."""
        return self.out_channels // self.groups


def is_depthwise(p):
    """Whether every input channel is a group of its own, with one output channel each."""
    return p.groups > 1 and p.group_in == 1 and p.group_out == 1


def has_narrow_groups(p):
    """Whether a vector along the channels holds several groups, and strips suit the windows.

    Planes are better where a group is a single plane: they copy it once for all its results.
    """
    if p.groups == 1 or (p.group_in == 1 and not p.channels_contiguous):
        return False
    reach = (p.kernel[2] - 1) * p.dilation[2]
    fits = 0 < 2 * max(p.group_in, p.group_out) <= p.lanes
    return fits and math.prod(p.kernel) > 0 and reach <= STRIP_REACH


def is_one_to_one(p):
    """Whether each output pixel sees exactly the input pixel at its own place."""
    return p.kernel == (1, 1, 1) and p.stride == (1, 1, 1) and not p.padded


def useful_lanes(p, count):
    """Share of the lanes that `count` pixels or channels use: the last vector is seldom full."""
    return count / (math.ceil(count / p.lanes) * p.lanes)


def pointwise_pays(p):
    """Whether vectors over the pixels of planes beat implicit GEMM's over output channels."""
    gemm = (1 + ROW_IN / p.group_out + ROW_OUT / p.group_in) / useful_lanes(p, p.group_out)
    return PLANES_AFAR / useful_lanes(p, p.run) <= gemm


def few_outputs_pay(p):
    """Whether vectors along the width beat implicit GEMM's over the output channels, fewer than
    its lanes: both costs for one input channel and as many output pixels as there are lanes."""
    taps, inputs, width = math.prod(p.kernel), math.prod(p.stride), p.out_size[2]
    gemm = taps * p.lanes / TILE_SHARE
    planes = taps * p.group_out / useful_lanes(p, width) / TILE_SHARE
    copy = CHANNELS_LAST_COPY
    if not p.channels_contiguous:
        gemm += TRANSPOSED_IN * inputs
        copy = PLANES_COPY
    begin = copy * inputs + ROW / math.ceil(width / p.lanes)
    return planes + begin * math.ceil(p.group_out / PLANES_CHANNELS) < gemm


def shared_pays(p):
    """Whether output channels that share a copy of planes' rows beat the rows form's GEMM.

    Vectors over the width waste lanes behind it, those over output channels behind these; but sums
    that are vectors of output channels must be transposed, which only long ones make up for. The
    result's size and memory decide, and the forms round differently: algorithm="direct", which
    promises the same bits to parts of a picture, does not ask.
    """
    if p.run < p.out_size[2] or p.out_size[2] == 0:
        return False
    products = p.group_in * math.prod(p.kernel)
    share = products / (products + TRANSPOSED_SUM)
    return SHARED_COPY * useful_lanes(p, p.out_size[2]) >= share * useful_lanes(p, p.group_out)


def choose_direct(p):
    """The form of the direct algorithm that suits a problem; there is always one."""
    if is_depthwise(p) and p.channels_contiguous:
        return Choice("direct", "depthwise", 0, "one channel a group, channels contiguous")
    one_to_one = is_one_to_one(p)
    if one_to_one and p.run > 1:
        return Choice("direct", "pointwise", 0, "1x1: vectors along the pixels of planes")
    if has_narrow_groups(p):
        return Choice("direct", "grouped", 0, "narrow groups: several in one vector")
    # memory without runs keeps pointwise's bits: of the other forms only rows has its chains
    narrow = p.group_out < p.lanes // 4 and not one_to_one
    if p.group_in == 1:
        narrow = not p.channels_contiguous or p.group_out < p.lanes
    dilated = p.dilation[2] > 1 and p.kernel[2] > 1
    if narrow or dilated or p.kernel[2] == 0:
        return Choice("direct", "planes", 0, "few channels: vectors along the width")
    return Choice("direct", "rows", 0, "each kernel row is one run of width x channels")


def in_registers(p, choice):
    """The choice; in place of small GEMMs, where channels lie side by side, registers' weights.

    Sums of kernel rows are rounded apart, which algorithm="direct" does not do: see `shared_pays`.
    """
    rows_form = choice.form == "rows"
    if not (rows_form or choice.form == "pointers") or p.dilation[2] > 1:
        return choice
    if p.groups > 1 and p.kernel[2] > 1:
        return choice
    # planes of a first layer are gathered on the way to a result whose channels are side by side
    if not p.held or not (p.channels_contiguous or (rows_form and p.run == 1)):
        return choice
    passes, weights = passes_over_weights(p)
    most = MOST_PASSES if weights >= LEAST_HELD else 1
    out = HELD_OUT if rows_form or passes > 1 else HELD_OUT_AT_ONCE
    if not 1 <= passes <= most or p.group_out > out:
        return choice
    return Choice("direct", "stationary", 0, "few input channels: their weights stay in registers")


def passes_over_weights(p):
    """How often pixels pass by until registers have held all of a window's weights, and how many
    they hold at a time: whole kernel rows, or equal parts of them."""
    run = p.kernel[2] * p.group_in
    parts = max(1, math.ceil(run / p.held))
    while run % parts:
        parts += 1
    part = max(1, run // parts)
    rows = min(HELD_ROWS, p.held // part)
    return math.ceil(math.prod(p.kernel[:2]) * parts / rows) if run else 0, rows * part


@lru_cache(1024)
def winograd_refusal(kernel, stride, precision):
    """Why Winograd cannot run a convolution, or None where it can."""
    if precision == "highest":
        return 'precision "highest" keeps to direct and im2col'
    if any(s != 1 for s in stride):
        return f"it needs stride 1, got stride {trimmed(stride)}"
    if kernel[0] != 1 or kernel[1:] not in KERNELS:
        *most, last = ("x".join(map(str, known)) for known in KERNELS)
        got = "x".join(map(str, trimmed(kernel)))
        return f"it needs a {', '.join(most)} or {last} kernel, got {got}"
    return None


def trimmed(axes):
    """Three spatial entries without the leading ones that a 1-D or 2-D convolution adds."""
    while len(axes) > 2 and axes[0] == 1:
        axes = axes[1:]
    return axes


def winograd_tile(p):
    """Output tile m of the cheapest F(m, r), or 0 where implicit GEMM costs less."""
    if p.group_in < p.lanes or p.group_out < p.lanes:
        return 0
    shape = winograd_shape(p)
    tile = choose_tile(*shape)
    winograd = cost(tile, *shape)
    if not p.packed:
        winograd += TRANSFORM_WEIGHT * p.group_in * p.group_out
    return tile if winograd < gemm_cost(p) else 0


def winograd_form(p, tile):
    """Name of Winograd with an output tile, as "F(4,3)"."""
    return f"F({tile},{max(p.kernel)})"


def winograd_shape(p):
    """What `winograd_cost` asks about a problem: a volume's slices are images."""
    images = p.batch * p.out_size[0]
    return p.out_size[1:], p.group_in, p.group_out, images, p.kernel[1:], p.dilation[1:]


def gemm_cost(p):
    """Cost of implicit GEMM in multiply-adds, on the scale of `winograd_cost.cost`."""
    pixels = p.batch * math.prod(p.out_size)
    return math.prod(p.kernel) * p.group_in * p.group_out * (pixels + WEIGHT)


def vector_cost(p, choice):
    """Cost of a choice without tiles, or None where tiles are no alternative."""
    if choice.algorithm == "winograd":
        winograd = cost(choice.tile, *winograd_shape(p))
        return winograd if p.packed else winograd + TRANSFORM_WEIGHT * p.group_in * p.group_out
    if choice.form == "pointers" and not p.channels_contiguous:
        inputs = p.batch * math.prod(p.out_size) * math.prod(p.stride)
        return gemm_cost(p) + TRANSPOSED_IN * inputs * p.group_in
    if choice.form in DENSE_FORMS:
        return gemm_cost(p)
    if choice.form in RUN_FORMS and p.group_in > 1 and merges(p):
        of_sum = ROWS_SUM if p.channels_contiguous else TRANSPOSED_SUM
        return gemm_cost(p) + of_sum * p.batch * math.prod(p.out_size) * p.group_out
    return None


def with_tiles(p, choice, precision, exact):
    """The choice, or implicit GEMM by tiles where that costs less."""
    if tile_refusal(p, precision, exact):
        return choice
    otherwise = vector_cost(p, choice)
    if otherwise is None:
        return choice
    runs = "runs, " if choice.form in RUN_FORMS else ""
    share = 1 if choice.form in DENSE_FORMS else WELL_AHEAD[choice.algorithm]
    if tile_cost(p, precision, runs) >= share * otherwise:
        return choice
    if precision == "medium":
        return Choice("im2col", f"{runs}bfloat16", 0, 'tiles: products of bfloat16 for "medium"')
    reason = "tiles: each float is two bfloat16, three products cost less than one of floats"
    return Choice("im2col", f"{runs}3 bfloat16", 0, reason)


def choose(p, algorithm, precision, exact=False):
    """Choose how to run a convolution.

    Parameters
    ----------
    p : Problem
    algorithm : {"auto", "direct", "im2col", "winograd"}
        What the caller asked for.
    precision : {"highest", "high", "medium"}
    exact : bool
        Neither operand is floating: sums of integers stay exact without Winograd.

    Raises
    ------
    ValueError
        When `algorithm` is unknown or cannot do the job.
    """
    if algorithm not in ALGORITHMS:
        known = ", ".join(f'"{name}"' for name in ALGORITHMS)
        raise ValueError(f"{p.op}: algorithm must be one of {known}, got {algorithm!r}")
    choice = choose_arithmetic(p, algorithm, precision, exact)
    if precision == "medium" and not choice.form.endswith("bfloat16"):
        why = "does not pay here" if p.tiles else "needs tiles (AMX)"
        return choice._replace(reason=f'{choice.reason}; "medium" {why} and runs as "high"')
    return choice


def choose_arithmetic(p, algorithm, precision, exact):
    """As `choose`, of a known algorithm, before a remark on the precision."""
    refusal = winograd_refusal(p.kernel, p.stride, precision)
    if algorithm == "winograd":
        if refusal:
            raise ValueError(f'{p.op}: algorithm="winograd" cannot run this: {refusal}')
        tile = choose_tile(*winograd_shape(p))
        return Choice("winograd", winograd_form(p, tile), tile, "asked for")
    if algorithm == "direct":
        return choose_direct(p)._replace(reason="asked for")
    if algorithm == "im2col":
        if math.prod(p.out_size):
            # a named algorithm promises the same bits with weights packed before, in any layout,
            # and to parts of a picture: the choice is that for a large one
            p = p._replace(packed=True, channels_contiguous=True, batch=1, out_size=LARGE)
        return with_tiles(p, Choice("im2col", "pointers", 0, "asked for"), precision, exact)
    return with_tiles(p, choose_auto(p, refusal, exact), precision, exact)


def choose_auto(p, refusal, exact):
    """The rule behind algorithm="auto" without tiles, first match wins."""
    if is_depthwise(p) or p.group_in == 1:
        return in_registers(p, choose_direct(p))
    if is_one_to_one(p) and p.run > 1 and pointwise_pays(p):
        return choose_direct(p)
    if has_narrow_groups(p):
        return choose_direct(p)
    if p.group_in < p.lanes and p.kernel[2] > 1:
        if shared_pays(p):
            reason = "few input channels of planes: all output channels share a copy of rows"
            return Choice("direct", "planes", 0, reason)
        direct = choose_direct(p)
        if direct.form == "rows":
            return in_registers(p, direct._replace(
                reason="few input channels: kernel rows as single runs"))
    if p.group_out < p.lanes and p.out_size[2] > 0 and few_outputs_pay(p):
        return Choice("direct", "planes", 0, "few output channels: vectors along the width")
    if not refusal and not exact:
        tile = winograd_tile(p)
        if tile:
            apart = "" if max(p.dilation) == 1 else f"dilation {trimmed(p.dilation)}, "
            channels = f"{p.group_in} -> {p.group_out} channels"
            form = winograd_form(p, tile)
            wide = f"{max(p.kernel)}-wide"
            reason = f"{wide}, stride 1, {apart}{channels}: {form} saves multiplications"
            return Choice("winograd", form, tile, reason)
    nearly = refusal and p.kernel[1:] in ((3, 3), (5, 5))
    reason = refusal if nearly else "dense channels: implicit GEMM"
    return in_registers(p, Choice("im2col", "pointers", 0, reason))
