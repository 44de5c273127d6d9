import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from segdla.data.images import as_rgb, image_size, read_image, read_mask, read_palette, read_stored_mask
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
def test_the_upper_eight_of_sixteen_bits_are_kept(tmp_path, suffix, channels):
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
    # WebP has no single-channel images.
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
    mask = read_stored_mask(tmp_path / "a.png")
    np.testing.assert_array_equal(mask.samples, ids)
    np.testing.assert_array_equal(mask.colors[ids], read_image(tmp_path / "a.png"))


def grey_png(ids, bits):
    """Return the bytes of a grey PNG of 1, 2 or 4 bits, which PNG optimisers write, but neither OpenCV nor Pillow."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = ids.shape
    rows = np.packbits(np.unpackbits(ids[..., None], axis=2)[..., -bits:].reshape(height, -1), axis=1)
    pixels = zlib.compress(np.insert(rows, 0, 0, axis=1).tobytes())  # a filter byte of 0 before each row
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_mask_s_palette_is_stored_with_it(tmp_path):
    colors = [[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 9]]
    image = Image.fromarray(IDS, mode="P")
    image.putpalette(np.ravel(colors).tolist())
    for suffix in (".png", ".tif", ".bmp", ".gif"):
        image.save(tmp_path / f"a{suffix}")
        mask = read_stored_mask(tmp_path / f"a{suffix}")
        assert mask.has_palette and not mask.lossy
        np.testing.assert_array_equal(mask.colors[mask.samples], np.array(colors)[IDS])
    mask = read_stored_mask(save(tmp_path / "b.png", IDS))
    assert not mask.has_palette
    np.testing.assert_array_equal(mask.colors, np.arange(256)[:, None].repeat(3, 1))


def test_a_lossy_mask_is_known_by_its_content(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png", "JPEG")
    assert read_stored_mask(tmp_path / "a.png").lossy == "JPEG"
    Image.fromarray(IDS).save(tmp_path / "b.jpg", "PNG")
    assert read_stored_mask(tmp_path / "b.jpg").lossy == ""
    np.testing.assert_array_equal(read_mask(tmp_path / "b.jpg"), IDS)


def bmp(indices, bits, palette):
    """Return a BMP with a palette of greys, as Pillow does not write it."""
    height, width = indices.shape
    rows = np.packbits(np.unpackbits(indices[..., None], axis=2)[..., -bits:].reshape(height, -1), axis=1)[::-1]
    pixels = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()
    colors = b"".join(bytes((grey, grey, grey, 0)) for grey in palette)
    start = 54 + len(colors)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(pixels), 0, 0, len(palette), 0)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + header + colors + pixels


@pytest.mark.parametrize(
    ("bits", "palette"),
    [
        (1, (0, 255)), (4, (0, 255)), (8, (0, 255)),  # Pillow takes them all for 1 bit
        (4, range(4)), (4, range(16)), (8, range(4)), (8, range(256)),  # and these for 8
        (1, (255, 0)), (4, range(0, 256, 17)),
    ],
)  # fmt: skip
def test_a_bmp_s_grey_palette_of_any_number_of_bits(tmp_path, bits, palette):
    indices = IDS.clip(max=len(palette) - 1)
    (tmp_path / "a.bmp").write_bytes(bmp(indices, bits, palette))
    greys = np.array(palette, np.uint8)[indices]
    mask = read_stored_mask(tmp_path / "a.bmp")
    np.testing.assert_array_equal(mask.samples, indices)
    np.testing.assert_array_equal(mask.colors[mask.samples], np.dstack([greys] * 3))
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), np.dstack([greys] * 3))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_labels_in_alpha_alone_are_answered(tmp_path, suffix, mode):
    color = np.full((6, 8, 1 if mode == "LA" else 3), 7, np.uint8)
    path = tmp_path / f"a{suffix}"
    image = Image.fromarray(np.dstack([color, IDS * 60 + 15]), mode=mode)
    image.save(path, **({"lossless": True} if suffix == ".webp" else {}))
    with pytest.raises(UserError, match=r"has one colour everywhere: only its alpha channel \(transparency\) differs"):
        read_mask(path)
    assert (read_image(path) == 7).all()


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
        # Two JPEG decoders may round differently.
        np.testing.assert_allclose(read(path).astype(int), expected, atol=6 if suffix == ".jpg" else 0)


def content_of(suffix):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper()))
    return file.getvalue()


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_truncated_files(tmp_path, suffix, read):
    content = content_of(suffix)
    for share in (0.02, 0.5, 0.99):
        (tmp_path / f"cut{suffix}").write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError, match=rf"cut\{suffix} is (cut short|not an image)"):
            read(tmp_path / f"cut{suffix}")


def test_a_jpeg_truncated_after_its_thumbnail(tmp_path):
    thumbnail = content_of(".jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0" + thumbnail
    content = content_of(".jpg")
    whole = content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]
    (tmp_path / "a.jpg").write_bytes(whole)
    assert read_image(tmp_path / "a.jpg").shape == (64, 64, 3)
    (tmp_path / "a.jpg").write_bytes(whole[:-200])
    with pytest.raises(UserError, match="cut short"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif"])
def test_a_lack_of_memory_is_not_taken_for_damage(tmp_path, monkeypatch, name):
    path = save(tmp_path / name, RGB)

    def no_memory(*_, **__):
        raise MemoryError

    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)  # all that OpenCV says of it
    monkeypatch.setattr(Image.Image, "load", no_memory)
    monkeypatch.setattr(np, "empty", no_memory)
    with pytest.raises(UserError, match=r"^no memory left to decode .* \(6x8 pixels\); free some"):
        read_image(path)


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
def test_files_that_are_not_images_are_named(tmp_path, content, message, read):
    path = tmp_path / "bro ken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"bro ken\.png .*{message}"):
        read(path)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_animations_are_refused(tmp_path, suffix):
    frames = [Image.fromarray(np.roll(RGB, i, 1)) for i in range(3)]
    frames[0].save(tmp_path / f"a{suffix}", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=r"holds 3 pictures"):
        read_image(tmp_path / f"a{suffix}")


def test_a_decompression_bomb_is_not_decoded(tmp_path):
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 100_000
    with pytest.raises(UserError, match=r"bomb\.png is too large to decode"):
        read_image(tmp_path / "bomb.png")


def test_colour_masks_of_sixteen_bits_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 4, 3), 65535, np.uint16))
    assert read_image(tmp_path / "a.png").max() == 255
    with pytest.raises(UserError, match=r"a\.png holds colours of 16 bits a sample"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("read", [read_image, read_mask])
def test_samples_of_thirty_two_bits_are_refused(tmp_path, read):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif has 32 bits a sample"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("read", [read_image, read_mask, image_size])
def test_paths_that_are_not_regular_files(tmp_path, read):
    with pytest.raises(UserError, match=r"none\.png: No such file"):
        read(tmp_path / "none.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match=r"folder\.png is a directory, not an image file; name its files"):
        read(tmp_path / "folder.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(UserError, match=r"loop\.png: Too many levels"):
        read(tmp_path / "loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError, match=r"pipe\.png is no regular file"):
        read(tmp_path / "pipe.png")


def test_palettes_are_read(tmp_path):
    image = Image.fromarray(IDS, mode="P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 200, 0, 0, 0, 9])
    image.save(tmp_path / "a.png")
    assert read_palette(tmp_path / "a.png")[:4].tolist() == [[10, 20, 30], [200, 0, 0], [0, 200, 0], [0, 0, 9]]
    assert read_palette(save(tmp_path / "b.png", IDS)) is None


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IDS),
        Image.fromarray(RGB),
        Image.fromarray(IDS > 0),
        Image.fromarray(np.dstack([RGB, IDS]), mode="RGBA"),
        Image.fromarray(np.dstack([IDS, IDS]), mode="LA"),
        Image.fromarray(np.dstack([RGB, IDS]), mode="CMYK"),
        Image.fromarray(IDS.astype(np.uint16) * 9000 + 7),
        Image.fromarray(RGB).quantize(5),
    ],
    ids=lambda image: image.mode,
)
def test_a_pil_image_becomes_what_the_reader_makes_of_its_file(tmp_path, image):
    image.save(tmp_path / "a.tif")
    expected = read_image(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as opened:
        np.testing.assert_array_equal(as_rgb(opened), expected)
    pixels = as_rgb(image)
    np.testing.assert_array_equal(pixels, expected)
    assert pixels.dtype == np.uint8 and pixels.flags["C_CONTIGUOUS"] and pixels.flags["WRITEABLE"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_pil_image_is_turned_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"turned{suffix}", RGB, exif=exif)
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_rgb(opened), read_image(path))
    in_memory = Image.fromarray(RGB)
    in_memory.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(as_rgb(in_memory), ImageOps.exif_transpose(in_memory))


def test_paths_and_arrays_as_rgb(tmp_path):
    path = save(tmp_path / "a.png", RGB)
    for image in (path, str(path), RGB):
        np.testing.assert_array_equal(as_rgb(image), RGB)
    np.testing.assert_array_equal(as_rgb(IDS), np.dstack([IDS] * 3))
    constant = np.broadcast_to(RGB[:1, :1], RGB.shape)  # neither contiguous nor writable
    pixels = as_rgb(constant)
    np.testing.assert_array_equal(pixels, constant)
    assert pixels.flags["C_CONTIGUOUS"] and pixels.flags["WRITEABLE"]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"an image is RGB .* not \(4, 4, 3\) float32"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"\(2, 4, 4, 3\) uint8; of several images give a list"),
        (np.zeros((4, 4, 4), np.uint8), r"not \(4, 4, 4\) uint8"),
        (np.zeros((0, 4, 3), np.uint8), r"not \(0, 4, 3\) uint8"),
        (Image.fromarray(np.zeros((4, 4), np.int32)), r"the image has 32 bits a sample"),
        (Image.new("RGB", (0, 4)), r"an image of 4x0 has no pixels"),
        (7, r"an array, a path or a PIL image, not int"),
        ("nowhere.png", r"nowhere\.png: No such file"),
    ],
)
def test_values_that_are_not_images(image, message):
    with pytest.raises(UserError, match=message):
        as_rgb(image)


def test_a_truncated_pil_image(tmp_path):
    (tmp_path / "a.tif").write_bytes(content_of(".tif")[:-2000])
    with Image.open(tmp_path / "a.tif") as opened, pytest.raises(UserError, match=r"the image can't be decoded"):
        as_rgb(opened)
