"""What model files say of themselves, as far as it can be told without real ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_vision.core.errors import ModelError
from edge_vision.core.tensor import TensorSpec
from edge_vision.models.intake.check import input_dtype, input_shape
from edge_vision.models.reading.graph import Graph, read_graph

IR = """<net name="n" version="{version}"><layers>
<layer id="0" name="in" type="Parameter"><data shape="?,3,-1,1..640" element_type="u8"/>
<output><port id="0" names="b,a"/></output></layer>
<layer id="1" name="w" type="Const"><data element_type="i8" offset="8" size="4"/></layer>
<layer id="2" name="out/sink_port_0" type="Result"><input><port id="0" precision="FP32"><dim>1</dim></port></input>
</layer></layers><rt_info><model_info><labels value="stop_sign car"/></model_info></rt_info></net>"""
CFG = "[net]\nwidth=320\nheight=240\nchannels=3\n\n[convolutional]\nfilters=8\n\n[yolo]\n"
PROTOTXT = 'name: "n"\ninput: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 240\ninput_dim: 320\n'


def graph(shape: tuple[int, ...], dtype: str = "float32") -> Graph:
    """A graph with one input."""
    return Graph("onnx", (TensorSpec("images", shape, dtype),))


def test_an_ir_is_read_without_openvino(tmp_path: Path) -> None:
    """Names as OpenVINO gives them, open sides in all their spellings, weights in the type of most of their bytes."""
    file = tmp_path / "m.xml"
    file.write_text(IR.format(version=11))
    file.with_suffix(".bin").write_bytes(bytes(12))
    read = read_graph(file, "openvino")
    assert read.problems == ()
    assert read.inputs == (TensorSpec("a", (-1, 3, -1, -1), "uint8"),)
    assert read.outputs == (TensorSpec("out", (1,), "float32"),)
    assert (read.precision, read.metadata["labels"]) == ("int8", "stop_sign car")
    file.with_suffix(".bin").write_bytes(bytes(11))
    assert read_graph(file, "openvino").problems == (
        f"layer w needs 12 bytes of {file.with_suffix('.bin')}, which holds 11: copy it again",
    )
    file.write_text(IR.format(version=9))
    assert "is IR version 9; OpenVINO reads 10 and newer" in read_graph(file, "openvino").problems[0]


@pytest.mark.parametrize("beside", [False, True], ids=["inside", "beside"])
@pytest.mark.parametrize("dtype, precision", [(np.float16, "f16"), (np.float32, "f32")])
def test_the_precision_is_that_of_most_weights(
    dtype: type[np.floating[Any]], precision: str, beside: bool, tmp_path: Path
) -> None:
    """By their number, wherever they are kept: raw, as numbers, or in a file beside the graph."""
    onnx = pytest.importorskip("onnx")
    other = np.float32 if dtype is np.float16 else np.float16
    most = onnx.numpy_helper.from_array(np.ones((4, 3, 3, 3), dtype), "most")
    few = onnx.helper.make_tensor("few", onnx.helper.np_dtype_to_tensor_dtype(np.dtype(other)), [60], [1.0] * 60)
    images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    made = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Relu", ["images"], ["out"])], "g", [images], [images], [most, few]
        )
    )
    onnx.save(made, str(tmp_path / "m.onnx"), save_as_external_data=beside, size_threshold=0)
    assert read_graph(tmp_path / "m.onnx", "onnx").precision == precision


@pytest.mark.parametrize("format_,name,text", [("darknet", "m.cfg", CFG), ("caffe", "m.prototxt", PROTOTXT)])
def test_networks_as_text_tell_their_input(format_: str, name: str, text: str, tmp_path: Path) -> None:
    """Channels, height and width."""
    (tmp_path / name).write_text(text)
    (spec,) = read_graph(tmp_path / name, format_).inputs
    assert spec.shape == (1, 3, 240, 320)


def test_formats_that_do_not_tell_need_the_size(tmp_path: Path) -> None:
    """A SavedModel is a folder, with the channels last."""
    read = read_graph(tmp_path, "savedmodel")
    assert (read.inputs, read.outputs) == ((), ())
    assert input_shape(tmp_path, read, (320, 240)) == (1, 240, 320, 3)
    assert input_shape(tmp_path, Graph("paddle"), (320, 240)) == (1, 3, 240, 320)
    with pytest.raises(ModelError, match="savedmodel does not tell the size of its input: say --input-size"):
        input_shape(tmp_path, read, None)


@pytest.mark.parametrize(
    "shape,size,expected",
    [
        ((-1, 3, 240, 320), None, (1, 3, 240, 320)),
        ((1, 3, -1, -1), (320, 240), (1, 3, 240, 320)),
        ((-1, -1, -1, 3), (320, 240), (1, 240, 320, 3)),
        ((-1, -1, 32, -1), (320, 48), (1, 3, 32, 320)),
    ],
)
def test_open_axes_are_filled(shape: tuple[int, ...], size: tuple[int, int] | None, expected: tuple[int, ...]) -> None:
    """Batches with 1, sides with those given; what the file fixes stays."""
    assert input_shape(Path("m"), graph(shape), size) == expected


def test_open_sides_need_a_size() -> None:
    """Nobody guesses 640."""
    with pytest.raises(ModelError, match="has open sides: say --input-size WIDTH,HEIGHT"):
        input_shape(Path("m"), graph((1, 3, -1, -1)), None)


def test_types_that_no_picture_has() -> None:
    """Float and uint8 are made; the rest is refused with the name of the input."""
    assert input_dtype(Path("m"), graph((1, 3, 8, 8), "float16")) == "float32"
    with pytest.raises(ModelError, match=r"its input is images \[1, 3, 8, 8\] int64"):
        input_dtype(Path("m"), graph((1, 3, 8, 8), "int64"))
