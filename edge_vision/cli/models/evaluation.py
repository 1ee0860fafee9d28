"""`edge-vision models eval`: how well a model sees, reads, follows and counts, beside what is known."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from edge_vision.cli.models.reading import bundle_at, number
from edge_vision.cli.progress import bar
from edge_vision.core.errors import EXIT_DONE

_TRUTHS: Final[dict[str, tuple[str, ...]]] = {
    "coco": ("bundle", "images"),
    "classes": ("bundle",),
    "texts": ("bundle", "images"),
    "tracks": (),
    "counts": ("bundle", "clip"),
}
"""What may be known, and what each needs beside it."""
_ONLY: Final[dict[str, tuple[str, ...]]] = {
    "images": ("coco", "classes", "texts"),
    "backend": ("coco", "classes", "texts"),
    "precision": ("coco", "classes", "texts"),
    "confidence": ("coco", "classes", "texts"),
    "iou": ("coco",),
    "clip": ("tracks", "counts"),
    "pipeline": ("tracks", "counts"),
    "settings": ("tracks", "counts"),
    "detections": ("tracks",),
    "fps": ("tracks",),
}
"""What each option is for."""
_FLAGS: Final = {"settings": "--with", "bundle": "BUNDLE"}
_MISTAKES_SHOWN: Final = 20


def add_to(subparsers: Any) -> None:
    """Add the subcommand."""
    from edge_vision.inference.table import BACKENDS

    parser = subparsers.add_parser(
        "eval",
        help="measure a model, or a pipeline, beside what is known of pictures and clips",
        epilog="The whole road is measured: preprocessing, runtime, postprocessing, stages. COCO's own evaluations "
        "count detections from a confidence of 0.01. Exit codes: 0 measured, 1 counted otherwise than expected, 78 "
        "wrong input.",
    )
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE")
    truth = parser.add_argument_group("what is known (one of them)").add_mutually_exclusive_group(required=True)
    truth.add_argument(
        "--coco", type=Path, metavar="annotations.json", help="objects in pictures, in COCO's format: AP"
    )
    truth.add_argument(
        "--classes",
        type=Path,
        metavar="labels.csv|DIR",
        help="columns file and class, or a folder with a folder of pictures per class: how many are sorted rightly",
    )
    truth.add_argument(
        "--texts", type=Path, metavar="labels.csv", help="columns file and text (or plate): exact readings, error rate"
    )
    truth.add_argument(
        "--tracks", type=Path, metavar="gt.txt", help="tracks in a clip, in the MOT Challenge's format: MOTA, IDF1"
    )
    truth.add_argument("--counts", type=Path, metavar="counts.yaml", help="what a person counted in a clip")
    pictures = parser.add_argument_group("pictures (--coco, --classes, --texts)")
    pictures.add_argument("--images", type=Path, metavar="DIR", help="the pictures")
    pictures.add_argument(
        "--backend", choices=list(BACKENDS), help="the runtime (default: the first that can serve the model)"
    )
    pictures.add_argument("--precision", choices=["f32", "f16", "bf16", "int8"], help="default: f32")
    pictures.add_argument(
        "--confidence",
        type=number(float, 0, 1),
        metavar="C",
        help="count what scores so much (default: 0.01 with --coco, 0 with --classes, the bundle's with --texts)",
    )
    pictures.add_argument(
        "--iou", type=number(float, 0, 1), metavar="X", help="overlap of doubles (default: the bundle's)"
    )
    clips = parser.add_argument_group("clips (--tracks, --counts)")
    clips.add_argument("--clip", type=Path, metavar="VIDEO", help="the recording")
    clips.add_argument("--pipeline", metavar="NAME|FILE", help="default: object_counting")
    clips.add_argument(
        "--with", dest="settings", action="append", metavar="KEY=VALUE",
        help="a value for what the pipeline exposes, as YAML; may be given several times",
    )  # fmt: skip
    clips.add_argument(
        "--detections", type=Path, metavar="det.txt",
        help="with --tracks, instead of BUNDLE and --clip: what a detector saw, in the MOT Challenge's format",
    )  # fmt: skip
    clips.add_argument("--fps", type=number(float, 0.01, 1000), metavar="N", help="frames per second of --detections")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=lambda options: _evaluate(parser, options))


def _evaluate(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from edge_vision.cli.models.evaluation_clips import evaluate_counts, evaluate_detections, evaluate_tracks

    truth = next(name for name in _TRUTHS if getattr(options, name) is not None)
    needed = _TRUTHS[truth]
    if truth == "tracks":
        needed = ("detections", "fps") if options.detections is not None else ("bundle", "clip")
    for name in needed:
        if getattr(options, name) is None:
            parser.error(f"--{truth} needs {_FLAGS.get(name, f'--{name}')}")
    for name, truths in _ONLY.items():
        other_kind = options.detections is not None and name in {"clip", "pipeline", "settings"}
        if getattr(options, name) is not None and (truth not in truths or other_kind):
            parser.error(f"{_FLAGS.get(name, f'--{name}')} does nothing with --{'detections' if other_kind else truth}")
    if truth == "coco":
        return _average_precision(options)
    if truth == "classes":
        return _classes(options)
    if truth == "texts":
        return _readings(options)
    if truth == "counts":
        return evaluate_counts(options)
    return evaluate_tracks(options) if options.detections is None else evaluate_detections(options)


def _average_precision(options: argparse.Namespace) -> int:
    from edge_vision.core.protocols import LoadOptions
    from edge_vision.inference.table import BACKENDS
    from edge_vision.models.proof.evaluate import evaluate, set_exam
    from edge_vision.models.proof.record import EVALUATION

    bundle = bundle_at(options.bundle)
    confidence = EVALUATION if options.confidence is None else options.confidence
    exam = set_exam(bundle, options.coco, options.images, confidence, options.iou)
    backends = [options.backend] if options.backend else list(BACKENDS)
    done = evaluate(bundle, exam, backends, LoadOptions(options.precision or "f32"), bar("pictures"))
    limits = {"confidence": exam.thresholds.confidence, "iou": exam.thresholds.iou}
    if options.json:
        facts = {"model": bundle.spec.name, **asdict(done), **limits, "unlabeled": exam.unlabeled}
        print(json.dumps(facts, indent=2))
        return EXIT_DONE
    print(f"{bundle.spec.name}: {done.figures}")
    print(
        f"{done.backend} {done.device}, {done.file}, {done.precision}; {done.images} pictures, confidence from "
        f"{limits['confidence']:g}, doubles overlap by more than {limits['iou']:g}"
    )
    if exam.unlabeled:
        print(f"left out: {exam.unlabeled} pictures that {options.coco} does not know")
    return EXIT_DONE


def _classes(options: argparse.Namespace) -> int:
    from edge_vision.core.protocols import LoadOptions
    from edge_vision.inference.table import BACKENDS
    from edge_vision.models.proof.classes import set_sorting, sort_pictures

    bundle = bundle_at(options.bundle)
    exam = set_sorting(bundle, options.classes, options.images)
    backends = [options.backend] if options.backend else list(BACKENDS)
    load = LoadOptions(options.precision or "f32")
    done = sort_pictures(bundle, exam, backends, load, options.confidence or 0.0, bar("pictures"))
    count = len(done.sortings)
    wrong = [one for one in done.sortings if one.taken[:1] != (one.label,)]
    if options.json:
        facts = asdict(done)
        del facts["sortings"]
        figures = {"images": count, "right": done.right, "near": done.near, "accuracy": round(done.right / count, 6)}
        facts |= {**figures, "confusion": done.confusion, "wrong": [asdict(one) for one in wrong]}
        print(json.dumps({"model": bundle.spec.name, **facts}, indent=2, ensure_ascii=False))
        return EXIT_DONE
    print(
        f"{bundle.spec.name}: {done.right} of {count} sorted rightly, {done.near} have their class among the best five"
    )
    print(f"{done.backend} {done.device}, {done.file}, {done.precision}")
    for one in wrong[:_MISTAKES_SHOWN]:
        print(f"  {one.file}: taken for {one.taken[0] if one.taken else 'nothing'}, is {one.label}")
    if len(wrong) > _MISTAKES_SHOWN:
        print(f"  and {len(wrong) - _MISTAKES_SHOWN} more (--json has all)")
    if done.unlabeled:
        print(f"left out: {done.unlabeled} pictures that {options.classes} does not know")
    return EXIT_DONE


def _readings(options: argparse.Namespace) -> int:
    from edge_vision.core.protocols import LoadOptions
    from edge_vision.inference.table import BACKENDS
    from edge_vision.models.proof.readings import read_pictures, read_texts

    bundle = bundle_at(options.bundle)
    texts = read_texts(options.texts)
    backends = [options.backend] if options.backend else list(BACKENDS)
    load = LoadOptions(options.precision or "f32")
    done = read_pictures(bundle, texts, options.images, backends, load, options.confidence, bar("pictures"))
    wrong = [one for one in done.readings if one.read != one.text]
    if options.json:
        facts = asdict(done)
        del facts["readings"]
        figures = {"images": len(done.readings), "exact": done.exact, "error_rate": round(done.error_rate, 6)}
        print(
            json.dumps(
                {"model": bundle.spec.name, **facts, **figures, "wrong": [asdict(one) for one in wrong]},
                indent=2,
                ensure_ascii=False,
            )
        )
        return EXIT_DONE
    print(
        f"{bundle.spec.name}: {done.exact} of {len(done.readings)} read exactly, character error rate "
        f"{done.error_rate:.4f}"
    )
    print(f"{done.backend} {done.device}, {done.file}, {done.precision}")
    for one in wrong[:_MISTAKES_SHOWN]:
        print(f"  {one.file}: read {one.read or 'nothing'}, is {one.text}")
    if len(wrong) > _MISTAKES_SHOWN:
        print(f"  and {len(wrong) - _MISTAKES_SHOWN} more (--json has all)")
    if done.unlabeled:
        print(f"left out: {done.unlabeled} pictures that {options.texts} does not know")
    return EXIT_DONE
