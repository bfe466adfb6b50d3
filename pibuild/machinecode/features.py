"""The features of a CPU beyond the base that instructions may need.

The base is ARMv6KZ with VFPv2, or ARMv8.0 for 64 bits.
"""

from enum import StrEnum


class Feature(StrEnum):
    """A feature that an instruction needs; the values are the words of the instruction tables and of `toolchains/`."""

    SWAP = "SWP"
    """SWP and SWPB, which ARMv8 removed: 32-bit kernels emulate them, 64-bit kernels only if abi.swp is 1."""
    VFPV2_ONLY = "VFPv2 only"
    """Use of the register FPSID, which programs may read with VFPv2, but only kernels with VFPv3."""
    ARMV6T2 = "ARMv6T2"
    ARMV7 = "ARMv7"
    MULTIPROCESSING = "ARMv7MP"
    VIRTUALIZATION = "ARMv7VE"
    """The Virtualization Extensions, which bring the divide instructions and the generic timer."""
    THUMB2 = "Thumb-2"
    VFPV3 = "VFPv3"
    VFP_D32 = "VFP-D32"
    """Registers d16 to d31."""
    VFP_HALF = "VFP-half"
    VFPV4 = "VFPv4"
    NEON = "NEON"
    NEON_FMA = "NEON-FMA"
    NEON_HALF = "NEON-half"
    ARMV8 = "ARMv8"
    CRC = "CRC32"
    CRYPTO = "AES and SHA"
    """ARMv8's Cryptographic Extension, which the CPUs of Pi 3 and Pi 4 lack."""
    LSE = "LSE"
    """Atomic memory operations in one instruction (ARMv8.1)."""
    RDM = "RDM"
    RCPC = "RCPC"
    PERSISTENCE = "DC CVAP"
    """The cache instruction of ARMv8.2 for memory that keeps its contents."""
    HALF = "FP16"
    """Arithmetic in half precision (ARMv8.2)."""
    DOT_PRODUCT = "dot product"
    ARMV8_3 = "ARMv8.3 or later"
    """Everything after ARMv8.2 but SVE, and the parts of ARMv8.2 that no Pi has."""
    SVE = "SVE"
    COPROCESSOR = "coprocessor"
    """A coprocessor that no Pi has, such as FPA or iWMMXt."""
    PRIVILEGED = "privileged"
    """Allowed in a kernel only."""
    UNALLOCATED = "unallocated"
    """The architecture defines no such instruction: every CPU raises an undefined instruction exception."""


NEON = frozenset({Feature.NEON, Feature.NEON_FMA, Feature.NEON_HALF})
"""Features of the Advanced SIMD unit."""
NEWER_THAN_ARMV7 = frozenset(
    {
        *(Feature.ARMV8, Feature.CRC, Feature.CRYPTO, Feature.LSE, Feature.RDM, Feature.RCPC, Feature.HALF),
        Feature.PERSISTENCE,
        *(Feature.DOT_PRODUCT, Feature.ARMV8_3, Feature.SVE),
    }
)
"""Features that came with ARMv8 or later."""
