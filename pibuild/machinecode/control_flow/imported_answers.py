"""What imported functions and variables answer about the CPU, and which texts of a file ask for it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pibuild.machinecode.control_flow import questions
from pibuild.machinecode.control_flow.knowledge import Knowledge
from pibuild.machinecode.control_flow.questions import Features
from pibuild.machinecode.control_flow.register_values import Value
from pibuild.machinecode.image import MemoryImage

_LOOKUPS = ("dlsym", "__dlsym")
_MINUS_1 = (1 << 32) - 1
_TEXTS = re.compile(b"|".join(re.escape(text.encode()) for text in questions.TEXTS))
_MAX_TEXTS, _COMMAND_BYTES = 16, 100
_RECORD_BYTES = 64
_OPENS = ("fopen", "open", "fopen64", "open64", "openat", "__open_2", "__open64_2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a file tells others about the CPU: by exported functions and variables."""

    functions: Mapping[str, Value]
    variables: Mapping[tuple[str, int], Value]
    asked: Features


class ImportedAnswers:
    """What other files, and the kernel, answer to one file."""

    def __init__(self, image: MemoryImage, knowledge: Knowledge, answers: Callable[[str], Answers | None]) -> None:
        """Take the file, and what tells which answers an imported name stands for."""
        self._image, self._knowledge, self._answers = image, knowledge, answers
        self._leading: dict[int, bool] = {}

    def of_function(self, name: str, registers: dict[int, Value]) -> Value | None:
        """Return what an imported function answers."""
        if name in questions.FUNCTIONS:
            return self._of_kernel(registers.get(0) if name != "elf_aux_info" else None)
        if name in questions.HANDLERS:
            first = registers.get(0)
            self._knowledge.signals.add(first[1] if first is not None and first[0] == "k" else None)
        if name in questions.JUMPS and self.catches_signals:
            return self._of_jump()
        if name in questions.FINDERS | questions.COMPARERS and (word := self._word(registers)):
            return ("ask", word, name in questions.COMPARERS)
        if name in questions.FORKS or name == questions.PROCESS_CONTROL:
            return self._of_process(name, registers.get(0))
        return self._by_name(name, registers)

    def _by_name(self, name: str, registers: dict[int, Value]) -> Value | None:
        """Return what the function answers, or leads to, whose name, or the name of a file, is handed over."""
        if name in _LOOKUPS and (text := self._text(registers.get(1))) is not None:
            return ("at", text, 0) if text in questions.FUNCTIONS else None
        if name in _OPENS and self._text(registers.get(int(name == "openat"))) in questions.TEXTS:
            return ("vague", self.text_features)
        answers = self._answers(name)
        return answers.functions.get(name) if answers else None

    def ask_others(self) -> None:
        """Find out first what other files answer: that is not part of what this file may cost."""
        self._answers("")

    def may_answer(self, name: str) -> bool:
        """Return whether a call of an imported function may tell about the CPU."""
        if name in (*_LOOKUPS, *_OPENS) or any(name in names for names in questions.ASKING):
            return True
        answers = self._answers(name)
        return answers is not None and name in answers.functions

    def told_by(self, name: str) -> tuple[int, Features] | None:
        """Return which argument leads to what an imported function writes, and what that may tell about the CPU."""
        if name in questions.NAMES_OF_SYSTEM:
            return questions.NAMES_OF_SYSTEM[name], questions.ALL
        if name in questions.WAITS and self._image.has_import(questions.FORKS):
            return questions.WAITS[name], questions.ALL
        if name in questions.READERS and self.texts:
            return questions.READERS[name], self.text_features
        return None

    def _of_process(self, name: str, which: Value | None) -> Value | None:
        """Return what fork answers, whose child may try an instruction, or prctl about the length of vectors."""
        if name in questions.FORKS:
            return ("choice", ((0, frozenset({("maybe", questions.ALL)})), (1, frozenset())))
        if which == ("k", questions.SVE_LENGTH) and self._image.bits == 64:
            has = questions.bit_features(64, "hwcap", questions.SVE_BIT)
            return ("choice", ((16, has), (_MINUS_1, frozenset({("not", has)}))))
        return ("vague", questions.LATEST) if which == ("k", questions.SME_LENGTH) else None

    def _of_jump(self) -> Value | None:
        """Return what setjmp answers: not 0 after a signal."""
        signals = self._knowledge.signals
        if questions.SIGILL in signals:
            return ("ask", questions.ALL, True)
        return ("vague", questions.ALL) if not signals or None in signals else None

    def _word(self, registers: dict[int, Value]) -> Features:
        """Return what the word of /proc/cpuinfo stands for that is searched in another text."""
        if not self.texts:
            return frozenset()
        words = (self._text(registers.get(number)) for number in range(3))
        return next((features for word in words if word and (features := questions.word_features(word))), frozenset())

    def leads_to_word(self, number: int) -> bool:
        """Return whether a number leads to a text with a word for what a CPU has, if this file reads such words.

        It may be the address of the text, or of a record with a pointer to it.
        """
        if number not in self._leading:
            width, pointers = self._image.width, self._image.pointers
            places = (number, *(pointers.get(at, 0) for at in range(number, number + _RECORD_BYTES, width)))
            texts = (self._image.text(place) for place in places if place) if self.texts else ()
            self._leading[number] = any(map(questions.has_word, texts))
        return self._leading[number]

    def _of_kernel(self, which: Value | None) -> Value | None:
        """Return what getauxval answers."""
        if which == ("k", questions.AT_HWCAP):
            return ("hw", "hwcap", (1 << 64) - 1, 0)
        if which == ("k", questions.AT_HWCAP2):
            self._knowledge.asked |= questions.LATEST  # its bits are often tested many at a time
            return ("hw", "hwcap2", (1 << 64) - 1, 0)
        if which == ("k", questions.AT_PLATFORM):
            return ("vague", questions.ALL)
        return ("ask", questions.ALL, False) if which is None or which[0] == "given" else None

    def _text(self, where: Value | None) -> str | None:
        return self._image.text(where[1]) if where is not None and where[0] == "k" else None

    def of_variable(self, name: str, distance: int) -> Value | None:
        """Return what a variable of another file holds."""
        if name in questions.BEFORE_VECTOR:
            return ("vague", questions.ALL)
        answers = self._answers(name)
        return answers.variables.get((name, distance)) if answers else None

    @cached_property
    def catches_signals(self) -> bool:
        """Whether the file sets handlers of signals."""
        return self._image.has_import(questions.HANDLERS)

    @cached_property
    def text_features(self) -> Features:
        """What the words of /proc/cpuinfo in this file stand for."""
        return questions.text_features(self._image.content)

    @cached_property
    def texts(self) -> list[int]:
        """Addresses of the names of files in which the kernel tells about the CPU."""
        by_text: dict[bytes, list[int]] = {text.encode(): [] for text in questions.TEXTS}
        for match in _TEXTS.finditer(self._image.content):
            places = by_text[match[0]]
            start, content = match.start(), self._image.content
            if len(places) < _MAX_TEXTS and content[start - 1 : start] == b" ":  # a command of a shell
                places += self._image.mapped_at(content.rfind(b"\0", max(0, start - _COMMAND_BYTES), start) + 1)
            elif len(places) < _MAX_TEXTS:
                places += self._image.mapped_at(start)
        return [place for places in by_text.values() for place in places][:_MAX_TEXTS]
