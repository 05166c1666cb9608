"""The page with large amounts of data: a ten-year batch, sixty datasets, and long lists."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from sync_pipeline_tests.browser.conftest import Open
from sync_pipeline_tests.browser.long_batch import DAYS, DONE, LongBatch, long_batch
from sync_pipeline_tests.stack_project import Stack
from sync_pipeline_tests.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_DATASETS = 60
_MAX_REQUESTS = 4
# Counts DOM changes and new formatters, neither of which depends on the machine's speed.
_COUNT_WORK = """
window.mutations = 0;
window.formatters = 0;
for (const kind of ["NumberFormat", "DateTimeFormat"]) {
  Intl[kind] = new Proxy(Intl[kind], {
    construct(target, args) { window.formatters += 1; return new target(...args); },
  });
}
window.count = () => {
  window.mutations = 0;
  new MutationObserver((all) => { window.mutations += all.length; }).observe(
    document.querySelector("main"),
    { subtree: true, childList: true, characterData: true, attributes: true },
  );
};
"""
_RECORD_EVENTS = """
window.receivedKinds = new Set();
window.SharedWorker = new Proxy(SharedWorker, {
  construct(target, args) {
    const worker = new target(...args);
    worker.port.addEventListener("message", ({ data }) => {
      if (data.kind === "record") receivedKinds.add(JSON.parse(data.text).kind);
    });
    return worker;
  },
});
"""
_COLLECTED_MILLISECONDS = 200  # twice the time for which the page collects events


@pytest.fixture
def batch(stack: Stack) -> Iterator[LongBatch]:
    inserted = long_batch(stack)
    yield inserted
    inserted.remove()


def test_a_ten_year_batch_draws_only_the_rows_of_one_page(visit: Open, batch: LongBatch) -> None:
    page = _open_counted(visit, f"/sync-status/{batch.id}")
    table = page.get_by_role("table")
    expect(page.get_by_text("1,800 of 3,650 days")).to_be_visible()
    expect(page.locator(".day-map .square")).to_have_count(DAYS)
    expect(table.get_by_role("row")).to_have_count(201)  # including the heading row
    assert page.evaluate("document.querySelectorAll('*').length") < DAYS + 4_000
    assert page.evaluate("window.formatters") < 30

    page.locator('.day-map [data-day="2022-12-20"]').click()
    expect(table.get_by_role("row", name="2022-12-20")).to_be_focused()
    expect(page.get_by_text("2022-11-10 → 2022-12-29, 50 of 3,650")).to_be_visible()
    page.get_by_role("button", name="Success 1,800").click()
    expect(table.get_by_role("row")).to_have_count(201)
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("2013-07-20 → 2014-02-04, 200 of 1,800")).to_be_visible()


def test_a_finished_day_of_a_ten_year_batch_causes_a_small_response_and_few_dom_changes(
    visit: Open, batch: LongBatch
) -> None:
    page = _open_counted(visit, f"/sync-status/{batch.id}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.get_by_role("button", name="Pending 1,850").click()
    expect(page.get_by_role("row", name="2017-12-06")).to_be_visible()
    page.evaluate("window.count()")
    sizes: dict[str, int] = {}
    page.on("response", lambda one: sizes.update({one.url: len(one.body())}))
    for n in range(DONE, DONE + 5):
        day = batch.finish_day(n)
        expect(page.locator(f'.day-map [data-day="{day}"]')).to_have_class("square success")
        expect(page.get_by_role("button", name=f"Pending {DAYS - 1 - n:,}")).to_be_visible()
    page.evaluate("true")
    batch_sizes = [size for url, size in sizes.items() if f"/sync-status/{batch.id}" in url]
    assert batch_sizes
    assert max(batch_sizes) < 10_000, sizes
    assert page.evaluate("window.mutations") < 5 * 120


def test_a_running_batch_is_refreshed_with_one_request_at_a_time(
    visit: Open, batch: LongBatch
) -> None:
    page = visit(f"/sync-status/{batch.id}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    expect(page.locator(".day-map [data-day]")).to_have_count(DAYS)
    held: list[Route] = []
    page.route(f"**/api/v1/sync-status/{batch.id}/days*", lambda route: held.append(route))
    day = batch.finish_day(DONE)
    wait_until(lambda: page.evaluate("true") and held)
    later = [batch.finish_day(n) for n in range(DONE + 1, DONE + 4)]
    expect(page.get_by_text("1,804 of 3,650 days")).to_be_visible()
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator(f'.day-map [data-day="{day}"]')).to_have_class("square success")
    wait_until(lambda: page.evaluate("true") and len(held) == 2)
    assert f"from={later[0]}&to={later[-1]}" in held[1].request.url
    held[1].continue_()
    expect(page.locator(f'.day-map [data-day="{later[-1]}"]')).to_have_class("square success")


@pytest.mark.parametrize("before", [None, "/sync-status"])
def test_a_day_that_finishes_while_its_batch_first_loads_is_shown(
    visit: Open, batch: LongBatch, before: str | None
) -> None:
    page = visit("about:blank")
    page.add_init_script(_RECORD_EVENTS)
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
    ((route, response),) = wait_until(lambda: page.evaluate("true") and held)
    day = batch.finish_day(DONE)
    wait_until(lambda: page.evaluate("receivedKinds.has('batch') && receivedKinds.has('day')"))
    page.wait_for_timeout(_COLLECTED_MILLISECONDS)
    route.fulfill(response=response)
    expect(page.locator(f'.day-map [data-day="{day}"]')).to_have_class("square success")


def test_sixty_datasets_are_loaded_a_few_at_a_time(visit: Open) -> None:
    page = visit("about:blank")
    _mock_many_datasets(page)
    requests: list[Route] = []
    page.route("**/sync-status/coverage*", lambda route: requests.append(route))
    page.goto("/sync-status")
    for done in range(_DATASETS):
        _wait_for(page, requests, done + 1)
        assert len(requests) <= done + _MAX_REQUESTS
        requests[done].continue_(url=_as_orders(requests[done].request.url))
    expect(page.get_by_role("heading", level=1)).to_contain_text("missing")
    assert page.evaluate("document.querySelectorAll('.strip *').length") <= _DATASETS * 8


def test_a_calendar_of_sixty_datasets_loads_them_when_scrolled_to(visit: Open) -> None:
    page = visit("about:blank")
    _mock_many_datasets(page)
    page.route(
        "**/sync-status/coverage*",
        lambda route: route.continue_(url=_as_orders(route.request.url)),
    )
    page.goto("/sync-status/calendar")
    sections = page.locator(".dataset-calendar")
    expect(sections).to_have_count(_DATASETS)
    expect(sections.first.locator("[data-day]")).to_have_count(365)
    last = sections.last
    expect(last.locator("[data-day]")).to_have_count(0)
    assert page.locator("[data-day]").count() <= 12 * 365
    last.scroll_into_view_if_needed()
    expect(last.locator("[data-day]")).to_have_count(365)


def test_new_days_and_datasets_appear_in_the_form_and_keep_its_values(
    visit: Open,
) -> None:
    page = visit("about:blank")
    page.clock.install()
    known = {"first_day": "2025-01-01", "last_day": "2025-12-30"}
    page.route("**/api/v1/datasets", lambda route: _change(route, known))
    page.goto("/sync-status?dataset=orders")
    form = page.get_by_role("form", name="Launch a batch")
    form.get_by_label("Dataset").select_option("orders")
    form.get_by_label("First day").fill("2025-12-21")
    form.get_by_label("Last day").fill("2025-12-31")
    form.get_by_label("Already synced days").select_option("Sync again")
    expect(form.get_by_label("Last day")).to_have_attribute("max", "2025-12-30")

    known |= {"last_day": "2025-12-31", "extra": "returns"}
    page.clock.fast_forward("11:00")
    expect(form.get_by_label("Last day")).to_have_attribute("max", "2025-12-31")
    expect(form.get_by_role("option", name="returns")).to_be_attached()
    filters = page.get_by_role("search")
    filter_option = filters.get_by_label("Dataset").get_by_role("option", name="returns")
    expect(filter_option).to_be_attached()
    expect(form.get_by_label("Dataset")).to_have_value("orders")
    expect(form.get_by_label("First day")).to_have_value("2025-12-21")
    expect(form.get_by_label("Last day")).to_have_value("2025-12-31")
    expect(form.get_by_label("Already synced days")).to_have_value("resync")
    expect(filters.get_by_label("Dataset")).to_have_value("orders")


def test_a_running_day_shows_how_long_it_has_been_running(visit: Open, stack: Stack) -> None:
    (inserted,) = stack.target(
        "INSERT INTO daily_sync_status (sync_date, status, remarks, dataset, start_time)"
        " VALUES ('2024-11-05', 'syncing', '单日同步', 'orders', now() - interval '2 hours')"
        " RETURNING id"
    )
    page = visit("about:blank")
    page.clock.install(time="2020-01-01")  # the local clock is years behind
    page.goto(f"/sync-status/{inserted['id']}")
    expect(page.get_by_text("running for 2 h 0 min")).to_be_visible()
    page.clock.fast_forward("01:00:00")
    expect(page.get_by_text("running for 3 h 0 min")).to_be_visible()
    stack.target("DELETE FROM daily_sync_status WHERE id = %s", [inserted["id"]])


def test_a_day_that_is_synced_again_is_counted_once(visit: Open, stack: Stack) -> None:
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


def _wait_for(page: Page, requests: list[Route], count: int) -> None:
    wait_until(lambda: page.evaluate("true") and len(requests) >= count)


def _open_counted(visit: Open, address: str) -> Page:
    page = visit("about:blank")
    page.add_init_script(_COUNT_WORK)
    page.goto(address)
    return page


def _change(route: Route, known: dict[str, Any]) -> None:
    """Give each dataset in the response the days in `known`; add the dataset `known["extra"]`, if
    any."""
    response = route.fetch().json()
    found = response["data"]["datasets"]
    others = [{**found[0], "name": known["extra"]}] if "extra" in known else []
    days = {name: known[name] for name in ("first_day", "last_day")}
    response["data"]["datasets"] = [{**each, **days} for each in [*found, *others]]
    route.fulfill(json=response)


def _mock_many_datasets(page: Page) -> None:
    def respond(route: Route) -> None:
        response = route.fetch().json()
        (orders,) = (each for each in response["data"]["datasets"] if each["name"] == "orders")
        names = [f"dataset_{n:02}" for n in range(_DATASETS)]
        response["data"]["datasets"] = [{**orders, "name": name} for name in names]
        route.fulfill(body=json.dumps(response), content_type="application/json")

    page.route("**/api/v1/datasets", respond)


def _as_orders(url: str) -> str:
    head, _, rest = url.partition("dataset=")
    return f"{head}dataset=orders{rest[len('dataset_00') :]}"
