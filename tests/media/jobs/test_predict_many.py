"""The command with a manifest: the same bytes, what is refused, and how a job is told."""

import cv2
import pytest
from support import photo, write

from segdla.machine.files import own_partial_files
from segdla.media.inputs import Input
from segdla.media.jobs.estimate import SAMPLE, estimate
from segdla.media.run import Tally


@pytest.fixture
def many(tool, checkpoint, tmp_path):
    for index in range(5):
        write(tmp_path / "album" / f"{index}.png", photo(20, 30, index))
    (tmp_path / "album" / "3.png").write_bytes(b"no image")
    common = "--checkpoint", checkpoint, "--device", "cpu", "--output-kind", "ids,color"
    yield lambda *argv: tool("predict")("album", *common, *argv)
    own_partial_files("")


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.png")}


def test_the_files_are_a_plain_command_s_and_a_table_lists_them(many, tmp_path, capsys):
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra arrow is not installed")
    assert many("--output", "plain") == 1
    assert many("--output", "out", "--manifest", "jobs.parquet") == 1
    assert files(tmp_path / "out") == files(tmp_path / "plain")
    table = pq.read_table(tmp_path / "jobs.parquet").to_pylist()  # a folder, as Spark writes them
    assert [row["input"] for row in table] == [f"album/{index}.png" for index in range(5)]
    assert [row["status"] for row in table] == ["done"] * 3 + ["failed", "done"]
    assert table[0]["output"] == ["out/ids/0.png", "out/color/0.png"] and table[3]["output"] is None
    assert table[0]["seconds"] > 0 and table[0]["etag"] and "album/3.png is not an image" in table[3]["error"]
    write(tmp_path / "album" / "3.png", photo(20, 30, 3))
    capsys.readouterr()
    assert many("--output", "out", "--manifest", "jobs.parquet") == 1
    assert "1 of 5 failed; mend them and run it with --retry-failed" in capsys.readouterr().out
    assert many("--output", "out", "--manifest", "jobs.parquet", "--retry-failed") == 0
    printed = capsys.readouterr().out
    assert "1 of 5 done by this worker" in printed and "5 of 5 segmented" in printed


def test_another_job_is_refused(many, fails, checkpoint):
    many("--output", "out", "--manifest", "jobs.jsonl")
    common = "--checkpoint", checkpoint, "--device", "cpu", "--manifest", "jobs.jsonl"
    kinds = "--output-kind", "ids,color"
    assert "(options: {'scales': [1.0], 'flip': False}; now:" in fails(
        "predict", "album", *common, *kinds, "--output", "out", "--flip"
    )
    assert "(output kinds:" in fails("predict", "album", *common, "--output", "out", "--output-kind", "ids")
    assert "(output:" in fails("predict", "album", *common, *kinds, "--output", "other")
    assert "(inputs:" in fails("predict", "album/1.png", *common, *kinds, "--output", "out")


@pytest.mark.parametrize(
    "argv, answer",
    [
        (["--manifest", "jobs"], "--manifest needs --output"),
        (["--manifest", "jobs", "--output", "out", "--skip-existing"], "leave --skip-existing out"),
        (["--retry-failed"], "--retry-failed needs --manifest"),
        (["--price", "2"], "--price needs --dry-run"),
        (["--dry-run", "--price", "much"], "'much' is no price of an hour"),
        (["--manifest", "jobs", "--output", "out", "--output-kind", "coco"], "make coco of ids, by segdla convert"),
        (["--manifest", "album/1.png", "--output", "out"], "cannot write album/1.png/_work"),
        (["--manifest", "jobs", "--output", "."], "would be written over"),
    ],
)
def test_one_line_each(argv, answer, fails, many, checkpoint, tmp_path):
    words = ["color"] if answer == "would be written over" else ["album"]
    write(tmp_path / "color" / "1.png", photo(20, 30))
    assert answer in fails("predict", *words, "--checkpoint", checkpoint, "--device", "cpu", *argv)


def test_a_dry_run_counts_and_writes_nothing(many, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert many("--dry-run", "--price", "3.6") == 0
    printed = capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    assert "5 images at" in printed and "(mean of a sample of 5)" in printed and "at 3.6 an hour: about 0.00" in printed
    assert "1 of the sample failed" in printed
    many("--output", "out", "--manifest", "jobs.jsonl")
    capsys.readouterr()
    assert many("--output", "out", "--manifest", "jobs.jsonl", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "failed: album/3.png is not an image" in printed and "0 images left" in printed


def test_an_estimate_is_the_sample_s_mean_times_the_number(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("segdla.media.jobs.estimate.time.perf_counter", lambda: clock[0])
    sampled = []

    def predict(inputs, folder):
        sampled.append({entry.path for entry in inputs})
        clock[0] += 0.5 * len(inputs)
        return Tally(done=len(inputs))

    inputs = [Input(f"{index}.png", str(index)) for index in range(1000)] + [Input("a.mp4", "a")]
    guess = estimate(iter(inputs), predict)
    assert (guess.images, guess.videos, guess.sampled, guess.seconds_each, guess.seconds) == (1000, 1, SAMPLE, 0.5, 500)
    assert len(sampled[-1]) == SAMPLE and sampled[-1] != {f"{index}.png" for index in range(SAMPLE)}


def test_smoothing_is_part_of_a_job(many, tmp_path):
    film = cv2.VideoWriter("album/film.avi", cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for dimmed in (1, 2, 1):
        film.write(photo(48, 64) // dimmed)
    film.release()
    job = "--manifest", "jobs.jsonl", "--output", "out"
    many(*job, "--smooth")
    many("--output", "plain", "--smooth")
    assert len([*(tmp_path / "out/ids/film.frames").iterdir()]) == 3
    assert files(tmp_path / "out") == files(tmp_path / "plain")
    assert many(*job) == 2  # without it, it is another job


def test_smoothing_without_a_video_changes_nothing_and_says_so(many, capsys):
    many("--manifest", "jobs.jsonl", "--output", "out", "--smooth")
    assert "--smooth changes nothing: there is no video among the inputs" in capsys.readouterr().out
