"""The interpreter of tflite-runtime, and the emulator that counts its instructions."""

from pathlib import Path


class FakeInterpreter:
    """Doubles its input, then does what the test asks of `spoil`."""

    spoil = staticmethod(lambda values: values)

    def __init__(self, *, model_path, num_threads):
        assert Path(model_path).read_bytes() == b"a model"
        assert num_threads in (1, 2)
        self.value = None

    def allocate_tensors(self):
        pass

    def get_input_details(self):
        return [{"index": 3}]

    def get_output_details(self):
        return [{"index": 7}]

    def set_tensor(self, index, value):
        assert index == 3
        self.value = value

    def invoke(self):
        pass

    def get_tensor(self, index):
        assert index == 7
        return type(self).spoil(self.value * self.value.dtype.type(2))

    def _get_ops_details(self):
        return [{"op_name": "MUL"}, {"op_name": "DELEGATE"}]


class FakeEmulator:
    """Counts what the fake interpreter spends, and writes the sum at each mark."""

    def __init__(self, counts_path: Path):
        self.total, self.counts_path = 0, counts_path
        counts_path.write_text("")

    def getppid(self):
        with self.counts_path.open("a") as file:
            file.write(f"{self.total}\n")
        return 1
