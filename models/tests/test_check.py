# SPDX-License-Identifier: Apache-2.0
"""check.py finds the committed repository sound, and finds what is made wrong in a copy."""

import pathlib
import shutil
import tempfile
import unittest

import context
import onnx
from check import check_model, read_pbtxt

FASHION = context.MODELS / "repository/fashion"


class CheckTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.model = pathlib.Path(folder.name) / "fashion"
        shutil.copytree(FASHION, self.model)

    def edit(self, file, old, new):
        text = (self.model / file).read_text()
        self.assertIn(old, text)
        (self.model / file).write_text(text.replace(old, new, 1))

    def assert_fault(self, words):
        faults = check_model(self.model)
        self.assertTrue(any(words in fault for fault in faults), faults)

    def test_committed_repository_is_sound(self):
        self.assertEqual(check_model(FASHION), [])

    def test_missing_file_is_found(self):
        (self.model / "1/s.onnx").unlink()
        self.assert_fault("duly.yaml names")

    def test_missing_default_file_is_found(self):
        self.edit("config.pbtxt", '"m-int8.onnx"', '"model.onnx"')
        self.assert_fault("default_model_filename")

    def test_wrong_name_is_found(self):
        self.edit("config.pbtxt", 'name: "fashion"', 'name: "other"')
        self.assert_fault("name is 'other'")

    def test_wrong_dimensions_are_found(self):
        self.edit("config.pbtxt", "[ 1, 28, 28 ]", "[ 28, 28 ]")
        self.assert_fault("image is")

    def test_wrong_type_is_found(self):
        self.edit("config.pbtxt", "TYPE_FP32", "TYPE_INT32")
        self.assert_fault("image is")

    def test_unknown_tensor_is_found(self):
        self.edit("config.pbtxt", '"logits"', '"scores"')
        self.assert_fault("has outputs ['logits']")

    def test_missing_label_is_found(self):
        self.edit("labels.txt", "Bag\n", "")
        self.assert_fault("9 lines")

    def test_invalid_graph_is_found(self):
        model = onnx.load(self.model / "1/xs.onnx")
        model.graph.node[0].op_type = "Unheard"
        onnx.save(model, self.model / "1/xs.onnx")
        self.assert_fault("xs.onnx: ")

    def test_variant_of_other_shape_is_found(self):
        model = onnx.load(self.model / "1/xs.onnx")
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(model, self.model / "1/xs.onnx")
        self.assert_fault("xs.onnx: inputs and outputs differ")

    def test_text_format_is_read(self):
        text = 'a: "x y" # no\nb [ { c: 1 d: [ 2, -3 ] }, { c: 4 } ] e { f: TYPE_FP32 }'
        expected = {
            "a": "x y",
            "b": [{"c": "1", "d": ["2", "-3"]}, {"c": "4"}],
            "e": {"f": "TYPE_FP32"},
        }
        self.assertEqual(read_pbtxt(text), expected)


if __name__ == "__main__":
    unittest.main()
