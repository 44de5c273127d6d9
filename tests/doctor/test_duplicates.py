import cv2
import numpy as np

from segdla.doctor.duplicates import NEARLY_SURE, deviations, fingerprint, near_groups, nearest_before


def picture(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return cv2.resize(noise, (120, 90), interpolation=cv2.INTER_CUBIC)


def disguised(image):
    """Return an image darker, smaller and compressed."""
    small = cv2.resize((image * 0.6 + 10).astype(np.uint8), (80, 60), interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def eye(seed):
    """Return a bright disc on black, the same for all seeds, with vessels of the seed's own from a random point."""
    random = np.random.default_rng(seed)
    image = np.zeros((146, 142, 3), np.uint8)
    cv2.circle(image, (71, 73), 66, (180, 90, 50), -1)
    start = np.array([random.choice([32, 110]), 73]) + random.normal(0, 3, 2)
    for _ in range(12):
        angles = random.uniform(0, 7) + random.normal(0, 0.12, 60).cumsum()
        steps = 2.5 * np.stack([np.cos(angles), np.sin(angles)], 1)
        vessel = (start + steps.cumsum(0)).round().astype(np.int32)
        cv2.polylines(image, [vessel], False, (115, 40, 25), 2)
    outside = np.hypot(*np.ogrid[-73:73, -71:71]) > 66
    image[outside] = 0
    return image


def near_copies(image):
    height, width = image.shape[:2]
    jpeg = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    small = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    gamma = (255 * (image / 255) ** 0.6).astype(np.uint8)
    return {"jpeg": jpeg, "small": small, "gamma": gamma, "dark": (image * 0.6 + 10).astype(np.uint8)}


def vectors_of(*images):
    return deviations(np.stack([fingerprint(image) for image in images]))


def test_the_same_in_disguise_is_near_and_others_are_not():
    pictures = [picture(seed) for seed in range(20)]
    for seed in range(20):
        vectors = vectors_of(*pictures, disguised(pictures[seed]))
        similarity = vectors @ vectors[-1]
        assert similarity[seed] > 0.95
        assert np.delete(similarity, [seed, 20]).max() < 0.6


def test_what_all_images_have_in_common_does_not_count():
    eyes = [eye(seed) for seed in range(20)]
    prints = np.stack([fingerprint(image) for image in eyes])
    assert np.median(prints @ prints.T) > 0.75  # by the disc's border
    vectors = deviations(prints)
    assert near_groups(vectors) == [] and nearest_before(vectors, np.arange(20) // 10) == []


def test_near_copies_are_nearly_sure_among_images_that_have_much_in_common():
    eyes = [eye(seed) for seed in range(20)]
    for name, copy in near_copies(eyes[3]).items():
        vectors = vectors_of(*eyes, copy)
        assert vectors[3] @ vectors[-1] > NEARLY_SURE, name
    vectors = vectors_of(*eyes, eyes[3][1:-2, 2:-1])  # 2 % cut off
    assert [group.tolist() for group in near_groups(vectors)] == [[3, 20]]


def test_a_set_of_near_copies_alone_is_one_group():
    """Their mean is the picture itself, so all of it would be taken for what they have in common."""
    noise = np.random.default_rng(0).normal(0, 3, (10, 146, 142, 3))
    frames = [(eye(0) + more).clip(0, 255).astype(np.uint8) for more in noise]
    assert [len(group) for group in near_groups(vectors_of(*frames))] == [10]
    assert [len(group) for group in near_groups(vectors_of(eye(0), near_copies(eye(0))["dark"]))] == [2]
    assert near_groups(vectors_of(eye(0), eye(1))) == []


def test_an_image_without_gradients_is_near_nothing():
    flat = np.full((20, 30, 3), 77, np.uint8)
    assert not fingerprint(flat).any()
    assert near_groups(vectors_of(flat, flat)) == []
    vectors = vectors_of(flat, picture(0), flat, picture(1))
    assert not vectors[[0, 2]].any() and near_groups(vectors) == []
    assert vectors_of(flat, picture(0)).shape == (2, 512)  # one image with gradients has no mean to differ from


def chain():
    """Return unit vectors: 0 and 2 are near 1 but not each other, 3 is alone, 4 and 5 are one; near is within 53
    degrees."""
    angles = np.radians([0, 45, 90, 150, 240, 240])
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def test_groups_are_chains():
    assert [group.tolist() for group in near_groups(chain())] == [[0, 1, 2], [4, 5]]
    assert near_groups(np.zeros((0, 2), np.float32)) == []


def test_groups_are_the_same_in_any_order_and_over_blocks(monkeypatch):
    monkeypatch.setattr("segdla.doctor.duplicates._ROWS", 2)
    order = np.array([5, 2, 3, 0, 4, 1])
    groups = near_groups(chain()[order])
    assert sorted(sorted(order[group].tolist()) for group in groups) == [[0, 1, 2], [4, 5]]


def test_nearest_in_an_earlier_part():
    duplicates = nearest_before(chain(), np.array([0, 1, 1, 1, 0, 2]))
    assert [(index, nearest) for index, nearest, _ in duplicates] == [(1, 0), (5, 4)]
    np.testing.assert_allclose([similarity for _, _, similarity in duplicates], [np.cos(np.radians(45)), 1], atol=1e-6)
