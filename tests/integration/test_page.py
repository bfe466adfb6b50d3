"""The page in a real browser, served on the loopback."""

from itertools import pairwise

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from pibuild.publishing.page.rendering import render
from tests.fakes.servers import served
from tests.integration.browser import PROGRAMS, browser, complaints, look
from tests.makers.nights import EVIL, make_cells, make_hostile, make_nights, make_published_wheel, make_set, make_set_of
from tests.requirements import needs

pytestmark = needs(*PROGRAMS)
SCHEMES = ("light", "dark")
CELL = f"cells/{make_cells()[-1].id}.html"
FAILED = f"logs/{make_cells()[-1].id}.log.html"
PAGES = ("", CELL, FAILED)

CONTRASTS = """
const channels = (text) => {
  const found = text.match(/[\\d.]+/g).map(Number);
  return [...found.slice(0, 3), found[3] ?? 1];
};
const over = (top, below) => top.slice(0, 3).map((one, at) => one * top[3] + below[at] * (1 - top[3]));
const light = (colour) => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = colour.map((one) => linear(one / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  if (!element) return [255, 255, 255];
  const colour = channels(getComputedStyle(element).backgroundColor);
  return colour[3] === 1 ? colour.slice(0, 3) : over(colour, ground(element.parentElement));
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
  if (!element.getClientRects().length || ["SCRIPT", "title", "desc"].includes(element.tagName)) continue;
  const style = getComputedStyle(element), below = ground(element);
  const ink = over(channels(element.ownerSVGElement ? style.fill : style.color), below);
  const [low, high] = [light(ink), light(below)].sort((a, b) => a - b);
  found.push([(high + 0.05) / (low + 0.05), element.tagName + "." + (element.className.baseVal ?? element.className),
              element.textContent.trim().slice(0, 30)]);
}
return found;
"""
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => { one.open = true; });"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder as a web server has it: `current/` made of realistic nights, `hostile/` of markup."""
    folder = tmp_path_factory.mktemp("site")
    nights = make_nights()
    log = b"compiling\nerror: too few tea leaves " + b"x" * 400
    pages = render(make_set_of(nights), nights, title="Wheels for the Pi", base_url="", logs=lambda _name: log)
    risky = make_set(
        [make_published_wheel(abi_risk="named for cp39"), make_published_wheel(make_cells()[8], yanked="bad")]
    )
    marked = render(risky, [], title="Marks", base_url="https://wheels.example.org", logs=lambda _name: None)
    hostile = render(*make_hostile(), title=EVIL, base_url="", logs=lambda _name: EVIL.encode())
    for name, files in {"current": pages, "hostile": hostile, "marked": marked}.items():
        for path, content in files.items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / path).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def address(site):
    with served(site) as url:
        yield f"{url}/"


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def driver(started):
    started.get("about:blank")
    complaints(started)
    return started


def focused(driver) -> str:
    return driver.execute_script("return document.activeElement.id || document.activeElement.className")


def press(driver, *keys):
    for key in keys:
        driver.switch_to.active_element.send_keys(key)


def tab_to(driver, wanted):
    for _ in range(40):
        press(driver, Keys.TAB)
        if focused(driver) == wanted:
            return
    raise AssertionError(f"forty times Tab never came to {wanted}")


def shown_commands(driver):
    return [one.text for one in driver.find_elements(By.CSS_SELECTOR, "#answer .command code")]


@pytest.mark.parametrize("page", [*(f"current/{page}" for page in PAGES), "hostile/", "marked/"])
def test_the_browser_console_has_no_errors(driver, address, page):
    look(driver, address + page)
    assert complaints(driver) == []


def test_the_command_of_a_pi_can_be_reached_by_keyboard(driver, address):
    look(driver, address + "current/")
    tab_to(driver, "pi")
    press(driver, "Pi 3")
    tab_to(driver, "bits")
    press(driver, "32")
    tab_to(driver, "system")
    press(driver, "stretch")
    tab_to(driver, "python")
    press(driver, "2")
    expected = f"python2.7 -m pip install --index-url {address}current/simple/ --only-binary :all: tensorflow==1.12.3"
    assert shown_commands(driver)[-1] == expected
    said = driver.find_element(By.CSS_SELECTOR, "[role=status]#result").text
    assert said == "tensorflow 1.12.3 for Pi 3, Zero 2 with stretch (32 bit), Python 2.7"


