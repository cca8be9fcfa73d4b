# SPDX-License-Identifier: Apache-2.0
"""The inputs that fetch.sh makes: formats, and what is written of them."""

import pathlib
import re
import struct
import tempfile
import unittest
import zlib

import context  # noqa: F401
import make
import numpy as np
from dataset import read_test
from features import PADDING, SIDE, features
from samples import samples

SIZES = {"FP32": 4, "INT32": 4, "INT64": 8}


def png(pixels, filters):
    """A PNG file of pixels [height, width, 3] whose lines use these filters."""
    height, width, _ = pixels.shape
    lines = pixels.reshape(height, -1).astype(int)
    packed = b""
    for row, kind in enumerate(filters):
        line, above = lines[row], lines[row - 1] if row else 0 * lines[0]
        left, corner = (np.concatenate([[0] * 3, other[:-3]]) for other in (line, above))
        estimate = left + above - corner
        nearest = [
            min((abs(e - a), 0, a), (abs(e - b), 1, b), (abs(e - c), 2, c))[2]
            for e, a, b, c in zip(estimate, left, above, corner)
        ]
        guess = (0 * line, left, above, (left + above) // 2, np.array(nearest))[kind]
        packed += bytes([kind]) + ((line - guess) % 256).astype(np.uint8).tobytes()
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(packed),
    }
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    return b"\x89PNG\r\n\x1a\n" + body


class PngTest(unittest.TestCase):
    def test_every_filter_is_undone(self):
        # Few values, so that the predictor has ties to break, but around zero, so that sums wrap.
        pixels = np.random.default_rng(3).integers(-4, 4, (5, 40, 3)).astype(np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "x.png"
            path.write_bytes(png(pixels, (0, 1, 2, 3, 4)))
            np.testing.assert_array_equal(make.read_png(path), pixels)
            path.write_bytes(png(pixels, (4, 3, 4, 2, 1)))
            np.testing.assert_array_equal(make.read_png(path), pixels)


class FeaturesTest(unittest.TestCase):
    def test_short_file_is_padded_between(self):
        row = features(b"  abcdefgh\n")
        np.testing.assert_array_equal(row[:9], list(b"abcdefgh\n"))
        np.testing.assert_array_equal(row[9 : 2 * SIDE - 10], PADDING)
        np.testing.assert_array_equal(row[-10:], list(b"  abcdefgh"))

    def test_long_file_gives_its_two_ends(self):
        content = bytes(i % 251 for i in range(10000))
        row = features(content)
        np.testing.assert_array_equal(row[:SIDE], list(content[:SIDE]))
        np.testing.assert_array_equal(row[SIDE:], list(content[-SIDE:]))

    def test_only_a_block_is_looked_at(self):
        row = features(b" " * 4000 + bytes(range(97, 123)) * 200 + b" " * 4000)
        self.assertEqual(int((row[:SIDE] != PADDING).sum()), 96)
        self.assertEqual(int((row[SIDE:] != PADDING).sum()), 96)

    def test_white_space_beyond_a_block_is_too_little(self):
        with self.assertRaises(ValueError):
            features(b" " * 5000 + b"abcdefgh" + b" " * 5000)


class MakeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.out = pathlib.Path(folder.name)
        make.fashion(cls.out)
        make.efficientnet_lite(cls.out)
        make.silero_vad(cls.out)
        cls.labels = cls.out / "labels.txt"
        cls.labels.write_text("\n".join(sorted(name for name, _ in samples())))
        make.magika(cls.out, cls.labels)

    def field(self, model, key):
        text = (self.out / f"{model}.yaml").read_text()
        return re.search(rf"^ *{key}: (.*)$", text, re.M)[1]

    def test_files_have_the_stated_rows(self):
        entry = re.compile(r"datatype: (\w+)\n *row_shape: \[(.*)\]\n *file: (.*)")
        seen = 0
        for path in self.out.glob("*.yaml"):
            text = path.read_text()
            rows = int(re.search(r"^rows: (\d+)$", text, re.M)[1])
            for datatype, shape, file in entry.findall(text):
                edges = [int(edge) for edge in shape.split(",") if edge]
                size = rows * int(np.prod(edges)) * SIZES[datatype]
                self.assertEqual((self.out / file).stat().st_size, size, file)
                seen += 1
        self.assertEqual(seen, 6)

    def test_fashion_rows_are_the_first_test_images(self):
        images, labels = read_test()
        rows = np.fromfile(self.out / "fashion.bin", "<f4").reshape(make.FASHION_ROWS, 28, 28)
        np.testing.assert_array_equal(np.round(rows * 255), images[: len(rows)])
        expected = [int(label) for label in self.field("fashion", "labels").strip("[]").split(",")]
        np.testing.assert_array_equal(expected, labels[: len(rows)])

    def test_pictures_are_planar_red_green_blue(self):
        rows = np.fromfile(self.out / "efficientnet-lite.bin", "<f4").reshape(-1, 3, 224, 224)
        coffee = make.read_png(make.HERE / "pictures/coffee.png")
        np.testing.assert_array_equal(rows[1].transpose(1, 2, 0), coffee)
        red, _, blue = rows[1].mean((1, 2))  # the table is of wood
        self.assertGreater(red, blue)

    def test_frames_overlap_by_their_context(self):
        rows = np.fromfile(self.out / "silero-vad.input.bin", "<f4").reshape(-1, 576)
        np.testing.assert_array_equal(rows[0, : make.CONTEXT], 0)
        np.testing.assert_array_equal(rows[1:, : make.CONTEXT], rows[:-1, make.FRAME :])

    def test_speech_is_expected_between_silences(self):
        answers = np.fromfile(self.out / "silero-vad.output.bin", "<f4")
        self.assertEqual(len(answers), int(self.field("silero-vad", "rows")))
        self.assertLess(answers[:15].max(), 0.1)
        self.assertGreater(answers[28:50].min(), 0.9)
        self.assertLess(answers[-15:].max(), 0.1)

    def test_state_is_zero_only_at_the_start(self):
        states = np.fromfile(self.out / "silero-vad.state.bin", "<f4").reshape(-1, 256)
        self.assertFalse(states[0].any())
        self.assertTrue(states[1:].any(axis=1).all())

    def test_magika_labels_are_lines_of_the_label_file(self):
        order = self.labels.read_text().split()
        labels = [int(label) for label in self.field("magika", "labels").strip("[]").split(",")]
        self.assertEqual([order[label] for label in labels], [name for name, _ in samples()])


if __name__ == "__main__":
    unittest.main()
