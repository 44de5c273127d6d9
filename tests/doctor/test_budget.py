import pytest

from segdla.doctor.budget import Pace, fit_budget

TWO_CORES = Pace("cpu", "cpu with 2 threads", "fp32", step=2.6, pair=0.01)  # as measured, without AVX-512
GPU = Pace("cuda", "a GPU", "bf16", step=0.015, pair=0.002)


def test_thirty_images_take_an_hour_of_two_cores():
    budget = fit_budget(TWO_CORES, (360, 480), 26, 4)
    assert (budget.backbone, budget.batch_size) == ("dla46_c", 8)
    # An evaluation takes 4 x (0.01 + 2.6 / 3 x 0.1728) = 0.639 s, twenty 13 s. In the other 3587 s, 1500 steps may take
    # 2.391 s each, and so have (2.391 - 8 x 0.01) / (8 x 2.6) = 0.1111 megapixels: 320x320, 0.1024, but not 352x352.
    assert budget.crop == (320, 320)
    assert budget.step_seconds == pytest.approx(8 * 2.6 * 0.1024 + 0.08)
    assert budget.steps == 4 * budget.epochs == pytest.approx(3587 / budget.step_seconds, abs=4)
    assert budget.seconds == pytest.approx(3600, rel=0.01)


def test_a_gpu_gets_the_larger_network_and_crop_for_minutes():
    budget = fit_budget(GPU, (1080, 1920), 400, 60)
    assert (budget.backbone, budget.crop) == ("dla34", (768, 768))
    assert budget.seconds < 600 and budget.steps == 3000
    assert budget.step_seconds == pytest.approx(0.015 * 8 * 0.768**2)  # files are read meanwhile
    slow_files = Pace("cuda", "a GPU", "bf16", step=0.015, pair=0.02)
    assert fit_budget(slow_files, (1080, 1920), 400, 60).step_seconds == pytest.approx(8 * 0.02)


@pytest.mark.parametrize("step", [0.03, 0.3, 1.0, 3.0, 10.0])
@pytest.mark.parametrize(("size", "num_train"), [((64, 96), 3), ((360, 480), 30), ((720, 960), 600), ((375, 1242), 80)])
def test_a_run_fits_into_its_time_and_wastes_none(step, size, num_train):
    pace = Pace("cpu", "cpu", "fp32", step, 0.001)
    budget = fit_budget(pace, size, num_train, max(1, num_train // 6))
    assert budget.seconds < 1.03 * 3600
    fills = budget.seconds > 0.8 * 3600
    assert fills or budget.steps >= min(3000, 10 * num_train)
    assert all(side % 32 == 0 and 32 <= side <= max(32, whole) for side, whole in zip(budget.crop, size, strict=True))
    assert budget.warmup_steps <= budget.steps / 10
    assert 1 <= -(-budget.epochs // budget.eval_every) <= 20


def test_a_set_too_large_for_the_time_gets_one_epoch_of_small_crops():
    budget = fit_budget(TWO_CORES, (2000, 3000), 100_000, 10)
    assert (budget.epochs, budget.steps, budget.crop) == (1, 12_500, (128, 128))
    assert budget.seconds > 3600  # which the draft says


def test_few_evaluations_if_they_take_long():
    budget = fit_budget(TWO_CORES, (2000, 3000), 200, 60)  # 60 x 6 x 2.6 / 3 = 312 s
    assert -(-budget.epochs // budget.eval_every) == 2
    assert budget.seconds < 3700
