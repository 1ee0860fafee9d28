"""Checks which layers a quantizer is told to leave alone."""

from edge_vision.models.making.scope import SCOPES, Layer


def layer(name: str, *inputs: str, source: bool = False, result: bool = False, depthwise: bool = False) -> Layer:
    """One that has weights when its name says that it is a convolution."""
    return Layer(name, name.startswith("conv"), depthwise, source, result, inputs)


GRAPH = [
    layer("scale", source=True),
    layer("conv1", "scale"),
    layer("relu", "conv1"),
    layer("conv2", "relu", depthwise=True),
    layer("conv3", "conv2"),
    layer("conv4", "conv3"),
    layer("conv_box", "conv4"),
    layer("conv_score", "conv3"),
    layer("sigmoid", "conv_score"),
    layer("concat", "conv_box", "sigmoid"),
    layer("transpose", "concat", result=True),
]


def test_the_narrowest_scope_spares_both_ends_and_depthwise_layers() -> None:
    """Every branch of the head ends with a convolution of its own; the input passes a layer without weights first."""
    assert SCOPES[-1].spared(GRAPH) == ["conv1", "conv2", "conv_box", "conv_score"]


def test_the_wider_scopes_spare_nothing_by_name() -> None:
    """Everything first, then whatever has weights."""
    assert [scope.spared(GRAPH) for scope in SCOPES[:2]] == [[], []]
    assert [scope.weighted_only for scope in SCOPES] == [False, True, True]


def test_a_second_branch_at_the_input_has_a_first_layer_too() -> None:
    """Two convolutions read the input: both are first; one behind another is not, whatever else it reads."""
    graph = [
        layer("conv_a", source=True),
        layer("conv_b", source=True),
        layer("conv_c", "conv_a", "conv_b"),
        layer("conv_d", "conv_c", result=True),
    ]
    assert SCOPES[-1].spared(graph) == ["conv_a", "conv_b", "conv_d"]
