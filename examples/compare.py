"""Compare one model's variants, decide within budgets, and export the winner.

python examples/compare.py [MODEL]
"""

import argparse

import quantcore


def main() -> None:
    """Print a table and the verdict, and write the recommended variant as an ONNX file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("model", nargs="?", default="bundled/mobilenet_v2")
    parser.add_argument("--backends", nargs="*", default=["x86", "qnnpack"])
    parser.add_argument("--calibration-images", type=int, default=256)
    parser.add_argument("--images", type=int, default=500, help="pictures that judge each file")
    parser.add_argument("--image-size", type=int, help="side in px")
    parser.add_argument("--out", default="files", help="folder for the file")
    options = parser.parse_args()
    size = {"evaluation_images": options.images, "image_size": options.image_size}

    static = {"calibration_images": options.calibration_images}
    comparison = quantcore.compare(
        options.model, ["static"], options.backends, settings={"static": static}, **size
    )
    columns = ["workflow", "backend", "size_bytes", "latency_p50_ms", "speedup_ratio", "top1_share"]
    print(comparison.to_dataframe()[columns].to_string(index=False))

    verdict = comparison.verdict(quantcore.Budgets(accuracy_lost_points=1.0))
    print(verdict.sentence)

    rows = {row.key: row for row in comparison.results}
    row = rows[verdict.ship] if verdict.ship else comparison.results[0]
    delivery = quantcore.export(
        options.model,
        "onnx",
        row.workflow,
        row.backend,
        settings=row.settings,
        out=options.out,
        force=True,
        **size,
    )
    for path in delivery.paths:
        print(f"Written: {path}")


if __name__ == "__main__":
    main()
