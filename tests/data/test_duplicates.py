import cv2
import numpy as np

from segdla.data.duplicates import fingerprint, near_groups, nearest_before


def picture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(noise, (120, 90), interpolation=cv2.INTER_CUBIC)


def disguised(image):
    """Darker, smaller, compressed."""
    small = cv2.resize((image * 0.6 + 10).astype(np.uint8), (80, 60), interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def test_the_same_in_disguise_is_near_and_others_are_not():
    prints = np.stack([fingerprint(picture(seed)) for seed in range(20)])
    for seed in range(20):
        similarity = prints @ fingerprint(disguised(picture(seed)))
        assert similarity[seed] > 0.95
        assert np.delete(similarity, seed).max() < 0.6


def test_an_image_without_gradients_is_near_nothing():
    flat = fingerprint(np.full((20, 30, 3), 77, np.uint8))
    assert not flat.any()
    assert near_groups(np.stack([flat, flat])) == []


def chain():
    """Unit vectors: 0 and 2 are near 1 but not each other, 3 is alone, 4 and 5 are one; near is within 31 degrees."""
    angles = np.radians([0, 25, 50, 120, 200, 200])
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_groups_are_chains():
    assert [group.tolist() for group in near_groups(chain())] == [[0, 1, 2], [4, 5]]
    assert near_groups(np.zeros((0, 2), np.float32)) == []


def test_groups_are_the_same_in_any_order_and_over_blocks(monkeypatch):
    monkeypatch.setattr("segdla.data.duplicates._ROWS", 2)
    order = np.array([5, 2, 3, 0, 4, 1])
    found = near_groups(chain()[order])
    assert sorted(sorted(order[group].tolist()) for group in found) == [[0, 1, 2], [4, 5]]


def test_nearest_in_an_earlier_part():
    found = nearest_before(chain(), np.array([0, 1, 1, 1, 0, 2]))
    assert [(index, nearest) for index, nearest, _ in found] == [(1, 0), (5, 4)]
    np.testing.assert_allclose([similarity for _, _, similarity in found], [np.cos(np.radians(25)), 1], atol=1e-6)
