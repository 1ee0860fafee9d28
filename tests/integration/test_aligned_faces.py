"""Real faces are laid upright by five keypoints: the detector finds the eyes again where the template has them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from face_bundles import write_yunet

from edge_vision.analytics.cascade_crops import Cropper
from edge_vision.app.check import check_site
from edge_vision.app.engines import load_engines
from edge_vision.app.network import open_network
from edge_vision.runtime.clock import SystemClock

TEMPLATE = ((0.342, 0.462), (0.657, 0.460), (0.500, 0.641), (0.371, 0.825), (0.632, 0.823))
"""Eyes, nose and corners of the mouth, where ArcFace (arXiv:1801.07698) has them in a picture of 112x112."""


@pytest.mark.parametrize("degrees", [0, 20, -15])
def test_faces_are_laid_on_the_template(
    data: Path, write_site: Callable[..., Path], tmp_path: Path, degrees: float
) -> None:
    """With a margin, at any slant: the eyes are level, each keypoint within 5 % of the side.

    Of the two who look into the camera, as the template does.
    """
    model = write_yunet(tmp_path / "yunet", data)
    settings = {"model": str(model), "confidence": 0.9}
    camera = {"id": "cam", "source": {"kind": "synthetic"}, "pipeline": "object_detection", "with": settings}
    checked = check_site(write_site(cameras=[camera]))
    engines = load_engines(checked.site, checked.bundles)
    options = checked.site.cameras[0].stages[0]
    picture = np.asarray(cv2.imread(str(data / "images/misc/face.jpg")), np.uint8)
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    picture = np.asarray(cv2.warpAffine(picture, turn, (width, height)), np.uint8)
    grow = 0.5
    crop = Cropper("keypoints", (160, 160), grow, TEMPLATE, 8)
    expected = 80 + (np.array(TEMPLATE) * 160 - 80) / (1 + 2 * grow)
    with open_network(engines[options], options, 0, SystemClock()) as network:
        faces = network.look(picture)
        assert len(faces) >= 2
        largest = np.argsort(-np.prod(faces.xyxy[:, 2:] - faces.xyxy[:, :2], axis=1))[:2]
        for face in crop.cut(picture, faces, largest):
            again = network.look(face)
            assert again.keypoints is not None
            errors = np.abs(again.keypoints[:, :, :2] - expected).max(axis=(1, 2))  # neighbors are seen, too
            assert errors.min() < 0.05 * 160
            along = again.keypoints[errors.argmin(), 1, :2] - again.keypoints[errors.argmin(), 0, :2]
            assert abs(np.rad2deg(np.arctan2(along[1], along[0]))) < 10
