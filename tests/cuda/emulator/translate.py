"""From a kernel's PTX to C, instruction by instruction, with the meanings of NVIDIA's manual (PTX ISA 9.0).

A register is a variable of 64 bits; instructions say as what they read it. What is not known here is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable

AS = {"f32": "as_f32({})", "f64": "as_f64({})", "pred": "({} & 1)"}
OF = {"f32": "of_f32({})", "f64": "of_f64({})", "pred": "(uint64_t)(({}) != 0)"}
SIZES = {"8": 1, "16": 2, "32": 4, "64": 8}
for letter in "sub":
    for bits in SIZES:
        kind = f"{'' if letter == 's' else 'u'}int{bits}_t"
        AS[letter + bits], OF[letter + bits] = f"({kind}){{}}", f"(uint64_t)(uint{bits}_t)({{}})"
OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "and": "&", "or": "|", "xor": "^", "rem": "%"}
COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
SPECIAL = {f"%{n}.{axis}": f"t->{n}[{i}]" for n in ("tid", "ntid", "ctaid", "nctaid") for i, axis in enumerate("xyz")}
SPECIAL["%laneid"] = "t->lane"


class Unknown(Exception):
    """An instruction that no meaning is known of."""


def size_of(kind: str) -> int:
    """In bytes."""
    return SIZES[kind.lstrip("usbf")]


def split(operands: str) -> list[str]:
    """At commas outside of braces."""
    return [part.strip() for part in re.split(r",(?![^{]*})", operands)] if operands.strip() else []


class Kernel:
    """The text of one kernel, as C."""

    def __init__(self, ptx: str) -> None:
        ptx = re.sub(r"//[^\n]*", "", ptx)
        head, body = ptx[: ptx.index("{", ptx.index(".entry"))], ptx[ptx.index("{", ptx.index(".entry")) :]
        self.name = re.search(r"\.entry\s+([\w$]+)", head)[1]
        self.parameters = {name: i for i, name in enumerate(re.findall(r"\.param\s+\.\w+\s+([\w$]+)", head))}
        bound = re.search(r"\.maxntid\s+(\d+)", head)
        self.threads = int(bound[1]) if bound else 1024
        cluster = re.search(r"\.reqnctapercluster\s+(\d+)", head)
        self.cluster = int(cluster[1]) if cluster else 1
        self.shared: dict[str, int] = {}
        self.room = 0
        for align, size, name, count in re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b(\d+)\s+([\w$]+)\[(\d+)\]", ptx):
            self.room += -self.room % int(align)
            self.shared[name] = self.room
            self.room += int(count) * SIZES[size]
        self.places = 0
        statements = re.findall(r"[\w$]+:|[{}]|[^;{}\s](?:[^;{}]|\{[^;{}]*\})*;", body)
        self.lines = [self.statement(s.rstrip(";").strip()) for s in statements]

    def code(self) -> str:
        body = "\n".join(self.lines)
        return (
            f'#include "gpu.h"\nstatic void run(Thread *t, const Gpu *gpu) {{\n{body}\n}}\n'
            f"const Kernel kernel = {{run, {self.room}, {self.threads}, {self.cluster}}};\n"
        )

    # -- operands ------------------------------------------------------------------------------------------------------

    def value(self, text: str) -> str:
        """The 64 bits of an operand."""
        if text in SPECIAL:
            return f"(uint64_t){SPECIAL[text]}"
        if text in self.shared:
            return f"((uint64_t)t->shared + {self.shared[text]}u)"
        if text.startswith(("0f", "0d")):
            return f"0x{text[2:]}u"
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", text):
            return f"(uint64_t)({text.rstrip('U')}ll)"
        return self.register(text)

    def register(self, text: str) -> str:
        if not re.fullmatch(r"%?[a-z]\w*", text):
            raise Unknown(f"the operand {text}")
        return f"v_{text.lstrip('%')}"

    def read(self, text: str, kind: str) -> str:
        return AS[kind].format(self.value(text))

    def write(self, text: str, kind: str, value: str) -> str:
        return f"{self.register(text)} = {OF[kind].format(value)};"

    def place(self) -> int:
        self.places += 1
        return self.places

    # -- statements ----------------------------------------------------------------------------------------------------

    def statement(self, text: str) -> str:
        if text in "{}":
            return text
        if text.endswith(":"):
            return f"{text.replace('$', '')} ;"
        if text.startswith(".reg"):
            return self.declared(text)
        if text.startswith(".pragma"):  # to the assembler
            return ""
        predicate = re.match(r"@(!?)(%?\w+)\s+", text)
        text = text[predicate.end() :] if predicate else text
        name, _, operands = text.partition(" ") if " " in text else text.partition("\t")
        done = self.instruction(name.strip().split("."), split(operands))
        return f"if ({predicate[1]}{self.read(predicate[2], 'pred')}) {{ {done} }}" if predicate else done

    def declared(self, text: str) -> str:
        names = []
        for name in split(text.split(None, 2)[2]):
            many = re.fullmatch(r"(%\w+)<(\d+)>", name)
            names += [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name]
        return "uint64_t " + ", ".join(f"{self.register(n)} = 0" for n in names) + ";"

    def instruction(self, name: list[str], operands: list[str]) -> str:
        method: Callable[..., str] | None = getattr(self, f"do_{name[0]}", None)
        if method is None:
            raise Unknown(".".join(name))
        return method(name, *operands)

    def do_ret(self, _: list[str]) -> str:
        return "return;"

    def do_bra(self, _: list[str], label: str) -> str:
        return f"goto {label.replace('$', '')};"

    # -- memory --------------------------------------------------------------------------------------------------------

    def do_mov(self, name: list[str], to: str, source: str) -> str:
        if to.startswith("{"):
            low, high = split(to.strip("{}"))
            half = size_of(name[-1]) * 4
            bits = self.value(source)
            first = self.write(high, f"b{half}", f"{bits} >> {half}")
            return f"{first} {self.write(low, f'b{half}', bits)}"
        if source.startswith("{"):
            low, high = split(source.strip("{}"))
            half = size_of(name[-1]) * 4
            return self.write(
                to, name[-1], f"{self.read(low, f'u{half}')} | (uint64_t){self.read(high, f'u{half}')} << {half}"
            )
        return self.write(to, name[-1], self.read(source, name[-1]))

    def do_cvta(self, _: list[str], to: str, source: str) -> str:
        return f"{self.register(to)} = {self.value(source)};"

    def accessed(self, name: list[str], address: str) -> tuple[str, int, str]:
        """``(statements before an access, the words of it, their type)``."""
        kind, space = name[-1], name[1]
        words = next((int(part[1]) for part in name if part in ("v2", "v4")), 1)
        known = {"ld", "st", "global", "shared", "shared::cluster", "v2", "v4", "cs", "L1::no_allocate", kind}
        if set(name) - known:
            raise Unknown(".".join(name))
        base, _, offset = address.strip("[]").partition("+")
        whole = f"uint64_t a = {self.value(base.strip())} + (uint64_t)({offset or 0}ll);"
        size = words * size_of(kind)
        more = f", {int(name[0] == 'st')}" if space == "global" else ""
        check = {"shared::cluster": "in_cluster"}.get(space, space)
        return f"{whole} gpu->{check}(t, a, {size}{more});", words, kind

    def do_ld(self, name: list[str], to: str, address: str) -> str:
        if name[1] == "param":
            number = self.parameters[address.strip("[]")]
            register = self.register(to)
            return f"{register} = 0; memcpy(&{register}, t->parameters[{number}], {size_of(name[-1])});"
        before, words, kind = self.accessed(name, address)
        size = size_of(kind)
        registers = split(to.strip("{}"))
        if len(registers) != words:
            raise Unknown(f"{'.'.join(name)} {to}")
        loads = [
            f"{self.register(r)} = 0; memcpy(&{self.register(r)}, (char *)a + {i * size}, {size});"
            for i, r in enumerate(registers)
        ]
        return f"{{ {before} {' '.join(loads)} }}"

    def do_st(self, name: list[str], address: str, given: str) -> str:
        before, words, kind = self.accessed(name, address)
        size = size_of(kind)
        values = split(given.strip("{}"))
        if len(values) != words:
            raise Unknown(f"{'.'.join(name)} {given}")
        stores = [
            f"{{ uint64_t w = {self.value(v)}; memcpy((char *)a + {i * size}, &w, {size}); }}"
            for i, v in enumerate(values)
        ]
        return f"{{ {before} {' '.join(stores)} }}"

    # -- between threads -----------------------------------------------------------------------------------------------

    def do_bar(self, name: list[str], *operands: str) -> str:
        if name == ["bar", "sync"] and operands == ("0",):
            return f"gpu->block(t, {self.place()});"
        if name == ["bar", "warp", "sync"]:
            return f"gpu->warp(t, {self.read(operands[0], 'u32')}, {self.place()});"
        raise Unknown(f"{'.'.join(name)} {operands}")

    def do_barrier(self, name: list[str], *operands: str) -> str:
        if name[1] == "cluster" and name[2:] in (["arrive", "release", "aligned"], ["wait", "acquire", "aligned"]):
            return f"gpu->{name[2]}(t, {self.place()});"
        return self.do_bar(["bar", *name[1:]], *operands)

    def do_mapa(self, name: list[str], to: str, address: str, rank: str) -> str:
        if name != ["mapa", "shared::cluster", "u64"]:
            raise Unknown(".".join(name))
        return self.write(to, "u64", f"gpu->mapped(t, {self.value(address)}, {self.read(rank, 'u32')})")

    def do_shfl(self, name: list[str], to: str, value: str, other: str, clamp: str, mask: str) -> str:
        if name != ["shfl", "sync", "bfly", "b32"] or clamp not in ("0x1f", "31"):
            raise Unknown(f"{'.'.join(name)} with {clamp}")
        lane = f"t->lane ^ {self.read(other, 'u32')}"
        found = f"gpu->shuffle(t, {self.read(value, 'u32')}, {lane}, {self.read(mask, 'u32')}, {self.place()})"
        return self.write(to, "b32", found)

    # -- arithmetic ----------------------------------------------------------------------------------------------------

    def rounded(self, name: list[str], *allowed: str) -> Callable[[str], str]:
        """What ``.ftz`` does to operands and results; any part of a name that is not known is an error."""
        if set(name[1:-1]) - {"rn", "ftz", "lo", "approx", *allowed}:
            raise Unknown(".".join(name))
        return "ftz({})".format if "ftz" in name and name[-1] == "f32" else str

    def binary(self, name: list[str], to: str, a: str, b: str) -> str:
        kind, flush = name[-1], self.rounded(name)
        if kind[0] == "s" and name[0] in ("add", "sub", "mul"):
            kind = "u" + kind[1:]  # the same bits, and no overflow
        x, y = flush(self.read(a, kind)), flush(self.read(b, kind))
        return self.write(to, kind, flush(f"({x} {OPERATORS[name[0]]} {y})"))

    do_add = do_sub = do_div = do_rem = do_and = do_or = do_xor = binary

    def do_mul(self, name: list[str], to: str, a: str, b: str) -> str:
        if name[1] == "wide":
            kind = name[2]
            wide = kind[0] + str(size_of(kind) * 16)
            return self.write(to, wide, f"{AS[wide].format(self.read(a, kind))} * {self.read(b, kind)}")
        return self.binary(name, to, a, b)

    def do_fma(self, name: list[str], to: str, a: str, b: str, c: str) -> str:
        kind, flush = name[-1], self.rounded(name)
        values = ", ".join(flush(self.read(x, kind)) for x in (a, b, c))
        return self.write(to, kind, flush(f"fma{'f' if kind == 'f32' else ''}({values})"))

    def extreme(self, name: list[str], to: str, a: str, b: str) -> str:
        kind, flush = name[-1], self.rounded(name)
        if kind in ("f16x2", "bf16x2"):
            return f"{self.register(to)} = larger_{kind}({self.value(a)}, {self.value(b)});"
        x, y = flush(self.read(a, kind)), flush(self.read(b, kind))
        if kind[0] == "f":
            return self.write(to, kind, f"{'larger' if name[0] == 'max' else 'smaller'}({x}, {y})")
        return self.write(to, kind, f"{x} {'>' if name[0] == 'max' else '<'} {y} ? {x} : {y}")

    do_max = do_min = extreme

    def do_abs(self, name: list[str], to: str, a: str) -> str:
        flush = self.rounded(name)
        return self.write(to, name[-1], flush(f"fabs({self.read(a, name[-1])})"))

    def do_neg(self, name: list[str], to: str, a: str) -> str:
        kind = name[-1] if name[-1][0] == "f" else "u" + name[-1][1:]
        return self.write(to, kind, self.rounded(name)(f"-{self.read(a, kind)}"))

    def do_not(self, name: list[str], to: str, a: str) -> str:
        return self.write(to, name[-1], f"{'!' if name[-1] == 'pred' else '~'}{self.read(a, name[-1])}")

    def do_copysign(self, name: list[str], to: str, sign: str, of: str) -> str:
        return self.write(to, name[-1], f"copysign({self.read(of, name[-1])}, {self.read(sign, name[-1])})")

    def do_shl(self, name: list[str], to: str, a: str, by: str) -> str:
        bits = size_of(name[-1]) * 8
        return self.write(to, name[-1], f"left({self.read(a, name[-1])}, {self.read(by, 'u32')}, {bits})")

    def do_shr(self, name: list[str], to: str, a: str, by: str) -> str:
        kind = name[-1]
        function = "right_signed" if kind[0] == "s" else "right"
        return self.write(to, kind, f"{function}({self.read(a, kind)}, {self.read(by, 'u32')}, {size_of(kind) * 8})")

    def do_prmt(self, _: list[str], to: str, a: str, b: str, selector: str) -> str:
        values = ", ".join(self.read(x, "u32") for x in (a, b, selector))
        return self.write(to, "b32", f"bytes_of({values})")

    def do_bfe(self, name: list[str], to: str, a: str, first: str, n: str) -> str:
        if name != ["bfe", "u32"]:
            raise Unknown(".".join(name))
        return self.write(to, "b32", f"bits_of({', '.join(self.read(x, 'u32') for x in (a, first, n))})")

    def do_bfi(self, name: list[str], to: str, a: str, b: str, first: str, n: str) -> str:
        at, many = self.read(first, "u32"), self.read(n, "u32")
        return self.write(to, name[-1], f"inserted({self.value(a)}, {self.value(b)}, {at}, {many})")

    def do_ex2(self, name: list[str], to: str, a: str) -> str:
        return self.estimate(name, "ex2", to, a)

    def do_lg2(self, name: list[str], to: str, a: str) -> str:
        return self.estimate(name, "lg2", to, a)

    def do_rcp(self, name: list[str], to: str, a: str) -> str:
        if name[1] == "rn":
            return self.write(to, name[-1], f"1 / {self.read(a, name[-1])}")
        return self.estimate(name, f"rcp{name[-1][1:]}", to, a)

    def estimate(self, name: list[str], function: str, to: str, a: str) -> str:
        if name[1:3] != ["approx", "ftz"]:
            raise Unknown(".".join(name))
        return self.write(to, name[-1], f"{function}({self.read(a, name[-1])})")

    # -- conditions and conversions ------------------------------------------------------------------------------------

    def do_selp(self, name: list[str], to: str, a: str, b: str, condition: str) -> str:
        kind = "b" + name[-1][1:]
        return self.write(to, kind, f"{self.read(condition, 'pred')} ? {self.read(a, kind)} : {self.read(b, kind)}")

    def do_setp(self, name: list[str], to: str, a: str, b: str) -> str:
        if len(name) != 3:
            raise Unknown(".".join(name))
        comparison, kind = name[1:]
        x, y = self.read(a, kind), self.read(b, kind)
        if comparison in ("nan", "num"):
            return self.write(to, "pred", f"{'!' * (comparison == 'num')}(isnan({x}) || isnan({y}))")
        unordered = kind[0] == "f" and comparison.endswith("u")
        comparison = UNSIGNED.get(comparison, comparison.removesuffix("u"))
        result = f"{x} {COMPARED[comparison]} {y}"
        if kind[0] == "f":
            result = f"(isnan({x}) || isnan({y})) ? {int(unordered)} : ({result})"
        return self.write(to, "pred", result)

    def do_cvt(self, name: list[str], to: str, *given: str) -> str:
        kind, source, rounding = name[-2], name[-1], set(name[1:-2])
        if kind in ("f16x2", "bf16x2"):  # the first operand is the upper half
            high, low = (f"to_{kind[:-2]}({self.read(x, 'f32')})" for x in given)
            return self.write(to, "b32", f"{low} | {high} << 16")
        if rounding - {"rn", "rni", "rzi", "rmi", "rpi", "ftz"} or len(given) != 1:
            raise Unknown(".".join(name))
        if source == "f16":
            return self.write(to, kind, f"from_f16({self.read(given[0], 'u16')})")
        x = self.read(given[0], source)
        if kind == "f16":
            return self.write(to, "b16", f"to_f16({x})")
        if "ftz" in rounding:
            x = f"ftz({x})" if source == "f32" else x
        functions = {"rni": "rint", "rzi": "trunc", "rmi": "floor", "rpi": "ceil"}
        for key in rounding & functions.keys():
            x = f"{functions[key]}({x})"
        if kind[0] != "f" and source[0] == "f":
            if kind not in ("s32", "s64"):
                raise Unknown(".".join(name))
            x = f"to_{kind}({x})"
        elif kind[0] == "f":
            x = f"({'float' if kind == 'f32' else 'double'})({x})"
        return self.write(to, kind, x)
