"""The machine code of the register tiles: multiply-adds are there, the stack stays out.

A tile is fast only while its accumulators and pointers stay in registers; one spill in the inner
loop costs more than any cleverness elsewhere gains, and no other test would notice. So the built
extension is disassembled, and the innermost loops of every tile are read.
"""

import platform
import re
import shutil
import subprocess
import sys
from collections import defaultdict

import pytest

from fastconv._engine import dispatch

OBJDUMP = shutil.which("objdump")
pytestmark = [
    pytest.mark.skipif(
        platform.machine().lower() not in ("x86_64", "amd64"), reason="reads x86 machine code"
    ),
    pytest.mark.skipif(not OBJDUMP, reason="needs objdump (binutils)"),
]

TILES = r"(?:tile|pointwise|steps|dots)_(\d+)x(\d+)(?:_[01])?"  # rows, vectors
WINDOWS = r"plain_(\d+)x(\d+)"  # kernel rows, run
STRIPS = r"strip_(\d)_(\d)x(\d)_[01]_[01]"  # size and stride of the kernel, vectors
REGISTERS = ("xmm", "ymm", "zmm")
FUSED = re.compile(r"vfn?m(add|sub)\d+p[sd]")
MULTIPLY = re.compile(r"v?mulp[sd]")
ON_THE_STACK = re.compile(r"\(%rsp")
FRAME_POINTER = re.compile(r"mov +%rsp,%rbp")


