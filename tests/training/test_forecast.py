import re
from pathlib import Path

import pytest

from segdla.training.forecast import Forecast, remedy_of_length


def told(forecast, steps, pace, start=0.0, first=1):
    """Return what is told over ``steps`` steps of ``pace`` seconds, and when."""
    texts = {}
    for step in range(first, first + steps):
        if text := forecast.step_done(step, start + pace * (step - first)):
            texts[step] = text
    return texts


def test_a_run_is_foretold_once_when_its_pace_is_settled():
    texts = told(Forecast(0, 3692, 100, "advice"), 60, pace=1.3)
    # Steps 4 to 11 are the first after the warm-up that take 10 s.
    assert list(texts) == [11]
    assert re.fullmatch(
        r"about 1 h 20 min for 3,692 steps, and what evaluations take; done about \d\d:\d\d( on \w+)?", texts[11]
    )


def test_slow_steps_are_told_after_five_and_fast_ones_after_ten_seconds():
    assert list(told(Forecast(0, 100, 10, ""), 20, pace=40.0)) == [8]
    assert list(told(Forecast(0, 10**6, 10, ""), 1000, pace=0.05)) == [203]
    assert told(Forecast(0, 100, 10, ""), 100, pace=0.05) == {}  # a run of seconds needs no forecast


def test_the_first_steps_do_not_count():
    forecast = Forecast(0, 1000, 100, "")
    for step, now in ((1, 0), (2, 500), (3, 900)):
        assert forecast.step_done(step, now) == ""
    (text,) = told(forecast, 20, pace=2.0, start=902, first=4).values()
    assert text.startswith("about 33 min for 1,000 steps")


def test_a_resumed_run_is_told_what_remains():
    (text,) = told(Forecast(2692, 3692, 100, ""), 30, pace=1.3, first=2693).values()
    assert text.startswith("about 22 min for 1,000 more steps")


@pytest.mark.parametrize(("pace", "warned"), [(2.0, False), (10.0, True)])
def test_advice_on_a_run_of_many_hours(pace, warned):
    (text,) = told(Forecast(0, 3692, 100, "do this"), 20, pace).values()
    assert text.endswith("\na long time: do this") == warned
    assert ("10 h 20 min" in text) == warned  # 36,920 s are 10 h 15 min


def test_evaluations_are_no_steps_and_are_told_if_they_take_much_of_the_time():
    forecast = Forecast(0, 1000, 100, "")
    told(forecast, 100, pace=1.0)  # the last step ends at 99 s
    text = forecast.evaluation_done(100, 99 + 50.0)
    assert text.startswith("evaluations take about 50 s each (train.eval_every); done about ")
    assert forecast.step_done(101, 150.0) == ""
    assert forecast._seconds / forecast._steps == pytest.approx(1.0)  # the evaluation's time is in none
    assert forecast.evaluation_done(200, 500.0) == ""  # once

    short = Forecast(0, 1000, 100, "")
    told(short, 100, pace=1.0)
    assert short.evaluation_done(100, 99 + 10.0) == ""  # nine of them, 90 s of 900


def test_what_to_change_names_what_is():
    text = remedy_of_length(Path("runs/a"), "train.epochs (now 923)", (512, 512), "dla34")
    assert "--resume runs/a with fewer train.epochs (now 923)" in text
    assert "model.backbone=dla46_c (now dla34)" in text and "data.crop (now 512x512)" in text
    assert "backbone" not in remedy_of_length(Path("a"), "train.epochs (now 1)", (32, 32), "dla46_c")
