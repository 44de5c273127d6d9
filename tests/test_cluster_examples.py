"""The files of examples/cluster: Kubernetes by its schema, SkyPilot by the fields of its documentation, Slurm by a run.

SkyPilot's own schema comes with all of SkyPilot, a hundred packages, so its fields are listed here.
"""

import json
import subprocess
import sys

import pytest
import yaml
from support import ROOT, photo, write

CLUSTER = ROOT / "examples" / "cluster"
SKY = {
    "name",
    "workdir",
    "num_nodes",
    "resources",
    "envs",
    "secrets",
    "file_mounts",
    "setup",
    "run",
    "config",
    "volumes",
}
SKY_RESOURCES = {
    "infra", "accelerators", "cpus", "memory", "instance_type", "use_spot", "job_recovery", "disk_size", "disk_tier",
    "network_tier", "ports", "image_id", "labels", "any_of", "ordered", "autostop", "priority",
}  # fmt: skip
SKY_RECOVERY = {"strategy": str, "max_restarts_on_errors": int}


@pytest.mark.slow
def test_kubernetes_takes_the_job():
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    job = yaml.safe_load((CLUSTER / "kubernetes.yaml").read_text())
    assert validate.validate(job, "1.33", strict=True)
    job["spec"]["parallel"] = 8  # a field that there is not
    with pytest.raises(validate.ValidationError):
        validate.validate(job, "1.33", strict=True)


def test_sky_knows_each_field():
    task = yaml.safe_load((CLUSTER / "sky.yaml").read_text())
    assert {*task} <= SKY and {*task["resources"]} <= SKY_RESOURCES
    recovery = task["resources"]["job_recovery"]
    assert all(isinstance(value, SKY_RECOVERY[name]) for name, value in recovery.items())


@pytest.mark.slow
def test_slurm_s_workers_share_the_inputs(checkpoint, tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed")
    for index in range(12):
        write(tmp_path / "photos" / f"{index}.png", photo(16, 24, index))
    options = "--cluster", "local", "--checkpoint", str(checkpoint), "--device", "cpu", "--output-kind", "ids"
    command = [sys.executable, str(CLUSTER / "slurm.py"), "photos", "out", "jobs.jsonl", *options]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=280)
    records = [
        json.loads(line) for part in (tmp_path / "jobs.jsonl").glob("part-*") for line in part.read_text().splitlines()
    ]
    assert sorted(record["input"] for record in records) == sorted(f"photos/{index}.png" for index in range(12))
    assert len([*(tmp_path / "out" / "ids").iterdir()]) == 12


@pytest.mark.parametrize(
    ("work", "words", "queued"),
    [
        ("exit 1", "--name mine", False),  # a mistake
        ("mkdir -p runs/mine; touch runs/mine/config.yaml; exit 1", "--name mine", False),  # lost before any saving
        ("sleep 0.05; touch runs/mine/last.pt; exit 1", "--resume runs/mine", True),
        ("sleep 0.05; touch runs/mine/last.pt runs/mine/scores.json", "--resume runs/mine", False),
    ],
)
def test_the_job_of_slurm_queues_what_was_saved_alone(tmp_path, work, words, queued):
    block = next(
        part for part in (ROOT / "docs/training.md").read_text(encoding="utf-8").split("```sh") if "srun" in part
    )
    if words.startswith("--resume"):
        (tmp_path / "runs" / "mine").mkdir(parents=True)
        (tmp_path / "runs" / "mine" / "config.yaml").touch()
    stubs = f'srun() (echo "$@" > srun.txt; {work})\nscontrol() {{ echo "$@" >> scontrol.txt; }}\nSLURM_JOB_ID=7\n'
    subprocess.run(["bash", "-c", stubs + block.split("```")[0]], cwd=tmp_path, check=False)
    assert words in (tmp_path / "srun.txt").read_text(encoding="utf-8")
    assert ("requeue 7" in (tmp_path / "scontrol.txt").read_text(encoding="utf-8")) == queued