def test_a_64_bit_system_shows_why_it_has_no_wheel(driver, address):
    look(driver, address + "current/")
    driver.find_element(By.ID, "pi").send_keys("Pi 5")
    driver.find_element(By.ID, "bits").send_keys("64")
    driver.find_element(By.ID, "system").send_keys("trixie")
    assert "32-bit system" in driver.find_element(By.ID, "answer").text
    assert shown_commands(driver) == []


def test_chosen_options_stay_if_the_next_pi_has_them(driver, address):
    look(driver, address + "current/")
    driver.find_element(By.ID, "system").send_keys("bookworm")
    driver.find_element(By.ID, "pi").send_keys("Pi 5")
    assert driver.find_element(By.ID, "system").get_property("value") == "bookworm"


def test_the_page_says_how_to_find_out_whether_a_system_has_32_or_64_bits(driver, address):
    look(driver, address + "current/")
    assert [option.text for option in driver.find_elements(By.CSS_SELECTOR, "#bits option")] == ["32 bit"]
    driver.find_element(By.ID, "pi").send_keys("Pi 4")
    assert {option.text.split(" (")[0] for option in driver.find_elements(By.CSS_SELECTOR, "#bits option")} == {
        "32 bit",
        "64 bit",
    }
    described = driver.find_element(By.ID, "bits").get_attribute("aria-describedby")
    assert {"getconf LONG_BIT", "dpkg --print-architecture"} <= {
        code.text for code in driver.find_elements(By.CSS_SELECTOR, f"#{described} code")
    }


def test_the_entered_address_is_in_the_commands(driver, address):
    look(driver, address + "marked/")
    assert "--index-url https://wheels.example.org/current/simple/" in shown_commands(driver)[-1]


def test_copy_puts_the_command_on_the_clipboard_and_says_so(driver, address):
    granted = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": address.rstrip("/")}
    driver.execute_cdp_cmd("Browser.grantPermissions", granted)
    look(driver, address + "current/")
    button = driver.find_elements(By.CSS_SELECTOR, "#answer .copy")[-1]
    button.send_keys(Keys.ENTER)
    told = driver.execute_async_script(
        "setTimeout(() => arguments[0](document.getElementById('copied').textContent), 200)"
    )
    assert told == "Copied to the clipboard."
    pasted = driver.execute_async_script(
        "navigator.clipboard.readText().then(arguments[0], (why) => arguments[0](`${why}`))"
    )
    assert pasted == shown_commands(driver)[-1]


def test_without_a_clipboard_copy_selects_the_command(driver, address):
    look(driver, address + "current/")
    driver.execute_script(
        "Object.defineProperty(navigator, 'clipboard', {value: undefined}); document.execCommand = () => false;"
    )
    driver.find_elements(By.CSS_SELECTOR, "#answer .copy")[-1].send_keys(Keys.ENTER)
    told = driver.execute_async_script(
        "setTimeout(() => arguments[0](document.getElementById('copied').textContent), 200)"
    )
    assert "selected" in told
    assert driver.execute_script("return getSelection().toString()").strip() == shown_commands(driver)[-1]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("has_javascript", [True, False])
def test_a_phone_never_scrolls_sideways(driver, address, page, has_javascript):
    look(driver, f"{address}current/{page}", width=360, height=740, has_javascript=has_javascript)
    assert driver.execute_script(f"{OPEN_ALL} return document.documentElement.scrollWidth") <= 360


def test_an_element_too_wide_for_a_phone_is_detected(driver, address):
    look(driver, address + "current/", width=360, height=740)
    driver.execute_script("document.querySelector('.scroll').className = ''")
    assert driver.execute_script(f"{OPEN_ALL} return document.documentElement.scrollWidth") > 360


def test_without_javascript_every_command_can_be_read(driver, address):
    look(driver, address + "current/", has_javascript=False)
    assert not driver.find_element(By.ID, "ask").is_displayed()
    rows = driver.find_elements(By.CSS_SELECTOR, "#all tbody tr")
    assert len(rows) >= 7
    assert all(
        row.is_displayed() and "-m pip install --index-url https://…/current/simple/" in row.text for row in rows
    )


def test_dark_and_light_follow_the_system(driver, address):
    grounds = []
    for scheme in SCHEMES:
        look(driver, address + "current/", scheme=scheme)
        grounds.append(driver.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]


def test_the_content_policy_blocks_foreign_scripts(driver, address):
    look(driver, address + "current/")
    driver.execute_script(
        "const one = document.createElement('script'); one.textContent = 'window.ran = 1'; document.body.append(one)"
    )
    assert driver.execute_script("return window.ran") is None
    assert "Content Security Policy" in complaints(driver)[0]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("page", [*(f"current/{page}" for page in PAGES), "marked/"])
