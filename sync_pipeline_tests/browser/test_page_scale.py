"""The page of who has much: a batch of ten years, sixty datasets, a day of work that never ends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.long_batch import DAYS, DONE, LongBatch, long_batch
from sync_pipeline_tests.command import wait_until
from sync_pipeline_tests.stack_project import Stack

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

_MANY = 60
_AT_ONCE = 4
# What is drawn anew, and what formatters are made: neither depends on how fast the machine is.
_COUNTED = """
window.drawn = 0;
window.formatters = 0;
for (const kind of ["NumberFormat", "DateTimeFormat"]) {
  Intl[kind] = new Proxy(Intl[kind], {
    construct(of, given) { window.formatters += 1; return new of(...given); },
  });
}
window.count = () => {
  window.drawn = 0;
  new MutationObserver((all) => { window.drawn += all.length; }).observe(
    document.querySelector("main"),
    { subtree: true, childList: true, characterData: true, attributes: true },
  );
};
"""
_HEARD = """
window.heard = new Set();
window.SharedWorker = new Proxy(SharedWorker, {
  construct(of, given) {
    const made = new of(...given);
    made.port.addEventListener("message", ({ data }) => {
      if (data.kind === "record") heard.add(JSON.parse(data.text).kind);
    });
    return made;
  },
});
"""
_GATHERED_MILLISECONDS = 200  # twice as long as the page waits for more


@pytest.fixture
def batch(stack: Stack) -> Iterator[LongBatch]:
    made = long_batch(stack)
    yield made
    made.remove()


def test_a_batch_of_ten_years_draws_no_more_than_is_looked_at(
    visit: Open, batch: LongBatch
) -> None:
    page = _counted(visit, f"/sync-status/{batch.id}")
    table = page.get_by_role("table")
    expect(page.get_by_text("1,800 of 3,650 days")).to_be_visible()
    expect(page.locator(".daymap .square")).to_have_count(DAYS)
    expect(table.get_by_role("row")).to_have_count(201)  # with its headings
    assert page.evaluate("document.querySelectorAll('*').length") < DAYS + 4_000
    assert page.evaluate("window.formatters") < 30

    page.locator('.daymap [data-day="2022-12-20"]').click()
    expect(table.get_by_role("row", name="2022-12-20")).to_be_focused()
    expect(page.get_by_text("2022-11-10 → 2022-12-29, 50 of 3,650")).to_be_visible()
    page.get_by_role("button", name="Success 1,800").click()
    expect(table.get_by_role("row")).to_have_count(201)
    page.get_by_role("button", name="After these").click()
    expect(page.get_by_text("2013-07-20 → 2014-02-04, 200 of 1,800")).to_be_visible()


def test_a_day_that_ends_in_a_batch_of_ten_years_costs_one_small_answer_and_few_strokes(
    visit: Open, batch: LongBatch
) -> None:
    page = _counted(visit, f"/sync-status/{batch.id}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.get_by_role("button", name="Waiting 1,850").click()
    expect(page.get_by_role("row", name="2017-12-06")).to_be_visible()
    page.evaluate("window.count()")
    sizes: dict[str, int] = {}
    page.on("response", lambda one: sizes.update({one.url: len(one.body())}))
    for n in range(DONE, DONE + 5):
        day = batch.end(n)
        expect(page.locator(f'.daymap [data-day="{day}"]')).to_have_class("square success")
        expect(page.get_by_role("button", name=f"Waiting {DAYS - 1 - n:,}")).to_be_visible()
    page.evaluate("true")
    of_batch = [size for url, size in sizes.items() if f"/sync-status/{batch.id}" in url]
    assert of_batch
    assert max(of_batch) < 10_000, sizes
    assert page.evaluate("window.drawn") < 5 * 120


def test_one_question_at_a_time_is_asked_of_a_batch_at_work(visit: Open, batch: LongBatch) -> None:
    page = visit(f"/sync-status/{batch.id}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.locator(".daymap [data-day]")).to_have_count(DAYS)
    held: list[Route] = []
    page.route(f"**/api/v1/sync-status/{batch.id}/days*", lambda route: held.append(route))
    day = batch.end(DONE)
    wait_until(lambda: page.evaluate("true") and held)
    later = [batch.end(n) for n in range(DONE + 1, DONE + 4)]
    expect(page.get_by_text("1,804 of 3,650 days")).to_be_visible()
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator(f'.daymap [data-day="{day}"]')).to_have_class("square success")
    wait_until(lambda: page.evaluate("true") and len(held) == 2)
    assert f"from={later[0]}&to={later[-1]}" in held[1].request.url
    held[1].continue_()
    expect(page.locator(f'.daymap [data-day="{later[-1]}"]')).to_have_class("square success")


@pytest.mark.parametrize("before", [None, "/sync-status"])
def test_a_day_that_ends_while_its_batch_is_first_read_is_shown(
    visit: Open, batch: LongBatch, before: str | None
) -> None:
    page = visit("about:blank")
    page.add_init_script(_HEARD)
    address = f"/sync-status/{batch.id}"
    held: list[tuple[Route, APIResponse]] = []
    page.route(
        f"**/api/v1{address}",
        lambda route: held.append((route, route.fetch())),
        times=1,
    )
    page.goto(before or address)
    if before:
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        page.locator(f"a[href='{address}']").first.click()
    ((route, answer),) = wait_until(lambda: page.evaluate("true") and held)
    day = batch.end(DONE)
    wait_until(lambda: page.evaluate("heard.has('batch') && heard.has('day')"))
    page.wait_for_timeout(_GATHERED_MILLISECONDS)
    route.fulfill(response=answer)
    expect(page.locator(f'.daymap [data-day="{day}"]')).to_have_class("square success")


def test_sixty_datasets_are_asked_for_a_few_at_a_time(visit: Open) -> None:
    page = visit("about:blank")
    _give_many_datasets(page)
    asked: list[Route] = []
    page.route("**/sync-status/coverage*", lambda route: asked.append(route))
    page.goto("/sync-status")
    for done in range(_MANY):
        _wait_for(page, asked, done + 1)
        assert len(asked) <= done + _AT_ONCE
        asked[done].continue_(url=_as_orders(asked[done].request.url))
    expect(page.get_by_role("heading", level=1)).to_contain_text("missing")
    assert page.evaluate("document.querySelectorAll('.strip *').length") <= _MANY * 7


def test_a_calendar_of_sixty_datasets_loads_what_comes_into_view(visit: Open) -> None:
    page = visit("about:blank")
    _give_many_datasets(page)
    page.route(
        "**/sync-status/coverage*",
        lambda route: route.continue_(url=_as_orders(route.request.url)),
    )
    page.goto("/sync-status/calendar")
    sections = page.locator(".covered")
    expect(sections).to_have_count(_MANY)
    expect(sections.first.locator("[data-day]")).to_have_count(365)
    last = sections.last
    expect(last.locator("[data-day]")).to_have_count(0)
    assert page.locator("[data-day]").count() <= 12 * 365
    last.scroll_into_view_if_needed()
    expect(last.locator("[data-day]")).to_have_count(365)


def test_a_new_day_and_a_new_dataset_reach_the_form_and_leave_what_was_filled_in(
    visit: Open,
) -> None:
    page = visit("about:blank")
    page.clock.install()
    known = {"first_day": "2025-01-01", "last_day": "2025-12-30"}
    page.route("**/api/v1/datasets", lambda route: _change(route, known))
    page.goto("/sync-status?dataset=orders")
    form = page.get_by_role("form", name="Launch a batch")
    form.get_by_label("Sync").select_option("orders")
    form.get_by_label("from", exact=True).fill("2025-12-21")
    form.get_by_label("to", exact=True).fill("2025-12-31")
    form.get_by_label("days already in").select_option("are done again")
    expect(form.get_by_label("to", exact=True)).to_have_attribute("max", "2025-12-30")

    known |= {"last_day": "2025-12-31", "and": "returns"}
    page.clock.fast_forward("11:00")
    expect(form.get_by_label("to", exact=True)).to_have_attribute("max", "2025-12-31")
    expect(form.get_by_role("option", name="returns")).to_be_attached()
    expect(page.get_by_label("Dataset").get_by_role("option", name="returns")).to_be_attached()
    expect(form.get_by_label("Sync")).to_have_value("orders")
    expect(form.get_by_label("from", exact=True)).to_have_value("2025-12-21")
    expect(form.get_by_label("to", exact=True)).to_have_value("2025-12-31")
    expect(form.get_by_label("days already in")).to_have_value("resync")
    expect(page.get_by_label("Dataset")).to_have_value("orders")


def test_a_day_at_work_tells_for_how_long_it_has_been(visit: Open, stack: Stack) -> None:
    (made,) = stack.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, dataset, start_time)"
        " VALUES ('2024-11-05', 'syncing', '单日同步', 'orders', now() - interval '2 hours')"
        " RETURNING id"
    )
    page = visit("about:blank")
    page.clock.install(time="2020-01-01")  # this machine's clock is years behind
    page.goto(f"/sync-status/{made['id']}")
    expect(page.get_by_text("2 h 0 min so far")).to_be_visible()
    page.clock.fast_forward("01:00:00")
    expect(page.get_by_text("3 h 0 min so far")).to_be_visible()
    stack.target("DELETE FROM daily_sync_status WHERE id = %s", [made["id"]])


def test_a_day_synced_again_is_not_counted_twice(visit: Open, stack: Stack) -> None:
    stack.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, dataset, created_at,"
        " start_time) SELECT '2022-01-01'::date + n, 'success', '单日同步完成', 'counted',"
        " now() - interval '1 day', now() - interval '1 day' + n * interval '1 s'"
        " FROM generate_series(0, 119) AS n"
    )
    page = visit("/sync-status?dataset=counted&kind=day")
    expect(page.get_by_text("50 of 120")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    stack.target(
        "UPDATE daily_sync_status SET start_time = now()"
        " WHERE dataset = 'counted' AND sync_date = '2022-01-01'"
    )
    expect(page.get_by_text("51 of 120")).to_be_visible()
    stack.target("DELETE FROM daily_sync_status WHERE dataset = 'counted'")


def _wait_for(page: Page, asked: list[Route], count: int) -> None:
    wait_until(lambda: page.evaluate("true") and len(asked) >= count)


def _counted(visit: Open, address: str) -> Page:
    page = visit("about:blank")
    page.add_init_script(_COUNTED)
    page.goto(address)
    return page


def _change(route: Route, known: dict[str, Any]) -> None:
    """Answer with the datasets, their days changed, and another beside them if one is named."""
    answer = route.fetch().json()
    found = answer["data"]["datasets"]
    others = [{**found[0], "name": known["and"]}] if "and" in known else []
    days = {name: known[name] for name in ("first_day", "last_day")}
    answer["data"]["datasets"] = [{**each, **days} for each in [*found, *others]]
    route.fulfill(json=answer)


def _give_many_datasets(page: Page) -> None:
    def answer(route: Route) -> None:
        given = route.fetch().json()
        (orders,) = (each for each in given["data"]["datasets"] if each["name"] == "orders")
        names = [f"dataset_{n:02}" for n in range(_MANY)]
        given["data"]["datasets"] = [{**orders, "name": name} for name in names]
        route.fulfill(body=json.dumps(given), content_type="application/json")

    page.route("**/api/v1/datasets", answer)


def _as_orders(url: str) -> str:
    head, _, rest = url.partition("dataset=")
    return f"{head}dataset=orders{rest[len('dataset_00') :]}"
