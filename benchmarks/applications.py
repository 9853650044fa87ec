"""Every application by its judge on the same photographs: one table, and one picture of them all.

python benchmarks/applications.py --data photos256 --first 00700 --limit 4
    --add "labels=--stock 100" "frontalization=--model run/model.safetensors"

Each judge is its own program, run as by hand with the arguments that stand in `ROWS`; so one that
fails, or whose model is not shipped yet, costs its own rows only. With `--only NAME…` just these
are run, and with `--collect` none is; the table is of all reports that lie under `--out` then.
There: a folder for each judge, applications.md, applications.json and applications.png.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timing
from PIL import Image, ImageDraw, ImageFont

from wplus import images

HERE = Path(__file__).parent
WIDE = 1500  # pixels of the picture of all
SHOWN = 2  # rows of each sheet in it
ROW = 278  # pixels of a row of a sheet: a picture, its label, and the gap to the next
HEADING = 28  # pixels


@dataclass(frozen=True)
class Figure:
    """A number that a judge reports, and the plain alternative's.

    Attributes:
        metric: its name there, and in the table.
        ours: how the way begins that is ours; of several, the first that was judged.
        plain: how the ways of the plain alternatives begin, if there are any.
        group: of the report, where it has several: a factor, a bin, a kind of hole.
        better: which way is better.
    """

    metric: str
    ours: Sequence[str]
    plain: Sequence[str] = ()
    group: str | None = None
    better: str = "higher"


@dataclass(frozen=True)
class Row:
    """An application, and what judges it.

    Attributes:
        module: the program.
        report: the file that it writes, without its ending.
        figures: what of it goes into the table.
        takes: options of this program that go on to it, where they are given.
    """

    module: str
    report: str
    figures: Sequence[Figure]
    takes: Sequence[str] = ()


REFINED = ("refined", "one pass", "mean face")  # the best that a command makes comes first
ROWS: Mapping[str, Row] = {
    "sketch": Row(
        "judge_sketch",
        "sketch",
        [
            Figure("edges", ["one pass"], ["nearest"]),
            Figure("fid", ["one pass"], ["nearest"], better="lower"),
            Figure("diversity", ["further answers"], ["next nearest"]),
        ],
    ),
    "labels": Row(
        "judge_labels",
        "labels",
        [
            Figure("second", ["one pass"], ["nearest"]),
            Figure("fid", ["one pass"], ["nearest"], better="lower"),
            Figure("diversity", ["further answers"], ["next nearest"]),
        ],
    ),
    "super_resolution": Row(
        "judge_super_resolution",
        "super_resolution",
        [
            *(
                Figure("lpips_alexnet", REFINED, ["bicubic"], f"x{factor}", "lower")
                for factor in (4, 8, 16)
            ),
            Figure("identity", REFINED, ["bicubic"], "x8"),
            Figure("consistency", REFINED, ["bicubic"], "x8"),
        ],
    ),
    "inpainting": Row(
        "judge_inpainting",
        "inpainting",
        [
            Figure("hole_lpips", REFINED, ["cv2.inpaint", "membrane"], kind, "lower")
            for kind in ("box", "strokes")
        ],
    ),
    "frontalization": Row(
        "judge_frontalization",
        "frontalization",
        [
            Figure(metric, ["frontalization"], ["mirror", "direction"], group, better)
            for group in ("0-15", "15-30", "30-45", "45 and more")
            for metric, better in (("yaw", "lower"), ("identity", "higher"))
        ],
        ["attributes"],
    ),
    "toonify": Row(
        "judge_toonify",
        "toonify",
        [
            Figure("identity", ["toonify"], ["posterized"], "photographs"),
            Figure("fid", ["toonify"], ["posterized"], "photographs", "lower"),
        ],
        ["drawings"],
    ),
    "morph and mix": Row(
        "judge_morphing",
        "morphing",
        [
            Figure("spread", ["equal in LPIPS"], ["equal in W+"], "morph", "lower"),
            Figure("to_content", ["fine"], [], "mix"),
            Figure("to_style", ["coarse"], [], "mix"),
        ],
    ),
    "editing": Row(
        "judge_editing",
        "editing",
        [
            Figure(metric, ["edit"], ["random"], name, better)
            for name in ("smile", "age", "yaw", "pitch", "glasses", "gender")
            for metric, better in (("own", "near 1"), ("identity", "higher"))
        ],
        ["attributes"],
    ),
}


def run(name: str, row: Row, arguments: argparse.Namespace, given: Mapping[str, Path]) -> bool:
    """Run a judge into its folder; whether it came to its end."""
    command = [sys.executable, str(HERE / f"{row.module}.py"), "--data", str(arguments.data)]
    command += ["--first", arguments.first, "--limit", str(arguments.limit)]
    command += ["--threads", str(arguments.threads), "--out", str(folder_of(name, arguments.out))]
    for option in row.takes:
        command += [f"--{option}", str(given[option])] if option in given else []
    for pair in arguments.add:
        about, _, more = pair.partition("=")
        command += shlex.split(more) if about == name else []
    for ending in (".json", ".png"):  # of an earlier run: a judge that fails must not show them
        (folder_of(name, arguments.out) / f"{row.report}{ending}").unlink(missing_ok=True)
    print(f"\n== {name}: {' '.join(command[1:])}", flush=True)
    started = time.perf_counter()
    done = subprocess.run(command, check=False)
    print(f"== {name}: {time.perf_counter() - started:.0f} s", flush=True)
    if done.returncode:
        print(f"== {name}: ended with {done.returncode}; its row is left out", file=sys.stderr)
    return done.returncode == 0


def folder_of(name: str, out: Path) -> Path:
    return out / name.replace(" ", "_")


def found(ways: Mapping[str, Any], wanted: Sequence[str], metric: str) -> dict[str, Any]:
    """The intervals of the metric, for the ways that begin as wanted, in this order."""
    return {
        way: values[metric]
        for start in wanted
        for way, values in ways.items()
        if way.startswith(start) and values.get(metric, {}).get("mean") is not None
    }


def collect(name: str, row: Row, out: Path) -> list[dict[str, Any]]:
    """Lines of the table from what a judge has written; none if it has not."""
    file = folder_of(name, out) / f"{row.report}.json"
    if not file.is_file():
        return []
    scores = json.loads(file.read_text())["scores"]
    lines = []
    for figure in row.figures:
        ways = scores if figure.group is None else scores.get(figure.group, {})
        ours, plain = (found(ways, wanted, figure.metric) for wanted in (figure.ours, figure.plain))
        ours = dict(list(ours.items())[:1])
        if ours or plain:
            lines.append(asdict(figure) | {"application": name, "values": ours, "others": plain})
    return lines


def cell(values: Mapping[str, Mapping[str, Any]]) -> str:
    parts = []
    for way, value in values.items():
        text = f"{way}: {value['mean']:.3f}"
        if value["low"] is not None:
            text += f" ({value['low']:.3f}–{value['high']:.3f})"
        parts.append(text)
    return "; ".join(parts)


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """The table: rows are applications, columns the figure, ours, the plain alternative."""
    text = ["| application | figure | better | pictures | ours | plain alternative |", "|---" * 6]
    text[1] += "|"
    for line in lines:
        figure = f"{line['metric']}, {line['group']}" if line["group"] else line["metric"]
        count = next(iter((line["values"] or line["others"]).values()))["count"]
        ours, plain = cell(line["values"]), cell(line["others"])
        row = (line["application"], figure, line["better"], str(count), ours, plain)
        text.append("| " + " | ".join(row) + " |")
    return "\n".join(text) + "\n"


def picture_of(sheets: Mapping[str, Path]) -> Image.Image | None:
    """The first rows of every sheet, at one width, under the name of the application."""
    parts = []
    for name, file in sheets.items():
        sheet = images.read(file)
        sheet = sheet.crop((0, 0, sheet.width, min(sheet.height, SHOWN * ROW)))
        height = round(sheet.height * min(1.0, WIDE / sheet.width))
        width = min(sheet.width, WIDE)
        parts.append((name, sheet.resize((width, height), Image.Resampling.LANCZOS)))
    if not parts:
        return None
    page = Image.new("RGB", (WIDE, sum(part.height + HEADING for _, part in parts)), "white")
    draw, top = ImageDraw.Draw(page), 0
    for name, part in parts:
        draw.text((8, top + 4), name, fill="black", font=ImageFont.load_default(18))
        page.paste(part, (0, top + HEADING))
        top += part.height + HEADING
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="aligned photographs")
    parser.add_argument("--attributes", type=Path, help="CSV; without it, beside the folder")
    parser.add_argument("--drawings", type=Path, help="folder of drawings, for toonify")
    parser.add_argument("--first", default="", help="leave out the names that sort before this one")
    parser.add_argument("--limit", type=int, default=4, help="at most so many photographs each")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"of {list(ROWS)}")
    parser.add_argument("--collect", action="store_true", help="run nothing, read what is there")
    parser.add_argument("--add", nargs="*", default=[], metavar="NAME=ARGUMENTS", help="of a judge")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out") / "applications")
    arguments = parser.parse_args()
    given = {"attributes": arguments.attributes, "drawings": arguments.drawings}
    given = {name: path for name, path in given.items() if path is not None}
    for pair in arguments.add:
        if pair.partition("=")[0] not in ROWS or "=" not in pair:
            parser.error(f"--add {pair!r}: say NAME=ARGUMENTS, NAME one of {', '.join(ROWS)}")
    names = [] if arguments.collect else [n for n in ROWS if n in (arguments.only or ROWS)]
    failed = [name for name in names if not run(name, ROWS[name], arguments, given)]
    lines = [line for name, row in ROWS.items() for line in collect(name, row, arguments.out)]
    if not lines:
        print("no judge has written anything", file=sys.stderr)
        return 1
    text = markdown(lines)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "applications.md").write_text(text)
    content = {"machine": timing.machine(), "failed": failed, "lines": lines}
    (arguments.out / "applications.json").write_text(json.dumps(content, indent=2) + "\n")
    sheets = {n: folder_of(n, arguments.out) / f"{row.report}.png" for n, row in ROWS.items()}
    page = picture_of({name: file for name, file in sheets.items() if file.is_file()})
    if page is not None:
        images.save(page, arguments.out / "applications.png")
    print(f"\n{text}\n{arguments.out / 'applications'}.md, .json, .png")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
