"""Train the listing's network, 784-10-10, on 5,000 handwritten digits.

    python examples/mnist.py [--epochs 20] [--batch-size 32] [--seed 0] [--output FOLDER]

Prints what it learned, how long compiling and a step take, and what each pass did; writes the text of the kernels, a
drawing of the graph and the weights to the output folder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import graphc as gc

DATA = Path(__file__).parent / "data" / "mnist_5k.npz"
TRAIN = 4000  # samples to learn from; the others validate

Values = np.ndarray[Any, Any]


def load() -> tuple[Values, Values]:
    """Images [5000, 784] in [0, 1] and their classes as rows [5000, 10], float32."""
    with np.load(DATA) as archive:
        images, labels = archive["images"], archive["labels"]
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255), np.eye(10, dtype=np.float32)[labels]


def listing(seed: int) -> gc.nn.Sequential:
    """The network of the listing."""
    return gc.nn.Sequential([gc.nn.Dense(10, activation="relu"), gc.nn.Dense(10, activation="softmax")], seed=seed)


def seconds_per_step(model: gc.nn.Model, images: Values, rows: Values, batch_size: int, epochs: int = 20) -> float:
    """Median over epochs of the time of a step: forward, backward and Adam.  It goes on training."""
    times = []
    for _ in range(epochs):
        start = time.perf_counter()
        losses = model.train_function.run(x=images, t=rows, batch_size=batch_size)["loss"]
        times.append((time.perf_counter() - start) / len(losses))
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("mnist_output"), help="folder for what is written")
    options = parser.parse_args()

    images, rows = load()
    validation = images[TRAIN:], rows[TRAIN:]
    model = listing(options.seed)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(images[:TRAIN], rows[:TRAIN], options.batch_size, options.epochs, validation_data=validation)
    fit = time.perf_counter() - start
    loss, accuracy = model.evaluate(*validation, verbose=0)

    options.output.mkdir(parents=True, exist_ok=True)
    model.save_weights(options.output / "weights.npz")
    step = model.train_function
    (options.output / "kernels.py").write_text(step.source, encoding="utf-8")
    step.draw(options.output / "graph.svg")

    print(f"\n{step.explain()}\n")
    print(f"validation accuracy  {accuracy:.4f} (loss {loss:.4f})")
    print(f"fit                  {fit:.3f} s for {options.epochs} epochs, compiling included")
    print(f"compiling the step   {step.stats['compile_seconds']:.3f} s")
    seconds = seconds_per_step(model, images[:TRAIN], rows[:TRAIN], options.batch_size)
    print(f"a training step      {1e6 * seconds:.1f} µs")
    print(f"written              {', '.join(str(p) for p in sorted(options.output.iterdir()))}")


if __name__ == "__main__":
    main()
