"""Sections of ELF files, as pyelftools has them."""


class FakeSection(dict):
    """What pointed_functions reads of a section."""

    def __init__(self, kind, address, content, flags=0):
        super().__init__(sh_type=kind, sh_addr=address, sh_flags=flags)
        self._content = content

    def data(self):
        return self._content