def test_all_text_has_a_contrast_of_at_least_four_and_a_half(driver, address, page, scheme):
    look(driver, address + page, scheme=scheme)
    found = driver.execute_script(OPEN_ALL + CONTRASTS)
    assert len(found) > 5
    assert [one for one in found if one[0] < 4.5] == []


def test_text_with_too_little_contrast_is_detected(driver, address):
    look(driver, address + "current/")
    driver.execute_script(
        "document.querySelector('h1').setAttribute('class', 'x'); "
        "document.querySelector('h1').style.setProperty('color', '#2a3558')"
    )
    assert [one[1] for one in driver.execute_script(OPEN_ALL + CONTRASTS) if one[0] < 4.5] == ["H1.x"]


def used_things(driver):
    """What the accessibility tree has of controls and landmarks: (role, name)."""
    used = {"combobox", "button", "link", "textbox", "DisclosureTriangle", "region", "image", "table", "navigation"}
    nodes = driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = [(node["role"]["value"], node["name"]["value"]) for node in nodes if "role" in node and "name" in node]
    return [(role, name) for role, name in roles if role in used]


@pytest.mark.parametrize("page", PAGES)
def test_every_control_has_an_accessible_name(driver, address, page):
    look(driver, f"{address}current/{page}")
    driver.execute_script(OPEN_ALL)
    found = used_things(driver)
    assert {"link"} <= {role for role, _ in found}
    if not page:
        assert {"combobox", "button", "DisclosureTriangle", "region"} <= {role for role, _ in found}
    assert [role for role, name in found if not name.strip()] == []


def test_a_control_without_a_name_is_detected(driver, address):
    look(driver, address + "current/")
    driver.execute_script("document.querySelector('label').remove()")
    assert ("combobox", "") in used_things(driver)


@pytest.mark.parametrize("page", PAGES)
def test_landmarks_headings_and_ids_are_in_order(driver, address, page):
    look(driver, f"{address}current/{page}")
    for tag in ("header", "main", "footer", "h1", "html[lang=en]"):
        assert len(driver.find_elements(By.CSS_SELECTOR, tag)) == 1, tag
    levels = driver.execute_script("return [...document.querySelectorAll('h1,h2,h3,h4')].map((one) => +one.tagName[1])")
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = driver.execute_script("return [...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))


def test_the_first_tab_offers_to_skip_to_the_content(driver, address):
    look(driver, address + "current/")
    press(driver, Keys.TAB)
    assert focused(driver) == "skip"
    press(driver, Keys.ENTER)
    assert focused(driver) == "main"


def test_the_focused_element_is_visible(driver, address):
    look(driver, address + "current/")
    tab_to(driver, "pi")
    assert driver.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_matrix_scrolls_by_keyboard_and_keeps_its_first_column(driver, address):
    look(driver, address + "current/", width=360, height=740)
    tab_to(driver, "scroll matrix")
    before = driver.execute_script(
        "return document.querySelector('.matrix tbody tr:nth-child(2) th').getBoundingClientRect().x"
    )
    press(driver, *[Keys.ARROW_RIGHT] * 3)
    moved = driver.execute_async_script(
        "setTimeout(() => arguments[0](document.querySelector('.matrix').scrollLeft), 400)"
    )
    after = driver.execute_script(
        "return document.querySelector('.matrix tbody tr:nth-child(2) th').getBoundingClientRect().x"
    )
    assert moved > 40
    assert abs(after - before) < 2


def test_a_tile_leads_to_its_night_on_the_cells_page(driver, address):
    look(driver, address + "current/")
    driver.find_element(By.CSS_SELECTOR, ".matrix tbody:last-child tr:last-child td.f a").send_keys(Keys.ENTER)
    assert driver.find_element(By.CSS_SELECTOR, "li:target h3").text.endswith("Failed, 25 November 2026, 03:15 UTC")
    assert driver.current_url.split("#")[0].endswith(CELL)


def test_markup_in_shown_values_is_text(driver, address):
    look(driver, address + "hostile/")
    assert "<script>alert(1)</script>" in driver.find_element(By.TAG_NAME, "h1").text
    assert driver.execute_script("return document.querySelectorAll('img').length") == 0
    driver.find_element(By.ID, "pi").send_keys("Pi 4")
    assert "<script>" in driver.find_element(By.ID, "answer").text


def test_motion_is_reduced_if_the_system_asks_for_it(driver, address):
    look(driver, address + "current/")
    assert driver.execute_script("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"
