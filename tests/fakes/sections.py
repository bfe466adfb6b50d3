"""Sections of ELF files, as pyelftools has them."""


class FakeSection(dict[str, str | int]):
    """What pointed_functions reads of a section."""

    def __init__(self, kind: str, address: int, content: bytes, flags: int = 0) -> None:
        super().__init__(sh_type=kind, sh_addr=address, sh_flags=flags)
        self._content = content

    def data(self) -> bytes:
        return self._content
