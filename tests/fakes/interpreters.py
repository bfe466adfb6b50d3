"""The interpreter of tflite-runtime, and the emulator that counts its instructions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

Array = np.ndarray[Any, Any]


class FakeInterpreter:
    """Doubles its input, then does what the test asks of `spoil`."""

    spoil: ClassVar[Callable[[Array], Array]] = staticmethod(lambda values: values)

    def __init__(self, *, model_path: str, num_threads: int) -> None:
        assert Path(model_path).read_bytes() == b"a model"
        assert num_threads in (1, 2)
        self.value: Array = np.zeros(0)

    def allocate_tensors(self) -> None:
        pass

    def get_input_details(self) -> list[dict[str, int]]:
        return [{"index": 3}]

    def get_output_details(self) -> list[dict[str, int]]:
        return [{"index": 7}]

    def set_tensor(self, index: int, value: Array) -> None:
        assert index == 3
        self.value = value

    def invoke(self) -> None:
        pass

    def get_tensor(self, index: int) -> Array:
        assert index == 7
        return type(self).spoil(self.value * self.value.dtype.type(2))

    def _get_ops_details(self) -> list[dict[str, str]]:
        return [{"op_name": "MUL"}, {"op_name": "DELEGATE"}]


class FakeEmulator:
    """Counts what the fake interpreter spends, and writes the sum at each mark."""

    def __init__(self, counts_path: Path) -> None:
        self.total, self.counts_path = 0, counts_path
        counts_path.write_text("")

    def getppid(self) -> int:
        with self.counts_path.open("a") as file:
            file.write(f"{self.total}\n")
        return 1
