import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from segdla.data.images import image_size, list_images, read_image, read_mask
from segdla.errors import UserError

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
IDS = np.arange(48, dtype=np.uint8).reshape(6, 8) % 4
LOSSLESS = (".png", ".tif", ".tiff", ".webp", ".bmp")


def save(path, array, **kwargs):
    Image.fromarray(array).save(path, **({"lossless": True} if path.suffix == ".webp" else {}), **kwargs)
    return path


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colours_in_every_format(tmp_path, suffix):
    np.testing.assert_array_equal(read_image(save(tmp_path / f"ré d{suffix}", RGB)), RGB)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_grey_becomes_three_channels(tmp_path, suffix):
    np.testing.assert_array_equal(read_image(save(tmp_path / f"a{suffix}", RGB[..., 0])), np.dstack([RGB[..., 0]] * 3))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_is_dropped_and_not_blended(tmp_path, suffix):
    path = save(tmp_path / f"a{suffix}", np.dstack([RGB, np.full((6, 8), 100, np.uint8)]))
    np.testing.assert_array_equal(read_image(path), RGB)
    np.testing.assert_array_equal(read_mask(path), RGB)


def test_grey_with_alpha(tmp_path):
    for suffix in (".png", ".tif"):
        image = Image.fromarray(np.dstack([IDS, np.full((6, 8), 7, np.uint8)]), mode="LA")
        image.save(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(read_mask(tmp_path / f"a{suffix}"), IDS)
        np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), np.dstack([IDS] * 3))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_of_sixteen_bits_the_upper_eight_are_kept(tmp_path, suffix, channels):
    wide = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    wide = wide if channels == 1 else np.dstack([wide, wide[::-1], wide.T])
    cv2.imwrite(str(tmp_path / f"a{suffix}"), wide[..., ::-1] if channels == 3 else wide)
    expected = (wide >> 8).astype(np.uint8)
    np.testing.assert_array_equal(
        read_image(tmp_path / f"a{suffix}"), expected if channels == 3 else np.dstack([expected] * 3)
    )


def test_palette_images_have_colours_and_palette_masks_indices(tmp_path):
    image = Image.fromarray(IDS, mode="P")
    colors = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 9]], np.uint8)
    image.putpalette(colors.ravel().tolist())
    for suffix in (".png", ".tif", ".bmp"):
        image.save(tmp_path / f"a{suffix}")
        np.testing.assert_array_equal(read_mask(tmp_path / f"a{suffix}"), IDS)
        np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), colors[IDS])


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_masks_in_every_format(tmp_path, suffix):
    mask = read_mask(save(tmp_path / f"a{suffix}", IDS))
    # WebP knows no single channel.
    np.testing.assert_array_equal(mask, np.dstack([IDS] * 3) if suffix == ".webp" else IDS)


def test_colour_masks_are_rgb(tmp_path):
    for suffix in LOSSLESS:
        np.testing.assert_array_equal(read_mask(save(tmp_path / f"a{suffix}", RGB)), RGB)


def test_masks_of_sixteen_bits(tmp_path):
    wide = IDS.astype(np.uint16) * 9000
    for suffix in (".png", ".tif"):
        np.testing.assert_array_equal(read_mask(save(tmp_path / f"a{suffix}", wide)), wide)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_masks_of_few_bits_give_their_samples(tmp_path, bits):
    ids = np.arange(48, dtype=np.uint8).reshape(6, 8) % 2**bits
    (tmp_path / "a.png").write_bytes(grey_png(ids, bits))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), ids)


def grey_png(ids, bits):
    """A PNG by hand: no library at hand writes grey of 2 or 4 bits, as optimisers of PNGs do."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = ids.shape
    rows = np.packbits(np.unpackbits(ids[..., None], axis=2)[..., -bits:].reshape(height, -1), axis=1)
    pixels = zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes())  # a filter byte of 0 before each row
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_is_applied_to_images_and_masks(tmp_path, suffix, orientation):
    path = tmp_path / f"turned{suffix}"
    image = Image.fromarray(np.kron(RGB, np.ones((8, 8, 1), np.uint8)))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, **({"lossless": True} if suffix == ".webp" else {}))
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored.convert("RGB") if orientation == 1 else stored))
    assert image_size(path) == expected.shape[:2]
    for read in (read_image, read_mask):
        # Two decoders of JPEG may differ by a rounding or two.
        np.testing.assert_allclose(read(path).astype(int), expected, atol=6 if suffix == ".jpg" else 0)


def content_of(suffix):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper()))
    return file.getvalue()


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_files_that_are_cut_short(tmp_path, suffix, read):
    content = content_of(suffix)
    for share in (0.02, 0.5, 0.99):
        (tmp_path / f"cut{suffix}").write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError, match=rf"cut\{suffix} is (cut short|not an image)"):
            read(tmp_path / f"cut{suffix}")


def test_a_jpeg_cut_after_its_thumbnail(tmp_path):
    thumbnail = content_of(".jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0" + thumbnail
    content = content_of(".jpg")
    whole = content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]
    (tmp_path / "a.jpg").write_bytes(whole)
    assert read_image(tmp_path / "a.jpg").shape == (64, 64, 3)
    (tmp_path / "a.jpg").write_bytes(whole[:-200])
    with pytest.raises(UserError, match="cut short"):
        read_image(tmp_path / "a.jpg")


def test_a_png_with_damaged_pixels(tmp_path):
    content = bytearray(content_of(".png"))
    content[len(content) // 2] ^= 0x55
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.png .*damaged"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"not an image: it is empty \(0 bytes\)"),
        (b"not an image", "can't be decoded"),
        (b"\x89PNG\r\n\x1a\n", "image"),
    ],
)
def test_files_that_are_no_image_are_named(tmp_path, content, message, read):
    path = tmp_path / "bro ken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"bro ken\.png .*{message}"):
        read(path)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_animations_are_answered(tmp_path, suffix):
    frames = [Image.fromarray(np.roll(RGB, i, 1)) for i in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=r"holds 3 pictures"):
        read_image(tmp_path / f"a{suffix}")


def test_a_bomb_is_not_decoded(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with pytest.raises(UserError, match=r"bomb\.png is too large to decode"):
        read_image(tmp_path / "bomb.png")


def test_colours_of_sixteen_bits_are_no_mask(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 65535, np.uint16))
    assert read_image(tmp_path / "a.png").max() == 255
    with pytest.raises(UserError, match=r"a\.png holds colours of 16 bits a sample"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_samples_of_thirty_two_bits(tmp_path, read):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif has 32 bits a sample"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_what_is_no_file(tmp_path, read):
    with pytest.raises(UserError, match=r"none\.png: No such file"):
        read(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png is a directory"):
        read(tmp_path / "folder.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(UserError, match=r"loop\.png: Too many levels"):
        read(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png is no regular file"):
        read(tmp_path / "pipe.png")


def test_listing(tmp_path):
    for name in ("b/2.JPG", "a.png", "notes.txt", "b/._2.jpg", ".hidden/3.png", "dir.png/4.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "back").symlink_to(tmp_path)  # a loop
    assert [str(path.relative_to(tmp_path)) for path in list_images(tmp_path)] == ["a.png", "b/2.JPG", "dir.png"]
    with pytest.raises(UserError, match="no directory"):
        list_images(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images in"):
        list_images(tmp_path / "empty")
