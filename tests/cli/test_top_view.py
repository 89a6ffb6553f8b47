# SPDX-License-Identifier: Apache-2.0
"""Keys of `vmpower top`: from a view and a key to a view."""

from __future__ import annotations

import pytest

from cli.output.keys import Special
from cli.top.poller import next_delay_s
from cli.top.view import Layout, Page, Sort, View, press

LAYOUT = Layout(uuids=("a", "b", "c"), scroll_limit=7)


def after(*keys: str, view: View | None = None, layout: Layout = LAYOUT) -> View:
    view = view or View()
    for key in keys:
        view = press(view, key, layout)
    return view


def test_q_quits_on_every_page() -> None:
    for page in Page:
        assert after("q", view=View(page=page)).is_quitting


def test_p_pauses_and_resumes() -> None:
    assert after("p").is_paused
    assert not after("p", "p").is_paused


def test_s_cycles_through_the_sort_orders() -> None:
    seen, view = [], View()
    for _ in Sort:
        view = after("s", view=view)
        seen.append(view.sort)
    assert set(seen) == set(Sort)
    assert view.sort is Sort.NAME


def test_a_lists_domains_that_are_shut_off_and_hides_them_again() -> None:
    assert after("a").has_shut_off
    assert not after("a", "a").has_shut_off


def test_arrows_select_a_domain_and_stay_in_the_list() -> None:
    assert after(Special.DOWN).cursor == "a"
    assert after(Special.UP).cursor == "c"
    assert after(Special.DOWN, Special.DOWN).cursor == "b"
    assert after(*[Special.DOWN] * 9).cursor == "c"
    assert after(Special.DOWN, Special.UP, Special.UP).cursor == "a"
    assert after(Special.END).cursor == "c"
    assert after(Special.END, Special.HOME).cursor == "a"


def test_an_arrow_key_replaces_a_vanished_selection() -> None:
    gone = View(cursor="z")
    assert after(Special.DOWN, view=gone).cursor == "a"
    assert after(Special.DOWN, view=gone, layout=Layout()).cursor is None


def test_enter_shows_the_selected_domain_and_escape_goes_back() -> None:
    assert after(Special.ENTER).page is Page.OVERVIEW
    shown = after(Special.DOWN, Special.ENTER)
    assert (shown.page, shown.cursor) == (Page.DOMAIN, "a")
    assert after(Special.ESCAPE, view=shown).page is Page.OVERVIEW


def test_a_page_scrolls_to_its_end() -> None:
    shown = View(page=Page.DOMAIN, cursor="a")
    assert after(Special.DOWN, "j", view=shown).scroll == 2
    assert after(Special.PAGE_DOWN, Special.PAGE_DOWN, view=shown).scroll == 7
    assert after(Special.PAGE_DOWN, Special.UP, view=shown).scroll == 6
    assert after(Special.UP, view=shown).scroll == 0
    assert after(Special.DOWN, view=shown).cursor == "a"


def test_a_filter_takes_all_characters_until_enter() -> None:
    typed = after("/", "q", "s", "ä", Special.UP)
    assert (typed.filter, typed.is_typing, typed.is_quitting) == ("qsä", True, False)
    assert after(Special.BACKSPACE, view=typed).filter == "qs"
    kept = after(Special.ENTER, view=typed)
    assert (kept.filter, kept.is_typing) == ("qsä", False)
    assert after(Special.ESCAPE, view=typed) == View()


def test_escape_on_the_overview_clears_the_filter_then_the_selection() -> None:
    view = View(filter="x", cursor="a")
    once = after(Special.ESCAPE, view=view)
    assert (once.filter, once.cursor) == ("", "a")
    assert after(Special.ESCAPE, view=once).cursor is None


def test_help_goes_back_to_the_previous_page() -> None:
    shown = View(page=Page.DOMAIN, cursor="a")
    for back in ("?", Special.ESCAPE):
        assert after("?", back, view=shown).page is Page.DOMAIN
    assert after("?").page is Page.HELP


def test_w_shows_warnings_and_hides_them_again() -> None:
    assert after("w").page is Page.WARNINGS
    assert after("w", "w").page is Page.OVERVIEW


@pytest.mark.parametrize("key", ["x", "Q", Special.UNKNOWN, "虚"])
def test_other_keys_do_nothing(key: str) -> None:
    assert after(key) == View()


def test_a_refresh_takes_a_limited_share_of_a_cpu() -> None:
    delay_s, spent_s = 0.0, 0.05
    for _ in range(20):
        delay_s = next_delay_s(1.0, delay_s, spent_s)
    assert spent_s / delay_s * 60 <= 1.0
    assert next_delay_s(1.0, 1.0, 0.001) == 1.0
    assert next_delay_s(1.0, 10.0, 1_000.0) == 10.0
