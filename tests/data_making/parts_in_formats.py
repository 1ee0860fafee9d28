"""Writes the demo's detector anew in another framework, with the weights of its ONNX file, and exports it from there.

usage: python tests/data_making/parts_in_formats.py {torchscript,tensorflow,paddle} FOLDER

Runs in an environment of its own: `pip install onnx` and torch, tensorflow-cpu or `paddlepaddle<3`. TensorFlow
writes a frozen graph, a SavedModel and a TFLite file. The layers are those of training/network.py.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

PARTS = Path(__file__).resolve().parents[2] / "configs/demo/parts/parts.onnx"
HEIGHT, WIDTH = 192, 320

Conv = Callable[[Any, int], Any]


def weights() -> list[NDArray[np.float32]]:
    """Weight and bias of every convolution, in the order of the graph."""
    graph = onnx.load(str(PARTS)).graph
    values = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    return [values[name] for node in graph.node if node.op_type == "Conv" for name in node.input[1:]]


def network(ops: Any, images: Any) -> Any:
    """The detector, of whatever framework `ops` is: a box, an objectness and a score per class for every cell."""
    left = weights()

    def conv(x: Any, stride: int = 1, *, bare: bool = False) -> Any:
        y = ops.conv(x, left.pop(0), left.pop(0), stride)
        return y if bare else ops.relu(y)

    def residual(x: Any) -> Any:
        return x + conv(conv(x))

    def head(x: Any) -> Any:
        return ops.rows(conv(conv(x), bare=True))

    at8 = residual(conv(conv(conv(images / 64.0 - 1.5, 2), 2), 2))
    at16 = residual(conv(at8, 2))
    at32 = residual(conv(at16, 2))
    coarse = head(at32)
    at16 = at16 + ops.twice(conv(at32))
    middle = head(at16)
    at8 = at8 + ops.twice(conv(at16))
    answer = ops.join([head(at8), middle, coarse], 1)
    assert not left, "the graph has convolutions that this network has not"
    return ops.join([answer[:, :, :4], ops.sigmoid(answer[:, :, 4:])], 2)


class Torch:
    """PyTorch, channels first."""

    @staticmethod
    def conv(x: Any, weight: NDArray[Any], bias: NDArray[Any], stride: int) -> Any:
        """A convolution that keeps the size, or halves it."""
        import torch

        kernel, shift = (torch.from_numpy(value.copy()) for value in (weight, bias))
        return torch.nn.functional.conv2d(x, kernel, shift, stride, weight.shape[2] // 2)

    @staticmethod
    def relu(x: Any) -> Any:
        """What is above zero."""
        return x.relu()

    @staticmethod
    def sigmoid(x: Any) -> Any:
        """Between 0 and 1."""
        return x.sigmoid()

    @staticmethod
    def twice(x: Any) -> Any:
        """Every cell four times."""
        import torch

        return torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")

    @staticmethod
    def rows(x: Any) -> Any:
        """A row per cell."""
        return x.flatten(2).transpose(1, 2)

    @staticmethod
    def join(parts: Sequence[Any], axis: int) -> Any:
        """One after the other."""
        import torch

        return torch.cat(list(parts), axis)


class TensorFlow:
    """TensorFlow, channels last."""

    @staticmethod
    def conv(x: Any, weight: NDArray[Any], bias: NDArray[Any], stride: int) -> Any:
        """A convolution that keeps the size, or halves it."""
        import tensorflow as tf

        rim = weight.shape[2] // 2
        padding = [[0, 0], [rim, rim], [rim, rim], [0, 0]]
        kernel = tf.constant(weight.transpose(2, 3, 1, 0))
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, padding), tf.constant(bias))

    @staticmethod
    def relu(x: Any) -> Any:
        """What is above zero."""
        import tensorflow as tf

        return tf.nn.relu(x)

    @staticmethod
    def sigmoid(x: Any) -> Any:
        """Between 0 and 1."""
        import tensorflow as tf

        return tf.sigmoid(x)

    @staticmethod
    def twice(x: Any) -> Any:
        """Every cell four times."""
        import tensorflow as tf

        return tf.compat.v1.image.resize_nearest_neighbor(x, (x.shape[1] * 2, x.shape[2] * 2))

    @staticmethod
    def rows(x: Any) -> Any:
        """A row per cell."""
        import tensorflow as tf

        return tf.reshape(x, (1, x.shape[1] * x.shape[2], x.shape[3]))

    @staticmethod
    def join(parts: Sequence[Any], axis: int) -> Any:
        """One after the other."""
        import tensorflow as tf

        return tf.concat(list(parts), axis)


class Paddle:
    """PaddlePaddle, channels first."""

    @staticmethod
    def conv(x: Any, weight: NDArray[Any], bias: NDArray[Any], stride: int) -> Any:
        """A convolution that keeps the size, or halves it."""
        import paddle

        kernel, shift = (
            paddle.static.create_parameter(
                value.shape, "float32", default_initializer=paddle.nn.initializer.Assign(value)
            )
            for value in (weight, bias)
        )
        return paddle.nn.functional.conv2d(x, kernel, shift, stride, weight.shape[2] // 2)

    @staticmethod
    def relu(x: Any) -> Any:
        """What is above zero."""
        import paddle

        return paddle.nn.functional.relu(x)

    @staticmethod
    def sigmoid(x: Any) -> Any:
        """Between 0 and 1."""
        import paddle

        return paddle.nn.functional.sigmoid(x)

    @staticmethod
    def twice(x: Any) -> Any:
        """Every cell four times."""
        import paddle

        return paddle.nn.functional.interpolate(x, scale_factor=2, mode="nearest")

    @staticmethod
    def rows(x: Any) -> Any:
        """A row per cell."""
        return x.flatten(2).transpose((0, 2, 1))

    @staticmethod
    def join(parts: Sequence[Any], axis: int) -> Any:
        """One after the other."""
        import paddle

        return paddle.concat(list(parts), axis)


def torchscript(folder: Path) -> None:
    """Trace it, and write parts.pt."""
    import torch

    class Parts(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def forward(self, images: Any) -> Any:
            return network(Torch, images)

    blank = torch.zeros(1, 3, HEIGHT, WIDTH)
    torch.jit.trace(Parts().eval(), blank).save(str(folder / "parts.pt"))


def tensorflow(folder: Path) -> None:
    """Write the frozen graph parts.pb, the SavedModel parts_saved and parts.tflite."""
    import tensorflow as tf

    def answer(images: Any) -> Any:
        return network(TensorFlow, images)

    module = tf.Module()
    spec = tf.TensorSpec((1, HEIGHT, WIDTH, 3), tf.float32, name="images")
    module.answer = tf.function(answer, input_signature=[spec])
    traced = module.answer.get_concrete_function()
    tf.io.write_graph(traced.graph.as_graph_def(), str(folder), "parts.pb", as_text=False)
    tf.saved_model.save(module, str(folder / "parts_saved"), signatures=traced)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "parts_saved"))
    (folder / "parts.tflite").write_bytes(converter.convert())


def paddle(folder: Path) -> None:
    """Write parts.pdmodel and parts.pdiparams."""
    import paddle

    paddle.enable_static()
    images = paddle.static.data("images", (1, 3, HEIGHT, WIDTH), "float32")
    answer = network(Paddle, images)
    runner = paddle.static.Executor(paddle.CPUPlace())
    runner.run(paddle.static.default_startup_program())
    paddle.static.save_inference_model(str(folder / "parts"), [images], [answer], runner)


if __name__ == "__main__":
    framework, target = sys.argv[1], Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    {"torchscript": torchscript, "tensorflow": tensorflow, "paddle": paddle}[framework](target)
