"""Takes pictures of a published page: `python -m tests.integration.screenshots URL docs`.

URL is the address of the page, `http://127.0.0.1:8000/current/` or `file:///…/site/current/index.html`; the folder gets
page-1280-light.png, page-1280-dark.png, page-390-light.png and page-390-dark.png.
"""

import argparse
import base64
import sys
import tempfile
from pathlib import Path

from tests.integration.browser import PROGRAMS, browser, look
from tests.requirements import missing

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("url")
    words.add_argument("folder", type=Path)
    words.add_argument("--name", default="page", help="how the files' names begin")
    words.add_argument("--height", type=int, help="of each picture, in pixels; the whole page where not given")
    given = words.parse_args()
    if lack := missing(*PROGRAMS):
        print(lack, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as driver:
        for width in WIDTHS:
            for scheme in SCHEMES:
                look(driver, given.url, width=width, scheme=scheme)
                path = given.folder / f"{given.name}-{width}-{scheme}.png"
                path.write_bytes(_picture(driver, width, given.height))
                print(path)
    return 0


def _picture(driver, width: int, height: int | None) -> bytes:
    whole = driver.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height or whole, "scale": 1}
    taken = driver.execute_cdp_cmd(
        "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
    )
    return base64.b64decode(taken["data"])


if __name__ == "__main__":
    sys.exit(main())