def functions(names):
    """(name, the pattern's numbers, [(address, instruction)]) of each tile, at every level."""
    listing = subprocess.run(
        [OBJDUMP, "-d", "--no-show-raw-insn", dispatch.__file__],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for part in re.split(r"\n\n(?=[0-9a-f]+ <)", listing):
        head, _, body = part.partition("\n")
        name = re.search(rf"<({names})>:", head)
        if name:
            lines = re.findall(r"^ *([0-9a-f]+):\t(.*?) *$", body, re.M)
            code = [(int(address, 16), text) for address, text in lines]
            yield name[1], [int(number) for number in name.groups()[1:]], code


def blocks_of(code):
    """Straight runs of instructions: {address: (texts, addresses of the blocks that may follow)}.

    Jumps to elsewhere than the code end it, as a return does.
    """
    addresses = [address for address, _ in code]
    after = dict(zip(addresses, [*addresses[1:], None], strict=True))
    jumps = {address: re.match(r"j\w+ +([0-9a-f]+)", text) for address, text in code}
    targets = {address: int(jump[1], 16) for address, jump in jumps.items() if jump}
    ends = {address for address, text in code if re.match("j|ret", text)}
    starts = {addresses[0], *targets.values(), *map(after.get, ends)} & set(addresses)
    blocks, texts = {}, []
    for address, text in code:
        if address in starts:
            start, texts = address, []
            blocks[start] = texts, set()
        texts.append(text)
        if not re.match("jmp|ret", text):
            blocks[start][1].update({after[address]} & starts)
        if address in targets:
            blocks[start][1].update({targets[address]} & starts)
    return blocks


def dominators(blocks):
    """Of each block that can be reached: those that every way from the first one goes through."""
    first = next(iter(blocks))
    before = {start: set() for start in blocks}
    for start, (_, ways) in blocks.items():
        for way in ways:
            before[way].add(start)
    found = {start: set(blocks) for start in blocks}
    found[first], changed = {first}, True
    while changed:
        changed = False
        for start in blocks:
            if start == first or not before[start]:
                continue
            new = set.intersection(*(found[b] for b in before[start])) | {start}
            changed |= new != found[start]
            found[start] = new
    return found, before


def inner_loops(code, with_a=""):
    """Instructions of each innermost loop that has one beginning with some text.

    A loop is a jump to a block through which every way to the jump goes. Other jumps back only
    return from code that the compiler has laid behind the rest.
    """
    blocks = blocks_of(code)
    found, before = dominators(blocks)
    loops = {}
    for start, (_, ways) in blocks.items():
        for head in ways & found[start]:
            body, ahead = {head}, [start]
            while ahead:
                block = ahead.pop()
                if block not in body:
                    body.add(block)
                    ahead += before[block]
            loops.setdefault(head, set()).update(body)
    texts = {
        frozenset(body): [text for start in sorted(body) for text in blocks[start][0]]
        for body in loops.values()
    }
    having = {body: text for body, text in texts.items()
              if any(line.startswith(with_a) for line in text)}
    for body, text in having.items():
        if not any(other < body for other in having):
            yield text


def kind(code):
    """Widest vector register, and the letter of the element type: ("zmm", "s")."""
    text = "\n".join(line for _, line in code)
    register = next(name for name in ("zmm", "ymm", "xmm") if f"%{name}" in text)
    return register, re.search(r"(?:add|mul)(?:\d+)?p([sd])", text).group(1)


@pytest.fixture(scope="module")
def tiles():
    """{(register, type): {name: (rows, vectors, code)}}"""
    found = defaultdict(dict)
    for name, (rows, vectors), code in functions(TILES):
        found[kind(code)][name] = rows, vectors, code
    if not found:
        pytest.skip("the extension was stripped: no kernel has a name in it")
    return found


def listing(*lines):
    """Code of one byte an instruction, from address 1 on."""
    return list(enumerate(lines, 1))


def test_loops_are_told_from_returns_of_code_laid_behind():
    code = listing(
        "xor", "test", "je 9",  # 1: to code behind
        "vfmadd231ps a", "dec", "jne 4",  # 4: a loop
        "vmulps b", "ret",  # 7: where the code behind returns to
        "vmulps c", "test", "jne 4", "jmp 7",  # 9
    )
    assert list(inner_loops(code)) == [["vfmadd231ps a", "dec", "jne 4"]]


def test_a_loop_holds_its_branches_and_not_the_loops_around_it():
    code = listing(
        "mov", "mov a",  # 2: the outer loop
        "mov b", "je a",  # 3: the inner one
        "vfmadd231ps", "dec", "jne 3", "jne 2", "ret",
        "mov (%rsp)", "jmp 5",  # a: of the inner loop, laid behind
    )
    inner = ["mov b", "je a", "vfmadd231ps", "dec", "jne 3", "mov (%rsp)", "jmp 5"]
    assert list(inner_loops(code)) == [inner]


@pytest.mark.parametrize("element", ["s", "d"])
@pytest.mark.parametrize("register", REGISTERS)
def test_every_row_count_has_a_tile(register, element, tiles):
    for family, without in (("tile", ()), ("pointwise", ()), ("steps", (2, 3)), ("dots", ())):
        built = {
            (rows, vectors)
            for name, (rows, vectors, _) in tiles[register, element].items()
            if name.startswith(family)
        }
        for vectors in range(1, max(vectors for _, vectors in built) + 1):
            rows = [m for m, n in built if n == vectors]
            assert sorted(rows) == [m for m in range(1, max(rows) + 1) if m not in without]


@pytest.mark.parametrize("element", ["s", "d"])
@pytest.mark.parametrize("register", REGISTERS)
def test_inner_loops(register, element, tiles):
    """Nothing but whole rounds of rows x vectors products, fused above the baseline; no spills."""
    multiply = MULTIPLY if register == "xmm" else FUSED
    for name, (rows, vectors, code) in tiles[register, element].items():
        tile = f"{name} on {register}"
        loops = [loop for loop in inner_loops(code) if any(map(multiply.match, loop))]
        assert loops, f"{tile}: no loop multiplies"
        if name.startswith("dots"):  # what is left of a line, once a line, is no loop of its own
            loops = [min(loops, key=len)]
        framed = any(FRAME_POINTER.match(text) for _, text in code)
        for loop in loops:
            products = sum(bool(multiply.match(text)) for text in loop)
            assert products % (rows * vectors) == 0, f"{tile}: {products} products in a round"
            unfused = register != "xmm" and any(map(MULTIPLY.match, loop))
            assert not unfused, f"{tile}: products that are not fused"
            spills = [text for text in loop if ON_THE_STACK.search(text)]
            spills += [text for text in loop if framed and "(%rbp" in text]
            assert not spills, f"{tile}: {spills}"


def test_windows_keep_their_weights():
    """A pixel takes one product a weight; weights are in registers, input values in memory."""
    found = list(functions(WINDOWS))
    if not found:
        pytest.skip("the extension was stripped: no kernel has a name in it")
    for name, (rows, run), code in found:
        register, _ = kind(code)
        window = f"{name} on {register}"
        multiply = MULTIPLY if register == "xmm" else re.compile(f"{FUSED.pattern}|v?mulp[sd]")
        products = sum(bool(multiply.match(text)) for _, text in code)
        # the compiler may make loops of their own for pixels with bounds or slopes, two of each at
        # most; slopes are one product more
        fits = [products - loops * rows * run in (0, 1) for loops in (1, 2, 3, 4)]
        assert any(fits), f"{window}: {products} products"
        held = [text for _, text in code if f"%{register}" in text]
        assert not any(re.search(r"\(%r[sb]p", text) for text in held), f"{window}: {held}"


def test_strips():
    """With 32 registers: one row of sums a round, and 3x3 has no vector on the stack."""
    found = [part for part in functions(STRIPS) if kind(part[2])[0] == "zmm"]
    if not found:
        pytest.skip("the extension was stripped, or built without AVX-512: no strip has a name")
    for name, (size, _, vectors), code in found:
        # ways through the loop, by the jumps back to its beginning
        loops = [loop for loop in inner_loops(code) if any(map(FUSED.match, loop))]
        products = [sum(bool(FUSED.match(text)) for text in loop) for loop in loops]
        assert max(products) == size * size * vectors, f"{name}: {products} products in a round"
        assert not any(MULTIPLY.match(text) for _, text in code), f"{name}: unfused products"
        held = [text for loop in loops for text in loop if "%zmm" in text]
        spills = [text for text in held if re.search(r"\(%r[sb]p", text)]
        assert size > 3 or not spills, f"{name}: {spills}"


# Loads and products of a step on two by two tiles: each set of halves is loaded once.
STEPS = {"three": (8, 12), "one": (4, 4)}
PADDING = re.compile(r"(data16 |cs )*nop|xchg +%ax,%ax")


@pytest.mark.skipif(sys.platform != "linux", reason="tiles are built for Linux")
def test_steps_of_tiles():
    found = {
        name: [line for line in code if not PADDING.match(line[1])]  # which nothing leads to
        for name, _, code in functions("three|one")
    }
    if not found:
        pytest.skip("the extension was stripped: no kernel has a name in it")
    for name, (most_loads, most_products) in STEPS.items():
        counts = set()
        for loop in inner_loops(found[name], "tdpbf16ps"):
            assert not any(ON_THE_STACK.search(text) for text in loop), f"{name}: {loop}"
            counts.add(tuple(sum(text.startswith(what) for text in loop)
                             for what in ("tileloadd", "tdpbf16ps", "tile")))
        halves = most_products // 4
        steps = {(most_loads // 4 * (down + across), halves * down * across)
                 for down in (1, 2) for across in (1, 2)}
        assert {count[:2] for count in counts} == steps
        # sums stay where they are: no tile is zeroed or stored in a step
        assert all(loads == tiles for loads, _, tiles in counts)
