"""What FLOPs come to in GPU-hours and money.

    GPU-hours = overhead · C / (peak · MFU · 3600)

C is the law's compute, 6·N·T: the update alone. The job also computes the rollouts (2·N·T) and the log-probabilities of
the old and the reference model (2·N·T each), so that by default the whole is twice C. Peaks are dense BF16 FLOPs a
second (without sparsity) of the makers' data sheets, looked up in November 2026 as public pages and code quote them.
"""

from dataclasses import dataclass

from rlscale.errors import UserError, did_you_mean

MFU = 0.3
OVERHEAD = 2.0
"""(6 + 2 + 2 + 2) / 6."""

GPUS: dict[str, tuple[float, str]] = {
    "A10": (125e12, "NVIDIA A10 data sheet"),
    "A100": (312e12, "NVIDIA A100 data sheet"),
    "L4": (121e12, "NVIDIA L4 data sheet, half of 242 with sparsity"),
    "L40S": (362e12, "NVIDIA L40S data sheet, 362 without and 733 with sparsity"),
    "H20": (148e12, "resellers' specifications of the NVIDIA H20; no data sheet was found"),
    "H100": (989e12, "NVIDIA H100 data sheet, SXM, half of 1,979 with sparsity"),
    "H100-PCIe": (756e12, "NVIDIA H100 PCIe data sheet, half of 1,513 with sparsity"),
    "H200": (989e12, "NVIDIA H200 data sheet, half of 1,979 with sparsity"),
    "B200": (2250e12, "NVIDIA HGX B200 data sheet, half of 4,500 with sparsity"),
    "MI250X": (383e12, "AMD Instinct MI250X data sheet"),
    "MI300X": (1307e12, "AMD Instinct MI300X data sheet"),
    "MI325X": (1307e12, "AMD Instinct MI325X data sheet"),
}
"""By name: dense BF16 FLOPs a second, and the source."""


@dataclass(frozen=True)
class Hardware:
    """What trains.

    Attributes:
        peak_flops: FLOPs a second of one GPU; None where no hours are asked for.
        mfu: share of the peak that is reached.
        overhead: FLOPs of the whole job over the law's compute.
        gpus: how many work at once.
        price: of a GPU-hour, in any money; None where no cost is asked for.
        name: of the GPU; "" where only a peak was given.
    """

    peak_flops: float | None = None
    mfu: float = MFU
    overhead: float = OVERHEAD
    gpus: int = 1
    price: float | None = None
    name: str = ""

    @property
    def hours_per_flop(self) -> float | None:
        """GPU-hours of one FLOP of the law's compute."""
        if self.peak_flops is None:
            return None
        return self.overhead / (self.peak_flops * self.mfu * 3600.0)

    def flops_of(self, amount: float, unit: str) -> float:
        """Return the law's compute that an amount of ``flops``, ``gpuh`` or ``usd`` pays for.

        Raises:
            UserError: the hardware or its price is not stated.
        """
        if unit == "flops":
            return amount
        if self.hours_per_flop is None:
            raise UserError(f"a budget in {unit} needs --gpu or --peak-flops")
        if unit == "usd":
            if self.price is None:
                raise UserError("a budget in usd needs --price, of a GPU-hour")
            amount /= self.price
        return amount / self.hours_per_flop


def find_gpu(name: str) -> tuple[str, float]:
    """Return the table's name of a GPU and its peak in FLOPs a second; case, spaces and dashes do not matter.

    Raises:
        UserError: the table has no such GPU.
    """
    plain = {_plain(known): known for known in GPUS}
    if _plain(name) not in plain:
        near = did_you_mean(_plain(name), plain)
        for word, known in plain.items():
            near = near.replace(f"mean {word}?", f"mean {known}?")
        raise UserError(f"--gpu {name}: not in the table ({', '.join(GPUS)}; or give --peak-flops){near}")
    known = plain[_plain(name)]
    return known, GPUS[known][0]


def _plain(name: str) -> str:
    return name.lower().replace(" ", "").replace("-", "").replace("_", "")
